"""Cutting what the agent said into steps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.agent.data import Message, Source, StopReason, Trajectory, Turn
from journeyman.agent.steps import StepSpan, split_steps, split_text

SPLITS = ("newline", "blank_line", "turn", "tool_call")
texts = st.lists(
    st.sampled_from(["a", "b c", "\n", "\n\n", " ", "\t", "\r\n", "<tool_call>", "</tool_call>", "é", "\x1c"])
).map("".join)


def said(*texts):
    turns = tuple(Turn(Message("assistant", text)) for text in texts)
    return Trajectory("0" * 32, Source.POLICY, turns, (), StopReason.TERMINATED)


def steps(by, *texts):
    trajectory = said(*texts)
    return [span.text(trajectory) for span in split_steps(trajectory, by)]


@given(texts, st.sampled_from(SPLITS))
def test_steps_put_together_are_the_text_and_none_is_blank(text, by):
    spans = split_text(text, by)
    assert "".join(text[start:end] for start, end in spans) == (text if text.strip() else "")
    assert all(text[start:end].strip() for start, end in spans)


@given(texts)
def test_every_line_with_text_is_a_step(text):
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    assert steps("newline", text) == lines


@given(texts)
def test_no_step_has_a_separator_inside(text):
    assert not [step for step in steps("blank_line", text) if "\n\n" in step]
    calls = [step.partition("<tool_call>")[2] for step in steps("tool_call", text)]
    assert not [call for call in calls if "</tool_call>" in call[: -len("</tool_call>")]]
    assert len(steps("turn", text)) == bool(text.strip())


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("newline", ["8 - 3", "= 5", "so", "<tool_call>f(", ")</tool_call> and", "<tool_call>g()</tool_call>", "done"]),
        ("blank_line", ["8 - 3\n= 5", "so", "<tool_call>f(\n)</tool_call> and\n<tool_call>g()</tool_call>", "done"]),
        (
            "tool_call",
            ["8 - 3\n= 5\n \n\nso", "<tool_call>f(\n)</tool_call>", "and\n<tool_call>g()</tool_call>", "done"],
        ),
        ("turn", ["8 - 3\n= 5\n \n\nso", "<tool_call>f(\n)</tool_call> and\n<tool_call>g()</tool_call>", "done"]),
    ],
)
def test_the_four_splits(by, expected):
    turns = ("\n8 - 3\n= 5\n \n\nso", "<tool_call>f(\n)</tool_call> and\n<tool_call>g()</tool_call>", " ", "done\n")
    assert steps(by, *turns) == expected


def test_spans_say_where_in_which_turn():
    assert split_steps(said("a\n\nb\n", "", "c"), "newline") == [
        StepSpan(0, 0, 3),
        StepSpan(0, 3, 5),
        StepSpan(2, 0, 1),
    ]
