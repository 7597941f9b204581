"""Sets of real numbers and relations between expressions, brought to one form so that they can be compared.

A set of reals is a union of pieces with ends that are numbers; a relation of one symbol, of degree one or two, is
solved to such a set. Others are compared as they stand: f = 0 and g = 0 are the same where f/g is a constant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cmp_to_key

from journeyman.verifiers.mathematics.comparing.exact import exact
from journeyman.verifiers.mathematics.comparing.numerals import rough
from journeyman.verifiers.mathematics.comparing.values import POINTS, same_value, sample_points
from journeyman.verifiers.mathematics.reading.nodes import Node, minus, negative, number, quotient, symbols
from journeyman.verifiers.mathematics.reading.tokens import Unreadable

FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "!=": "!="}
_ENDLESS = Node("infinity")


@dataclass(frozen=True, slots=True)
class Piece:
    """The numbers from `low` to `high`; None is without end."""

    low: Node | None
    low_open: bool
    high: Node | None
    high_open: bool


Reals = tuple[Piece, ...]
ALL: Reals = (Piece(None, True, None, True),)


def compare(a: Node, b: Node) -> int:
    """-1, 0 or 1 as the real number a is below, equal to or above b."""
    if symbols(a) or symbols(b):
        raise Unreadable("an end that is no number")
    left, right = rough(a, {}), rough(b, {})
    if left is None or right is None or abs(left.imag) > 1e-9 or abs(right.imag) > 1e-9:
        raise Unreadable("an end that is no real number")
    if abs(left - right) <= 1e-9 * max(abs(left), 1) and same_value(a, b):
        return 0
    return -1 if left.real < right.real else 1


def substitute(node: Node, name: str, by: Node) -> Node:
    """The tree with a symbol replaced."""
    if node.op == "symbol" and node.value == name:
        return by
    return Node(node.op, tuple(substitute(arg, name, by) for arg in node.args), node.value)


# sets


def as_reals(node: Node) -> Reals | None:  # noqa: C901, PLR0911 - one return for each form
    """The set of reals that it is; None where it is none of these."""
    if node.op == "reals":
        return ALL
    if node.op == "empty":
        return ()
    if node.op == "interval" or (node.op == "tuple" and len(node.args) == 2):
        return _interval(node)
    if node.op == "set":
        return union(*((Piece(item, False, item, False),) for item in node.args)) if _numbers(node.args) else None
    if node.op == "builder":
        sets = [as_reals(arg) for arg in node.args]
        return intersection(*(part for part in sets if part is not None)) if None not in sets else None
    if node.op == "relation":
        return _solved(node)
    if node.op in {"union", "intersection", "minus", "all", "any"}:
        parts = [as_reals(arg) for arg in node.args]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts) or (node.op in {"all", "any"} and len(symbols(node)) > 1):
            return None
        if node.op in {"union", "any"}:
            return union(*known)
        if node.op == "minus":
            return intersection(known[0], complement(known[1]))
        return intersection(*known)
    return None


def _numbers(items: tuple[Node, ...]) -> bool:
    return all(item.op in {"number", "pi", "e", "add", "mul", "power", "call"} and not symbols(item) for item in items)


def _interval(node: Node) -> Reals | None:
    low, high = node.args
    opens = node.value if node.op == "interval" else (True, True)
    endless = [item == _ENDLESS or item == negative(_ENDLESS) for item in node.args]
    if not _numbers(tuple(item for item, end in zip(node.args, endless, strict=True) if not end)):
        return None
    if (
        (endless[0] and low == _ENDLESS)
        or (endless[1] and high != _ENDLESS)
        or any(e and not o for e, o in zip(endless, opens, strict=True))
    ):
        return None
    piece = Piece(None if endless[0] else low, opens[0], None if endless[1] else high, opens[1])
    return None if _void(piece) else (piece,)


def _void(piece: Piece) -> bool:
    if piece.low is None or piece.high is None:
        return False
    order = compare(piece.low, piece.high)
    return order > 0 or (order == 0 and (piece.low_open or piece.high_open))


def _starts(a: Piece, b: Piece) -> int:
    if a.low is None or b.low is None:
        return (a.low is not None) - (b.low is not None)
    return compare(a.low, b.low) or a.low_open - b.low_open


def _ends(a: Piece, b: Piece) -> int:
    if a.high is None or b.high is None:
        return (b.high is not None) - (a.high is not None)
    return compare(a.high, b.high) or b.high_open - a.high_open


def union(*sets: Reals) -> Reals:
    """Pieces in order, those that touch made one."""
    merged: list[Piece] = []
    for piece in sorted((p for s in sets for p in s), key=cmp_to_key(_starts)):
        if merged and _touch(merged[-1], piece):
            last = merged.pop()
            end = max(last, piece, key=cmp_to_key(_ends))
            piece = Piece(last.low, last.low_open, end.high, end.high_open)  # noqa: PLW2901
        merged.append(piece)
    return tuple(merged)


def _touch(first: Piece, second: Piece) -> bool:
    if first.high is None or second.low is None:
        return True
    order = compare(second.low, first.high)
    return order < 0 or (order == 0 and not (first.high_open and second.low_open))


def intersection(*sets: Reals) -> Reals:
    """What is in all of them."""
    result = sets[0]
    for other in sets[1:]:
        pairs = []
        for a in result:
            for b in other:
                start, end = max(a, b, key=cmp_to_key(_starts)), min(a, b, key=cmp_to_key(_ends))
                pairs.append(Piece(start.low, start.low_open, end.high, end.high_open))
        result = union(tuple(piece for piece in pairs if not _void(piece)))
    return result


def complement(reals: Reals) -> Reals:
    """All other numbers."""
    result = ALL
    for piece in reals:
        rest = []
        if piece.low is not None:
            rest.append(Piece(None, True, piece.low, not piece.low_open))
        if piece.high is not None:
            rest.append(Piece(piece.high, not piece.high_open, None, True))
        result = intersection(result, tuple(rest)) if rest else ()
    return result


def same_reals(a: Reals, b: Reals) -> bool:
    """Whether both hold the same numbers."""
    return len(a) == len(b) and all(_starts(p, q) == 0 and _ends(p, q) == 0 for p, q in zip(a, b, strict=True))


# relations of one symbol


def _solved(node: Node) -> Reals | None:
    """The solutions of a relation or of a chain of them (`1 < x < 5`)."""
    if node.value == ("in",):
        return as_reals(node.args[1])
    names = symbols(node)
    if len(names) != 1 or not FLIPPED.keys() >= {*node.value}:
        return None
    (name,) = names
    parts = []
    for sign, left, right in zip(node.value, node.args, node.args[1:], strict=False):
        part = _solved_one(left, sign, right, name)
        if part is None:
            return None
        parts.append(part)
    return intersection(*parts)


def _solved_one(left: Node, sign: str, right: Node, name: str) -> Reals | None:
    if right.op == "call" and right.value == "abs":
        left, sign, right = right, FLIPPED[sign], left
    if left.op == "call" and left.value == "abs" and not symbols(right):
        inner = left.args[0]
        both = [_solved_one(inner, sign, right, name), _solved_one(inner, FLIPPED[sign], negative(right), name)]
        if both[0] is None or both[1] is None or compare(right, number(0)) < 0:
            return None
        return (union if sign in {">", ">=", "="} else intersection)(both[0], both[1])
    function = minus(left, right)
    coefficients = _quadratic(function, name)
    return _signs(*coefficients, sign) if coefficients else None


def _quadratic(function: Node, name: str) -> tuple[Node, Node, Node] | None:
    """a, b, c of a x^2 + b x + c, where it is one."""

    def at(value: int) -> Node:
        return substitute(function, name, number(value))

    c = at(0)
    a = quotient(minus(Node("add", (at(1), at(-1))), Node("mul", (number(2), c))), number(2))
    b = quotient(minus(at(1), at(-1)), number(2))
    x = Node("symbol", (), name)
    form = Node("add", (Node("mul", (a, Node("power", (x, number(2))))), Node("mul", (b, x)), c))
    try:
        return (_plain(a), _plain(b), _plain(c)) if same_value(function, form) else None
    except Unreadable:
        return None


def _plain(node: Node) -> Node:
    """As one number, where it is rational."""
    try:
        return number(exact(node, {}))
    except Exception:
        return node


def _signs(a: Node, b: Node, c: Node, sign: str) -> Reals:
    """Where a x^2 + b x + c is above, below or equal to 0."""
    zero = number(0)
    lead = compare(a, zero)
    if lead == 0:
        slope = compare(b, zero)
        if slope == 0:
            order = compare(c, zero)
            true = {
                "<": order < 0,
                "<=": order <= 0,
                ">": order > 0,
                ">=": order >= 0,
                "=": order == 0,
                "!=": order != 0,
            }
            return ALL if true[sign] else ()
        root = _plain(quotient(negative(c), b))
        points: Reals = (Piece(root, False, root, False),)
        above: Reals = (Piece(root, True, None, True) if slope > 0 else Piece(None, True, root, True),)
    else:
        points, inside = _parabola(a, b, c)
        above = complement(union(inside, points)) if lead > 0 else inside
    if sign in {"=", "!="}:
        return points if sign == "=" else complement(points)
    if sign in {">", ">="}:
        return union(above, points) if sign == ">=" else above
    return complement(above) if sign == "<=" else complement(union(above, points))


def _parabola(a: Node, b: Node, c: Node) -> tuple[Reals, Reals]:
    """The roots, and what lies between them."""
    square = minus(Node("power", (b, number(2))), Node("mul", (number(4), a, c)))
    order = compare(square, number(0))
    if order < 0:
        return (), ()
    root = Node("call", (_plain(square), number(2)), "root")
    ends = [
        _plain(quotient(Node("add", (negative(b), r)), Node("mul", (number(2), a)))) for r in (negative(root), root)
    ]
    low, high = ends if compare(*ends) <= 0 else ends[::-1]
    points = union((Piece(low, False, low, False),), (Piece(high, False, high, False),))
    return points, (Piece(low, True, high, True),) if order else ()


# relations of several symbols


def same_relation(a: Node, b: Node) -> bool:
    """Whether two relations, the first one of `FLIPPED`, are equal up to sides and a factor."""
    sign, other = a.value[0], b.value[0]
    if other not in FLIPPED:
        return False
    f, g = minus(*a.args), minus(*b.args)
    if symbols(f) != symbols(g) or not symbols(f):
        return False
    ratios = []
    for point in sample_points(a, symbols(f)):
        left, right = rough(f, point), rough(g, point)
        if left is None or right is None or abs(left) < 1e-9 or abs(right) < 1e-9:
            continue
        ratios.append((left / right, point))
    if len(ratios) < POINTS // 2 or abs(ratios[0][0].imag) > 1e-9:
        return False
    negative_ratio = ratios[0][0].real < 0
    if (FLIPPED[other] if negative_ratio else other) != sign:
        return False
    point = ratios[0][1]
    at = [_at(side, point) for side in (f, g)]
    return same_value(Node("mul", (f, at[1])), Node("mul", (g, at[0])))


def _at(node: Node, point: Mapping[str, Fraction]) -> Node:
    for name, value in point.items():
        node = substitute(node, name, number(value))
    return node
