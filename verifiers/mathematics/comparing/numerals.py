"""The values of expressions as complex numbers: as floats, or with as many digits as are wanted."""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

from journeyman.verifiers.mathematics.comparing.exact import Point, unknown
from journeyman.verifiers.mathematics.reading.nodes import Node
from journeyman.verifiers.mathematics.reading.tokens import Unreadable

LARGEST = 1e60
"""Size of the values that are compared by numbers; its inverse is the smallest."""


def rough(node: Node, point: Point) -> complex | None:
    """The value as a float; None where there is none. Raises Unreadable beyond `LARGEST`."""
    try:
        value: complex = value_of(node, point, _Floats)
        return value
    except (ZeroDivisionError, ValueError, OverflowError):
        return None


class _Floats:
    """What `value_of` needs of a kind of numbers, for Python's own."""

    pi, e = complex(math.pi), complex(math.e)
    functions: Mapping[str, Callable[..., Any]] = {
        "sin": cmath.sin, "cos": cmath.cos, "tan": cmath.tan, "arcsin": cmath.asin, "arccos": cmath.acos,
        "arctan": cmath.atan, "sinh": cmath.sinh, "cosh": cmath.cosh, "tanh": cmath.tanh, "ln": cmath.log,
        "exp": cmath.exp,
    }  # fmt: skip
    gamma: Callable[[Any], Any] = staticmethod(lambda value: complex(math.gamma(value.real)))

    @staticmethod
    def number(value: Fraction) -> complex:
        return complex(float(value))


@lru_cache(maxsize=2)
def precise_numbers(digits: int) -> Any:
    """What `value_of` needs of numbers with so many digits."""
    import mpmath  # type: ignore[import-untyped]

    context = mpmath.MPContext()
    context.dps = digits

    class Precise:
        pi, e, gamma = context.mpc(+context.pi), context.mpc(+context.e), context.gamma
        functions: Mapping[str, Callable[..., Any]] = {
            name: getattr(context, {"arcsin": "asin", "arccos": "acos", "arctan": "atan"}.get(name, name))
            for name in _Floats.functions
        }

        @staticmethod
        def number(value: Fraction) -> Any:
            return context.mpc(value.numerator) / value.denominator

    return Precise


_RECIPROCALS = {"sec": "cos", "csc": "sin", "cot": "tan"}


def value_of(node: Node, point: Point, kind: Any) -> Any:
    """The value in that kind of numbers. Raises Unreadable beyond `LARGEST`, ZeroDivisionError or ValueError."""
    value = _unchecked(node, point, kind)
    if value and not 1 / LARGEST < abs(value) < LARGEST:
        raise Unreadable("a value too large or too small to compare")
    return value


def _unchecked(node: Node, point: Point, kind: Any) -> Any:  # noqa: C901, PLR0911, PLR0912 - one return for each op
    if node.op == "number":
        return kind.number(node.value)
    if node.op == "symbol":
        return kind.number(point[node.value])
    if node.op in {"pi", "e"}:
        return getattr(kind, node.op)
    if node.op == "i":
        return kind.number(Fraction(0)) + 1j
    if node.op not in {"add", "mul", "percent", "degrees", "power", "call", "apply", "based"}:
        raise Unreadable("it is no number")
    args = [value_of(arg, point, kind) for arg in node.args]
    if node.op == "based":
        return args[0]
    if node.op == "apply":
        return kind.number(unknown(node.value, list(map(_rounded, args))))
    if node.op == "add":
        return sum(args[1:], args[0])
    if node.op == "mul":
        product = args[0]
        for arg in args[1:]:
            product = product * arg
        return product
    if node.op == "percent":
        return args[0] / 100
    if node.op == "degrees":
        return args[0] * kind.pi / 180
    if node.op == "power":
        return _power(args[0], args[1])
    return _call(node.value, args, kind)


def _rounded(value: Any) -> str:
    """A number to nine digits, so that what is equal but for rounding is written the same."""
    found = complex(value)
    return f"{found.real + 0.0:.8e} {found.imag:.8e}" if abs(found.imag) > 1e-12 else f"{found.real + 0.0:.8e}"


def _power(base: Any, exponent: Any) -> Any:
    if base == 0 and exponent.real <= 0:
        raise ZeroDivisionError
    if abs(exponent) * abs(math.log(float(abs(base)) or 1.0)) > 300:
        raise Unreadable("a power too large or too small to compare")
    return base ** int(exponent.real) if exponent == int(exponent.real) else base**exponent


def _call(name: str, args: list[Any], kind: Any) -> Any:  # noqa: C901, PLR0911, PLR0912 - one return for each function
    first = args[0]
    if name in kind.functions:
        if name in {"exp", "sinh", "cosh", "tanh", "sin", "cos", "tan"} and abs(first) > 1e6:
            raise Unreadable("an argument too large to compare")
        if name in {"exp", "sinh", "cosh", "tanh"} and abs(first) > 300:
            raise Unreadable("a value too large to compare")
        return kind.functions[name](first)
    if name in _RECIPROCALS:
        return 1 / kind.functions[_RECIPROCALS[name]](first)
    if name == "abs":
        return abs(first) + 0 * first
    if name == "root":
        degree = args[1]
        if first == 0:
            return first
        odd = degree.imag == 0 and degree.real % 2 == 1
        if odd and first.imag == 0 and first.real < 0:
            return -((-first) ** (1 / degree))
        return first ** (1 / degree)
    if name in {"max", "min"} and all(arg.imag == 0 for arg in args):
        return (max if name == "max" else min)(args, key=lambda arg: arg.real)
    if name in {"gcd", "lcm"}:
        return kind.number(unknown(name, sorted(map(_rounded, args))))
    if name == "factorial" and first.imag == 0 and abs(first) < 150:
        return kind.gamma(first + 1)
    if name == "binomial" and all(arg.imag == 0 and abs(arg) < 150 for arg in args):
        return kind.gamma(first + 1) / (kind.gamma(args[1] + 1) * kind.gamma(first - args[1] + 1))
    if name in {"floor", "ceil"} and first.imag == 0:
        return kind.number(Fraction(math.floor(first.real) if name == "floor" else math.ceil(first.real)))
    raise Unreadable(f"{name} of that")
