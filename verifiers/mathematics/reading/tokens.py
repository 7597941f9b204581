"""Plain mathematical text cut into tokens: numbers, commands, letters and signs; all else is refused (`Unreadable`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

MAX_DIGITS = 60
"""Digits of one number as written."""
MAX_TOKENS = 400
"""Tokens of one answer."""

WORDS = frozenset(
    {
        "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "asin", "acos", "atan", "sinh",
        "cosh", "tanh", "tg", "ctg", "arctg", "log", "ln", "lg", "exp", "sqrt", "cbrt", "abs", "floor", "ceil", "gcd",
        "lcm", "max", "min", "det", "deg", "dim", "ker", "rank", "arg", "sgn", "pi", "oo", "inf", "infty",
        "infinity", "or", "and",
    }
)  # fmt: skip
"""Words with a meaning, and the LaTeX commands of the same name."""


class Unreadable(Exception):  # noqa: N818 - it is no error: it says why a text is no answer
    """Why a text is not read as mathematics."""


@dataclass(frozen=True, slots=True)
class Token:
    r"""A number (`kind` "number", with `value`), a letter ("name"), a command or word ("word") or a sign ("sign")."""

    kind: str
    text: str
    value: Fraction = Fraction(0)
    spaced: bool = False
    """Whether white space stood before it."""
    base: int = 0
    """That a number names behind it (`110_2`); 0 where it names none."""


_TOKEN = re.compile(
    r"""(?P<space>[\s\ue000]+)
    |(?P<grouped>[1-9][0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]+)?(?![0-9]))
    |(?P<digits>(?:[0-9]+[A-Z]|[A-Z]+[0-9])[0-9A-Z]*(?=_\{(?:1[1-9]|2[0-9]|3[0-6])\})|[A-F]{2,}(?=_\{16\}))_(?P<base>\{[0-9]{2}\})
    |(?P<number>(?:[0-9]+(?:\.[0-9]+|\.(?=\s*[-+*/)]))?|\.[0-9]+))
        (?P<tail>[eE][-+]?[0-9]+|\.?\\overline\s?\{[0-9]+\}|\\l?dots(?![A-Za-z])|_\{?[0-9]+\}?)?
    |(?P<frame>\\(?:begin|end)\s?\{[A-Za-z]+\*?\})(?:\{[clr|]*\})?
    |(?P<word>\\[A-Za-z]+|[A-Za-z]+)
    |(?P<sign>\\\\|\\[{}|]|<=|>=|!=|\*\*|[-+*/^_=<>(){}\[\]|,;:!%&°'])""",
    re.VERBOSE,
)
_IN_BRACKETS = re.compile(r"(?P<number>[0-9]+)")


def tokens(text: str) -> list[Token]:
    """The tokens of a plain text; raises Unreadable at the first character or number that fits nothing."""
    found: list[Token] = []
    at, depth, spaced = 0, 0, False
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise Unreadable(f"{text[at]!r} is no mathematics")
        if match["space"]:
            spaced, at = True, match.end()
            continue
        if match["grouped"] and depth:  # in brackets a comma parts
            match = _IN_BRACKETS.match(text, at)
            assert match is not None
        found += _tokens_of(match, spaced=spaced)
        if found[-1].kind == "sign":
            depth += {"(": 1, "[": 1, "{": 1, "\\{": 1, ")": -1, "]": -1, "}": -1, "\\}": -1}.get(match[0], 0)
        spaced, at = False, match.end()
        if len(found) > MAX_TOKENS:
            raise Unreadable(f"more than {MAX_TOKENS} tokens")
    return found


def _tokens_of(match: re.Match[str], *, spaced: bool) -> list[Token]:  # noqa: PLR0911 - one return for each kind
    parts = match.groupdict()
    if parts.get("grouped"):
        return [Token("number", match[0], _number(match[0].replace(",", ""), ""), spaced)]
    if parts.get("digits"):
        base = int(match["base"].strip("{}"))
        return [Token("number", match[0], _in_base(match["digits"], base), spaced, base)]
    if parts.get("number"):
        digits, tail = match["number"], parts.get("tail") or ""
        if tail.startswith("_"):
            base = int(tail.strip("_{}"))
            return [Token("number", match[0], _in_base(digits, base), spaced, base)]
        return [Token("number", match[0], _number(digits, tail), spaced)]
    if parts.get("frame"):
        return [Token("word", match["frame"].replace(" ", "").replace("*", ""), spaced=spaced)]
    if parts.get("word"):
        return _letters(match[0], spaced=spaced)
    return [Token("sign", match[0], spaced=spaced)]


def _letters(word: str, *, spaced: bool) -> list[Token]:
    if word[0] == "\\":
        return [Token("word", word, spaced=spaced)]
    if word in WORDS or word.lower() in {"or", "and", "infinity"}:
        return [Token("word", "\\" + word.lower(), spaced=spaced)]
    if len(word) > 3:
        for known in sorted(WORDS, key=len, reverse=True):  # 2pi, xsin
            if len(known) > 2 and word.endswith(known) and len(word) - len(known) <= 2:
                return [*_letters(word[: -len(known)], spaced=spaced), Token("word", "\\" + known)]
        if not (word.isupper() and len(word) <= 6):  # a polygon by its corners
            raise Unreadable(f"the word {word!r} is no mathematics")
    return [Token("name", letter, spaced=spaced and n == 0) for n, letter in enumerate(word)]


def _number(digits: str, tail: str) -> Fraction:
    if len(digits) + len(tail) > MAX_DIGITS:
        raise Unreadable(f"a number of more than {MAX_DIGITS} digits")
    if tail[:1] in {"e", "E"}:
        if abs(int(tail[1:])) > 1000:
            raise Unreadable(f"the exponent {tail[1:]} is too large")
        return Fraction(digits) * Fraction(10) ** int(tail[1:])
    if "overline" in tail:
        return repeating(digits, re.sub(r"[^0-9]", "", tail))
    if tail:
        match = re.search(r"\.[0-9]*?([0-9]+?)(?:\1{2,}|(?<=[0-9]{3})\1)$", digits)
        if match is None:
            raise Unreadable(f"where {digits}... goes on is a guess")
        return repeating(digits, match[1])
    return Fraction(digits)


def _in_base(digits: str, base: int) -> Fraction:
    whole, _, places = digits.partition(".")
    if len(digits) > MAX_DIGITS:
        raise Unreadable(f"a number of more than {MAX_DIGITS} digits")
    try:
        return int(whole or "0", base) + Fraction(int(places or "0", base), base ** len(places))
    except ValueError:
        raise Unreadable(f"{digits} is no number in base {base}") from None


def repeating(digits: str, period: str) -> Fraction:
    """The value of 0.1666... from "0.1" (or longer, "0.166") and its period "6"."""
    places = len(digits.partition(".")[2])
    return Fraction(digits) + Fraction(int(period), (10 ** len(period) - 1) * 10**places)
