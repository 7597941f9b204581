"""Penalties: nothing within the budget, all at the limit, a straight line between."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.agent.data import Message, Source, Split, Status, StopReason, Task, ToolCall, Trajectory, Turn
from journeyman.agent.errors import SettingsError
from journeyman.agent.plugins import VERIFIERS, load_plugin
from journeyman.verifiers.conduct.expenses import Length, Repetition

TASK = Task("dataset", None, (Message("user", "?"),), Split.TEST, "0" * 32)


def attempt(*texts, tokens=None, seconds=None, told="ok", calls=()):
    turns = tuple(Turn(Message("assistant", text, tuple(calls)), (Message("tool", told),)) for text in texts)
    return Trajectory(
        TASK.hash, Source.POLICY, turns, (), StopReason.TERMINATED, seconds=seconds, sampled_tokens=tokens
    )


def judge(name, trajectory, **options):
    return load_plugin(VERIFIERS, name, options).verify(TASK, trajectory)


@pytest.mark.parametrize(("tokens", "score"), [(0, 0), (100, 0), (150, 0.25), (200, 0.5), (300, 1), (10**9, 1)])
def test_length_is_a_straight_line(tokens, score):
    verdict = judge("length", attempt("a", tokens=tokens), budget=100, limit=300)
    assert (verdict.status, verdict.score, verdict.raw) == (Status.OK, score, tokens)


@given(st.integers(0, 10**6), st.floats(0, 1e6), st.floats(1e-3, 1e6))
def test_more_is_never_better(tokens, budget, span):
    length = Length(budget, budget + span)
    scores = [length.verify(TASK, attempt("a", tokens=n)).score for n in (tokens, tokens + 1)]
    assert 0 <= scores[0] <= scores[1] <= 1
    assert (scores[0] == 0) == (tokens <= budget)


@pytest.mark.parametrize(
    ("unit", "raw", "why"),
    [
        ("words", 5, "5 words, 3 over the budget of 2"),
        ("characters", 15, "15 characters, 13 over the budget of 2"),
        ("turns", 2, "2 turns"),
        ("tokens", 9, "9 tokens, 7 over the budget of 2"),
    ],
)
def test_units_of_length(unit, raw, why):
    verdict = judge("length", attempt("A red, sun", "b c..", tokens=9), budget=2, limit=100, unit=unit)
    assert (verdict.raw, verdict.explanation) == (raw, why)


def test_what_is_not_known_is_no_zero():
    for name, options in [("length", {}), ("latency", {}), ("cost", {"per_token": 1.0})]:
        assert judge(name, attempt("a"), budget=1, limit=2, **options).status is Status.ABSTAIN


def test_latency():
    verdict = judge("latency", attempt("a", seconds=2.5), budget=2, limit=4)
    assert (verdict.score, verdict.raw) == (0.25, 2.5)
    assert verdict.explanation == "2.5 seconds, 0.5 over the budget of 2"


def test_cost_adds_up_tokens_turns_and_calls():
    call = '<tool_call>{"name": "a", "arguments": {}}</tool_call>'
    trajectory = attempt(f"x {call} y <tool_call>broken", "b", tokens=10)
    verdict = judge("cost", trajectory, budget=0, limit=100, per_token=0.5, per_turn=2.0, per_call=10.0)
    assert (verdict.raw, verdict.score) == (0.5 * 10 + 2.0 * 2 + 10.0 * 2, 0.29)
    unwritten = attempt("a", calls=[ToolCall("a", {}), ToolCall("b", {})])
    assert judge("cost", unwritten, budget=0, limit=100, per_call=10.0).raw == 20


@pytest.mark.parametrize(
    ("texts", "raw"),
    [
        ((), 0),
        (("",), 0),
        (("a b c d",), 0),
        (("a b c d e",), 0),
        (("a b c d a b c d",), 1 - 4 / 5),
        (("A b, c d", "a B, c d!"), 1 - 3 / 5),
        (("ha " * 13,), 1 - 1 / 10),
        (("!" * 13,), 1 - 1 / 10),
        (("a" * 13 * 20,), 1 - 1 / 10),
        (("猫は好き" * 3 + "猫",), 1 - 4 / 10),
        (('<tool_call>move("up")</tool_call>', '<tool_call>move("down")</tool_call>'), 0),
        (('<tool_call>move("up")</tool_call>', '<tool_call>move("up")</tool_call>'), 0.5),
        (("a", "a", "a", "b"), 0.5),
    ],
)
def test_repetition_is_the_larger_of_two_shares(texts, raw):
    verdict = Repetition().verify(TASK, attempt(*texts))
    assert verdict.raw == pytest.approx(raw)
    assert verdict.score == pytest.approx(min(max((raw - 0.1) / 0.4, 0), 1))


def test_a_turn_that_was_answered_otherwise_is_another():
    turns = tuple(Turn(Message("assistant", "on"), (Message("tool", told),)) for told in "abc")
    trajectory = Trajectory(TASK.hash, Source.POLICY, turns, (), StopReason.TERMINATED)
    assert Repetition().verify(TASK, trajectory).raw == 0


@given(st.lists(st.text(), max_size=4), st.integers(1, 5))
def test_saying_it_all_again_repeats_at_least_half(texts, n):
    once, twice = (Repetition(n).verify(TASK, attempt(*all_of)).raw for all_of in (texts, texts * 2))
    assert 0 <= once <= twice < 1
    assert twice >= 0.5 or not texts


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        (
            "length",
            {"budget": 2, "limit": 2},
            "'budget' must be at least 0 and below 'limit', got budget 2.0 and limit",
        ),
        ("length", {"budget": -1, "limit": 2}, "'budget' must be at least 0"),
        ("latency", {"budget": float("nan"), "limit": 2}, "'budget' must be at least 0"),
        ("length", {"budget": 1}, "option 'limit'"),
        ("length", {"budget": 1, "limit": 2, "unit": "word"}, "option 'unit'"),
        ("cost", {"budget": 1, "limit": 2}, "nothing has a price: set one of per_token, per_turn, per_call"),
        ("cost", {"budget": 1, "limit": 2, "per_call": -1}, "option 'per_call' must be a price of at least 0"),
        ("repetition", {"n": 0}, "option 'n' must be 1 to 32"),
        ("repetition", {"limit": 2}, "option 'limit' is a share of at most 1"),
    ],
)
def test_bad_options_are_named(name, options, why):
    with pytest.raises(SettingsError, match=why):
        judge(name, attempt("a"), **options)


@pytest.mark.parametrize(
    "text", ["a " * 100_000, "a" * 300_000, "<tool_call>" * 30_000, "\x00!" * 100_000, "猫" * 200_000]
)
def test_a_large_text_costs_little(text, own_time):
    started = own_time()
    judge("repetition", attempt(text))
    assert own_time() - started < 0.6
