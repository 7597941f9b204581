"""The learner on what architectures differ in: its log-probs and gradients are those of a plain forward pass."""

import pytest
import torch
from architectures import gaps, tiny_model

from journeyman.agent.errors import UsageError
from journeyman.agent.learning.scoring import Scorer

LIMIT = 2e-5


@pytest.mark.parametrize(
    "model_type",
    [
        "llama",
        "gemma2",  # windows, logits capped
        "gemma3n_text",  # inputs of each layer, logits capped
        "granite",  # logits divided
        "cohere2",  # logits multiplied, layers without positions
        "nanochat",  # logits capped without a configuration's word
        "bloom",  # ALiBi
        "mpt",  # ALiBi
        "falcon_mamba",
        "jamba",  # attention, Mamba, experts
        "qwen3_next",  # linear attention, experts
        "gpt_oss",  # sinks, experts
        "deepseek_v3",  # latent attention
        "qwen3_vl",  # with a vision tower
        "mistral3",
        "llama4",  # chunks
    ],
)
def test_logprobs_and_gradients_are_a_plain_forwards(model_type):
    found = gaps(tiny_model(model_type))
    assert max(gap for gap in (*found.logprobs, *found.gradients) if gap is not None) <= LIMIT


def test_what_is_no_plain_causal_model_is_refused_by_name():
    says = "VoxtralRealtimeForConditionalGeneration cannot be trained by the learner .*: use another model"
    with pytest.raises(UsageError, match=says):
        Scorer(tiny_model("voxtral_realtime"), torch.float32, temperature=1.0)
