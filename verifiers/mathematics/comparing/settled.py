"""Trees brought to the forms that are compared: without determinants and plus-minus signs."""

from __future__ import annotations

from journeyman.verifiers.mathematics.comparing.integers import enumerated
from journeyman.verifiers.mathematics.comparing.matrices import without_determinants
from journeyman.verifiers.mathematics.reading.nodes import Node, negative, symbols

LISTS = frozenset({"set", "list", "all", "any"})


def settled(node: Node) -> Node:
    """The tree without determinants, plus-minus signs (as alternatives) and tuples of equations (as lists).

    What is unlike either of two values is unlike both.
    """
    node = without_determinants(node)
    if node.op == "tuple" and all(arg.op == "relation" for arg in node.args):
        node = Node("list", node.args)
    if node.op in {"list", "all", "builder"}:
        node = enumerated(node)
    if node.op in {"list", "all"}:
        node = _without_domains(node)
    if node.op == "list" and _unlike(node.args[0]) and not any(arg.op == "relation" for arg in node.args[1:]):
        first = node.args[0]  # x \ne 2, 3
        rest = tuple(Node("relation", (first.args[0], arg), first.value) for arg in node.args[1:])
        node = Node("all", (first, *rest))
    if node.op in LISTS:
        parts = tuple(either for arg in node.args for either in _alternatives(arg))
        joined = node.op if node.op == "set" or any(part.op in {"relation", "all"} for part in parts) else "list"
        return Node("all" if joined == "any" and all(map(_unlike, parts)) else joined, parts)
    both = _alternatives(node)
    return node if len(both) == 1 else Node("all" if all(map(_unlike, both)) else "any", both)


def _without_domains(node: Node) -> Node:
    r"""`x = \pi/4 + k\pi, k \in \mathbb{Z}` without what it says of k; `x > 1, x \in \mathbb{Z}` is left whole."""
    kept = tuple(arg for arg in node.args if not _is_domain(arg, node))
    return kept[0] if len(kept) == 1 else Node(node.op, kept, node.value) if kept else node


def domains(node: Node) -> dict[str, str]:
    """What a tree, not settled yet, says its symbols to be any of: {"k": "Z"}."""
    return {arg.args[0].value: arg.args[1].value or "R" for arg in node.args if _is_domain(arg, node)}


def _is_domain(part: Node, whole: Node) -> bool:
    if part.op != "relation" or part.value != ("in",) or part.args[0].op != "symbol":
        return False
    domain = part.args[1]
    about = [arg for arg in whole.args if arg is not part and part.args[0].value in symbols(arg)]
    bounded = any(arg.op == "relation" and set(arg.value) & {"<", ">", "<=", ">=", "!="} for arg in about)
    return bool(about) and (domain.op == "reals" or (domain.op == "field" and not bounded))


def _unlike(node: Node) -> bool:
    return node.op == "relation" and node.value == ("!=",)


def _alternatives(node: Node) -> tuple[Node, ...]:
    return (_signed(node, 1), _signed(node, -1)) if _has_both_signs(node) else (node,)


def _has_both_signs(node: Node) -> bool:
    return node.op == "plusminus" or any(map(_has_both_signs, node.args))


def _signed(node: Node, sign: int) -> Node:
    if node.op == "plusminus":
        inner = _signed(node.args[0], sign)
        return inner if sign > 0 else negative(inner)
    return Node(node.op, tuple(_signed(arg, sign) for arg in node.args), node.value)
