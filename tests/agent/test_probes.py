"""Probe sequences, and what passes for a hand-over."""

from dataclasses import replace

import numpy as np
import pytest

from journeyman.agent.data import PolicyRef
from journeyman.agent.errors import SamplerError
from journeyman.agent.models import byte_tokenizer
from journeyman.agent.probes import LENGTHS, Probe, judge_hand_over, probe_sequences, read_probe, write_probe

POLICY = PolicyRef(3, "weights/v3")


@pytest.fixture(scope="module")
def probe():
    sequences = probe_sequences(byte_tokenizer(), 265, seed=7)
    return Probe(tuple(sequences), tuple(np.linspace(-9, -1, len(s) - 1, dtype=np.float32) for s in sequences))


def shifted(probe, by):
    return [row + np.float32(by) for row in probe.logprobs]


def test_sequences_are_ordinary_tokens_of_the_seed(probe):
    assert [len(ids) for ids in probe.sequences] == list(LENGTHS)
    assert 0 <= min(ids.min() for ids in probe.sequences) <= max(ids.max() for ids in probe.sequences) < 256
    again, other = (probe_sequences(byte_tokenizer(), 265, seed) for seed in (7, 8))
    assert all(np.array_equal(a, b) for a, b in zip(again, probe.sequences, strict=True))
    assert not np.array_equal(other[0], again[0])
    few = probe_sequences(byte_tokenizer(), 10, seed=7)  # the embeddings have fewer rows than the tokenizer has tokens
    assert max(ids.max() for ids in few) < 10


def test_a_probe_is_read_as_it_was_written(probe, tmp_path):
    assert read_probe(tmp_path) is None
    write_probe(replace(probe, dtype="bfloat16"), tmp_path)
    read = read_probe(tmp_path)
    assert (read.dtype, probe.dtype) == ("bfloat16", "float32")
    for name in ("sequences", "logprobs"):
        for a, b in zip(getattr(read, name), getattr(probe, name), strict=True):
            assert a.dtype == b.dtype
            assert np.array_equal(a, b)


def test_the_gap_is_a_mean_in_nats(probe):
    assert judge_hand_over(POLICY, probe, shifted(probe, 1e-4), "float32").gap == pytest.approx(1e-4, rel=0.01)
    assert judge_hand_over(POLICY, probe, shifted(probe, 0.05), "bfloat16").gap == pytest.approx(0.05, rel=0.01)
    elsewhere = replace(probe, dtype="bfloat16")  # the learner had a GPU, the worker that samples has none
    assert judge_hand_over(POLICY, elsewhere, shifted(probe, 0.05), "float32").gap == pytest.approx(0.05, rel=0.01)


@pytest.mark.parametrize(
    ("by", "dtype", "says"),
    [
        (1e-3, "float32", "0.001 nats a token from the learner's, over the bound of 0.0002; take another sampler.kind"),
        (0.5, "bfloat16", "0.5 nats a token from the learner's, over the bound of 0.1"),
        (np.nan, "bfloat16", "inf nats"),
    ],
)
def test_a_gap_over_the_bound_is_named_with_the_version_and_the_remedy(probe, by, dtype, says):
    with pytest.raises(SamplerError, match=r"the weights of version 3 \(weights/v3\): on the probe") as raised:
        judge_hand_over(POLICY, probe, shifted(probe, by), dtype)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_sampler_that_says_too_little_does_not_pass(probe):
    with pytest.raises(SamplerError, match="inf nats"):
        judge_hand_over(POLICY, probe, probe.logprobs[:-1], "float32")


def test_steps_too_small_for_the_bound_do_not_hide_a_hand_over_left_out(probe):
    before = judge_hand_over(POLICY, probe, shifted(probe, 1e-6), "float32")
    moved = replace(probe, logprobs=tuple(shifted(probe, 2e-5)))
    with pytest.raises(SamplerError, match="still holds the weights it had before those of version 3"):
        judge_hand_over(POLICY, moved, before.found, "float32", before)
    judge_hand_over(POLICY, moved, moved.logprobs, "float32", before)
    judge_hand_over(POLICY, probe, before.found, "float32", before)  # the same weights once more
    barely = replace(probe, logprobs=tuple(shifted(probe, 5e-7)))  # a step that rounding may swallow
    judge_hand_over(POLICY, barely, before.found, "float32", before)


def test_steps_too_small_for_the_bound_do_not_hide_a_hand_over_half_done(probe):
    before = judge_hand_over(POLICY, probe, shifted(probe, 1e-6), "float32")
    moved = replace(probe, logprobs=tuple(shifted(probe, 1e-4)))
    says = (
        r"holds the weights of version 3 \(weights/v3\) in part: .* are 5e-05 nats a token from the learner's, which "
        r"have moved by 0.0001, and were 9.*e-07 for the weights before: over the bound of 2.5e-05; take another"
    )
    with pytest.raises(SamplerError, match=says):
        judge_hand_over(POLICY, moved, shifted(probe, 5e-5), "float32", before)
    far = replace(probe, logprobs=tuple(shifted(probe, 1.0)))
    judge_hand_over(POLICY, far, shifted(probe, 1.0 + 5e-5), "float32", before)  # another model's arithmetic
    with pytest.raises(SamplerError, match=r"in part: .* which have moved by 0, "):  # weights that change by themselves
        judge_hand_over(POLICY, probe, shifted(probe, 5e-5), "float32", before)
