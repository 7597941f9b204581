"""Numbers of JSON as they are written: 0.1 is a tenth, and 1e23 is the integer 10^23, which no double is."""

from __future__ import annotations

import math
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any

MAX_EXACT_CHARS = 1_000
"""A longer number with a point or an exponent counts as the double nearest to it, as one below 1e-(10^18) does."""


class WrittenFloat(float):
    """A double that remembers the number it was read from, in `exact`."""

    __slots__ = ("exact",)
    exact: Decimal


def read_float(text: str) -> float:
    """The number that a JSON text with a point or an exponent (or `NaN`, `Infinity`) writes.

    Raises ValueError for one that is beyond a double.
    """
    number = WrittenFloat(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is not a finite number")
    number.exact = Decimal(repr(float(number)))
    if len(text) <= MAX_EXACT_CHARS:
        with suppress(InvalidOperation):  # an exponent of more than 18 digits: a 0, or one below every other number
            number.exact = Decimal(text)
    return number


def read_int(text: str) -> int:
    """The integer; raises ValueError for one that is beyond a double."""
    _ = read_float(text)
    return int(text)


def exact(number: float) -> int | Decimal:
    """The number without rounding: as it was written where that is known, else a double's shortest decimal.

    Equal ones are equal and have one hash, whether they are integers or not.
    """
    if isinstance(number, int):
        return number
    return number.exact if isinstance(number, WrittenFloat) else Decimal(repr(number))


def is_multiple(number: float, divisor: float) -> bool:
    """Whether the number is an integer times the divisor, which is above 0. Time grows with their digits alone.

    Of n 10^e and d 10^f only n and d are ever written out: what 10^(e-f) comes to is worked out modulo d.
    """
    digits, exponent = _scaled(exact(number))
    divisor_digits, divisor_exponent = _scaled(exact(divisor))
    shift = exponent - divisor_exponent
    if digits == 0:
        return True
    if shift >= 0:
        return digits * pow(10, shift, divisor_digits) % divisor_digits == 0
    return False if -shift > digits.bit_length() else digits % (divisor_digits * 10**-shift) == 0


def is_whole(number: float) -> bool:
    """Whether the number is an integer, `1.0` and `1e3` included."""
    return is_multiple(number, 1)


def hashable(value: Any) -> object:
    """Equal, with equal hashes, for values that JSON schema takes for equal: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, dict):
        return frozenset((name, hashable(item)) for name, item in value.items())
    if isinstance(value, list):
        return tuple(map(hashable, value))
    if isinstance(value, bool):
        return (bool, value)
    return exact(value) if isinstance(value, int | float) else value


def _scaled(number: int | Decimal) -> tuple[int, int]:
    """Digits and the power of ten that they stand at."""
    if isinstance(number, int):
        return abs(number), 0
    _, digits, exponent = number.as_tuple()
    return int("".join(map(str, digits))), int(exponent)
