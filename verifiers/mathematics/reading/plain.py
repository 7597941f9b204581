r"""Mathematical text made plain: what does not change the meaning is taken away (`\left`, `\,`, `\text{}`, `$`, bold).

Unicode signs are written in LaTeX, old spellings (`{n \choose k}`) in new ones. Nothing is evaluated.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

from journeyman.verifiers.mathematics.reading.words import FUNCTIONS, OF_SEVERAL, OPERATORS

TEXT = "\ue000"
r"""Stands before words that LaTeX sets as text (`\text{ cm}`), so that units are told from symbols; tokens skip it."""

_SIGNS = str.maketrans(
    {
        "−": "-", "–": "-", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "÷": r"\div ", "≤": r"\le ", "≥": r"\ge ",
        "≠": r"\ne ", "≈": r"\approx ", "≡": r"\equiv ", "π": r"\pi ", "∞": r"\infty ", "√": r"\surd ",
        "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}",
        "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}", "ℂ": r"\mathbb{C}", "±": r"\pm ", "∓": r"\mp ", "∠": r"\angle ",
        "△": r"\triangle ", "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "δ": r"\delta ", "ε": r"\epsilon ",
        "θ": r"\theta ", "λ": r"\lambda ", "μ": r"\mu ", "ρ": r"\rho ", "σ": r"\sigma ", "τ": r"\tau ", "φ": r"\phi ",
        "ω": r"\omega ", "Δ": r"\Delta ", "Ω": r"\Omega ", "°": r"^\circ ", "′": "'", "’": "'", "½": r"\frac{1}{2}",
        "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "…": r"\ldots ", "∧": r"\land ", "∨": r"\lor ", "⟨": r"\langle ",
        "⟩": r"\rangle ", "∖": r"\setminus ", "⁰": "^{0}", "¹": "^{1}", "²": "^{2}", "³": "^{3}", "⁴": "^{4}",
        "⁵": "^{5}", "⁶": "^{6}", "⁷": "^{7}", "⁸": "^{8}", "⁹": "^{9}", "ⁿ": "^{n}", "₀": "_{0}", "₁": "_{1}",
        "₂": "_{2}", "₃": "_{3}", "₄": "_{4}", "₅": "_{5}", "₆": "_{6}", "₇": "_{7}", "₈": "_{8}", "₉": "_{9}",
        "ₙ": "_{n}", "，": ",", "：": ":", "（": "(", "）": ")", "＝": "=", "。": ".", "\xa0": " ",
        "\u2007": " ", "\u2009": " ", "\u202f": " ", "\u200b": "", "\u2061": "", TEXT: " ",
    }
)  # fmt: skip
_TEXTS = "text|textbf|textit|textrm|textsf|texttt|textnormal|textup|textsc|emph|mbox|hbox|mathrm|mathsf|mathit|rm"
_FACES = (
    "mathbf|boldsymbol|bm|mathcal|mathscr|mathfrak|operatorname\\*?|mathop|ensuremath|boxed|fbox|underline|mathstrut"
)
_NAMED = "|".join(sorted(FUNCTIONS | OF_SEVERAL | OPERATORS, key=len, reverse=True))
_BASES = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11,
    "twelve": 12, "sixteen": 16,
}  # fmt: skip
_BOLD = r"\\(?:mathbf|boldsymbol|bm)\s*\{?\s*([A-Za-z])\s*\}?"
_DOMAIN = r"[A-Za-z]\s*\\in\s*\\mathbb\s*\{?[A-Z]\}?[^()]{0,6}?"
_TEXT = re.compile(rf"\\(?:{_TEXTS})\s*\{{(\s*~?\s*[A-Za-z][^{{}}]*)\}}")
_FACE = re.compile(rf"\\(?:{_TEXTS}|{_FACES})\s*\{{([^{{}}]*)\}}")
_OPEN_FACE = re.compile(rf"\\(?:{_TEXTS}|{_FACES})\s*(?=\{{)")
_BLOCKS = "array|aligned|matrix|gathered"
_PLAIN = (
    (  # a brace before rows
        re.compile(
            rf"\\left\s*\\\{{\s*\\begin\{{({_BLOCKS})\}}(?:\s*\{{[lcr| ]*\}})?(.*?)\\end\{{\1\}}\s*\\right\b\s*\.?",
            re.DOTALL,
        ),
        r"\\begin{cases}\2\\end{cases}",
    ),
    (re.compile(rf"\\frac\s*\{{\s*{TEXT}([^{{}}]*)\}}\s*\{{\s*{TEXT}([^{{}}]*)\}}"), rf" {TEXT}\1/\2"),
    (re.compile(r"\\(?:left|right|middle|[bB]igg?[lrm]?)(?![A-Za-z])\.?"), ""),
    (
        re.compile(
            r"\\(?:displaystyle|textstyle|scriptstyle|no?limits|bf|rm|it|sf|tt|strut|allowbreak|noindent|nonumber)"
            r"(?![A-Za-z])|\\(?:phantom|[hv]space\*?|label|tag|color|textcolor)\s*(?:\{[^{}]*\}|[^\\{}])"
        ),
        " ",
    ),
    (re.compile(r"(?<=[0-9])\s?(?:\{,\s*\}|,\s?\\!)\s?(?=[0-9]{3})"), ""),
    (re.compile(r"\\!"), ""),
    (re.compile(r"\\q?quad|\\(?:enspace|thinspace|newline|hfill)(?![A-Za-z])|(?<!\\)\\[,;:> ]|~"), " "),
    (re.compile(r"\\(?:dfrac|tfrac|cfrac)(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\(?:dbinom|tbinom)(?![A-Za-z])"), r"\\binom"),
    (re.compile(r"\{([^{}\\]*)\\choose(?![A-Za-z])([^{}\\]*)\}"), r"\\binom{\1}{\2}"),
    (re.compile(r"^([^{}\\]*)\\choose(?![A-Za-z])([^{}\\]*)$"), r"\\binom{\1}{\2}"),
    (re.compile(r"\{([^{}\\]*)\\over(?![A-Za-z])([^{}\\]*)\}"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"\\\$"), "$"),
    (re.compile(r"(?<=[0-9])\.\.\.+"), r"\\ldots "),
    (re.compile(r"\^\{\\circ\}|\^\\circ(?![A-Za-z])|\\degree(?![A-Za-z])"), "°"),
    (re.compile(r"\^\s?\{\s?((?:\\prime\s?)+)\}|\^\s?(\\prime(?![A-Za-z]))"), lambda m: "'" * m[0].count("prime")),
    (re.compile(r"\s*\bper\s?cent\b"), "%"),
    (re.compile(rf"(?<=[0-9)}}])[\s{TEXT}]*\bdeg(?:rees?)?\b"), "°"),
    (
        re.compile(rf"(?<=[0-9])_\s?\{{?[\s{TEXT}]*({'|'.join(_BASES)})\b\s*\}}?"),
        lambda m: f"_{{{_BASES[m[1]]}}}" if _BASES[m[1]] > 9 else f"_{_BASES[m[1]]}",
    ),
    (re.compile(r"(?<![A-Za-z\\])C_\{?([0-9]+)\}?\^\{?([0-9]+)\}?"), lambda m: _chosen(m, m[1], m[2])),
    (re.compile(r"(?<![A-Za-z\\])C\^\{?([0-9]+)\}?_\{?([0-9]+)\}?"), lambda m: _chosen(m, m[2], m[1])),
    (re.compile(r"°\s*([CF])(?:elsius|ahrenheit)?\b"), r"°\1"),
    (re.compile(r"(?<=[0-9])\s*(?:x|\\times)\s*(?=10\s?\^)"), "*"),
    (re.compile(r"(?<=[\])])\s*U\s*(?=[\[(])"), r"\\cup "),
    (re.compile(r"\(([0-9A-Z.]+)\)_\s?\{?([0-9]{1,2})\}?"), r"\1_{\2}"),  # (110)_2
    (re.compile(r"\(?\s*(?:\\[bp]?mod|\bmod)\b\s*\{?\s*(\w+)\s*\}?\s*\)?"), r" \\pmod{\1}"),
    (re.compile(r"\s+(?=[_^])"), ""),
    (re.compile(r"\b(?:np|numpy|math|sympy)\."), ""),
    (re.compile(r"([0-9.]+)°\s*([0-9.]+)'(?!')(?:\s*([0-9.]+)(?:''|\"))?"), lambda m: _degrees(*m.groups())),
    (
        re.compile(
            rf",?[\s{TEXT}]*\b(?:for|where)\s+(?:all|any|every|each)[\s{TEXT}]+"
            rf"(?:(?:real|integer|natural)[^,]*|[A-Za-z](?:\s*\\in\s*\\mathbb\s*\{{?[A-Z]\}}?\S{{0,4}})?[\s.]*)$"
        ),
        "",
    ),
    (  # what a letter may be, behind the answer
        re.compile(rf"\s*[,;]?\s*\([\s{TEXT}]*(?:(?:where|for|with)[\s{TEXT}]+)?({_DOMAIN})[\s{TEXT}]*\)[\s.]*$"),
        r", \1",
    ),
    (re.compile(rf"\s*[,;]?[\s{TEXT}]*\b(?:where|for|with)[\s{TEXT}]+({_DOMAIN})[\s.]*$"), r", \1"),
    (  # a rounded value in brackets
        re.compile(
            rf"\(\s*[\s{TEXT}]*(?:or\s+)?(?:\\(?:approx|simeq)(?![A-Za-z])|approx(?:imately|\.)|about|roughly)"
            r"\s*([^()]*)\)[\s.]*$"
        ),
        r"\\approx \1",
    ),
    (  # 10 000
        re.compile(r"(?<![\w.,/^_\\])[1-9][0-9]{0,2}(?: [0-9]{3})+(?![0-9]|\s*(?:[/^]|\\frac))"),
        lambda m: m[0].replace(" ", ""),
    ),
)


def _degrees(degrees: str, minutes: str, seconds: str | None) -> str:
    """Degrees, minutes and seconds of arc as degrees; the text as it was where they are no numbers."""
    try:
        return f"({Fraction(degrees) + Fraction(minutes) / 60 + Fraction(seconds or 0) / 3600})°"
    except ValueError:
        return f"{degrees}°{minutes}'"


def _chosen(match: re.Match[str], of: str, chosen: str) -> str:
    """The combinations `C_5^2`; the text as it was where it chooses more than there are."""
    return f"\\binom{{{of}}}{{{chosen}}}" if int(chosen) <= int(of) else match[0]


def plain_math(text: str) -> str:
    """The text without what changes nothing; a lone `$` (currency) stays."""
    return marked_math(text).replace(TEXT, "")


@lru_cache(maxsize=4096)
def marked_math(text: str) -> str:
    """As `plain_math`, with `TEXT` before words that were set as text."""
    text = _undollared(text.translate(_SIGNS))
    if "\\" in text:
        text = _CROSSED.sub(r"\\vec{\1}\\times \\vec{\2}", _OPERATOR.sub(r"\\\1 ", text))
    for _ in range(3):
        if "{" not in text or "\\" not in text:
            break
        text = _FACE.sub(r" \1 ", _TEXT.sub(rf" {TEXT}\1 ", text))
    text = _OPEN_FACE.sub(" ", text)  # around braces
    for pattern, plain in _PLAIN:
        text = pattern.sub(plain, text)
    before = None
    while before != text:
        before, text = text, _ENDING.sub("", text.lstrip(" \t\r\n*`"))
        for opened, closed in (("\\[", "\\]"), ("\\(", "\\)")):
            text = text.removeprefix(opened).removesuffix(closed)
    return text


_OPERATOR = re.compile(rf"\\operatorname\*?\s*\{{\s*({_NAMED})\s*\}}")
_CROSSED = re.compile(rf"{_BOLD}\s*\\times\s*{_BOLD}")
_ENDING = re.compile(r"(?:(?<!\^)\*|[\s`.,;:])+$")
"""What may stand behind an answer; the star of `N^*` is part of it."""
_MARK = re.compile(r"(?<!\\)\$\$?")
_SUM = re.compile(r"[-+=<>,]")
_IN_PROSE = re.compile(r"[,;]\s*$|^[0-9.,]*\s*(?:and|or|to|per|plus|for|a|an|each|more|less)\s|[A-Za-z]{4,}\s+$")


def _undollared(text: str) -> str:
    """The text without the `$` around mathematics; those before sums of money stay."""
    if text.count("$") < 2:
        return text
    parts = _MARK.split(text)
    inside = [re.sub(r"\\[A-Za-z]+|\{[^{}]*\}", "0", part) for part in parts[1::2]]
    if len(parts) == 3 and not parts[0].strip() and not parts[2].strip(" ."):
        return parts[1]
    if len(parts) % 2 == 0 or any(_IN_PROSE.search(part) for part in inside):
        return text
    for at in range(1, len(parts), 2):  # what $x+1$^2 does to all of it
        if re.match(r"\s*[\^_!]", parts[at + 1]) and _SUM.search(parts[at]):
            parts[at] = f"({parts[at]})"
    return " ".join(parts)


def squeezed(text: str) -> str:
    """The plain text without blanks and braces that change nothing, to compare texts that are not read.

    Words alone are compared whatever their case, mathematics is not.
    """
    plain = re.sub(r"(?<=[0-9]) (?=[A-Za-z]$)", "", re.sub(r"\s+", " ", plain_math(text)).strip())  # 3 m
    plain = re.sub(r"(\\[A-Za-z]+)\s*\{(\w)\}", r"\1 \2", re.sub(r"(?<=[_^])\{(\w)\}", r"\1", plain))
    words = re.fullmatch(r"[A-Za-z][A-Za-z .,'-]*", plain)
    return plain.casefold() if words else re.sub(r"(?<![A-Za-z0-9])(?<![0-9],) | (?![A-Za-z0-9])", "", plain)
