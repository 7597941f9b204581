"""The reference of a KL: with LoRA beside the trained adapter on the same base weights, else a model of its own."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from journeyman.agent.errors import SettingsError
from journeyman.agent.learning import reference as learning_reference
from journeyman.agent.learning.learner import Learner, LearnerSettings, TrainingRow

FULL = LearnerSettings(learning_rate=1e-2, kl="k3", temperature=0.9, device="cpu")
LORA = replace(FULL, lora_rank=2, lora_alpha=4)


@pytest.fixture(scope="module")
def segments(segments_of):
    return [s for s in segments_of(31, groups=4) if s.loss_mask.any()]


@pytest.fixture(scope="module")
def versions(policy, segments, tmp_path_factory):
    """Two adapters on one base, one trained from the other: the run's first version and a later one."""
    folder, learner = tmp_path_factory.mktemp("versions"), Learner(policy, LORA)
    found = []
    for number in (1, 2):
        learner.update([TrainingRow(s, nll=1.0) for s in segments[number - 1 :: 2]], seed=0, epochs=2)
        found.append(learner.save(folder / f"v{number}", number))
    return found


def count(learner):
    return sum(p.numel() for p in learner.model.parameters())


def apart(found, expected):
    return np.abs(np.concatenate(found) - np.concatenate(expected)).max()


@pytest.mark.parametrize("which", ["adapter", "base"])
def test_an_adapters_reference_is_another_models_without_a_second_model(policy, versions, segments, which, monkeypatch):
    first, second = versions
    reference = first if which == "adapter" else policy
    expected = Learner(reference, LORA if reference.adapter else FULL).logprobs(segments)
    monkeypatch.setattr(learning_reference, "load_causal_lm", None)  # so that no model of its own can be had
    alone, beside = Learner(second, LORA), Learner(second, LORA, reference)
    own = alone.logprobs(segments)
    assert apart(beside.reference_logprobs(segments), expected) <= 1e-6
    assert apart(beside.logprobs(segments), own) == 0.0  # and the trained adapter is back in its place
    assert apart(own, expected) > 0.1
    adapter = count(alone) - count(Learner(policy, FULL))
    assert count(beside) == count(alone) + (adapter if which == "adapter" else 0)


def test_the_reference_stays_while_the_adapter_is_trained(versions, segments, tmp_path):
    first, second = versions
    learner = Learner(second, LORA, first)
    before, frozen = learner.reference_logprobs(segments), names(learner, trained=False)
    own = learner.logprobs(segments)
    assert not any("reference" in name for name in names(learner, trained=True))
    rows = [TrainingRow(s, 0.5, reference=0.3) for s in segments]
    stats = learner.update(rows, seed=0, epochs=3).stats
    assert apart(learner.reference_logprobs(segments), before) == 0.0
    assert apart(learner.logprobs(segments), own) > 0.01
    assert names(learner, trained=False) == frozen
    r = np.concatenate(before) - np.concatenate(own)
    once = Learner(second, LORA, first).update(rows, seed=0).stats
    assert once["kl"] == pytest.approx((np.exp(r) - r - 1).mean(), rel=1e-4)
    assert stats["kl"] != once["kl"]
    saved = learner.save(tmp_path / "v3", 3)
    assert not [p for p in Path(saved.adapter).rglob("*") if "reference" in p.name]
    again = Learner(saved, LORA, first)
    assert apart(again.logprobs(segments), learner.logprobs(segments)) == 0.0
    assert apart(again.reference_logprobs(segments), before) == 0.0


def names(learner, *, trained):
    return {name for name, p in learner.model.named_parameters() if p.requires_grad == trained}


def test_full_weights_have_a_reference_of_their_own(policy, policy_of, segments):
    other = policy_of(seed=4)
    learner = Learner(policy, FULL, other)
    expected = Learner(other, FULL).logprobs(segments)
    assert apart(learner.reference_logprobs(segments), expected) == 0.0
    learner.update([TrainingRow(s, nll=1.0) for s in segments], seed=0)
    assert apart(learner.reference_logprobs(segments), expected) == 0.0


def test_restore_keeps_the_reference(policy, versions, segments):
    first, second = versions
    learner = Learner(first, LORA, first)
    expected = learner.reference_logprobs(segments)
    learner.restore(second)
    assert apart(learner.reference_logprobs(segments), expected) <= 1e-6
    assert apart(learner.logprobs(segments), expected) > 0.01


def test_refuses_a_kl_to_nobody_and_a_reference_of_another_vocabulary(policy, policy_of, segments):
    row = TrainingRow(segments[0], 1.0, reference=0.1)
    with pytest.raises(SettingsError, match="no reference policy for the KL"):
        Learner(policy, FULL).update([row], seed=0)
    larger = policy_of(vocab_size=40)
    with pytest.raises(SettingsError, match="has 40 words, the policy 31: the KL needs a reference of the same"):
        Learner(policy, FULL, larger)
