"""Other models than Llama: the learner against a plain forward pass, what of them is trained, and what is refused."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from architectures import gaps, tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st
from memory import Alive
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file

from journeyman.agent.data import PolicyRef, Segment
from journeyman.agent.errors import SettingsError, UsageError
from journeyman.agent.learning.forward.halves import Halves, recompute_layers
from journeyman.agent.learning.forward.scoring import Scorer
from journeyman.agent.learning.learner import Learner, LearnerSettings, TrainingRow
from journeyman.agent.learning.reach import adapter_reach, adapter_targets
from journeyman.agent.models import load_causal_lm

SETTINGS = LearnerSettings(learning_rate=1e-2, device="cpu")
LORA = replace(SETTINGS, lora_rank=2, lora_alpha=4)

SHARING = ["gemma2", "gemma3n_text", "granite", "cohere", "nanochat", "qwen3_moe", "qwen3_vl", "mistral3"]
ALONE = ["bloom", "mamba2", "recurrent_gemma", "gpt_oss", "falcon"]
"""ALiBi counts places, a recurrent state has but one past, sinks are in no kernel, attention of its own is not
looked up: their prompts are not shared."""

model_of = cache(tiny_model)


@pytest.mark.parametrize("name", SHARING + ALONE)
def test_log_probs_and_gradients_are_those_of_a_plain_forward_pass(name):
    found = gaps(model_of(name), groups=2)
    assert (found.logprobs[2] is not None) == (name in SHARING)
    assert max(gap for gap in (*found.logprobs, *found.gradients) if gap is not None) <= 2e-5


@settings(deadline=None, max_examples=12)
@given(name=st.sampled_from(SHARING + ALONE), ids=st.lists(st.integers(3, 98), min_size=1, max_size=20), data=st.data())
def test_the_halves_make_what_the_whole_does_for_any_positions(name, ids, data):
    model = model_of(name)
    some = data.draw(st.lists(st.integers(0, len(ids) - 1), min_size=1, max_size=30))
    halves, ids_1L = Halves(model), torch.tensor([ids])
    with torch.no_grad():
        whole_LV = model(input_ids=ids_1L, use_cache=False).logits[0]
        found_NV = halves.logits(halves.hidden(ids_1L)[0, some])
    torch.testing.assert_close(found_NV, whole_LV[some], atol=2e-5, rtol=1e-5)
    assert "forward" not in vars(model.get_decoder() or model)  # the model is as it was


@pytest.mark.parametrize("name", ["llama", "gemma2", "qwen3_moe", "mamba2", "gpt2"])
def test_layers_computed_anew_give_the_same_gradient_and_take_less_memory(name):
    found = []
    for recompute in (False, True):
        model = tiny_model(name)
        if recompute:
            recompute_layers(model)
        scorer = Scorer(model, torch.float32, 1.0)
        ids = np.arange(3, 83).astype(np.int32)
        segments = [Segment(ids[:40], ids[a:], np.ones(80 - a, dtype=bool), None) for a in (41, 47)]
        segments += [Segment(ids[:9], ids[60:], np.ones(20, dtype=bool), None)]
        with Alive() as alive:
            for rows in scorer.plan(segments, range(3)):
                scorer.forward(segments, rows).logprobs_RT.sum().backward()
        found.append((alive.peak, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}))
    (usual, expected), (less, gradients) = found
    assert less < 0.8 * usual
    assert gradients.keys() == expected.keys()
    assert all(torch.equal(gradients[n], expected[n]) for n in expected)


def test_a_learner_with_activation_checkpointing_learns_the_same(policy, segments_of):
    rows = [TrainingRow(s, 1.0 - i % 3) for i, s in enumerate(segments_of(1)) if s.loss_mask.any()]
    usual, anew = (Learner(policy, replace(SETTINGS, activation_checkpointing=on)) for on in (False, True))
    for learner in (usual, anew):
        learner.update(rows, seed=0, minibatch_rows=4)
    assert any("forward" in vars(module) for module in anew.model.modules())
    again = dict(anew.model.named_parameters())
    assert all(torch.equal(p, again[n]) for n, p in usual.model.named_parameters())


def test_a_model_without_such_layers_cannot_compute_them_anew():
    with pytest.raises(SettingsError, match=r"^activation_checkpointing: Linear has no layers that can be computed"):
        recompute_layers(torch.nn.Linear(2, 2))


def test_a_model_that_is_not_causal_is_refused_by_name():
    why = r"\(its tokens see later ones, so that it is no causal model\)"
    with pytest.raises(UsageError, match=f"^CpmAntForCausalLM cannot be trained by the learner {why}: use another"):
        Halves(model_of("cpmant"))


@pytest.mark.parametrize(
    ("name", "targets", "beside"),
    [
        ("llama", {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}, "embeddings"),
        ("bloom", {"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"}, "embeddings"),
        ("mamba", {"in_proj", "x_proj"}, "embeddings"),  # a fused kernel takes the others' matrices past an adapter
        ("qwen3_moe", {"q_proj", "k_proj", "v_proj", "o_proj"}, "experts"),  # neither experts nor routers
        ("llama4", {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}, "experts"),
        ("qwen3_vl", {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}, "embeddings"),
    ],
)
def test_an_adapter_is_right_wherever_it_is_put_and_its_reach_is_said(name, targets, beside):
    model = tiny_model(name)
    names = adapter_targets(model, ())
    assert {name.rpartition(".")[2] for name in names} == targets
    assert not any("visual" in name or "router" in name for name in names)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=names, task_type="CAUSAL_LM")).eval()
    opened = [p for p in adapted.parameters() if p.requires_grad]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for parameter in opened:
            torch.nn.init.normal_(parameter, std=0.2)
    found = gaps(adapted.get_base_model(), groups=2)
    assert max(gap for gap in (*found.logprobs, *found.gradients) if gap is not None) <= 2e-5
    assert all(p.grad is not None for p in opened)

    share, line = adapter_reach(adapted)
    layers = [m for m in adapted.modules() if hasattr(m, "base_layer")]
    total = sum(p.numel() for layer in layers for p in layer.base_layer.parameters()) / share
    assert line.startswith(f"LoRA reaches {share:.1%} of the model's {round(total):,} weights; without an adapter: ")
    assert beside in line

    ids_BL = torch.arange(3, 15)[None]
    with torch.no_grad():
        expected = adapted(input_ids=ids_BL, use_cache=False).logits
        merged = adapted.merge_and_unload()(input_ids=ids_BL, use_cache=False).logits
    torch.testing.assert_close(merged, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "wanted", "message"),
    [
        (
            "qwen3_moe",
            ["gate"],
            "^lora_targets: Qwen3MoeForCausalLM has no layer gate that takes an adapter; it has k_p",
        ),
        (
            "mamba2",
            ["out_proj"],
            "^lora_targets: Mamba2ForCausalLM has no layer out_proj that takes .*; it has in_proj$",
        ),
        ("qwen3_vl", ["qkv"], "has no layer qkv that takes"),  # of the vision tower alone
    ],
)
def test_layers_that_take_no_adapter_are_refused_with_those_that_do(name, wanted, message):
    with pytest.raises(SettingsError, match=message):
        adapter_targets(model_of(name), wanted)


@pytest.mark.parametrize(
    ("name", "config"), [("qwen3_vl", LORA), ("mistral3", SETTINGS), ("mistral3", LORA), ("mixtral", SETTINGS)]
)
def test_multimodal_and_expert_models_train_save_and_go_on(name, config, policy, segments_of, tmp_path):
    folder = tmp_path / "base"
    model = tiny_model(name)
    model.save_pretrained(folder)
    first = Learner(policy, SETTINGS)  # its tokenizer fits any model of as many tokens or more
    first.tokenizer.save_pretrained(folder)
    rows = [TrainingRow(s, 1.0 - i % 3) for i, s in enumerate(segments_of(1)) if s.loss_mask.any()]

    straight = Learner(PolicyRef(0, str(folder)), config)
    start = {n: p.detach().clone() for n, p in straight.model.named_parameters()}
    stats = straight.update(rows[:3], seed=0).stats
    assert ("adapter_share" in stats) == bool(straight.reach) == (config is LORA)
    assert not straight.reach or straight.reach.startswith(f"LoRA reaches {stats['adapter_share']:.1%} of the model's")
    saved = straight.save(tmp_path / "v1", 1)
    resumed = Learner(saved, config)
    for learner in (straight, resumed):
        learner.update(rows, seed=1)
    now, again = (dict(learner.model.named_parameters()) for learner in (straight, resumed))
    assert all(torch.equal(p, again[n]) for n, p in now.items())

    moved = {n for n, p in now.items() if not torch.equal(p, start[n])}
    assert moved
    assert not any("vision" in n or "visual" in n for n in moved)
    reloaded = load_causal_lm(saved, dtype=torch.float32, device="cpu")
    causal = reloaded.get_base_model() if saved.adapter else reloaded
    assert type(causal) is type(model)  # saved as the kind it was, with its vision weights
    if not saved.adapter:
        assert sum(v.numel() for v in load_file(tmp_path / "v1" / "model.safetensors").values()) >= sum(
            p.numel() for n, p in model.named_parameters() if "lm_head" not in n
        )


def test_an_optimizer_of_another_model_is_refused(policy, segments_of, tmp_path):
    learner = Learner(policy, SETTINGS)
    learner.update([TrainingRow(s, 1.0) for s in segments_of(1)], seed=0)
    learner.save(tmp_path / "v1", 1)
    other = tiny_model("gpt2")
    other.save_pretrained(tmp_path / "v2")
    learner.tokenizer.save_pretrained(tmp_path / "v2")
    (tmp_path / "v2" / "learner").mkdir()
    (tmp_path / "v1" / "learner" / "optimizer.safetensors").rename(
        tmp_path / "v2" / "learner" / "optimizer.safetensors"
    )
    with pytest.raises(UsageError, match="is the optimizer state of another model"):
        Learner(PolicyRef(0, str(tmp_path / "v2")), SETTINGS)
