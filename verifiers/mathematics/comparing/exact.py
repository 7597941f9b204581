"""The values of expressions that are fractions, exactly and within bounds."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from fractions import Fraction

from journeyman.verifiers.mathematics.reading.nodes import Node
from journeyman.verifiers.mathematics.reading.tokens import Unreadable

MAX_BITS = 16_384
"""Of the numerator and denominator of an exact value."""

Point = Mapping[str, Fraction]
"""A value for each symbol."""


class NotExact(Exception):  # noqa: N818 - it is no error
    """A value that is no fraction."""


def exact(node: Node, point: Point) -> Fraction:  # noqa: C901 - one branch for each op
    """The value as a fraction; raises NotExact where there is none, Unreadable where it is too long."""
    if node.op == "number":
        value: Fraction = node.value
    elif node.op == "symbol":
        if node.value not in point:
            raise NotExact
        return point[node.value]
    elif node.op == "add":
        value = sum((exact(arg, point) for arg in node.args), Fraction(0))
    elif node.op == "mul":
        value = Fraction(1)
        for arg in node.args:
            value = _bounded(value * exact(arg, point))
    elif node.op == "percent":
        value = exact(node.args[0], point) / 100
    elif node.op == "based":
        value = exact(node.args[0], point)
    elif node.op == "apply":
        value = unknown(node.value, [str(exact(arg, point)) for arg in node.args])
    elif node.op == "power":
        value = _exact_power(exact(node.args[0], point), exact(node.args[1], point))
    elif node.op == "call":
        value = _exact_call(node.value, [exact(arg, point) for arg in node.args])
    else:
        raise NotExact
    return _bounded(value)


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise Unreadable(f"a value of more than {MAX_BITS} bits")
    return value


def _exact_power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        return (
            _exact_root(base, exponent.denominator) ** exponent.numerator if base > 0 and _small(exponent) else _none()
        )
    if base == 0 and exponent <= 0:
        raise Unreadable("division by zero" if exponent else "0^0")
    if base in {0, 1, -1}:
        return base ** int(exponent % 2 or 2)
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if bits * abs(exponent) > MAX_BITS:
        raise Unreadable("a power too large to compare")
    return base**exponent.numerator


def _small(value: Fraction) -> bool:
    return max(abs(value.numerator), value.denominator) <= 100


def _none() -> Fraction:
    raise NotExact


def _exact_root(value: Fraction, degree: int) -> Fraction:
    roots = []
    for part in (value.numerator, value.denominator):
        root = math.isqrt(part) if degree == 2 else round(part ** (1 / degree)) if part < 10**15 else 0
        if root**degree != part:
            raise NotExact
        roots.append(root)
    return Fraction(*roots)


def _exact_call(name: str, args: list[Fraction]) -> Fraction:  # noqa: C901, PLR0911 - one return for each function
    whole = all(arg.denominator == 1 for arg in args)
    if name == "abs":
        return abs(args[0])
    if name in {"floor", "ceil"}:
        return Fraction(math.floor(args[0]) if name == "floor" else math.ceil(args[0]))
    if name == "root" and whole_degree(args[1]):
        degree = int(args[1])
        if args[0] < 0 and degree % 2:
            return -_exact_root(-args[0], degree)
        return _exact_root(args[0], degree) if args[0] >= 0 else _none()
    if name in {"max", "min"}:
        return max(args) if name == "max" else min(args)
    if name in {"gcd", "lcm"} and whole:
        return Fraction((math.gcd if name == "gcd" else math.lcm)(*(int(arg) for arg in args)))
    if name in {"gcd", "lcm"}:
        return unknown(name, sorted(map(str, args)))
    if name == "factorial" and whole and args[0] >= 0:
        if args[0] > 1000:
            raise Unreadable("a factorial too large to compare")
        return Fraction(math.factorial(int(args[0])))
    if name == "binomial" and whole and args[1] >= 0 and 0 <= args[0] <= 1000:
        return Fraction(math.comb(int(args[0]), int(args[1])))
    raise NotExact


def unknown(function: str, args: list[str]) -> Fraction:
    """A value for a function that nobody knows at these arguments: the same for the same ones, else another."""
    digest = hashlib.blake2b(f"{function} {args}".encode(), digest_size=4).digest()
    return Fraction(100 + int.from_bytes(digest, "big") % 4001, 1000) + Fraction(1, 7919)


def whole_degree(value: Fraction) -> bool:
    """Whether it is the degree of a root: whole, from 2 to 100."""
    return value.denominator == 1 and 2 <= value <= 100
