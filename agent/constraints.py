"""Constraints on a text, as plain data that can be checked: `{"kind": "words", "count": 5}`, `{"kind": "json"}`, ...

`KINDS` is the one place to add a kind: its arguments, its sentence for the prompt, its check of a text. They are
verifiable instructions (Zhou et al. 2023, "Instruction-Following Evaluation for Large Language Models", table 1).

A word is a run of letters, digits and underscores, with hyphens and apostrophes inside it; words are compared without
regard to case. So in `{"cat": "a red sun"}` there are four words, and the first is `cat`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from journeyman.agent.data import Json
from journeyman.agent.errors import DataError, UnknownNameError, suggestion

Constraint: TypeAlias = dict[str, Json]
"""`kind`, a key of `KINDS`, and the kind's arguments, e.g. `{"kind": "use", "word": "cat"}`."""

Arguments: TypeAlias = Mapping[str, Json]
Argument: TypeAlias = Callable[[Json], Json]
"""Returns the argument's canonical value; raises ValueError with what it must be."""

_WORD = re.compile(r"\w+(?:[-'’]\w+)*")
_SENTENCE_END = re.compile(r"[.!?]+(?!\w)")  # not the point of 3.5


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of constraint."""

    sentence: Callable[[Arguments], str]
    """What the prompt says of it."""
    check: Callable[[str, Arguments], bool]
    """Whether a text (that has a word) satisfies it."""
    arguments: Mapping[str, Argument]
    optional: frozenset[str] = frozenset()
    """Arguments that may be left out."""


def words_of(text: str) -> list[str]:
    """The text's words in order, case folded, e.g. ["cat's", "3"] of "Cat's: 3!"."""
    return [word.casefold() for word in _WORD.findall(text)]


def sentences_of(text: str) -> int:
    """How many parts with a word in them the marks . ! ? divide the text into; one without a mark counts too."""
    return sum(1 for part in _SENTENCE_END.split(text) if _WORD.search(part))


def lines_of(text: str) -> int:
    """How many lines are not blank."""
    return sum(1 for line in text.splitlines() if line.strip())


def canonical_constraints(goal: Json) -> list[Constraint]:
    """The constraints checked, without repeats, in the one order that equal sets have.

    Raises UnknownNameError for an unknown kind; DataError for a list that is empty or none, and for an argument that
    is missing, unknown or not what the kind takes.
    """
    if not isinstance(goal, list) or not goal:
        raise DataError(f"constraints must be a list with at least one in it, got {goal!r}")
    by_key = {}
    for constraint in map(_canonical, goal):
        by_key[constraint["kind"], json.dumps(constraint, sort_keys=True)] = constraint
    return [by_key[key] for key in sorted(by_key)]


def sentence_of(constraint: Constraint) -> str:
    """The prompt's sentence for a canonical constraint, e.g. "Write exactly 5 words."."""
    return KINDS[constraint["kind"]].sentence(constraint)


def satisfied(constraints: Iterable[Constraint], text: str) -> list[Constraint]:
    """Those of the canonical constraints that the text satisfies, in their order.

    A text without a word satisfies none: else silence would do for every constraint that only forbids.
    """
    if not _WORD.search(text):
        return []
    return [c for c in constraints if KINDS[c["kind"]].check(text, c)]


def _canonical(constraint: Json) -> Constraint:
    if not isinstance(constraint, dict) or not isinstance(constraint.get("kind"), str):
        raise DataError(f"a constraint must be an object with a 'kind', e.g. {_EXAMPLE}, got {constraint!r}")
    name = constraint["kind"]
    if name not in KINDS:
        raise UnknownNameError("kind of constraint", name, KINDS)
    kind = KINDS[name]
    for argument in constraint:
        if argument != "kind" and argument not in kind.arguments:
            known = suggestion(argument, kind.arguments)
            raise DataError(f"constraint {name!r} takes no argument {argument!r}: {known}")
    found: Constraint = {"kind": name}
    for argument, parse in kind.arguments.items():
        if argument in constraint:
            try:
                found[argument] = parse(constraint[argument])
            except ValueError as error:
                got = constraint[argument]
                raise DataError(f"constraint {name!r}: {argument!r} must be {error}, got {got!r}") from None
        elif argument not in kind.optional:
            raise DataError(f"constraint {name!r} lacks its argument {argument!r}")
    return found


def _count(value: Json) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError("a whole number of at least 1")
    return value


def _word(value: Json) -> str:
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise ValueError("one word")
    return value.casefold()


def _case(value: Json) -> str:
    if value not in ("upper", "lower"):
        raise ValueError("'upper' or 'lower'")
    return str(value)


def _key(value: Json) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("text of at least one character")
    return value


def _many(arguments: Arguments, noun: str) -> str:
    return f"{arguments['count']} {noun}{'' if arguments['count'] == 1 else 's'}"


def _is_json(text: str, arguments: Arguments) -> bool:
    """As RFC 8259 has it, so NaN and Infinity, which `json` would take, are none."""
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return "key" not in arguments or (isinstance(value, dict) and arguments["key"] in value)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


_EXAMPLE = '{"kind": "words", "count": 5}'
_COUNT = {"count": _count}
_ONE_WORD = {"word": _word}

KINDS: Mapping[str, Kind] = {
    "words": Kind(
        lambda a: f"Write exactly {_many(a, 'word')}.",
        lambda text, a: len(words_of(text)) == a["count"],
        _COUNT,
    ),
    "min_words": Kind(
        lambda a: f"Write at least {_many(a, 'word')}.",
        lambda text, a: len(words_of(text)) >= a["count"],
        _COUNT,
    ),
    "max_words": Kind(
        lambda a: f"Write at most {_many(a, 'word')}.",
        lambda text, a: len(words_of(text)) <= a["count"],
        _COUNT,
    ),
    "use": Kind(
        lambda a: f"Use the word {a['word']}.",
        lambda text, a: a["word"] in words_of(text),
        _ONE_WORD,
    ),
    "avoid": Kind(
        lambda a: f"Do not use the word {a['word']}.",
        lambda text, a: a["word"] not in words_of(text),
        _ONE_WORD,
    ),
    "starts_with": Kind(
        lambda a: f"Begin with the word {a['word']}.",
        lambda text, a: words_of(text)[0] == a["word"],
        _ONE_WORD,
    ),
    "ends_with": Kind(
        lambda a: f"End with the word {a['word']}.",
        lambda text, a: words_of(text)[-1] == a["word"],
        _ONE_WORD,
    ),
    "case": Kind(
        lambda a: f"Write in {a['case']} case.",
        lambda text, a: text.isupper() if a["case"] == "upper" else text.islower(),
        {"case": _case},
    ),
    "json": Kind(
        lambda a: f"Answer in JSON with the key {a['key']}." if "key" in a else "Answer in JSON.",
        _is_json,
        {"key": _key},
        optional=frozenset({"key"}),
    ),
    "sentences": Kind(
        lambda a: f"Write {_many(a, 'sentence')}.",
        lambda text, a: sentences_of(text) == a["count"],
        _COUNT,
    ),
    "lines": Kind(
        lambda a: f"Write {_many(a, 'line')}.",
        lambda text, a: lines_of(text) == a["count"],
        _COUNT,
    ),
}
"""The kinds by name. A new one is an entry here; what the environment `instructions` draws is its own choice."""
