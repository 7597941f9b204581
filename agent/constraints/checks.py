"""Checks of a text that are more than a count: phrases, headings, options, answers, JSON. Each takes linear time."""

from __future__ import annotations

import json
import re

from journeyman.agent.constraints.text_units import has_word, last_word_at, paragraphs_of, words_of
from journeyman.agent.data import Json

PARTS_DIVIDER, ANSWERS_DIVIDER = "***", "******"
"""The lines between parts of a text, and between different answers."""

_COMMA = re.compile("[,،、，﹐﹑]")
_MARKS = r"(?:[^\w\n]|_)*"  # what Markdown can put before a word on its line
_EMPHASIS, _CLOSING = "*_~`#>", '*_~`"”'
_FENCE = re.compile(r"(`{3,}|~{3,})(?:json(?!\w))?", re.IGNORECASE)
_QUOTES = ('"“„«', '"”“»')


def is_json(text: str, key: str | None) -> bool:
    """Whether the text is JSON as RFC 8259 has it (so neither NaN nor Infinity), with a key an object that has it.

    One fence may stand around all of it, without a language or with `json`.
    """
    bare = text.strip()
    if fence := _FENCE.match(bare):
        bare = bare[fence.end() :].removesuffix(fence[1])
    try:
        value: Json = json.loads(bare, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return key is None or (isinstance(value, dict) and key in value)


def begins(text: str, phrase: str) -> bool:
    """Whether the text begins with the phrase and not with a longer word; blanks and case aside, as in all of these."""
    said, wanted = _led(text, phrase), _alike(phrase)
    return said.startswith(wanted) and not _inside_word(said, len(wanted))


def ends(text: str, phrase: str) -> bool:
    """Whether the text ends with the phrase, its marks included, and nothing after it but what closes all of it."""
    said, wanted = _alike(text), _alike(phrase)
    if wanted[-1] not in _CLOSING:
        said = said.rstrip(_CLOSING + " ")
    return said.endswith(wanted) and not _inside_word(said, len(said) - len(wanted))


def repeats(text: str, first: str) -> bool:
    """Whether the text begins with another one and then says something."""
    return begins(text, first) and has_word(_led(text, first)[len(_alike(first)) :])


def chooses(text: str, options: list[str]) -> bool:
    """Whether the text is one of the options, marks at both ends aside."""
    return _bare(text) in map(_bare, options)


def has_postscript(text: str, marker: str) -> bool:
    """Whether a line begins with the marker, Markdown aside, and words stand before it and behind it.

    A blank may stand after a point inside the marker: `P. S.`
    """
    wanted = re.sub(r"(?<=\\\.)(?=\w)", r"[ \\t]?", re.escape(marker))
    last = last_word_at(text)
    marks = re.finditer(rf"^{_MARKS}{wanted}(?![^\W_])", text, re.MULTILINE | re.IGNORECASE)
    starts = [found.start() for found in marks if found.end() <= last]
    return bool(starts) and has_word(text[: starts[-1]])


def sections_of(text: str, marker: str) -> int:
    """How many numbers stand after the marker at the beginnings of lines, whatever marks (`##`, `**`) are around it."""
    heading = rf"^{_MARKS}{re.escape(marker)}[*_]* ?[*_]*(\d+)(?![^\W_])"
    return len(set(re.findall(heading, text, re.MULTILINE)))


def paragraph_begins(text: str, number: int, word: str) -> bool:
    """Whether there are so many paragraphs, and the last of so many begins with the word."""
    paragraphs = paragraphs_of(text)
    return len(paragraphs) >= number and words_of(paragraphs[number - 1])[0] == word


def are_answers(text: str, count: int) -> bool:
    """Whether the text is so many answers, no two with the same words, with the divider between them."""
    answers = paragraphs_of(text, ANSWERS_DIVIDER)
    return len(answers) == count == len({tuple(words_of(answer)) for answer in answers})


def is_quoted(text: str) -> bool:
    """Whether the text stands in double quotation marks."""
    bare = text.strip()
    return len(bare) > 1 and bare[0] in _QUOTES[0] and bare[-1] in _QUOTES[1]


def has_comma(text: str) -> bool:
    """Whether there is a comma of any script."""
    return _COMMA.search(text) is not None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _alike(text: str) -> str:
    return " ".join(text.split()).casefold()


def _led(text: str, phrase: str) -> str:
    """The text without what Markdown puts before a phrase that does not begin so itself."""
    said, marks = _alike(text), _EMPHASIS + " "
    return said if _alike(phrase)[0] in marks else said.lstrip(marks)


def _bare(text: str) -> str:
    return _alike(text).strip(" .!\"'*_`")


def _inside_word(text: str, at: int) -> bool:
    return re.fullmatch(r"[^\W_]{2}", text[max(at - 1, 0) : at + 1]) is not None
