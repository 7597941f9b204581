"""The parts of a line that may be the answer."""

from __future__ import annotations

import re
from collections.abc import Iterator

from journeyman.verifiers.answers.doubts import bounded, denied, hedged, unsure

_MATH = re.compile(r"\$\$(.+?)\$\$|\$([^$]+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_RANGE = re.compile(r"\s*(?:(?:up )?to|through|until|[-–]+|vs\.?|/)\s*")
_JOINED = re.compile(r"[\s,;]*(?:and|or|,|;)[\s,;]*")
_IS = re.compile(r".*(?:\b(?:is|are|be|equals)\s|:\s)\s*(.+)", re.DOTALL)
_EQUATION = re.compile(r".*(?:[A-Za-z]{2,}|^|[.,;:])\s+((?:[A-Za-z]|[-0-9$][-0-9+*/×÷().,$\s]*?)\s*=[^=]+)", re.DOTALL)
_STATED = re.compile(
    r"(?:.*[^A-Za-z])?(?:is|are|equals?|be|was)\b(?:\s+(?:equal to|exactly|precisely|therefore|thus|then|hence|simply|"
    r"just|indeed|also|now|only|given by)\b){0,2}[\s:*=]*(?P<value>(?:[-−+±]\s?)?[$€£]?\s?[0-9.√π∞(\[{|\\].*)",
    re.DOTALL,
)
_SAID = re.compile(
    r".*\b(?:is|are|equals?|be)(?:\s+(?:equal to|exactly|simply|just|indeed|therefore|thus))?[\s:*]*", re.DOTALL
)
_ENDED = re.compile(r"(?:\s+[a-z]{1,20}){0,2}[\s.*]*")
_GIVEN = re.compile(r"\s*=\s*([-−+]?\s?[$€£]?[0-9.\\][^=]*)")
_NUMBERS = re.compile(r"\b(?:is|are|equals?)\s+[-−$€£]?\s?[0-9]")
_FOLLOWS = re.compile(r"\\(?:implies|therefore|iff|[Ll]ong[Rr]ightarrow|[Rr]ightarrow)(?![A-Za-z])|⇒|⟹|∴")


def pieces(line: str) -> Iterator[str]:
    """The line, then smaller parts of it that may be the answer, the likeliest first."""
    yield line
    spans = list(_MATH.finditer(line))
    if spans:
        yield from _of_mathematics(line, spans)
        return
    if unsure(line):
        return
    for pattern in (_EQUATION, _IS):
        if (match := pattern.fullmatch(line)) and not denied(line[: match.start(1)]):
            yield match[1]


def _of_mathematics(line: str, spans: list[re.Match[str]]) -> Iterator[str]:
    """What the line says of its mathematics ("the largest $n$ is 34"), else its last part with what is joined to it."""
    if unsure(_MATH.sub(" ", line)):
        return
    after = line[spans[-1].end() :]
    if given := _GIVEN.fullmatch(after):
        yield f"{line[spans[-1].start() : spans[-1].end()].strip('$ ')} = {given[1]}"
        return
    if stated := _STATED.fullmatch(after):
        once = len(_NUMBERS.findall(_MATH.sub(" ", line))) <= 1
        if once and not denied(line[: spans[-1].end() + stated.start("value")]):
            yield stated["value"]
        return
    said = _SAID.fullmatch(line[: spans[-1].start()]) and _ENDED.fullmatch(after)  # "the number of ... is $5$."
    if len(spans) == 1 and not said and hedged(_MATH.sub("", line)):
        return
    first = len(spans) - 1
    while first and _JOINED.fullmatch(line[spans[first - 1].end() : spans[first].start()]):
        first -= 1
    start = spans[first - 1].end() if first else 0
    before = line[start : spans[first].start()]
    if denied(line[: spans[first].start()], after) or bounded(before) or (first and _RANGE.fullmatch(before)):
        return
    answer = line[spans[first].start() : spans[-1].end()].replace("$", " ")
    yield _FOLLOWS.split(answer)[-1] if len(spans) == 1 else answer
