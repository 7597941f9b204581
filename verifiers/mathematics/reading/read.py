"""One answer read: its tree, the unit behind it, the time of day that it may be."""

from __future__ import annotations

import re
from dataclasses import dataclass

from journeyman.verifiers.mathematics.reading.clock import Time, read_time
from journeyman.verifiers.mathematics.reading.nodes import Node, number
from journeyman.verifiers.mathematics.reading.parse import parse
from journeyman.verifiers.mathematics.reading.plain import TEXT, marked_math
from journeyman.verifiers.mathematics.reading.tokens import Unreadable
from journeyman.verifiers.mathematics.reading.units import Unit, read_mixed, split

_NO_SOLUTION = re.compile(
    r"(?:(?:there (?:is|are|exists?)|(?:it|the (?:equation|system|inequality)) has|we have) )?"
    r"no(?: real)? solutions?(?: exists?)?"
)
MEANINGS = {
    "all real numbers": "reals", "all reals": "reals", "all real": "reals", "the set of all real numbers": "reals",
    "the real numbers": "reals", "empty set": "empty", "the empty set": "empty",
}  # fmt: skip
"""Words that are sets; `meaning` knows the ways to say that there is no solution too."""
_EMPTY_SIGN = re.compile(r"\s*[:,(]?\s*\\(?:oslash|emptyset|varnothing)\s*\)?$")
_ASSIGNED = re.compile(
    r"(?P<name>[^=<>\\]*(?:\\(?!(?:[lg]eq?|ne|neq|in|approx)(?![A-Za-z]))[^=<>\\]*)*=)(?P<value>[^=<>]*)"
)
_IN_WORDS = re.compile(rf"{TEXT}?\s*(?P<name>[A-Za-z][A-Za-z .'-]{{2,60}})\s*(?:=|\\approx)\s*(?P<value>[^=<>]*)")
_LED = re.compile(
    rf"^(?:{TEXT}?\s*(?i:(?:(?:the|our|my)\s+)?(?:final\s+)?answers?\s*(?:is|are|[:=]))\s*(?:=\s*)?"
    r"|=|\\approx(?![A-Za-z])|\\simeq(?![A-Za-z]))\s*"
)
_JOINT = re.compile(rf"(,\s|;|{TEXT}?\s\b(?:and|or)\b\s)")
_LETTERS = re.compile(r"[A-Za-z€£$]")
_APPROXIMATE = re.compile(r"\\(?:approx|simeq|doteq)(?![A-Za-z])")


@dataclass(frozen=True, slots=True)
class Reading:
    """A text read: its tree, and the unit behind it."""

    node: Node
    unit: Unit | None = None
    time: Time | None = None
    """What it is as a time of day."""
    written: Node | None = None
    """The tree before it was brought to the form that is compared, where it was."""


def read(text: str) -> Reading:
    """Reads one answer; raises Unreadable with the reason."""
    marked = _LED.sub("", marked_math(text)).strip()
    plain = marked.replace(TEXT, "").strip()
    if plain.startswith("]") and plain.endswith("["):
        return Reading(parse(f"({plain[1:-1]})"))
    if said := meaning(plain):
        return Reading(Node(said))
    time = read_time(plain)
    if time is not None and time.sure:
        return Reading(Node("time"), None, time)
    if named := _IN_WORDS.fullmatch(marked):
        words = " ".join(named["name"].casefold().split())
        if len(words) > 3 or marked.startswith(TEXT):
            value = _measured(named["value"])
            return Reading(Node("relation", (Node("symbol", (), words), value.node), ("=",)), value.unit)
    reading = _measured_parts(marked)
    return Reading(reading.node, reading.unit, time)


def meaning(plain: str) -> str:
    """The kind of node that words are which name a set, "no solution" say; empty for all others."""
    spoken = _EMPTY_SIGN.sub("", plain).lower()
    return "empty" if _NO_SOLUTION.fullmatch(spoken) else MEANINGS.get(spoken, "")


def _measured_parts(marked: str) -> Reading:
    """A value with its unit, several units (`2 hours 30 minutes`), or several values: `148 ft; 113 m`."""
    if mixed := read_mixed(marked.replace(TEXT, "")):
        return Reading(number(mixed[0]), mixed[1])
    parts = _split_at_joints(marked) if marked.count(TEXT) != 1 and _LETTERS.search(marked) else [marked]
    if len(parts) > 1:
        try:
            readings = [_measured(part) for part in parts]
        except Unreadable:
            readings = []
        if sum(reading.unit is not None for reading in readings) > 1:
            return Reading(Node("list", tuple(Node("measure", (r.node,), r.unit) for r in readings)))
    return _measured(marked)


def _split_at_joints(marked: str) -> list[str]:
    """The parts between commas, semicolons, "and" and "or" outside of brackets."""
    parts, depth = [""], 0
    for piece in _JOINT.split(marked):
        if depth == 0 and _JOINT.fullmatch(piece):
            parts.append("")
            continue
        depth += sum({"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(c, 0) for c in piece)
        parts[-1] += piece
    return parts


def _measured(marked: str) -> Reading:
    """A value with its unit, or what is assigned to a name."""
    last = None
    for last in _APPROXIMATE.finditer(marked):  # noqa: B007 - the last one is wanted
        pass
    start = last.end() if last else 0
    named = _ASSIGNED.fullmatch(marked, start)
    at = named.start("value") if named else start
    head, scale, unit = split(marked[at:].strip())
    node = parse(f"{marked[:at]} {head}")
    if scale > 1:
        node = _scaled(node, scale)
    return Reading(node, unit if unit and (unit.nouns or unit.dimensions) else None)


def _scaled(node: Node, scale: int) -> Node:
    """2 million, or 1/2 million, as one number or fraction."""
    if node.op == "relation":
        return Node(node.op, (*node.args[:-1], _scaled(node.args[-1], scale)), node.value)
    first, *rest = node.args if node.op == "mul" else (node,)
    if first.op != "number":
        return Node("mul", (node, number(scale)))
    return Node("mul", (number(first.value * scale), *rest)) if rest else number(first.value * scale)
