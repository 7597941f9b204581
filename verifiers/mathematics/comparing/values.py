"""Whether two expressions have the same value: exactly where they are rational, else by symbols, then by numbers.

Rational numbers are compared as fractions. Expressions are first evaluated at sample points (keyed by the gold
answer, so that no answer can be made to fit them); what differs there is unequal. What agrees has to be equal by SymPy,
which is handed finished trees, never text, and only small ones; where it finds no proof, by numbers of 60 and 200
digits.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from journeyman.verifiers.mathematics.comparing.exact import NotExact, Point, exact
from journeyman.verifiers.mathematics.comparing.numerals import precise_numbers, rough, value_of
from journeyman.verifiers.mathematics.reading.nodes import Node, minus, symbols
from journeyman.verifiers.mathematics.reading.tokens import Unreadable

MAX_TERMS = 300
"""Of an expanded polynomial that SymPy is asked about."""
POINTS = 6
"""Sample points of expressions with symbols."""


def same_value(a: Node, b: Node) -> bool:
    """Whether both are the same for every value of their symbols. Raises Unreadable where they are too large to say."""
    if a == b:
        return True
    points = list(sample_points(a, symbols(a) | symbols(b)))
    try:
        return all(exact(a, point) == exact(b, point) for point in points)
    except NotExact:
        pass
    told = 0
    for point in points:
        left, right = rough(a, point), rough(b, point)
        if left is None and right is None:
            continue
        if left is None or right is None or not _close(left, right):
            return False
        told += 1
    if told * 2 < len(points):
        raise Unreadable("it has no value at most sample points")
    proof = _by_symbols(a, b)
    return proof if proof is not None else all(_precisely(a, b, point) for point in points)


def _close(a: complex, b: complex) -> bool:
    return abs(a - b) <= 1e-9 * max(abs(a), abs(b), 1e-3)


def sample_points(key: Node, names: frozenset[str]) -> Iterator[Point]:
    """Values for the symbols, 0.1 to 4.1 in size, fixed by `key`; one empty point without symbols.

    Where a floor or a ceiling is in `key`, they are 37 times as large, so that more than its first steps are seen.

    All are positive at the first point, all negative at the second; any two of the first four differ in sign at one of
    the next two, and the first from all others at the fifth.
    """
    scale = 37 if _has_steps(key) else 1
    for n in range(POINTS if names else 1):
        point = {}
        for at, name in enumerate(sorted(names)):
            digest = hashlib.blake2b(f"{key!r} {n} {name}".encode(), digest_size=5).digest()
            size = (Fraction(100 + int.from_bytes(digest[:4], "big") % 4001, 1000) + Fraction(1, 7919)) * scale
            below = (False, True, at % 2, at // 2 % 2, at == 0, digest[4] % 2)[n]
            point[name] = -size if below else size
        yield point


def _has_steps(node: Node) -> bool:
    return (node.op == "call" and node.value in {"floor", "ceil"}) or any(map(_has_steps, node.args))


def _precisely(a: Node, b: Node, point: Point) -> bool:
    for digits in (60, 200):
        kind = precise_numbers(digits)
        try:
            left, right = value_of(a, point, kind), value_of(b, point, kind)
        except (ZeroDivisionError, ValueError):
            continue
        if abs(left - right) > 10 ** (10 - digits) * max(abs(left), abs(right), 1):
            return False
    return True


# symbols


def _by_symbols(a: Node, b: Node) -> bool | None:
    """Whether SymPy shows the difference to be 0, or another rational number; None where it cannot say."""
    difference = minus(a, b)
    if _terms(difference) > MAX_TERMS:
        return None
    import sympy

    try:
        expanded = sympy.expand(to_sympy(difference))
    except NotExact:
        return None
    if expanded == 0:
        return True
    return False if expanded.is_Rational else None


def _terms(node: Node) -> int:
    """How many terms the expanded expression may have."""
    if node.op == "add":
        return min(sum(map(_terms, node.args)), 10**6)
    if node.op == "mul":
        return min(math.prod(min(_terms(arg), 10**6) for arg in node.args), 10**6)
    if node.op == "power" and node.args[1].op == "number":
        terms, exponent = _terms(node.args[0]), abs(node.args[1].value)
        if terms > 1:
            return int(min(terms + exponent, 50) ** min(terms, exponent, 4)) if exponent <= 20 else 10**6
        return 1
    return max(map(_terms, node.args), default=1)


def to_sympy(node: Node) -> Any:  # noqa: C901, PLR0911 - one return for each op
    """The tree as a SymPy expression; raises NotExact for what SymPy might take long over."""
    import sympy

    if node.op == "number":
        if max(abs(node.value.numerator), node.value.denominator) > 10**30:
            raise NotExact
        return sympy.Rational(node.value.numerator, node.value.denominator)
    if node.op == "symbol":
        return sympy.Symbol(node.value)
    if node.op in {"pi", "e", "i"}:
        return {"pi": sympy.pi, "e": sympy.E, "i": sympy.I}[node.op]
    args = [to_sympy(arg) for arg in node.args]
    if node.op == "apply":
        return sympy.Function(node.value)(*args)
    if node.op == "based":
        return args[0]
    if node.op == "add":
        return sympy.Add(*args)
    if node.op == "mul":
        return sympy.Mul(*args)
    if node.op == "power" and (not args[1].is_number or abs(args[1]) <= 100):
        return sympy.Pow(*args)
    if node.op == "call" and node.value == "root" and args[1] == 2:
        return sympy.sqrt(args[0])
    if node.op == "call" and node.value in {"sin", "cos", "tan", "ln", "exp"}:
        return getattr(sympy, node.value)(args[0])
    raise NotExact
