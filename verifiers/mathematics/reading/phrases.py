"""Answers in words and other spellings: "no solution", "all real numbers except 1", "eighteen", "3 to 4", `]1, 3[`."""

from __future__ import annotations

import re
from fractions import Fraction

from journeyman.verifiers.mathematics.reading.nodes import Node, number
from journeyman.verifiers.mathematics.reading.parse import parse

_NO_SOLUTION = re.compile(
    r"(?:(?:there (?:is|are|exists?)|(?:it|the (?:equation|system|inequality)) has|we have) )?"
    r"no(?: real)? solutions?(?: exists?)?"
)
MEANINGS = {
    "all real numbers": "reals", "all reals": "reals", "all real": "reals", "the set of all real numbers": "reals",
    "the real numbers": "reals", "empty set": "empty", "the empty set": "empty",
}  # fmt: skip
"""Words that are sets; `meaning` knows the ways to say that there is no solution too."""
_TURNED = re.compile(r"^\s*\][^\[\]]*[\[\]]|\[[^\[\]]*\[\s*$|(?:\\cup|\\cap)\s*\]|\[\s*\\c[ua]p")
"""Intervals with their open ends turned: `]1, 3[`."""
_BOUNDS = re.compile(r"([\[\](])([^\[\]()]*[,;][^\[\]()]*)([\[\])])")
_REALS_BUT = re.compile(
    r"(?:all|the|any)?\s*reals?(?: numbers?)?,?\s*(?:except(?: for)?|other than|but|without)\s*(?:[a-z]\s*=\s*)?(.+)",
    re.IGNORECASE,
)
_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_NUMERALS = (
    dict(zip(_ONES, range(20), strict=True))
    | {ten: 20 + 10 * n for n, ten in enumerate(_TENS)}
    | {f"{ten}-{one}": 20 + 10 * n + m + 1 for n, ten in enumerate(_TENS) for m, one in enumerate(_ONES[1:10])}
    | {"one hundred": 100}
)
_RATIO = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)\s+to\s+([0-9]{1,6}(?:\.[0-9]{1,6})?)")
_EMPTY_SIGN = re.compile(r"\s*[:,(]?\s*\\(?:oslash|emptyset|varnothing)\s*\)?$")


def phrase(plain: str) -> Node | None:
    """What a plain text in one of these spellings is; None for all others. Raises Unreadable for what is not read."""
    if _TURNED.search(plain):
        return parse(_BOUNDS.sub(_as_brackets, plain))
    if but := _REALS_BUT.fullmatch(plain):
        excluded = parse(but[1])
        members = excluded.args if excluded.op in {"list", "all", "any"} else (excluded,)
        return Node("minus", (Node("reals"), Node("set", members)))
    if (value := _NUMERALS.get(plain.strip(" .").lower())) is not None:
        return number(value)
    if ratio := _RATIO.fullmatch(plain):
        return Node("ratio", tuple(number(Fraction(term)) for term in ratio.groups()))
    said = meaning(plain)
    return Node(said) if said else None


def _as_brackets(ends: re.Match[str]) -> str:
    opened, closed = ("(" if ends[1] == "]" else ends[1]), (")" if ends[3] == "[" else ends[3])
    return f"{opened}{ends[2].replace(';', ',')}{closed}"


def meaning(plain: str) -> str:
    """The kind of node that words are which name a set, "no solution" say; empty for all others."""
    spoken = _EMPTY_SIGN.sub("", plain).lower()
    return "empty" if _NO_SOLUTION.fullmatch(spoken) else MEANINGS.get(spoken, "")
