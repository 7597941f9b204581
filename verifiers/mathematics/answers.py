"""Mathematical answers: the final answer is read out of the text and compared with the gold answer (docs/math.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import ClassVar

from journeyman.agent.data import Task, Trajectory, Verdict
from journeyman.verifiers.answers.choices import letter
from journeyman.verifiers.answers.doubts import hedged
from journeyman.verifiers.answers.find import MAX_ANSWER, Where, find
from journeyman.verifiers.answers.pieces import pieces
from journeyman.verifiers.mathematics.equal import Reading, equal, read
from journeyman.verifiers.mathematics.final_number import only_number
from journeyman.verifiers.mathematics.nodes import number
from journeyman.verifiers.mathematics.tokens import WORDS, Unreadable, plain_math
from journeyman.verifiers.mathematics.units import parse_unit

_NUMBER = re.compile(r"\$?([-+]?)(?:([0-9]{1,3}(?:,[0-9]{3}){1,9})|([0-9]{1,40}))(\.[0-9]{1,20})?\.?\$?")
_LETTER = re.compile(r"\(?([A-J])\)?\.?")
_LETTERS = re.compile(r"\(?[A-J]\)?(?:\s*(?:,|;|&|and)\s*\(?[A-J]\)?)+|[A-J]{2,10}")
_TEXT = re.compile(r"[A-Za-z][A-Za-z' -]{2,}")
_PROSE = re.compile(
    r"(?:[A-Za-z]{2,}|[aI]|(?<=[A-Za-z])['-](?=[A-Za-z])|[-−](?=[$€£0-9])|(?<=[0-9])/(?=[0-9])|[.,;:$€£%!?\s0-9])*"
)
_BEHIND = re.compile(r"[0-9]\s+([A-Za-z]+)[^0-9]*$")
_ALTERS = re.compile(
    r"\b(?:minus|negative|plus|times|squared|cubed|factorial|half|halves|thirds?|quarters?|fourths?|fifths?|tenths?|hundredths?|"
    r"thousandths?|over|divided|than|root|power|per\s?cent|percent|opposite|inverse|reciprocal|about|approximately|roughly|"
    r"nearly|almost|around|up to|close to|far from|except|instead|excluding|no|but not|(?:any\w*|all|nothing) but)\b|!",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class MathAnswer:
    r"""1 where the final answer is mathematically equal to the task's goal, else 0.

    `where` says where the answer stands: `marked` after the last `####` that is no heading, `boxed` in the last
    `\boxed{}`, `last` in the last line, `auto` by the last mark there is (`<answer>` tags too), else after "answer is",
    else in the last line. An answer that cannot be read scores 0, and the explanation says why; one of a message that
    calls a tool is none.
    """

    where: Where = "auto"
    name: ClassVar[str] = "math"
    version: ClassVar[str] = "2"

    def verify(self, task: Task, trajectory: Trajectory) -> Verdict:
        """Raises ValueError where the goal cannot be read; abstains where there is none."""
        if task.goal is None:
            return Verdict.abstain("the task has no goal")
        gold = str(task.goal)
        if trajectory.turns and trajectory.turns[-1].action.tool_calls:
            return Verdict.passed(False, expected=gold, why="the last message calls a tool")
        found = find(trajectory.final_text, self.where)
        if not found:
            return Verdict.passed(False, expected=gold, why=f"no final answer ({self.where})")
        extracted, ok, why = judge(gold, found)
        return Verdict.passed(ok, extracted=extracted, expected=gold, why=why)


def judge(gold: str, answer: str) -> tuple[str, bool, str]:
    """What was read, whether it is the gold answer, and why. Raises ValueError where the gold answer cannot be read."""
    numbers = _plain_number(gold), _plain_number(answer)
    if None not in numbers:
        return answer, numbers[0] == numbers[1], "compared as numbers"
    if len(gold) > MAX_ANSWER:
        raise ValueError(f"the goal {gold[:40]!r}... is longer than {MAX_ANSWER} characters")
    plain = plain_math(gold)
    if _LETTER.fullmatch(plain) or _LETTERS.fullmatch(plain):
        chosen = _chosen(answer)
        return chosen or answer, chosen == "".join(sorted(set(re.findall(r"[A-J]", plain)))), "compared as choices"
    expected = _gold(gold)
    if expected is None:
        return answer, _words(gold) == _words(answer), "compared as words"
    try:
        text, reading = _reading(answer)
    except Unreadable as why:
        return answer[:MAX_ANSWER], False, f"not read: {why}"
    try:
        return text, equal(expected, reading), "compared as mathematics"
    except Unreadable as why:
        return text, False, f"not compared: {why}"


def _plain_number(text: str) -> Fraction | None:
    match = _NUMBER.fullmatch(text.strip()) if len(text) < 80 else None
    if match is None:
        return None
    return Fraction(match[1] + (match[2] or match[3]).replace(",", "") + (match[4] or ""))


@lru_cache(maxsize=4096)
def _gold(text: str) -> Reading | None:
    """The gold answer read, None where it is just words. Raises ValueError where it is neither."""
    plain = plain_math(text)
    wordy = _TEXT.fullmatch(plain) is not None and not WORDS & set(plain.split())
    try:
        reading = read(text)
    except Unreadable as why:
        if wordy:
            return None
        raise ValueError(f"the goal {text[:100]!r} is no answer that can be read: {why}") from None
    return None if wordy and reading.node.op not in {"reals", "empty"} else reading


def _words(text: str) -> str:
    return " ".join(plain_math(text[:MAX_ANSWER]).casefold().split())


def _chosen(answer: str) -> str | None:
    """The letters chosen, in order; None where that is not clear."""
    plain = plain_math(answer[:MAX_ANSWER])
    if _LETTERS.fullmatch(plain):
        return "".join(sorted(set(re.findall(r"[A-J]", plain))))
    return letter(plain)


def _reading(answer: str) -> tuple[str, Reading]:
    """The first part of the answer that reads as mathematics, else the only number of plain prose."""
    if len(answer) > MAX_ANSWER:
        raise Unreadable(f"longer than {MAX_ANSWER} characters")
    reason = Unreadable("nothing there")
    for text in pieces(answer):
        try:
            return text, read(text)
        except Unreadable as why:
            reason = why
    value = only_number(answer)
    if value is None or hedged(answer) or _ALTERS.search(answer) or not _PROSE.fullmatch(answer):
        raise reason
    behind = _BEHIND.search(answer)
    return str(value), Reading(number(value), behind and parse_unit(behind[1], spaced=True))
