"""Exact arithmetic over + - * / and brackets: parsing, evaluation and search, in fractions and without `eval`."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations

MAX_LENGTH = 200
"""Longest text that is parsed, in characters."""


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


def solutions(numbers: Sequence[int], target: int) -> Iterator[str]:
    """Every expression, up to order, that uses each number once and equals `target`.

    Exhaustive: combine any two of the remaining values by any operator, and go on with one value fewer.
    """
    for value, text in _combine([(Fraction(n), str(n)) for n in numbers]):
        if value == target:
            yield text


def _combine(items: list[tuple[Fraction, str]]) -> Iterator[tuple[Fraction, str]]:
    if len(items) == 1:
        value, text = items[0]
        yield value, text.removeprefix("(").removesuffix(")") if text.startswith("(") else text
        return
    for i, j in combinations(range(len(items)), 2):
        rest = [item for k, item in enumerate(items) if k not in (i, j)]
        for joined in _joined(items[i], items[j]):
            yield from _combine([joined, *rest])


def _joined(a: tuple[Fraction, str], b: tuple[Fraction, str]) -> Iterator[tuple[Fraction, str]]:
    (x, left), (y, right) = a, b
    yield x + y, f"({left}+{right})"
    yield x * y, f"({left}*{right})"
    yield x - y, f"({left}-{right})"
    yield y - x, f"({right}-{left})"
    if y:
        yield x / y, f"({left}/{right})"
    if x:
        yield y / x, f"({right}/{left})"
