r"""The small tree that mathematics is read into.

The tree's nodes, by `op` (arguments in `args`, what is no node in `value`):

    number value            symbol value           pi, e, i, infinity, reals, empty
    add a b ..., mul a b ..., power a b, plusminus a, call a ... (value: the function), degrees a, percent a
    tuple a ..., set a ..., interval a b (value: whether the ends are open), union, intersection, minus
    relation a b ... (value: the signs), builder a [its domain]
    statement a b (value: "=>", "forall", ...), all a ..., any a ..., list a ...
    matrix (value: the number of columns), determinant, transpose, ratio a b ...
    apply a ... (value: a function nobody knows), based a (value: the base it was written in), field (value: "Z", ...)
    congruent a b modulus, measure a (value: its unit), time, approx a b ...
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from journeyman.verifiers.mathematics.reading.tokens import Unreadable


@dataclass(frozen=True, slots=True)
class Node:
    """One part of an answer; equal trees are written the same, up to spelling."""

    op: str
    args: tuple[Node, ...] = ()
    value: Any = None


def number(value: Fraction | int) -> Node:
    """The node of a number."""
    return Node("number", (), Fraction(value))


def negative(node: Node) -> Node:
    """-a, and -(-a) as a."""
    if node.op == "number":
        return number(-node.value)
    return Node("mul", (number(-1), node))


def quotient(a: Node, b: Node) -> Node:
    """A / b."""
    return Node("mul", (a, Node("power", (b, number(-1)))))


def minus(a: Node, b: Node) -> Node:
    """A - b."""
    return Node("add", (a, negative(b)))


def symbols(node: Node) -> frozenset[str]:
    """The names of the symbols in it, unknown functions among them."""
    own = frozenset({node.value}) if node.op in {"symbol", "apply"} else frozenset[str]()
    return own.union(*map(symbols, node.args))


def told(node: Node) -> str:
    """The tree as text, the same for sums and products in any order."""
    if node.op in {"number", "symbol"}:
        return str(node.value)
    args = [told(arg) for arg in node.args]
    name = node.op if node.value is None else node.value
    return f"{name}({','.join(sorted(args) if node.op in {'add', 'mul'} else args)})"


def raised(base: Node, exponent: Node) -> Node:
    r"""Base to that power; `x^{1/3}` is `\sqrt[3]{x}`, real where x is (so are all odd roots)."""
    ratio = _literal(exponent)
    if ratio is None or ratio.denominator % 2 == 0 or not 1 < ratio.denominator <= 100:
        return Node("power", (base, exponent))
    root = Node("call", (base, number(ratio.denominator)), "root")
    return root if ratio.numerator == 1 else Node("power", (root, number(ratio.numerator)))


def _literal(node: Node) -> Fraction | None:
    """The value of a fraction as written; None for all else."""
    if node.op == "number":
        value: Fraction = node.value
        return value
    if node.op == "mul":
        product = Fraction(1)
        for arg in node.args:
            below = arg.op == "power" and arg.args[0].op == "number" and arg.args[1] == number(-1)
            part = arg.args[0].value if below else arg.value if arg.op == "number" else None
            if part is None or (below and not part):
                return None
            product = product / part if below else product * part
        return product
    return None


def matrix_of(rows: list[list[Node]]) -> Node:
    """The matrix of these rows."""
    if len({len(row) for row in rows}) != 1:
        raise Unreadable("rows of unequal lengths")
    return Node("matrix", tuple(item for row in rows for item in row), len(rows[0]))


def bracketed(opened: str, inner: Node, closed: str) -> Node:  # noqa: PLR0911 - one return for each kind
    """What stands in these brackets: a group, a tuple, an interval, a set, rows of a matrix."""
    items = inner.args if inner.op == "list" else (inner,)
    if opened in {"\\{", "{"}:
        if opened == "{" and len(items) == 1:
            return inner
        return Node(
            "set", tuple(part for item in items for part in (item.args if item.op in {"all", "any"} else (item,)))
        )
    if opened in {"\\lfloor", "\\lceil"}:
        return Node("call", (inner,), "floor" if opened == "\\lfloor" else "ceil")
    if opened == "\\langle":
        return Node("tuple", items)
    if opened == "[" and closed == "]":
        rows = [item.args for item in items if item.op == "tuple" or (item.op == "interval" and not any(item.value))]
        if len(rows) == len(items) and all(item.value != "(" for item in items):
            return matrix_of([list(row) for row in rows])
    if len(items) == 1 and (opened, closed) in {("(", ")"), ("[", "]")}:
        return inner
    if len(items) == 2 and (opened, closed) != ("(", ")") and not any(item.op in {"tuple", "set"} for item in items):
        return Node("interval", items, (opened != "[", closed != "]"))
    if (opened, closed) in {("(", ")"), ("[", "]")}:
        return Node("tuple", items, opened)
    raise Unreadable("an interval has two ends")
