"""Whether an answer is finished: what it leaves to be worked out, so that repeating the question is no answer."""

from __future__ import annotations

from journeyman.verifiers.mathematics.comparing.exact import NotExact, exact
from journeyman.verifiers.mathematics.reading.nodes import Node, number, symbols
from journeyman.verifiers.mathematics.reading.tokens import Unreadable

_COUNTS = frozenset({"factorial", "binomial", "abs", "floor", "ceil", "gcd", "lcm", "max", "min"})
_TIMELESS = frozenset({"pi", "e", "i"})
VALUES = frozenset(
    {
        "number", "symbol", "pi", "e", "i", "add", "mul", "power", "call", "degrees", "percent", "apply", "based",
    }
)  # fmt: skip
"""What is one value, of all that a tree may be."""
_INEQUALITIES = frozenset({"<", ">", "<=", ">="})


def is_plain(node: Node) -> bool:
    """Whether it is one fraction, with nothing left to be worked out."""
    return _is_fraction(node) and not unfinished(node)


def _is_fraction(node: Node) -> bool:
    try:
        return not symbols(node) and exact(node, {}) is not None
    except (NotExact, Unreadable):
        return False


def unfinished(node: Node) -> bool:
    """Whether a value still has sums, products, factorials or the like to be worked out, or a symbol to be cancelled.

    Fractions, mixed numbers, roots, one power (2^10), a number times a power of ten and multiples of pi are finished.
    A function of symbols is not looked into: sin^2 x + cos^2 x is an answer.
    """
    if node.op == "symbol":
        return True
    if node.op == "call":
        return not symbols(node) and (node.value in _COUNTS or any(map(unfinished, node.args)))
    if node.op == "add":
        plain = [arg for arg in node.args if not symbols(arg)]
        return not _is_mixed(node) and (len(plain) > 1 or any(map(unfinished, node.args)))
    if node.op == "mul":
        factors = [arg for arg in node.args if arg != number(-1) and arg.op not in _TIMELESS]
        below = [arg for arg in factors if _is_reciprocal(arg)]
        above = [arg for arg in factors if not _is_reciprocal(arg) and not symbols(arg)]
        several = len(below) > 1 or (len(above) > 1 and not _is_scientific(above))
        return several or any(map(unfinished, factors))
    return any(map(unfinished, node.args))


def _is_reciprocal(node: Node) -> bool:
    return node.op == "power" and node.args[1] == number(-1)


def _is_scientific(factors: list[Node]) -> bool:
    first, last = factors[0], factors[-1]
    return len(factors) == 2 and first.op == "number" and last.op == "power" and last.args[0] == number(10)


def _is_mixed(node: Node) -> bool:
    whole, part = node.args[0], node.args[-1]
    if len(node.args) != 2 or whole.op != "number" or part.op != "mul" or len(part.args) != 2:
        return False
    top, below = part.args
    if top.op != "number" or not _is_reciprocal(below) or below.args[0].op != "number":
        return False
    return bool(0 < top.value < below.args[0].value)


def is_solved(node: Node, gold: Node) -> bool:
    """Whether a set of reals or its relations are told outright: no symbol but alone on a side, no end to be computed.

    `|x| < 3` counts as such; for a gold answer that is an inequality itself also 2x < 10 and x^2 < 4.
    """
    if node.op in VALUES:
        return not symbols(node) and not (_is_fraction(node) and unfinished(node))
    if node.op != "relation":
        return all(is_solved(arg, gold) for arg in node.args)
    if node.value == ("in",):
        return node.args[0].op == "symbol" and is_solved(node.args[1], gold)
    for sign, pair in zip(node.value, zip(node.args, node.args[1:], strict=False), strict=True):
        told = [side for side in pair if symbols(side)]
        rest = [side for side in pair if not symbols(side)]
        if len(told) != 1 or not is_solved(rest[0], gold) or not _is_alone(told[0], sign, gold):
            return False
    return True


def _is_alone(side: Node, sign: str, gold: Node) -> bool:
    if side.op == "symbol":
        return True
    if sign not in _INEQUALITIES:
        return False
    if side.op == "call" and side.value == "abs":
        return side.args[0].op == "symbol"
    if gold.op != "relation" or not _INEQUALITIES.issuperset(gold.value):
        return False
    if side.op == "power":
        return side.args[0].op == "symbol" and side.args[1] == number(2)
    parts = [arg for arg in side.args if symbols(arg)]
    return side.op == "mul" and len(parts) == 1 and _is_alone(parts[0], sign, gold) and parts[0].op in {"symbol", "mul"}
