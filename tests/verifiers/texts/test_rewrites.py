"""Rewrites: what an answer says stays, how it is written changes."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.agent.data import Message, Source, Split, StopReason, Task, ToolCall, Trajectory, Turn
from journeyman.verifiers.mathematics.final_number import FinalNumber
from journeyman.verifiers.texts.rewrites import COURTESY, REWRITES, rewritten


def saying(*texts: str, calls: tuple[ToolCall, ...] = ()) -> Trajectory:
    turns = tuple(Turn(Message("assistant", text, calls), (Message("user", "go on"),)) for text in texts)
    return Trajectory("h", Source.POLICY, turns, (), StopReason.TERMINATED, seconds=1.0)


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("trailing_blanks", "so 4", "so 4  \n"),
        ("doubled_blanks", "so it is 4\n  x", "so  it  is  4\n  x"),
        ("doubled_blanks", "a b\n```\nx = 1\n```\nc d", "a  b\n```\nx = 1\n```\nc  d"),
        ("doubled_blanks", "a b ```x = 1", "a  b ```x = 1"),
        ("blank_lines", "a\n\nb\nc", "a\n\n\nb\nc"),
        ("line_ends", "a\nb\r\nc", "a\r\nb\r\nc"),
        ("line_ends", "a\n```\nx\n```", "a\r\n```\nx\n```"),
        ("normal_form", "na\u00efve", "nai\u0308ve"),
        ("normal_form", "nai\u0308ve", "na\u00efve"),
        ("courtesy", "4", f"{COURTESY}\n\n4"),
        ("boxed_blanks", r"\boxed{\frac{1}{2}}, \boxed{3}", r"\boxed{ \frac{1}{2}}, \boxed{ 3}"),
    ],
)
def test_each_rewrite(kind: str, before: str, after: str) -> None:
    found = rewritten(saying("first", before), kind)
    assert found is not None
    assert [turn.action.content for turn in found.turns] == ["first", after]
    assert replace(found, turns=()).seconds == 1.0


@pytest.mark.parametrize("kind", ["doubled_blanks", "blank_lines", "line_ends", "normal_form", "boxed_blanks"])
def test_what_stays_as_it_is_is_no_rewrite(kind: str) -> None:
    assert rewritten(saying("so4"), kind) is None
    assert rewritten(saying(), kind) is None


def test_calls_of_tools_are_left_alone() -> None:
    assert rewritten(saying("a b", calls=(ToolCall("f", {}),)), "courtesy") is None


@given(st.text(), st.sampled_from(sorted(REWRITES)))
def test_only_blanks_courtesy_and_the_form_change(text: str, kind: str) -> None:
    def bare(said: str) -> str:
        return unicodedata.normalize("NFC", "".join(said.removeprefix(COURTESY).split()))

    assert bare(REWRITES[kind](text)) == bare(text)


@given(
    st.sampled_from(["so {}.", r"it is \boxed{{{}}}", "a = 1\n\n#### {}"]),
    st.integers(0, 999),
    st.sampled_from(sorted(REWRITES)),
)
def test_a_good_verifier_is_not_moved(form: str, number: int, kind: str) -> None:
    task = Task("sums", str(number), (Message("user", "?"),), Split.TEST, "h")
    attempt = rewritten(saying(form.format(number)), kind)
    assert attempt is None or FinalNumber().verify(task, attempt).score == 1.0
