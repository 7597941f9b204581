"""The learner's word on probe sequences, for a tied tiny model and one of experts too."""

import numpy as np
import pytest
import torch
from tiny_models import make_model

from journeyman.agent.data import PolicyRef
from journeyman.agent.learning.learner import Learner, LearnerSettings
from journeyman.agent.learning.probing import probe_for
from journeyman.agent.models import load_causal_lm
from journeyman.agent.probes import read_probe


@pytest.mark.parametrize("rank", [0, 4], ids=["full", "lora"])
@pytest.mark.parametrize("family", ["llama", "qwen2 tied", "qwen3_moe", "gpt_oss"])
def test_saved_weights_say_what_their_learner_said(family, rank, tmp_path):
    base = PolicyRef(0, str(make_model(family, tmp_path / "base", 0)))
    learner = Learner(base, LearnerSettings(lora_rank=rank, seed=5))
    with torch.no_grad():  # as after an update
        for weight in learner.model.parameters():
            if weight.requires_grad:
                weight.add_(0.01)
    saved = learner.save(tmp_path / "v1", 1)
    probe = read_probe(tmp_path / "v1")
    model = load_causal_lm(saved, dtype=torch.float32, device="cpu")
    for ids, logprobs in zip(probe.sequences, probe.logprobs, strict=True):
        with torch.inference_mode():
            plain = model(torch.tensor(ids[None], dtype=torch.long)).logits[0, :-1].log_softmax(-1)
        expected = plain.gather(1, torch.tensor(ids[1:, None], dtype=torch.long))[:, 0]
        np.testing.assert_allclose(logprobs, expected, atol=2e-5)
    unmoved = probe_for(base, torch.float32, seed=5)
    assert np.array_equal(unmoved.sequences[0], probe.sequences[0])
    assert np.abs(unmoved.logprobs[0] - probe.logprobs[0]).mean() > 1e-3
