"""Whether an answer says what the gold answer says. The gold decides the form; docs/math.md has the rules."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from journeyman.verifiers.mathematics.comparing.exact import NotExact, exact
from journeyman.verifiers.mathematics.comparing.forms import is_plain, is_solved, unfinished
from journeyman.verifiers.mathematics.comparing.matrices import has_matrix, rows_of, without_determinants
from journeyman.verifiers.mathematics.reading.nodes import Node, negative, number, symbols
from journeyman.verifiers.mathematics.reading.parse import parse
from journeyman.verifiers.mathematics.comparing.sets import as_reals, same_reals, same_relation
from journeyman.verifiers.mathematics.reading.tokens import Unreadable, plain_math
from journeyman.verifiers.mathematics.reading.units import Unit, split
from journeyman.verifiers.mathematics.comparing.values import same_value

MAX_ITEMS = 50
"""Members of a set or list, of either side."""
_LISTS = frozenset({"set", "list", "all", "any"})
_REALS = frozenset(
    {
        "interval",
        "reals",
        "empty",
        "union",
        "intersection",
        "minus",
        "builder",
        "relation",
        "all",
        "any",
        "set",
        "tuple",
    }
)
_ASSIGNED = re.compile(r"([A-Za-z](?:_(?:\w|\{\w{1,5}\}))?\s*=)(?P<rest>[^=<>]*)")


@dataclass(frozen=True, slots=True)
class Reading:
    """A text read: its tree, and the unit behind it."""

    node: Node
    unit: Unit | None = None


@lru_cache(maxsize=4096)
def read(text: str) -> Reading:
    """Reads one answer; raises Unreadable with the reason."""
    plain = plain_math(text)
    if plain.startswith("]") and plain.endswith("["):
        plain = f"({plain[1:-1]})"
    if plain.lower() in {"all real numbers", "all reals", "all real"}:
        return Reading(Node("reals"))
    if plain.lower() in {"no solution", "no solutions", "no real solutions", "empty set", "the empty set"}:
        return Reading(Node("empty"))
    named = _ASSIGNED.fullmatch(plain)
    before, rest = (named[1], named["rest"].strip()) if named else ("", plain)
    head, scale, unit = split(rest)
    node = parse(before + head)
    if scale > 1:
        node = _scaled(node, scale)
    return Reading(_settled(node), unit if unit and (unit.nouns or unit.dimensions) else None)


def equal(gold: Reading, answer: Reading) -> bool:  # noqa: PLR0911 - one return for each form
    """The verdict. Raises Unreadable where the values are too large to compare, and the like."""
    (names, said), (other_names, other) = _assigned(gold.node), _assigned(answer.node)
    if not names and answer.node.op == "relation" and not symbols(answer.node) and set(answer.node.value) == {"="}:
        sides = answer.node.args
        return all(same_value(sides[-1], side) for side in sides[:-1]) and _same(gold, Reading(sides[-1], answer.unit))
    if names and other_names:
        if names == other_names:
            return _same(Reading(said, gold.unit), Reading(other, answer.unit))
        return gold.node.op == answer.node.op == "relation" and len(symbols(gold.node)) > 1 and _same(gold, answer)
    if names:
        if answer.node.op == "relation":
            return _same(gold, answer) if len(symbols(gold.node)) > 1 or gold.node.value == ("in",) else False
        return _same(Reading(said, gold.unit), answer)
    if other_names and not (gold.node.op in {"relation", "all", "any"} and symbols(gold.node)):
        return _same(gold, Reading(other, answer.unit))
    return _same(gold, answer)


# forms made alike


def _scaled(node: Node, scale: int) -> Node:
    """2 million, or 1/2 million, as one number or fraction."""
    first, *rest = node.args if node.op == "mul" else (node,)
    if first.op != "number":
        return Node("mul", (node, number(scale)))
    return Node("mul", (number(first.value * scale), *rest)) if rest else number(first.value * scale)


def _settled(node: Node) -> Node:
    """The tree without determinants, plus-minus signs (as alternatives) and tuples of equations (as lists)."""
    node = without_determinants(node)
    if node.op == "tuple" and all(arg.op == "relation" for arg in node.args):
        node = Node("list", node.args)
    if node.op in _LISTS:
        parts = tuple(either for arg in node.args for either in _alternatives(arg))
        joined = node.op if node.op == "set" or any(part.op == "relation" for part in parts) else "list"
        return Node(joined, parts)
    both = _alternatives(node)
    return node if len(both) == 1 else Node("any", both)


def _alternatives(node: Node) -> tuple[Node, ...]:
    return (_signed(node, 1), _signed(node, -1)) if _has_both_signs(node) else (node,)


def _has_both_signs(node: Node) -> bool:
    return node.op == "plusminus" or any(map(_has_both_signs, node.args))


def _signed(node: Node, sign: int) -> Node:
    if node.op == "plusminus":
        inner = _signed(node.args[0], sign)
        return inner if sign > 0 else negative(inner)
    return Node(node.op, tuple(_signed(arg, sign) for arg in node.args), node.value)


def _assigned(node: Node) -> tuple[tuple[str, ...], Node]:
    """The symbols that it gives values to, in order, and those values; no names where it is no assignment."""
    if node.op == "relation":
        return _one_assigned(node)
    if node.op in _LISTS:
        parts = [_assigned(arg) for arg in node.args]
        names = [name[0] for name, _ in parts if len(name) == 1]
        if names and len(names) == len(parts):
            values = dict(zip(names, (value for _, value in parts), strict=True))
            if len(set(names)) == 1 and node.op != "all":
                return (names[0],), Node("set", tuple(value for _, value in parts))
            if len(values) == len(parts) and node.op != "any":
                return tuple(sorted(values)), Node("tuple", tuple(values[name] for name in sorted(values)))
    return (), node


def _one_assigned(node: Node) -> tuple[tuple[str, ...], Node]:
    first, last = node.args[0], node.args[-1]
    if set(node.value) == {"="} and last.op == "symbol" and first.op != "symbol":
        first, last = last, first
    if set(node.value) == {"="} and len(node.args) > 2 and not all(same_value(last, side) for side in node.args[1:-1]):
        return (), node
    if set(node.value) == {"="} or node.value == ("in",):
        if first.op == "symbol" and first.value not in symbols(last):
            return (first.value,), last
        if (
            first.op == last.op == "tuple"
            and len(first.args) == len(last.args)
            and all(a.op == "symbol" for a in first.args)
        ):
            values = {name.value: value for name, value in zip(first.args, last.args, strict=True)}
            return tuple(sorted(values)), Node("tuple", tuple(values[name] for name in sorted(values)))
    return (), node


# forms compared


def _same(gold: Reading, answer: Reading) -> bool:  # noqa: PLR0911 - one return for each form
    a, b = gold.node, answer.node
    if has_matrix(a) or has_matrix(b):
        return _same_matrix(a, b)
    if a.op in {"set", "list", "any"} and b.op in {"set", "list", "any"} and not _relations(a, b):
        return _same_members(a.args, b.args)
    if _is_value(a) and _is_value(b):
        return _same_amount(gold, answer)
    if {a.op, b.op} <= {"set", "list", "any"} | _VALUES and "relation" not in {part.op for part in (*a.args, *b.args)}:
        return _same_members(*(node.args if node.op in _LISTS else (node,) for node in (a, b)))
    if a.op == b.op == "tuple":
        return len(a.args) == len(b.args) and all(map(_same_nodes, a.args, b.args))
    if a.op == b.op == "ratio":
        return same_value(Node("mul", (a.args[0], b.args[1])), Node("mul", (a.args[1], b.args[0])))
    return _same_solutions(a, b)


_VALUES = frozenset({"number", "symbol", "pi", "e", "i", "add", "mul", "power", "call", "degrees", "percent"})


def _is_value(node: Node) -> bool:
    return node.op in _VALUES or node.op == "infinity"


def _relations(a: Node, b: Node) -> bool:
    return any(part.op == "relation" for part in (*a.args, *b.args))


def _same_nodes(a: Node, b: Node) -> bool:
    return _same(Reading(a), Reading(b))


def _same_matrix(a: Node, b: Node) -> bool:
    if b.op == "tuple" and has_matrix(a):
        return _same_vector(a, b)
    if a.op == "tuple" and has_matrix(b):
        return _same_vector(b, a)
    if not (has_matrix(a) and has_matrix(b)):
        return False
    left, right = rows_of(a), rows_of(b)
    if (len(left), len(left[0])) != (len(right), len(right[0])):
        return False
    return all(
        same_value(p, q) for row, other in zip(left, right, strict=True) for p, q in zip(row, other, strict=True)
    )


def _same_vector(matrix: Node, vector: Node) -> bool:
    rows = rows_of(matrix)
    items = [item for row in rows for item in row]
    return (
        1 in {len(rows), len(rows[0])} and len(items) == len(vector.args) and all(map(same_value, items, vector.args))
    )


def _same_members(a: Sequence[Node], b: Sequence[Node]) -> bool:
    if max(len(a), len(b)) > MAX_ITEMS:
        raise Unreadable(f"a set of more than {MAX_ITEMS} members")
    return all(any(_same_nodes(p, q) for q in b) for p in a) and all(any(_same_nodes(p, q) for p in a) for q in b)


def _same_amount(gold: Reading, answer: Reading) -> bool:  # noqa: PLR0911 - one return for each case
    a, b = gold.node, answer.node
    if "infinity" in {a.op, b.op}:
        return a == b
    if is_plain(a) and unfinished(b):
        return False
    if gold.unit and answer.unit:
        if not gold.unit.fits(answer.unit):
            return False
        return same_value(*(Node("mul", (r.node, number(r.unit.factor))) if r.unit else r.node for r in (gold, answer)))
    (kind, bare), (other_kind, other_bare) = _told_in(a), _told_in(b)
    if kind and other_kind:
        return kind == other_kind and same_value(bare, other_bare)
    if (kind and answer.unit and answer.unit.dimensions) or (other_kind and gold.unit):
        return False
    if same_value(a, b):
        return True
    if other_kind == "percent" and _is_share(a):
        return False
    return bool(kind or other_kind) and same_value(bare, other_bare)


def _told_in(node: Node) -> tuple[str, Node]:
    """The word "percent" or "degrees" and the number before it, where it is that; else nothing and the node."""
    if node.op in {"percent", "degrees"}:
        return node.op, node.args[0]
    if node.op == "mul" and len(node.args) == 2 and node.args[1].op in {"percent", "degrees"}:
        return node.args[1].op, Node("mul", (node.args[0], node.args[1].args[0]))
    return "", node


def _is_share(node: Node) -> bool:
    """Whether a number without a sign is rather 0.5 than 50 percent."""
    try:
        value = exact(node, {})
    except NotExact:
        return True
    return abs(value) < 1 and value != 0


def _same_solutions(a: Node, b: Node) -> bool:
    """Sets of reals, equations and inequalities; only the gold ones are solved."""
    if symbols(a) and symbols(b) and symbols(a) != symbols(b):
        return False
    solved = is_solved(b, gold=a)
    if not solved and is_solved(a, gold=a):
        return False
    if solved and a.op in _REALS and b.op in _REALS:
        left, right = as_reals(a), as_reals(b)
        if left is not None or right is not None:
            return left is not None and right is not None and same_reals(left, right)
    if a.op == b.op == "relation" and len(a.args) == len(b.args) == 2:
        return same_relation(a, b)
    if a.op == b.op and a.op in {"all", "any", "list"} and len(a.args) == len(b.args):
        return _same_members(a.args, b.args)
    return a == b
