"""Which weights an update reaches: adapters where a text goes through, the text half of multi-modal classes."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from architectures import VOCABULARY, tiny_model
from peft import LoraConfig, get_peft_model

from journeyman.agent.data import PolicyRef, Segment
from journeyman.agent.errors import SettingsError
from journeyman.agent.learning.learner import Learner, LearnerSettings, TrainingRow
from journeyman.agent.learning.reach import adapter_reach, adapter_targets, freeze_unread
from journeyman.agent.models import byte_tokenizer, load_causal_lm

LLAMA = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
ROWS = [
    TrainingRow(
        Segment(np.arange(3, 7, dtype=np.int32), np.arange(7, 19, dtype=np.int32), np.ones(12, np.bool_), None),
        0.0,
        in_policy_loss=False,
        nll_weight=1.0,
    )
]


def adapted(model_type):
    model = tiny_model(model_type)
    targets = adapter_targets(model, ())
    return targets, get_peft_model(model, LoraConfig(r=4, target_modules=targets, task_type="CAUSAL_LM")).eval()


@pytest.mark.parametrize(
    ("model_type", "targets", "line"),
    [
        ("llama", LLAMA, "LoRA reaches 75.9% of the model's 26,976 weights; without an adapter: embeddings 23.5%"),
        ("qwen3_vl", LLAMA, "LoRA reaches 73.8% of the model's 24,960 weights"),  # the tower's weights do not count
        ("mamba", ["in_proj", "x_proj"], "LoRA reaches 54.3%"),
        ("qwen3_moe", ["k_proj", "o_proj", "q_proj", "v_proj"], "LoRA reaches 9.9% of the model's 62,080"),
        ("bloom", ["dense", "dense_4h_to_h", "dense_h_to_4h", "query_key_value"], "LoRA reaches 87.6%"),
        ("gpt2", ["c_attn", "c_fc", "c_proj"], "LoRA reaches"),
    ],
)  # fmt: skip
def test_adapters_are_where_a_text_goes_and_their_share_is_said(model_type, targets, line):
    found, model = adapted(model_type)
    assert found == targets
    assert adapter_reach(model).startswith(line)


@pytest.mark.parametrize("model_type", ["llama", "mamba", "jamba", "qwen3_moe", "mistral3", "llama4", "gpt2", "phi3"])
def test_each_adapter_moves_the_logits_as_it_does_merged(model_type):
    _, model = adapted(model_type)
    ids = torch.arange(3, 15)[None]
    plain = model(input_ids=ids, use_cache=False).logits.detach()
    generator = torch.Generator().manual_seed(0)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data = 0.1 * torch.randn(weight.shape, generator=generator)
    logits = model(input_ids=ids, use_cache=False).logits
    logits.logsumexp(-1).sum().backward()
    reached = [
        p.grad is not None and bool(p.grad.abs().sum() > 0) for n, p in model.named_parameters() if "lora_B" in n
    ]
    experts = model_type == "jamba"  # of which a text may pass some by
    assert any(reached) if experts else all(reached)
    merged = model.merge_and_unload()(input_ids=ids, use_cache=False).logits
    assert (logits - plain).abs().max() > 1e-2
    torch.testing.assert_close(logits, merged, rtol=1e-4, atol=1e-4)


def test_targets_that_take_no_adapter_are_named():
    with pytest.raises(SettingsError, match="MambaForCausalLM has no layer out_proj that takes an adapter; it has in"):
        adapter_targets(tiny_model("mamba"), ["out_proj"])
    assert adapter_targets(tiny_model("llama"), ["q_proj", "v_proj"]) == ["q_proj", "v_proj"]


def test_what_a_text_never_passes_stays_as_it_was():
    model = tiny_model("qwen3_vl")
    freeze_unread(model)
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {name for name, _ in model.named_parameters() if ".visual." in name}


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_a_multi_modal_class_trains_is_saved_whole_and_goes_on(lora_rank, tmp_path):
    base = tiny_model("qwen3_vl")
    base.save_pretrained(tmp_path / "base")
    byte_tokenizer().save_pretrained(tmp_path / "base")
    settings = LearnerSettings(learning_rate=1e-2, lora_rank=lora_rank)
    learner = Learner(PolicyRef(0, str(tmp_path / "base")), settings)
    first = learner.update(ROWS, seed=0).stats["nll"]
    saved = learner.save(tmp_path / "run" / "v1", 1)
    again = Learner(saved, settings)
    assert learner.update(ROWS, seed=1).stats["nll"] == again.update(ROWS, seed=1).stats["nll"] < first
    whole = load_causal_lm(saved, dtype=torch.float32, device="cpu")
    tower = {name.rpartition("visual.")[2]: p for name, p in whole.named_parameters() if ".visual." in name}
    assert all(torch.equal(tower[n.rpartition("visual.")[2]], p) for n, p in base.named_parameters() if ".visual." in n)
    if not lora_rank:
        config = json.loads((tmp_path / "run" / "v1" / "config.json").read_text())
        assert config["architectures"] == ["Qwen3VLForConditionalGeneration"]
        assert config["text_config"]["vocab_size"] == VOCABULARY


def test_a_row_of_the_optimizer_may_be_of_fewer_weights(tmp_path):
    """Experts that no row has reached have no state yet."""
    base = tiny_model("qwen3_moe")
    base.save_pretrained(tmp_path / "base")
    byte_tokenizer().save_pretrained(tmp_path / "base")
    settings = LearnerSettings(learning_rate=1e-3)
    learner = Learner(PolicyRef(0, str(tmp_path / "base")), settings)
    learner.update(ROWS, seed=0)
    saved = learner.save(tmp_path / "run" / "v1", 1)
    resumed = Learner(replace(saved), settings)
    assert resumed.update(ROWS, seed=1).stats["nll"] == learner.update(ROWS, seed=1).stats["nll"]
