r"""Mathematical text made plain, and cut into tokens: nothing of it is ever evaluated as code.

`plain_math` takes away what does not change the meaning (`\left`, `\,`, `\text{}`, `$`, bold) and writes Unicode signs
in LaTeX; `tokens` knows numbers, commands, letters and signs, and refuses (`Unreadable`) all else.
"""

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
        "cosh", "tanh", "log", "ln", "lg", "exp", "sqrt", "cbrt", "abs", "floor", "ceil", "pi", "oo", "inf",
        "infty", "infinity", "or", "and",
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


_SIGNS = str.maketrans(
    {
        "−": "-", "–": "-", "×": r"\times ", "·": r"\cdot ", "÷": r"\div ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ",
        "π": r"\pi ", "∞": r"\infty ", "√": r"\surd ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ",
        "ℝ": r"\mathbb{R}", "±": r"\pm ", "∓": r"\mp ", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ",
        "°": r"^\circ ",        "²": "^{2}", "³": "^{3}", "½": r"\frac{1}{2}", "¼": r"\frac{1}{4}",
        "¾": r"\frac{3}{4}", "…": r"\ldots ",
        "∧": r"\land ", "∨": r"\lor ", "⟨": r"\langle ", "⟩": r"\rangle ", "∖": r"\setminus ",
    }
)  # fmt: skip
_WRAPPERS = "text|textbf|textit|textrm|textsf|texttt|mathrm|mathbf|mathit|mathsf|mbox|boldsymbol|operatorname|hbox|bm"
_PLAIN = (
    (re.compile(r"\\(?:left|right|[bB]igg?[lrm]?)(?![A-Za-z])\.?"), ""),
    (re.compile(r"\\(?:displaystyle|textstyle|limits|bf|rm)(?![A-Za-z])"), " "),
    (re.compile(r"(?<=[0-9])(?:\{,\}|,\\!)(?=[0-9])"), ""),
    (re.compile(r"\\(?:quad|qquad)(?![A-Za-z])|(?<!\\)\\[,;:!> ]|~"), " "),
    (re.compile(r"\\(?:dfrac|tfrac|cfrac)(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\(?:dbinom|tbinom)(?![A-Za-z])"), r"\\binom"),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"(?<=[0-9])\.\.\.+"), r"\\ldots "),
    (re.compile(r"\^\{\\circ\}|\^\\circ(?![A-Za-z])|\\degree(?![A-Za-z])"), "°"),
    (re.compile(r"\s*\bper\s?cent\b"), "%"),
    (re.compile(r"(?<=[0-9)}])\s*\bdeg(?:rees?)?\b"), "°"),
    (re.compile(r"°\s*([CF])(?:elsius|ahrenheit)?\b"), r"°\1"),
    (re.compile(r"(?<=[0-9])\s*(?:x|\\times)\s*(?=10\s?\^)"), "*"),
    (re.compile(r"(?<=[\])])\s*U\s*(?=[\[(])"), r"\\cup "),
)
_WRAPPED = re.compile(rf"\\(?:{_WRAPPERS})\s*\{{([^{{}}]*)\}}")


def plain_math(text: str) -> str:
    """The text without what changes nothing; a lone `$` (currency) stays."""
    text = text.translate(_SIGNS)
    for _ in range(3):
        text = _WRAPPED.sub(r" \1 ", text)
    for pattern, plain in _PLAIN:
        text = pattern.sub(plain, text)
    before = None
    while before != text:
        before, text = text, text.lstrip(" \t\r\n*`").rstrip(" \t\r\n*`.,;:")
        for opened, closed in (("\\[", "\\]"), ("\\(", "\\)"), ("$$", "$$")):
            text = text.removeprefix(opened).removesuffix(closed)
        if len(text) > 1 and text[0] == text[-1] == "$":
            text = text[1:-1]
    return text


_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<grouped>[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?(?![0-9]))
    |(?P<number>(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+))
        (?P<tail>[eE][-+]?[0-9]+|\.?\\overline\s?\{[0-9]+\}|\\l?dots(?![A-Za-z])|_\{?[0-9]+\}?)?
    |(?P<frame>\\(?:begin|end)\s?\{[A-Za-z]+\})(?:\{[clr|]*\})?
    |(?P<word>\\[A-Za-z]+|[A-Za-z]+)
    |(?P<sign>\\\\|\\[{}|]|<=|>=|!=|\*\*|[-+*/^_=<>(){}\[\]|,;:!%&°'])""",
    re.VERBOSE,
)


def tokens(text: str) -> list[Token]:
    """The tokens of a plain text; raises Unreadable at the first character or number that fits nothing."""
    found: list[Token] = []
    at, depth, spaced = 0, 0, False
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise Unreadable(f"{text[at]!r} is no mathematics")
        if match["grouped"] and depth:  # in brackets a comma parts
            match = re.compile(r"(?P<number>[0-9]+)(?P<tail>(?!))?").match(text, at)
            assert match is not None
            found.append(Token("number", match[0], Fraction(match[0]), spaced))
        elif match["space"]:
            pass
        elif match["grouped"]:
            found.append(Token("number", match[0], _number(match[0].replace(",", ""), ""), spaced))
        elif match["number"]:
            found.append(Token("number", match[0], _number(match["number"], match["tail"] or ""), spaced))
        elif match["frame"]:
            found.append(Token("word", match["frame"].replace(" ", ""), spaced=spaced))
        elif match["word"]:
            found += _letters(match[0], spaced=spaced)
        else:
            found.append(Token("sign", match[0], spaced=spaced))
            depth += {"(": 1, "[": 1, "{": 1, "\\{": 1, ")": -1, "]": -1, "}": -1, "\\}": -1}.get(match[0], 0)
        spaced, at = match.lastgroup == "space", match.end()
        if len(found) > MAX_TOKENS:
            raise Unreadable(f"more than {MAX_TOKENS} tokens")
    return found


def _letters(word: str, *, spaced: bool) -> list[Token]:
    if word[0] == "\\":
        return [Token("word", word, spaced=spaced)]
    if word in WORDS or word.lower() in {"or", "and", "infinity"}:
        return [Token("word", "\\" + word.lower(), spaced=spaced)]
    if len(word) > 3:
        for known in sorted(WORDS, key=len, reverse=True):  # 2pi, xsin
            if len(known) > 2 and word.endswith(known) and len(word) - len(known) <= 2:
                return [*_letters(word[: -len(known)], spaced=spaced), Token("word", "\\" + known)]
        raise Unreadable(f"the word {word!r} is no mathematics")
    return [Token("name", letter, spaced=spaced and n == 0) for n, letter in enumerate(word)]


def _number(digits: str, tail: str) -> Fraction:
    if len(digits) + len(tail) > MAX_DIGITS:
        raise Unreadable(f"a number of more than {MAX_DIGITS} digits")
    if tail[:1] in {"e", "E"}:
        if abs(int(tail[1:])) > 1000:
            raise Unreadable(f"the exponent {tail[1:]} is too large")
        return Fraction(digits) * Fraction(10) ** int(tail[1:])
    if tail[:1] == "_":
        base = int(tail.strip("_{}"))
        if not (2 <= base <= 10 and digits.isdigit() and all(int(d) < base for d in digits)):
            raise Unreadable(f"{digits} is no number in base {base}")
        return Fraction(int(digits, base))
    if "overline" in tail:
        return repeating(digits, re.sub(r"[^0-9]", "", tail))
    if tail:
        match = re.search(r"\.[0-9]*?([0-9]+?)(?:\1{2,}|(?<=[0-9]{3})\1)$", digits)
        if match is None:
            raise Unreadable(f"where {digits}... goes on is a guess")
        return repeating(digits, match[1])
    return Fraction(digits)


def repeating(digits: str, period: str) -> Fraction:
    """The value of 0.1666... from "0.1" (or longer, "0.166") and its period "6"."""
    places = len(digits.partition(".")[2])
    return Fraction(digits) + Fraction(int(period), (10 ** len(period) - 1) * 10**places)
