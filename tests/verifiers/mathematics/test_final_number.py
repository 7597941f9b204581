"""Numbers read out of texts: exactly, and without guessing."""

from fractions import Fraction
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeyman.agent.data import Message, Source, Split, Status, StopReason, Task, ToolCall, Trajectory, Turn
from journeyman.agent.errors import SettingsError
from journeyman.agent.plugins import VERIFIERS, load_plugin
from journeyman.verifiers.mathematics.final_number import MAX_ANSWER, last_number, only_number


def judge(goal, text, calls=(), **options):
    task = Task("dataset", goal, (Message("user", "?"),), Split.TEST, "0" * 32)
    turns = (Turn(Message("assistant", text, calls)),) if text is not None else ()
    trajectory = Trajectory(task.hash, Source.POLICY, turns, (), StopReason.TERMINATED)
    return verifier(**options).verify(task, trajectory)


@cache
def verifier(**options):
    return load_plugin(VERIFIERS, "number", options)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("72", 72),
        ("-7", -7),
        ("−7", -7),
        ("+7", 7),
        ("72.", 72),
        ("72.0", 72),
        (".5", "1/2"),
        ("1,200", 1200),
        ("1,234,567.50", "2469135/2"),
        ("$1,200", 1200),
        ("-$7", -7),
        ("$-7", -7),
        ("72 €", 72),
        ("20%", 20),
        ("3/4", "3/4"),
        ("1 1/2", "3/2"),
        ("-1 1/2", "-3/2"),
        (r"\frac{3}{4}", "3/4"),
        (r"-\dfrac{1}{2}", "-1/2"),
        (r"2\frac{1}{2}", "5/2"),
        (r"\$72\%", 72),
        (r"1{,}200\,\text{cm}^2", 1200),
        ("5 m^2", 5),
        ("5 m²", 5),
        ("5kg of CO2", 5),
        ("x = 5", 5),
        ("**72**", 72),
        ("(72)", 72),
        ("3 dozen", 36),
        ("1.5 million people", 1500000),
    ],
)
def test_one_number_is_read_in_all_its_spellings(text, value):
    assert only_number(text) == Fraction(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "five",
        "m5",
        "1,2000",
        "10,00",
        "3,5",
        "0,111",
        "00,111",
        "1e5",
        "10^3",
        "2*3",
        "2**3",
        "48-24",
        "-(7)",
        "- 7",
        "-**7**",
        "< 5",
        "5k",
        "12.5.3",
        "5/6/2020",
        "5/0",
        "7²",
        "７２",
        "72 or 73",
        "72 clips in 3 days",
        "1" * 61,
        "1" * 10**6,
        "7" + " " * MAX_ANSWER,
    ],
)
def test_where_it_would_be_a_guess_nothing_is_read(text):
    assert only_number(text) is None


def test_the_last_number_of_a_text():
    assert last_number("48 of 60 friends, so 24.") == 24
    assert last_number("It is 24, not 1e5") is None
    assert last_number("no number") is None
    assert last_number("9 " + "x" * 20_000) is None
    assert last_number("1 " * 200_000 + "24") == 24


def test_where_says_what_counts():
    text = "first 1\n#### 2\nthen \\boxed{3} and 4"
    assert judge("3", text).extracted == "3"
    assert judge("2", text, where="marked").extracted == "2"
    assert judge("3", text, where="boxed").extracted == "3"
    assert judge("4", text, where="last").extracted == "4"
    assert judge("3", "a \\boxed{x} b \\boxed{\\text{so }{3}} 4").score == 1
    assert judge("4", "so 4").score == 1
    assert judge("4", "so 4", where="marked").score == 0
    assert judge("4", "so 4", where="boxed").score == 0
    assert judge("4", "\\boxed{4").score == 0
    assert judge("4", "#### 5\n#### 4").score == 1
    assert judge("4", "4\n#### ").score == 0
    assert judge("4", "####\n4").score == 0


def test_verdicts_say_what_was_read_and_why():
    right, wrong, none = judge("1,200", "#### $1,200.0"), judge("1/2", "#### 0.6"), judge("5", "#### none")
    assert (right.score, right.extracted, right.expected) == (1, "1200", "1200")
    assert (wrong.score, wrong.extracted, wrong.expected) == (0, "3/5", "1/2")
    assert (none.score, none.extracted, none.explanation) == (0, None, "no final number (auto)")


def test_no_answer_no_goal_and_a_goal_that_is_no_number():
    assert judge("4", None).score == 0
    assert judge("4", "").score == 0
    assert judge(None, "4").status is Status.ABSTAIN
    with pytest.raises(ValueError, match="the goal 'blue' is not a number"):
        judge("blue", "4")


def test_a_message_that_calls_a_tool_is_no_answer():
    calls = (ToolCall("calculator", {"expression": "2+2"}),)
    assert judge("4", "2+2 = 4", calls).score == 0
    assert judge("4", "2+2 = 4").score == 1


def test_equality_is_exact_unless_a_tolerance_is_set():
    assert judge("1/3", "0.333").score == 0
    assert judge("1/3", "0.333", tolerance=0.001).score == 1
    assert judge(0.1, "0.2", tolerance=0.1).score == 1
    assert judge(0.1, "0.2001", tolerance=0.1).score == 0
    with pytest.raises(SettingsError, match="option 'tolerance' must be finite and at least 0"):
        judge("1", "1", tolerance=-1)
    with pytest.raises(SettingsError, match="option 'where'"):
        judge("1", "1", where="first")


def spellings(value):
    digits = f"{abs(value):,}"
    sign = "-" if value < 0 else ""
    return [
        str(value),
        sign + digits,
        f"{sign}${digits}",
        f"{value}.00",
        f"{value} clips",
        f"**{value}**",
        f"{value}/1",
    ]


@settings(deadline=None)  # a busy machine is no failure
@given(st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9))
def test_gold_is_1_in_every_spelling_and_another_number_0(value, other):
    for text in spellings(value):
        assert judge(str(value), f"So 3 + 4.\n#### {text}").score == 1
        assert judge(str(value), f"\\boxed{{{text}}}").score == 1
        assert judge(str(value), f"the answer is {text}").score == 1
        assert judge(value + 1, f"#### {text}").score == 0
        assert judge(other, f"#### {text}").score == float(other == value)


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(max_size=60))
def test_any_text_is_judged(text):
    assert judge("123456789", text).score == 0
    assert judge("123456789", f"#### {text}").score == 0
