r"""Where the final answer stands in a model's text.

In this order: after the last `####`, in the last `\boxed{}` (several joined by commas, "and" or "or" are one answer),
after the last "answer is" or "answer:", else in the last line: all of it, its `$...$`, what follows "is", or its only
number. What the words around it deny, doubt or ask is no answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_ANSWER = 1_000
"""Characters of an answer; a longer one is not read."""
MAX_TEXT = 10_000
"""Characters at the end of a text in which the answer is looked for."""

_BOX = re.compile(r"\\(?:boxed|fbox)\s?\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_JOINT = re.compile(
    r"(?:[\s$,;]|\\[()\[\]]|\\text\{\s?(?:and|or)\s?\}|\b(?:and|or)\b)*(?:,|;|and|or)(?:[\s$,;}]|\\[()\[\]]|\b(?:and|or)\b)*"
)
_ANCHOR = re.compile(
    r"\b(?:answer|choice|option)s?\b[^.:\n]{0,40}?(?:\b(?:is|are)\b|:)[:*\s]{0,6}(?P<rest>[^\n]+)", re.IGNORECASE
)
_SENTENCE = re.compile(r"[.?](?:\s+(?=[A-Z(\\$])|\s*$)")
_MATH = re.compile(r"\$\$(.+?)\$\$|\$([^$]+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_DOUBT = (
    r"unlikely|doubt\w*|guess\w*|maybe|perhaps|possibly|probably|might|impossible|never|unsure|neither|nor|"
    r"(?:wrong|incorrect|false)(?=\s*:|\s+(?:that|answer|result|value|choice|option|number)\b)"
)
_HEDGE = re.compile(
    rf"\b(?:{_DOUBT}|or|not|either|cannot|wrong\w*|incorrect\w*|false|between|at least|at most)\b|n't\b|\?",
    re.IGNORECASE,
)
_DENIED = re.compile(
    rf"\b(?:{_DOUBT})|(?:\bnot|n't|\bcannot)\s*(?::|\b(?:be|equal|true|sure|certain|clear|think|believe|say|know|my)\b)|"
    r"(?:\bnot|n't|\bcannot)(?:\s+\w+)?[\s$\\(\[]*$",
    re.IGNORECASE,
)
_REVOKED = re.compile(
    r"[\s$\\)\]]*(?:\?|(?:is|was|seems|looks|would be)\s+(?:\w+\s+)?(?:wrong|incorrect|false|unlikely|impossible)\b|"
    r"(?:is|was)(?:n't|\s+not)\s+(?:it|right|correct|true|possible|the)\b)",
    re.IGNORECASE,
)
_BOUND = re.compile(r"\b(?:between|at least|at most|than)[\s$\\(\[]*$", re.IGNORECASE)
_RANGE = re.compile(r"\s*(?:(?:up )?to|through|until|[-–]+|vs\.?|/)\s*")
_IS = re.compile(r".*(?:\b(?:is|are|be|equals)\s|:\s)\s*(.+)", re.DOTALL)
_EQUATION = re.compile(r".*(?:[A-Za-z]{2,}|^|[.,;:])\s+((?:[A-Za-z]|[-0-9$][-0-9+*/×÷().,$\s]*?)\s*=[^=]+)", re.DOTALL)


def find(text: str, where: str) -> str:
    """The text of the final answer; empty where there is none. `where` is as `MathAnswer` has it."""
    text = text[-MAX_TEXT:]
    if where == "marked" or (where == "auto" and "####" in text):
        _, mark, rest = text.rpartition("####")
        return rest.strip(" \t").split("\n")[0] if mark else ""
    if where == "boxed" or (where == "auto" and _BOX.search(text)):
        return _boxed(text)
    if where == "auto" and (found := list(_ANCHOR.finditer(text))):
        return _told(found[-1])
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def _told(anchor: re.Match[str]) -> str:
    """What follows "answer is" in its sentence; nothing where that is denied or a question."""
    rest = anchor["rest"]
    end = _SENTENCE.search(rest)
    if denied(anchor.string[: anchor.start("rest")]) or (end and end[0].startswith("?")):
        return ""
    return rest[: end.start()] if end else rest


def denied(before: str, after: str = "") -> bool:
    """Whether the words right before a value (of the same clause) or right after it deny or doubt it."""
    clause = re.split(r"[,;.!?\n]", before[-200:])[-1]
    return bool(_DENIED.search(clause) or _REVOKED.match(after[:200]))


def _boxed(text: str) -> str:
    boxes = list(_boxes(text))
    if not boxes or denied(text[: boxes[-1][0]], text[boxes[-1][1] :]):
        return ""
    answer = boxes[-1][2]
    for (_, end, before), (start, _, _) in zip(boxes[-2::-1], boxes[:0:-1], strict=True):
        between = text[end:start]
        if len(between) > 40 or not _JOINT.fullmatch(between):
            break
        answer = f"{before}{' or ' if 'or' in between else ', '}{answer}"
    return answer


def _boxes(text: str) -> Iterator[tuple[int, int, str]]:
    """Start, end and content of the outermost boxes; one that is never closed is empty."""
    at = 0
    while match := _BOX.search(text, at):
        at = _closing(text, match.end())
        inside = text[match.end() : at - 1] if at else ""
        if inner := _BOX.match(inside.strip()):  # a box in a box
            inside = inside.strip()[inner.end() : -1]
        yield match.start(), at or len(text), inside
        at = at or len(text)


def _closing(text: str, at: int) -> int:
    """The place after the brace that closes the one before `at`; 0 where there is none."""
    depth = 1
    for match in _BRACE.finditer(text, at):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return match.end()
    return 0


def pieces(line: str) -> Iterator[str]:
    """The line, then smaller parts of it that may be the answer, the likeliest first."""
    yield line
    spans = list(_MATH.finditer(line))
    if spans:
        first = len(spans) - 1
        while first and re.fullmatch(
            r"[\s,;]*(?:and|or|,|;)[\s,;]*", line[spans[first - 1].end() : spans[first].start()]
        ):
            first -= 1
        start = spans[first - 1].end() if first else 0
        before, after = line[start : spans[first].start()], line[spans[-1].end() :]
        if len(spans) == 1 and hedged(_MATH.sub("", line)):
            return
        if denied(before, after) or _BOUND.search(before) or (first and _RANGE.fullmatch(before)):
            return
        yield line[spans[first].start() : spans[-1].end()].replace("$", " ")
        return
    for pattern in (_EQUATION, _IS):
        if (match := pattern.fullmatch(line)) and not denied(line[: match.start(1)]):
            yield match[1]


def hedged(line: str) -> bool:
    """Whether it says "or", "not", "maybe", "at least" and the like, or asks, so that no part of it is an answer."""
    return _HEDGE.search(line) is not None
