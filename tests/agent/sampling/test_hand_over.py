"""vLLM is handed new weights of models whose weights it packs or shares, or that it runs by transformers' classes."""

import asyncio
import gc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import make_model, make_version

from journeyman.agent.data import PolicyRef, Segment
from journeyman.agent.errors import DamagedPolicyError, SamplerError
from journeyman.agent.learning.learner import Learner, LearnerSettings, TrainingRow
from journeyman.agent.learning.probing import probe_for
from journeyman.agent.models import load_causal_lm
from journeyman.agent.probes import judge_hand_over, read_probe
from journeyman.agent.sampling import vllm_engine
from journeyman.agent.sampling.factory import installed_vllm, open_sampler
from journeyman.agent.sampling.settings import SamplerSettings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.vllm,
    pytest.mark.skipif(installed_vllm() is None, reason="vLLM is not installed"),
]


def proved(sampler, policy, probe, before=None):
    found = asyncio.run(sampler.score([ids.tolist() for ids in probe.sequences]))
    return judge_hand_over(policy, probe, found, "float32", before)


@pytest.mark.parametrize("family", ["qwen2 tied", "qwen3_moe", "olmo2"])
def test_every_hand_over_is_whole(family, tmp_path):
    """Tied embeddings; experts, for which the engine starts anew; a model that vLLM runs by transformers' own class."""
    policies = [PolicyRef(i + 1, str(make_version(family, tmp_path / f"v{i}", i))) for i in range(2)]
    probes = [probe_for(policy, torch.float32, seed=0) for policy in policies]
    sampler = open_sampler("vllm", policies[0], SamplerSettings(context_tokens=128, max_batch=16))
    try:
        before = proved(sampler, policies[0], probes[0])
        with pytest.raises(SamplerError, match="does not hold the weights of version 2"):
            proved(sampler, policies[1], probes[1], before)
        asyncio.run(sampler.load_policy(policies[1]))
        assert proved(sampler, policies[1], probes[1], before).gap < 1e-5
        load_causal_lm(policies[0], dtype=torch.float32, device="cpu")(torch.tensor([[1, 2]]))  # as a learner does
    finally:
        sampler.close()
        gc.collect()


def test_adapters_are_proved_and_the_learner_goes_on_beside_the_engine(tmp_path):
    """SmolLM3 has no model of vLLM's own, and tied embeddings."""
    base = PolicyRef(0, str(make_model("smollm3 tied", tmp_path / "base", 0)))
    sampler = open_sampler("vllm", base, SamplerSettings(context_tokens=128, max_batch=16, lora_rank=8))
    try:
        learner = Learner(base, LearnerSettings(learning_rate=1e-2, lora_rank=8))
        ids = np.arange(24, dtype=np.int32)
        row = TrainingRow(Segment(ids[:8], ids[8:], np.ones(16, np.bool_), None), nll=1.0)
        versions, before = [], None
        for number in (1, 2):
            learner.update([row], seed=number)
            versions.append(learner.save(tmp_path / f"v{number}", number))
            asyncio.run(sampler.load_policy(versions[-1]))
            before = proved(sampler, versions[-1], read_probe(tmp_path / f"v{number}"), before)
            assert before.gap < 1e-5
        with pytest.raises(DamagedPolicyError, match=r"manifest\.json is missing"):
            asyncio.run(sampler.load_policy(replace(versions[1], adapter=None)))
        for wrong in (versions[0], base):
            asyncio.run(sampler.load_policy(wrong))
            with pytest.raises(SamplerError, match=r"does not hold the weights of version 2 \(.*v2\)"):
                proved(sampler, versions[1], read_probe(Path(versions[1].adapter)), before)
    finally:
        sampler.close()
        gc.collect()


def test_an_engine_that_does_not_start_anew_says_so_until_it_is_closed(tmp_path, monkeypatch):
    policy = PolicyRef(1, str(make_version("qwen3_moe", tmp_path / "v1", 0)))
    sampler = open_sampler("vllm", policy, SamplerSettings(context_tokens=128, max_batch=16))
    try:
        with monkeypatch.context() as patched:
            patched.setattr(vllm_engine, "start_engine", lambda *_: 1 / 0)
            with pytest.raises(
                SamplerError, match=r"vLLM cannot start with .*v1': ZeroDivisionError: division by zero"
            ):
                asyncio.run(sampler.load_policy(policy))
        with pytest.raises(SamplerError, match=r"vLLM cannot start with .*v1'"):
            asyncio.run(sampler.score([[1, 2, 3]]))
    finally:
        sampler.close()
        gc.collect()


def test_adapters_on_experts_are_refused_by_name(tmp_path):
    policy = PolicyRef(0, str(make_model("qwen3_moe", tmp_path, 0)))
    with pytest.raises(
        SamplerError, match=r"sampler 'vllm' cannot take LoRA adapters on the experts of .* take the sampler"
    ):
        open_sampler("vllm", policy, SamplerSettings(context_tokens=128, lora_rank=8))


def test_dynamic_positions_are_unscaled_within_the_models_own_context(tmp_path):
    rope = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10_000.0}
    policy = PolicyRef(1, str(make_version("llama", tmp_path, 0, max_position_embeddings=128, rope_parameters=rope)))
    sampler = open_sampler("vllm", policy, SamplerSettings(context_tokens=128, max_batch=16))
    try:
        assert proved(sampler, policy, probe_for(policy, torch.float32, seed=0)).gap < 1e-5
    finally:
        sampler.close()
        gc.collect()
