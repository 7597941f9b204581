"""Arithmetic of matrices of expressions: as much of it as answers need."""

from __future__ import annotations

from journeyman.verifiers.mathematics.comparing.exact import NotExact, exact
from journeyman.verifiers.mathematics.reading.nodes import Node, negative, number, symbols
from journeyman.verifiers.mathematics.reading.tokens import Unreadable

Rows = tuple[tuple[Node, ...], ...]
MAX_ENTRIES = 50
"""Entries of a matrix; with more it is not compared."""
MAX_DETERMINANT = 4
"""Rows of a determinant."""


def has_matrix(node: Node) -> bool:
    """Whether a matrix is in it."""
    return node.op == "matrix" or any(map(has_matrix, node.args))


def rows_of(node: Node) -> Rows:
    """The matrix that an expression comes to; raises Unreadable where it is none."""
    if node.op == "matrix":
        if len(node.args) > MAX_ENTRIES:
            raise Unreadable(f"a matrix of more than {MAX_ENTRIES} entries")
        return tuple(node.args[at : at + node.value] for at in range(0, len(node.args), node.value))
    if node.op == "transpose":
        return tuple(zip(*rows_of(node.args[0]), strict=True))
    if node.op == "add":
        return _sum([rows_of(arg) for arg in node.args])
    if node.op == "mul":
        scalars = [arg for arg in node.args if not has_matrix(arg)]
        matrices = [rows_of(arg) for arg in node.args if has_matrix(arg)]
        if len(matrices) == 1:
            return tuple(
                tuple(Node("mul", (*scalars, item)) if scalars else item for item in row) for row in matrices[0]
            )
    raise Unreadable("that is not done with matrices")


def _sum(terms: list[Rows]) -> Rows:
    if len({(len(rows), len(rows[0])) for rows in terms}) != 1:
        raise Unreadable("a sum of matrices of unequal sizes")
    return tuple(
        tuple(Node("add", items) for items in zip(*row_of_each, strict=True))
        for row_of_each in zip(*terms, strict=True)
    )


def without_determinants(node: Node) -> Node:
    """The tree with every determinant written out, as a number where it is one."""
    if node.op == "determinant":
        value = _determinant(rows_of(node.args[0]))
        try:
            return value if symbols(value) else number(exact(value, {}))
        except NotExact:
            return value
    return Node(node.op, tuple(map(without_determinants, node.args)), node.value)


def _determinant(rows: Rows) -> Node:
    if len(rows) != len(rows[0]) or len(rows) > MAX_DETERMINANT:
        raise Unreadable(f"a determinant that is not square, or of more than {MAX_DETERMINANT} rows")
    if len(rows) == 1:
        return rows[0][0]
    terms = []
    for column, item in enumerate(rows[0]):
        minor = _determinant(tuple(row[:column] + row[column + 1 :] for row in rows[1:]))
        term = Node("mul", (item, minor))
        terms.append(negative(term) if column % 2 else term)
    return Node("add", tuple(terms))
