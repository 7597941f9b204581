r"""Final answers that are numbers, and answers that reasoning-gym's own scorers judge.

How `FinalNumber` reads a number, in the task's goal and in the agent's text alike:

- A number is an integer, a decimal, a fraction `3/4` or a mixed number `1 1/2`, with or without a sign (`-`, `−`),
  thousands commas (in threes, the first group without a zero in front) and a currency sign: `$1,234.50` is 1234.5.
  LaTeX's `\frac{3}{4}`, `\$`, `\%`, `1{,}200` are read too. A following dozen, hundred, thousand, million, billion or
  trillion multiplies it.
- `%` and units ("72 clips", "20%", "5 m^2") are dropped, so "20%" equals "20" and not "0.2".
- Values are compared exactly, as fractions: 0.5 is 1/2, and 0.33 is not 1/3 unless `tolerance` says so.
- Digits that are part of nothing above (`1e5`, `10^3`, `12.5.3`, `3,5`, `0,111`, `5k`), and an operator right before a
  number (`48-24`, `-(7)`, `< 5`), make the place unreadable: no guess is made.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar

from journeyman.agent.data import Json, Task, Trajectory, Verdict
from journeyman.agent.environments.reasoning_gym import make_generator, unpack
from journeyman.agent.errors import SettingsError
from journeyman.verifiers.answers.doubts import bounded, denied, hedged
from journeyman.verifiers.answers.find import MAX_ANSWER, Where, answer_told, mark, said_last, tagged
from journeyman.verifiers.answers.spoken import MAX_TEXT, spoken

_NUMBER = re.compile(
    r"""(?<![\w.,^/])(?<![0-9]\*)(?<![0-9]\*\*)          # not inside a word, a number, a power or a product
    (?:(?<![)%])(?P<sign>[-−+]))?(?:[$€£]\s?(?P<inner>[-−])?)?
    (?:(?P<whole>[0-9]{1,60})\s{1,4}(?=[0-9]+\s?/))?     # the 1 of 1 1/2
    (?P<top>[1-9][0-9]{0,2}(?:,[0-9]{3}){1,20}(?:\.[0-9]{1,60})?|[0-9]{1,60}(?:\.[0-9]{1,60})?|\.[0-9]{1,60})
    (?:\s?/\s?(?P<bottom>[0-9]{1,60}))?(?![0-9]|k\b)
    (?:[\s-]{1,4}(?P<scale>dozen|hundred|thousand|million|billion|trillion)\b)?""",
    re.VERBOSE | re.IGNORECASE,
)
_FIRST = re.compile(r"[\s$*\\(\[{:]*(?:[A-Za-z]\s?=\s?)?[-−+]?[\s$€£]{0,2}[0-9.]")
_SCALES = {"dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_OPERATOR = re.compile(r"(?:[-−+±√<>≤≥≠/^×÷]|[0-9)]\s?\*{1,2})[\s($\\*]{0,6}$")
_UNIT_POWER = re.compile(r"(?<=[A-Za-z])(?:\^?\{?[23]\}?(?![0-9{])|[²³])")
_LATEX = (
    (re.compile(r"\\(?:text|mathrm|mbox)\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\([$%])"), r"\1"),
    (re.compile(r"\{,\}|\\[,!]"), lambda m: "," if m[0] == "{,}" else ""),
    (re.compile(r"(?<=[0-9])\s*\\[dt]?frac"), r" \\frac"),
    (re.compile(r"\\[dt]?frac\{([0-9]+)\}\{([0-9]+)\}"), r"\1/\2"),
)


@dataclass(frozen=True)
class FinalNumber:
    r"""1 where the agent's final number equals the goal, else 0; a message that calls a tool has no final number.

    `where` says what counts: `marked`, the one number behind the last `####` that is no heading; `boxed`, the one in
    the last `\boxed{}`; `last`, the last one of the text; `auto`, the one of the last mark (of these or `<answer>`
    tags), else the one that a sentence gives right after "answer is", else the last one. Thoughts are not read.
    """

    where: Where = "auto"
    tolerance: float = 0.0
    """Largest absolute difference that still counts as equal."""
    name: ClassVar[str] = "number"
    version: ClassVar[str] = "2"

    def __post_init__(self) -> None:
        if not 0 <= self.tolerance < float("inf"):
            raise SettingsError(f"option 'tolerance' must be finite and at least 0, got {self.tolerance}")

    def verify(self, task: Task, trajectory: Trajectory) -> Verdict:
        """Raises ValueError where the goal is no number; abstains where there is none."""
        if task.goal is None:
            return Verdict.abstain("the task has no goal")
        expected = only_number(str(task.goal))
        if expected is None:
            raise ValueError(f"the goal {task.goal!r} is not a number")
        if trajectory.turns and trajectory.turns[-1].action.tool_calls:
            return Verdict.passed(False, expected=expected, why="the last message calls a tool")
        found = self._extract(trajectory.final_text)
        if found is None:
            return Verdict.passed(False, expected=expected, why=f"no final number ({self.where})")
        equal = abs(found - expected) <= Fraction(str(self.tolerance))
        return Verdict.passed(equal, extracted=found, expected=expected)

    def _extract(self, text: str) -> Fraction | None:
        said = said_last(text)
        marked = mark(said, self.where)
        if marked is not None:
            return None if hedged(marked) else only_number(marked)
        if self.where in {"marked", "boxed"}:
            return None
        told = answer_told(said) if self.where == "auto" else None
        if told is not None and (not told or hedged(told)):
            return None
        if told is not None and _FIRST.match(told):
            return only_number(told.rpartition("=")[2])
        return last_number(said)


@dataclass(frozen=True)
class ReasoningGymScore:
    """What reasoning-gym's scorer gives, in [0, 1], for tasks of the environment `reasoning_gym`.

    The answer is what the last `<answer>...</answer>` holds, or all that is said beside thoughts. Some scorers give a
    little for any text, and one (`game_of_life_halting`) takes all that is not "True" for "False": that is theirs.
    """

    name: ClassVar[str] = "reasoning_gym"
    version: ClassVar[str] = "2"

    def verify(self, task: Task, trajectory: Trajectory) -> Verdict:
        """Scores by the entry in the task's payload; an empty answer is 0, whatever the scorer says of it."""
        if "entry" not in task.payload:
            return Verdict.abstain("the task is not from reasoning-gym")
        said = spoken(trajectory.final_text)
        tag = tagged(said)
        answer = (tag[1] if tag else said).strip()
        if not answer:
            return Verdict.passed(False, expected=task.goal, why="no answer")
        generator = _generator(task.payload["dataset"], json.dumps(task.payload["options"]))
        score = float(generator.score_answer(answer, unpack(task.payload["entry"])))
        return Verdict.scored(score, extracted=answer, expected=task.goal)


def only_number(text: str) -> Fraction | None:
    """The value of a text with exactly one number in it and no digit beside; None for any other, or a longer text."""
    if len(text) > MAX_ANSWER:
        return None
    plain = _plain(text)
    found = list(_NUMBER.finditer(plain))
    if len(found) != 1 or _has_digit(plain[: found[0].start()]):
        return None
    return _value(found[0])


def last_number(text: str) -> Fraction | None:
    """The value of the last number in a text (its last `MAX_TEXT` characters).

    None where there is none to be read, and where the words around it deny, doubt, ask for or bound it ("not 5").
    """
    plain, last = _plain(text[-MAX_TEXT:]), None
    for last in _NUMBER.finditer(plain):  # noqa: B007 - the last one is what is wanted
        pass
    if last is None or denied(plain[: last.start()], plain[last.end() :]) or bounded(plain[: last.start()]):
        return None
    return _value(last)


def _plain(text: str) -> str:
    for pattern, replacement in _LATEX:
        text = pattern.sub(replacement, text)
    return _UNIT_POWER.sub("", text)


def _has_digit(text: str) -> bool:
    return any(character.isdigit() for character in text)


def _value(match: re.Match[str]) -> Fraction | None:
    bottom = int(match["bottom"] or 1)
    before, after = match.string[max(match.start() - 12, 0) : match.start()], match.string[match.end() :]
    if bottom == 0 or _OPERATOR.search(before) or _has_digit(after):
        return None
    size = int(match["whole"] or 0) + Fraction(match["top"].replace(",", "")) / bottom
    negative = match["sign"] in {"-", "−"} or match["inner"] is not None
    return (-size if negative else size) * _SCALES.get((match["scale"] or "").lower(), 1)


@lru_cache(maxsize=64)
def _generator(name: str, options: str) -> Any:
    loaded: dict[str, Json] = json.loads(options)
    return make_generator(name, loaded, seed=0, size=1)
