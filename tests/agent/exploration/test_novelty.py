"""Bonuses for what was reached seldom: by counts, and by random network distillation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeyman.agent.data import Message, Source, Split, StopReason, Trajectory, Turn
from journeyman.agent.environments.countdown import CountdownEnvironment, countdown_task
from journeyman.agent.exploration.novelty import Counts, RandomNetwork, hashed_features, normalised, visits
from journeyman.agent.protocols import Environment

batches = st.lists(st.lists(st.lists(st.sampled_from("abcde"), unique=True), max_size=6), min_size=1, max_size=4)


class Plain:
    """An environment without goals."""

    tools = ()


def attempt(text: str, stop_reason: StopReason = StopReason.TERMINATED) -> Trajectory:
    return Trajectory("h", Source.POLICY, (Turn(Message("assistant", text)),), (), stop_reason)


def plain() -> Environment:
    return Plain()


def countdown() -> Environment:
    return CountdownEnvironment(countdown_task([2, 3, 4], 24, 100, Split.TRAIN))


def test_what_was_reached() -> None:
    assert visits(countdown(), attempt("2*3+4"), 5) == ["10"]
    assert visits(countdown(), attempt("2*3"), 5) == []
    assert visits(plain(), attempt(" The\nANSWER: 4 "), 5) == ["the answer: 4"]
    assert visits(plain(), attempt("  "), 5) == []


@pytest.mark.parametrize("stopped", [StopReason.LENGTH, StopReason.ERROR])
def test_who_came_to_no_end_reached_nothing(stopped: StopReason) -> None:
    assert visits(plain(), attempt("blah", stopped), 5) == []


def test_normalised_texts_are_equal() -> None:
    assert normalised("Ｔｗｏ  words") == normalised("two\n words\t") == "two words"


def test_counts_worked_example() -> None:
    counts = Counts()
    np.testing.assert_allclose(counts.observe([["a"], ["a", "b"], []]), [2**-0.5, 1, 0])
    np.testing.assert_allclose(counts.observe([["a"], ["a", "b"], ["c"]]), [0.5, 2**-0.5, 1])


@given(batches)
def test_counts_are_in_range_and_only_fall(found) -> None:
    counts = Counts()
    for batch in found:
        bonus = counts.observe(batch)
        assert bonus.shape == (len(batch),)
        assert all((b == 0) if not reached else (0 < b <= 1) for b, reached in zip(bonus, batch, strict=True))
        assert np.all(counts.observe(batch) <= bonus)


@given(batches)
@settings(max_examples=30, deadline=None)  # timings vary on a busy machine
def test_random_network_is_finite_and_repeatable(found) -> None:
    one, other = RandomNetwork(3), RandomNetwork(3)
    for batch in found:
        bonus = one.observe(batch)
        assert bonus.shape == (len(batch),)
        assert np.all(np.isfinite(bonus) & (bonus >= 0))
        assert np.all(bonus[[not reached for reached in batch]] == 0)
        np.testing.assert_array_equal(bonus, other.observe(batch))


def test_random_network_rewards_the_rare() -> None:
    network = RandomNetwork(0)
    bonus = network.observe([["often"]] * 100 + [["sometimes"]] * 5 + [["once"]])
    assert bonus[0] < bonus[100] < bonus[105]
    later = network.observe([["often"], ["once"], ["never so far"], ["often", "sometimes"]])
    assert later[0] < later[3] < later[1] < later[2]


def test_random_network_knows_what_is_alike() -> None:
    network = RandomNetwork(0)
    network.observe([[f"the answer is {i}"] for i in range(200)])
    alike, other = network.observe([["the answer is 512"], ["zebras quickly jump"]])
    assert alike < other


def test_alike_errors_are_no_news() -> None:
    assert RandomNetwork(0).observe([["a"], ["a"]]).tolist() == [0, 0]
    assert RandomNetwork(0).observe([[], []]).tolist() == [0, 0]


@given(st.lists(st.text(), max_size=5))
def test_features_have_length_one_and_tell_texts_apart(texts) -> None:
    features = hashed_features(texts)
    assert features.shape == (len(texts), 256)
    length = np.linalg.norm(features, axis=1)
    assert np.all(np.isclose(length, 1) | (length == 0))


def test_texts_of_the_same_grams_differ() -> None:
    first, second = hashed_features(["0" * 300, "0" * 301])
    assert not np.array_equal(first, second)
