r"""What an answer gives a value to: `x = 5`, `AB = 4`, `f(x) = 3x`, `(x, y) = (1, 2)`, `x_1 = 2, x_2 = 3`.

A name is a symbol, an unknown function of something, or a quantity that is written like one: sides and angles (`AB`,
`|AB|`), their ratios, a trigonometric function of an angle, the inverse of a matrix. All else on the left makes an
equation: `x^2 = 4`.
"""

from __future__ import annotations

from journeyman.verifiers.mathematics.comparing.exact import NotExact, exact
from journeyman.verifiers.mathematics.comparing.matrices import has_matrix
from journeyman.verifiers.mathematics.comparing.numerals import rough
from journeyman.verifiers.mathematics.comparing.sets import as_reals, same_reals
from journeyman.verifiers.mathematics.comparing.settled import LISTS
from journeyman.verifiers.mathematics.comparing.values import same_value
from journeyman.verifiers.mathematics.reading.nodes import Node, number, symbols, told
from journeyman.verifiers.mathematics.reading.tokens import Unreadable

_SIDES = frozenset({"union", "intersection", "minus"})
_OF_ANGLES = frozenset({"sin", "cos", "tan", "cot"})
_MINUS_ONE = number(-1)


def assigned(node: Node) -> tuple[tuple[str, ...], Node]:
    """The names that it gives values to, in order, and those values; no names where it is no assignment.

    Several solutions for the same names are a set of them. A chain of values is its last, a rounded one both.
    """
    if node.op == "relation":
        return _one(node)
    if node.op not in LISTS or not node.args:
        return (), node
    parts = _carried([assigned(arg) for arg in node.args])
    names = [name for name, _ in parts]
    if not all(names):
        return (), node
    if len(set(names)) == 1:
        return names[0], Node("set", tuple(value for _, value in parts))
    if node.op != "any" and len({name for several in names for name in several}) == len(parts):
        values = dict(zip([several[0] for several in names], [value for _, value in parts], strict=True))
        return tuple(sorted(values)), Node("tuple", tuple(values[name] for name in sorted(values)))
    return (), node


def _carried(parts: list[tuple[tuple[str, ...], Node]]) -> list[tuple[tuple[str, ...], Node]]:
    """`x = 2, 3` as `x = 2, x = 3`: values behind a named one are of the same name."""
    name = parts[0][0]
    if not name or any(other and other != name for other, _ in parts):
        return parts
    same = "tuple" if len(name) > 1 else ""
    if any(value.op in {"relation", *LISTS} or (same and value.op not in {same, "interval"}) for _, value in parts):
        return parts
    return [(name, value) for _, value in parts]


def _one(node: Node) -> tuple[tuple[str, ...], Node]:
    first, last, signs = node.args[0], node.args[-1], set(node.value)
    if not signs <= {"=", "~"}:
        name = name_of(first, last) if node.value == ("in",) else None
        return ((name,), last) if name and name not in symbols(last) else ((), node)
    if signs == {"="} and last.op == "symbol" and first.op != "symbol" and len(node.args) == 2:
        first, last = last, first
        node = Node("relation", (first, last), node.value)
    if first.op == last.op == "tuple" and len(node.args) == 2 and all(arg.op == "symbol" for arg in first.args):
        if len(first.args) != len(last.args):
            return (), node
        values = {name.value: value for name, value in zip(first.args, last.args, strict=True)}
        return tuple(sorted(values)), Node("tuple", tuple(values[name] for name in sorted(values)))
    name = name_of(first, last)
    if name and name not in symbols(last):
        value = _chain(node.args[1:], node.value[1:])
        return ((name,), value) if value else ((), node)
    if not symbols(node) or "~" in signs:
        value = _chain(node.args, node.value)
        return (), value or node
    return (), node


def _chain(values: tuple[Node, ...], signs: tuple[str, ...]) -> Node | None:
    """What a chain of equal and nearly equal values comes to; None where they are not equal."""
    exact_values, near = [values[0]], list[Node]()
    for sign, value in zip(signs, values[1:], strict=True):
        if sign == "~" or near:
            if not _rounded(exact_values[-1], value):
                return None
            near.append(value)
        elif not _agree(exact_values[-1], value):
            return None
        else:
            exact_values.append(value)
    return Node("approx", (exact_values[-1], *near)) if near else exact_values[-1]


def _agree(a: Node, b: Node) -> bool:
    if a == b:
        return True
    try:
        left, right = as_reals(a), as_reals(b)
        return same_reals(left, right) if left is not None and right is not None else same_value(a, b)
    except Unreadable:
        return False


def _rounded(value: Node, near: Node) -> bool:
    """Whether a number is another one rounded, or cut, at its last place."""
    if symbols(value) or symbols(near):
        return value == near
    try:
        told_value = exact(near, {})
    except (NotExact, Unreadable):
        return False
    places = next((n for n in range(13) if (told_value * 10**n).denominator == 1), 13)
    size = rough(value, {})
    if size is None or abs(size.imag) > 1e-9:
        return False
    beyond = (abs(size.real) - abs(float(told_value))) * 10**places
    same_sign = size.real * float(told_value) >= 0
    return same_sign and -0.500001 <= beyond <= (0.999999 if places else 0.500001)


def name_of(node: Node, value: Node) -> str | None:  # noqa: PLR0911 - one return for each kind
    """The name that a left side is, where `value` stands on the right; None where it is an expression."""
    if node.op == "symbol":
        name: str = node.value
        return name
    if node.op == "apply":
        return told(node)
    sides = _sides(node)
    if sides:
        return sides
    inner = _named_args(node)
    if inner is None:
        return None
    if node.op == "call" and node.value in _OF_ANGLES:
        angle = node.args[0]
        return f"{node.value} {inner[0]}" if angle.op == "symbol" and _is_angle(angle.value) else None
    if node.op == "ratio" or node.op in _SIDES:
        return f"{node.op}({','.join(inner)})"
    if node.op in {"transpose", "power"} and has_matrix(value):
        return told(node)
    return None


def _named_args(node: Node) -> list[str] | None:
    names = [
        arg.value if arg.op == "symbol" else _sides(arg)
        for arg in node.args
        if not (node.op == "power" and arg == _MINUS_ONE)
    ]
    return [name for name in names if name] if names and all(names) else None


def _sides(node: Node) -> str | None:
    """`AB`, `|AB|`, `AB/CD`: products of corners, their lengths and ratios."""
    if node.op == "call" and node.value == "abs":
        inner = node.args[0]
        vector = inner.value if inner.op == "symbol" and (" " in inner.value or inner.value == "z") else _sides(inner)
        return f"|{vector}|" if vector else None
    if node.op != "mul":
        return None
    if all(arg.op == "symbol" and arg.value.startswith("vec ") for arg in node.args):
        return "·".join(sorted(arg.value for arg in node.args))
    if all(arg.op == "symbol" and len(arg.value) == 1 and arg.value.isupper() for arg in node.args):
        letters = "".join(arg.value for arg in node.args)
        return min(letters, letters[::-1])
    if len(node.args) == 2 and node.args[1].op == "power" and node.args[1].args[1] == _MINUS_ONE:
        top, below = _quantity(node.args[0]), _quantity(node.args[1].args[0])
        return f"{top}/{below}" if top and below else None
    return None


def _quantity(node: Node) -> str | None:
    """A side, or a symbol with an index (`V_1`)."""
    return node.value if node.op == "symbol" and len(node.value) > 1 else _sides(node)


def _is_angle(name: str) -> bool:
    return name[0].isupper() or len(name.partition("_")[0]) > 1
