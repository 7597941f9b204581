"""Whether what a program printed is what was expected."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]+")


def same_output(printed: str, expected: str, tolerance: float) -> bool:
    """Whether the lines are the same, but for blanks at their ends and empty lines at the output's own.

    With a tolerance also where the words of a line are the same, or numbers that differ by no more than it, or than
    it times the expected one, as in Codeforces' checkers; two whole numbers have to be equal.
    """
    ours, theirs = _lines(printed), _lines(expected)
    if ours == theirs:
        return True
    if tolerance == 0 or len(ours) != len(theirs):
        return False
    return all(a == b or _near(a.split(), b.split(), tolerance) for a, b in zip(ours, theirs, strict=True))


def _near(ours: list[str], theirs: list[str], tolerance: float) -> bool:
    return len(ours) == len(theirs) and all(
        a == b or _near_numbers(a, b, tolerance) for a, b in zip(ours, theirs, strict=True)
    )


def _near_numbers(one: str, other: str, tolerance: float) -> bool:
    if not (_NUMBER.fullmatch(one) and _NUMBER.fullmatch(other)):
        return False
    if _WHOLE.fullmatch(one) and _WHOLE.fullmatch(other):
        return _plain(one) == _plain(other)
    expected = float(other)
    return abs(float(one) - expected) <= tolerance * max(1.0, abs(expected)) < float("inf")


def _plain(number: str) -> str:
    """A whole number's sign and digits; as text, since int() takes only some thousand digits."""
    digits = number.lstrip("+-").lstrip("0")
    return f"-{digits}" if digits and number.startswith("-") else digits


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]
