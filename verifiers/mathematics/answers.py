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
from journeyman.verifiers.mathematics.comparing.equal import equal, reading
from journeyman.verifiers.mathematics.comparing.forms import is_plain
from journeyman.verifiers.mathematics.final_number import only_number
from journeyman.verifiers.mathematics.reading.nodes import number
from journeyman.verifiers.mathematics.reading.plain import marked_math, plain_math, squeezed
from journeyman.verifiers.mathematics.reading.read import Reading, meaning
from journeyman.verifiers.mathematics.reading.tokens import WORDS, Unreadable
from journeyman.verifiers.mathematics.reading.units import parse_unit
from journeyman.verifiers.mathematics.second_reader import agrees, can_read, is_prose

_NUMBER = re.compile(r"\$?([-+]?)(?:([1-9][0-9]{0,2}(?:,[0-9]{3}){1,9})|([0-9]{1,40}))(\.[0-9]{1,20})?\.?\$?")
_LETTER = re.compile(r"\(?([A-J])\)?\.?")
_LETTERS = re.compile(r"\(?[A-J]\)?(?:\s*(?:,|;|&|and)\s*\(?[A-J]\)?)+|[A-J]{2,10}")
_TEXT = re.compile(r"[A-Za-z][A-Za-z' -]{2,}")
_PROSE = re.compile(
    r"(?:[A-Za-z]{2,}|[aI]|(?<=[A-Za-z])['-](?=[A-Za-z])|[-−](?=[$€£0-9])|(?<=[0-9])/(?=[0-9])|[.,;:$€£%!?\s0-9])*"
)
_SHORT = frozenset(
    {
        "am", "an", "as", "at", "be", "by", "do", "he", "if", "in", "is", "it", "me", "my", "no", "of", "on", "so",
        "to", "up", "us", "we", "all", "any", "are", "bad", "big", "boy", "but", "can", "cat", "cow", "day", "did",
        "dog", "eat", "far", "few", "fox", "get", "has", "hen", "her", "him", "his", "hot", "how", "its", "low",
        "man", "may", "men", "new", "not", "now", "off", "odd", "old", "one", "our", "out", "own", "pig", "put",
        "ran", "red", "saw", "say", "see", "she", "sun", "ten", "the", "too", "top", "toy", "two", "use", "was",
        "way", "wet", "who", "why", "yes", "yet", "you", "six",
    }
)  # fmt: skip
"""Words that could be products of letters."""
_BEFORE = re.compile(
    r"\b(?:minus|negative|twice|thrice|double|triple|half|third|quarter|square|cube|root|opposite|inverse|reciprocal|"
    r"times|plus|over|by)(?:\s+of)?[\s$\\(\[]*$",
    re.IGNORECASE,
)
_AFTER = re.compile(
    r"[\s$\\)\]]*(?:squared|cubed|factorial|times|plus|minus|over|percent|per\s?cent|halves|thirds|quarters|[-+*/^]\s?[0-9(])",
    re.IGNORECASE,
)
_TOLD = re.compile(r"(?:\\text\{)?\s*[A-Za-z][^0-9\\]*\s(?:is|are|equals)\s*\}?\s*(\S.*)", re.DOTALL)
_OPPOSITES = tuple(
    (frozenset(one.split()), frozenset(other.split()))
    for one, other in (
        ("maximum maximal greatest largest highest biggest longest", "minimum minimal least smallest lowest shortest"),
        ("increase increasing increased increases gain profit", "decrease decreasing decreased decreases loss"),
        ("first", "last"), ("upper", "lower"), ("even", "odd"), ("north", "south"),
        ("east", "west"), ("clockwise", "counterclockwise anticlockwise"),
    )
)  # fmt: skip
"""Words of which an answer may not say one where the gold answer says the other."""
_BEHIND = re.compile(r"[0-9]\s+([A-Za-z]+)[^0-9]*$")
_ALTERS = re.compile(
    r"\b(?:minus|negative|plus|times|twice|thrice|doubled?|tripled?|squared|cubed|factorial|half|halves|thirds?|quarters?|fourths?|fifths?|tenths?|hundredths?|"
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
    version: ClassVar[str] = "3"

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


def judge(gold: str, answer: str) -> tuple[str, bool, str]:  # noqa: PLR0911 - one return for each way to judge
    """What was read, whether it is the gold answer, and why. Raises ValueError where the gold answer cannot be read."""
    if "\\boxed" in gold:  # a solution's last line
        gold = find(gold, "boxed") or gold
    numbers = _plain_number(gold), _plain_number(answer)
    if None not in numbers:
        return answer, numbers[0] == numbers[1], "compared as numbers"
    if len(gold) > MAX_ANSWER:
        raise ValueError(f"the goal {gold[:40]!r}... is longer than {MAX_ANSWER} characters")
    plain = plain_math(gold)
    if _LETTER.fullmatch(plain) or is_letters(plain):
        chosen = _chosen(answer)
        return chosen or answer, chosen == "".join(sorted(set(re.findall(r"[A-J]", plain)))), "compared as choices"
    if len(answer) <= MAX_ANSWER and squeezed(gold) == squeezed(answer):
        return answer, True, "the same text"
    expected = None if is_words(plain) else _gold(gold)
    if expected is None:
        return _by_text(gold, answer, plain)
    try:
        text, found = _reading(answer)
    except Unreadable as why:
        if len(answer) <= MAX_ANSWER and not is_plain(expected.node) and agrees(gold, answer):
            return answer, True, "compared by math-verify"
        return answer[:MAX_ANSWER], False, f"not read: {why}"
    try:
        same = equal(expected, found) and not _opposed(plain, plain_math(answer))
        return text, same, "compared as mathematics"
    except Unreadable as why:
        return text, False, f"not compared: {why}"


def _by_text(gold: str, answer: str, plain: str) -> tuple[str, bool, str]:
    """The verdict where the gold is no mathematics that we read: words, else math-verify's."""
    if is_words(plain) or is_prose(marked_math(gold)):
        return answer, False, "compared as words"
    if not can_read(gold):
        raise ValueError(f"the goal {gold[:100]!r} is no answer that can be read, by math-verify neither")
    return answer, len(answer) <= MAX_ANSWER and agrees(gold, answer), "compared by math-verify"


def _opposed(gold: str, answer: str) -> bool:
    """Whether the gold says of a minimum what the answer says of a maximum, and the like."""
    words, others = ({*re.findall(r"[a-z]{4,}", text.lower())} for text in (gold, answer))
    return any(
        (one & words and other & others and not one & others) or (other & words and one & others and not other & others)
        for one, other in _OPPOSITES
    )


def _plain_number(text: str) -> Fraction | None:
    match = _NUMBER.fullmatch(text.strip()) if len(text) < 80 else None
    if match is None:
        return None
    return Fraction(match[1] + (match[2] or match[3]).replace(",", "") + (match[4] or ""))


@lru_cache(maxsize=4096)
def _gold(text: str) -> Reading | None:
    """The gold answer read, or what it says that something is; None where it cannot be."""
    told = _TOLD.fullmatch(text)
    for part in (text, told[1]) if told and not is_words(plain_math(told[1])) else (text,):
        try:
            return reading(part)
        except Unreadable:
            continue
    return None


def is_letters(plain: str) -> bool:
    """Whether it is several letters of a choice: "A, C", or "AC" in the alphabet's order ("BAD" is a word)."""
    return _LETTERS.fullmatch(plain) is not None and (not plain.isalpha() or sorted(set(plain)) == list(plain))


def is_words(plain: str) -> bool:
    """Whether it is words and no product of letters: "Evelyn", "IV", "no"; but not "xy", "pi", "no solution"."""
    if meaning(plain) or WORDS & set(plain.split()):
        return False
    listed = re.split(r"[,;]\s*", plain)
    if len(listed) > 1:
        return all(map(is_words, listed))
    if re.search(r"\b[A-Z][a-z]{2,}\b", plain) and re.fullmatch(r"[A-Za-z' .-]+", plain):
        return True
    if plain.isalpha() and plain.isascii():
        return len(plain) > 3 or (len(plain) > 1 and (not plain.islower() or plain in _SHORT))
    return _TEXT.fullmatch(plain) is not None and all(len(word) > 1 or word in "aI" for word in plain.split())


def _chosen(answer: str) -> str | None:
    """The letters chosen, in order; None where that is not clear."""
    plain = plain_math(answer[:MAX_ANSWER])
    if is_letters(plain):
        return "".join(sorted(set(re.findall(r"[A-J]", plain))))
    return letter(plain)


def _is_altered(answer: str, part: str) -> bool:
    """Whether words right before a part of the answer ("half of"), or right behind it ("squared"), change its value."""
    at = answer.find(part.strip())
    if at < 0 or part == answer:
        return False
    before, behind = answer[:at], answer[at + len(part.strip()) :]
    return bool(_BEFORE.search(before) or _AFTER.match(behind))


def _reading(answer: str) -> tuple[str, Reading]:
    """The first part of the answer that reads as mathematics, else the only number of plain prose."""
    if len(answer) > MAX_ANSWER:
        raise Unreadable(f"longer than {MAX_ANSWER} characters")
    reason = Unreadable("nothing there")
    for text in pieces(answer):
        if _is_altered(answer, text):
            continue
        try:
            return text, reading(text)
        except Unreadable as why:
            reason = why
    value = only_number(answer)
    if value is None or hedged(answer) or _ALTERS.search(answer) or not _PROSE.fullmatch(answer):
        raise reason
    behind = _BEHIND.search(answer)
    return str(value), Reading(number(value), behind and parse_unit(behind[1], spaced=True))
