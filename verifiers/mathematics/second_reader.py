r"""What our own reader cannot read is left to math-verify, and what it says is believed only where it has seen it all.

math-verify (Hugging Face; on latex2sympy2 and SymPy) reads far more of LaTeX: sums, integrals, congruences. It also
takes unequal answers for equal ones: it rounds, drops units, percent signs and bases, and passes over what it does not
know. So both texts have to agree in those, and "equal" has to become "unequal" when any one number or letter of
either is changed: else there is a part that it has not read.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from functools import lru_cache
from typing import Any

from journeyman.verifiers.mathematics.reading.plain import TEXT, marked_math

MAX_TEXT = 300
"""Characters of either side."""
MAX_PARTS = 24
"""Numbers and letters of one text that are changed in turn, on average of both."""
SECONDS = 2
"""For one comparison, and for the changed ones together: what is not shown in that time is not believed."""

_SIGNS = re.compile(
    r"\\(?:i*int|oint|sum|prod|lim)(?![A-Za-z])|'|(?<![A-Za-z\\])d\s?[a-z]\b|(?<=[A-Za-z])d[a-z]\b|"
    r"\\(?:[lg]eq?(?:slant)?|neq?|in|notin|equiv|approx|subset(?:eq)?|pmod|bmod|mod|mid|to|rightarrow|circ|infty)(?![A-Za-z])|"
    r"[<>=%°$|]|_\s?\{?[0-9]+|\\[{}]"
)
_OPERATOR = re.compile(r"\\(?:i*int|oint|sum|prod|lim)(?![A-Za-z])")
_BOUND = re.compile(
    r"\\(?:sum|prod)\s*_\s*\{?\s*([A-Za-z])\s*(?==|\\in)|\\lim\s*_\s*\{?\s*([A-Za-z])\s*\\(?:to|rightarrow)|"
    r"(?<!\\)d\s?([a-z])(?![A-Za-z])"
)
_BRACKETS = re.compile(r"[()\[\]]")
_PART = re.compile(r"\\[A-Za-z]+|(?P<number>[0-9]+)|(?P<letter>[A-Za-z])")
_HUGE = re.compile(
    r"(?:\^|\*\*)\s*[{(]?\s*-?[0-9]{3,}|[0-9]{3,}\s*!|!\s*!|(?:[0-9)}]\s*(?:\^|\*\*)[^+]*){3,}|[0-9]{40,}"
)
_WORD = re.compile(
    r"(?<![\\A-Za-z])(?:(?!and(?![A-Za-z])|or(?![A-Za-z]))[A-Za-z]{3,}|[A-Z][a-z]?[0-9]|(?:to|of|is|at|in|by|if)(?![A-Za-z]))"
)
"""Of three letters, or short ones of prose; or H2O."""


def can_read(text: str) -> bool:
    """Whether math-verify reads a text as mathematics."""
    plain = marked_math(text)
    return _is_readable(plain) and bool(_parsed(plain))


def agrees(gold: str, answer: str) -> bool:
    """Whether math-verify holds the answer for the gold, and has read all of it."""
    plain, other = marked_math(gold), marked_math(answer)
    other = _renamed(plain, other)
    if not (_is_readable(plain) and _is_readable(other) and _alike(plain, other) and _same(plain, other)):
        return False
    end = time.process_time() + SECONDS
    pairs = [*((plain, text) for text in _changed(other)), *((text, other) for text in _changed(plain))]
    return len(pairs) <= 2 * MAX_PARTS and all(time.process_time() < end and not _same(*pair) for pair in pairs)


def _is_readable(plain: str) -> bool:
    return len(plain) <= MAX_TEXT and not is_prose(plain) and not _HUGE.search(plain)


def is_prose(plain: str) -> bool:
    """Whether it has words that are no mathematics."""
    return TEXT in plain or _WORD.search(plain) is not None or not re.search(r"[0-9\\=<>^_+*/(]", plain)


def _alike(plain: str, other: str) -> bool:
    """Whether both have the same relations, signs and kinds of brackets, and decimals on both sides or none."""
    signs = [Counter(re.sub(r"[\s{]", "", sign[0]) for sign in _SIGNS.finditer(text)) for text in (plain, other)]
    listed = "," in plain or "," in other
    brackets = [Counter(_BRACKETS.findall(text)) if listed else None for text in (plain, other)]
    decimals = [re.search(r"[0-9]\.[0-9]", text) is not None for text in (plain, other)]
    return signs[0] == signs[1] and brackets[0] == brackets[1] and decimals[0] == decimals[1]


def _renamed(plain: str, other: str) -> str:
    """The answer with the gold's letter for what its sum, integral or limit runs over, where that is free."""
    bound = [{next(filter(None, match.groups())) for match in _BOUND.finditer(text)} for text in (plain, other)]
    if not len(bound[0]) == len(bound[1]) == 1 or bound[0] == bound[1]:
        return other
    (new,), (old,) = bound
    letters = [part for part in _PART.finditer(other) if part["letter"] in {old, new}]
    begins = _OPERATOR.search(other)
    if begins is None or any(part["letter"] == new or part.start() < begins.start() for part in letters):
        return other
    return _PART.sub(lambda part: new if part["letter"] == old else part[0], other)


def _changed(text: str) -> list[str]:
    """The text with each of its numbers one larger, and each of its letters another one, in turn."""
    texts = []
    for part in _PART.finditer(text):
        if part["number"] or part["letter"]:
            new = str(int(part[0]) + 1) if part["number"] else "w" if part[0] != "w" else "v"
            texts.append(text[: part.start()] + new + text[part.end() :])
    return texts


def _same(plain: str, other: str) -> bool:
    from math_verify import verify

    return bool(verify(_parsed(plain), _parsed(other), timeout_seconds=_seconds()))


@lru_cache(maxsize=1024)
def _parsed(plain: str) -> list[Any]:
    """What math-verify reads; empty where it reads nothing but the text itself."""
    import logging

    from math_verify import LatexExtractionConfig, parse

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)  # it tells of each text that it cannot read
    # as LaTeX alone: what it takes for plain expressions it hands to SymPy's parser, which evaluates
    found = parse(f"${plain}$", [LatexExtractionConfig()], parsing_timeout=_seconds())
    return found if any(not isinstance(part, str) for part in found) else []


def _seconds() -> int | None:
    """Its own limit works by a signal, which threads have not; the pool's limit holds there."""
    return SECONDS if threading.current_thread() is threading.main_thread() else None
