"""Constraints on a text, as plain data that can be checked: `{"kind": "words", "count": 5}`, `{"kind": "json"}`, ...

The kinds are in agent/constraints/kinds.py; here is what holds for all: a set of constraints has one canonical form, an
unknown kind or a bad argument is an error, and a text is asked which of them it satisfies.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TypeAlias

from journeyman.agent.constraints.kinds import KINDS
from journeyman.agent.constraints.text_units import has_word
from journeyman.agent.data import Json
from journeyman.agent.errors import DataError, UnknownNameError, suggestion

Constraint: TypeAlias = dict[str, Json]
"""`kind`, a key of `KINDS`, and the kind's arguments, e.g. `{"kind": "use", "word": "cat"}`."""

_EXAMPLE = '{"kind": "words", "count": 5}'


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
    if not has_word(text):
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
