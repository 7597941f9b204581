"""Exact arithmetic over + - * / and brackets: parsing, evaluation and search, in fractions and without `eval`."""

from __future__ import annotations

import ast
import operator as op
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

MAX_LENGTH = 200
"""Longest text that is parsed, in characters."""

_OPERATORS = "+-*/"
_APPLY: dict[str, Callable[[Fraction, Fraction], Fraction]] = {"+": op.add, "-": op.sub, "*": op.mul, "/": op.truediv}


def evaluate(text: str) -> tuple[Fraction, list[int]] | None:
    """The value of an expression and the integers in it, left to right; None where it is not one.

    Only non-negative integers, + - * / and brackets count; a division by zero is not an expression.
    """
    if not text or len(text) > MAX_LENGTH or not set(text) <= set("0123456789+-*/() "):
        return None
    try:
        tree = ast.parse(text.strip(), mode="eval")
        numbers: list[int] = []
        return _value(tree.body, numbers), numbers
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None


def _value(node: ast.expr, numbers: list[int]) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        numbers.append(node.value)
        return Fraction(node.value)
    if not isinstance(node, ast.BinOp):
        raise ValueError("not an arithmetic expression")
    left, right = _value(node.left, numbers), _value(node.right, numbers)
    match node.op:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div():
            return left / right
        case _:  # powers and the like: a short text could ask for a number that fills the memory
            raise ValueError("not an operator of the game")


@dataclass(frozen=True, slots=True)
class _Part:
    """A value reached on the way, e.g. 12 by "9+3"."""

    value: Fraction
    text: str
    strength: int
    """How tightly its outermost operator binds: 1 for + and -, 2 for * and /, 3 for a number alone."""
    plain: bool
    """Whether every value on the way was a whole number, 0 or more."""


def solutions(numbers: Sequence[int], target: int) -> list[str]:
    """Every expression that uses each number once and equals `target`, the simplest first; empty where there is none.

    Exhaustive: combine any two of the values left by any operator, and go on with one value fewer. Of a+b and b+a
    only the one with the larger value first is there. Simplest is: whole numbers on the way, few brackets, + before
    - before * before /, large numbers first.
    """
    found = {p.text: p for p in _combine([_Part(Fraction(n), str(n), 3, plain=True) for n in numbers])}
    return [p.text for p in sorted((p for p in found.values() if p.value == target), key=_rank)]


def _rank(part: _Part) -> tuple[bool, int, list[int], list[int]]:
    operators = [_OPERATORS.index(c) for c in part.text if c in _OPERATORS]
    numbers = [-int(n) for n in re.findall(r"\d+", part.text)]
    return not part.plain, part.text.count("("), sorted(operators, reverse=True), numbers


def _combine(parts: list[_Part]) -> Iterator[_Part]:
    if len(parts) == 1:
        yield parts[0]
        return
    for i, j in combinations(range(len(parts)), 2):
        rest = [part for k, part in enumerate(parts) if k not in (i, j)]
        large, small = sorted((parts[i], parts[j]), key=lambda p: p.value, reverse=True)
        for operator, left, right in (
            *((o, large, small) for o in _OPERATORS),
            ("-", small, large),
            ("/", small, large),
        ):
            if operator != "/" or right.value:
                yield from _combine([_join(operator, left, right), *rest])


def _join(operator: str, left: _Part, right: _Part) -> _Part:
    strength = 1 if operator in "+-" else 2
    value = _APPLY[operator](left.value, right.value)
    plain = left.plain and right.plain and value >= 0 and value.denominator == 1
    bracket_right = right.strength < strength or (right.strength == strength and operator in "-/")
    left_text = f"({left.text})" if left.strength < strength else left.text
    right_text = f"({right.text})" if bracket_right else right.text
    return _Part(value, f"{left_text}{operator}{right_text}", strength, plain)
