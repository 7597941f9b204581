r"""Sets of integers told by a condition: `\{x \in \mathbb{Z} : 1 \le x \le 3\}` is {1, 2, 3}."""

from __future__ import annotations

import math
from fractions import Fraction

from journeyman.verifiers.mathematics.comparing.exact import NotExact, exact
from journeyman.verifiers.mathematics.comparing.numerals import rough
from journeyman.verifiers.mathematics.comparing.sets import Piece, as_reals
from journeyman.verifiers.mathematics.reading.nodes import Node, number
from journeyman.verifiers.mathematics.reading.tokens import Unreadable

INTEGERS = {"Z": None, "Z^+": 1, "N": 0, "N_0": 0}
"""The sets of integers, and the least member of each. Whether 0 is in N is not agreed, so no set that asks is told."""
MAX_MEMBERS = 50


def enumerated(node: Node) -> Node:
    """The set of the integers that a builder, or a condition with a domain, holds; the node where they are no few."""
    if node.op == "builder":
        condition, domain = node.args if len(node.args) == 2 else (node, None)
    else:
        domains = [arg for arg in node.args if arg.op == "relation" and arg.value == ("in",)]
        rest = tuple(arg for arg in node.args if arg not in domains)
        if len(domains) != 1 or not rest or domains[0].args[0].op != "symbol" or not all(map(_bounds, rest)):
            return node
        condition, domain = (rest[0] if len(rest) == 1 else Node("all", rest)), domains[0].args[1]
    if domain is None or domain.op != "field" or domain.value not in INTEGERS:
        return node
    try:
        pieces = as_reals(condition)
    except Unreadable:
        return node
    members = None if pieces is None else _members(pieces, domain.value)
    return node if not members else Node("set", tuple(map(number, members)))


def _bounds(node: Node) -> bool:
    return node.op == "relation" and bool({"<", ">", "<=", ">=", "!="} & {*node.value})


def _members(pieces: tuple[Piece, ...], domain: str) -> list[int] | None:
    least, found = INTEGERS[domain], list[int]()
    for piece in pieces:
        low = _first(piece.low, up=True, open_end=piece.low_open)
        high = _first(piece.high, up=False, open_end=piece.high_open)
        if low is None and least is not None:
            low = least
        if low is None or high is None or high - low >= MAX_MEMBERS:
            return None
        if domain == "N" and low <= 0 <= high:
            return None
        found += range(low if least is None else max(low, least), high + 1)
    return found


def _first(end: Node | None, *, up: bool, open_end: bool) -> int | None:
    """The integer next to an end, inside; None without one."""
    if end is None:
        return None
    try:
        value: Fraction | float = exact(end, {})
    except NotExact:
        size = rough(end, {})
        if size is None:
            return None
        value = size.real
    whole = math.ceil(value) if up else math.floor(value)
    return whole + (1 if up else -1) if open_end and whole == value else whole
