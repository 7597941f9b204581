"""Checks of a text that are more than a count: phrases, headings, options, answers, JSON. Each takes linear time."""

from __future__ import annotations

import json
import re

from journeyman.agent.constraints.text_units import has_word, paragraphs_of, words_of
from journeyman.agent.data import Json

PARTS_DIVIDER, ANSWERS_DIVIDER = "***", "******"
"""The lines between parts of a text, and between different answers."""

_COMMA = re.compile("[,،、，﹐﹑]")
_QUOTES = ('"“„«', '"”“»')


def is_json(text: str, key: str | None) -> bool:
    """Whether the text is JSON as RFC 8259 has it (so neither NaN nor Infinity), with a key an object that has it."""
    try:
        value: Json = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return key is None or (isinstance(value, dict) and key in value)


def begins(text: str, phrase: str) -> bool:
    """Whether the text begins with the phrase and not with a longer word; blanks and case aside, as in all of these."""
    said, wanted = _alike(text), _alike(phrase)
    return said.startswith(wanted) and not _inside_word(said, len(wanted))


def ends(text: str, phrase: str) -> bool:
    """Whether the text ends with the phrase, its marks included, and nothing after it."""
    said, wanted = _alike(text), _alike(phrase)
    return said.endswith(wanted) and not _inside_word(said, len(said) - len(wanted))


def repeats(text: str, first: str) -> bool:
    """Whether the text begins with another one and then says something."""
    return begins(text, first) and has_word(_alike(text)[len(_alike(first)) :])


def chooses(text: str, options: list[str]) -> bool:
    """Whether the text is one of the options, marks at both ends aside."""
    return _bare(text) in map(_bare, options)


def has_postscript(text: str, marker: str) -> bool:
    """Whether a line begins with the marker and a word, and words stand before it."""
    marks = list(re.finditer(rf"^[ \t]*{re.escape(marker)}[^\w\n]*\w", text, re.MULTILINE | re.IGNORECASE))
    return bool(marks) and has_word(text[: marks[-1].start()])


def sections_of(text: str, marker: str) -> int:
    """How many numbers stand after the marker at the beginnings of lines, whatever marks (`##`, `**`) are before it."""
    return len(set(re.findall(rf"^[^\w\n]*{re.escape(marker)} ?(\d+)\b", text, re.MULTILINE)))


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


def _bare(text: str) -> str:
    return _alike(text).strip(" .!\"'*")


def _inside_word(text: str, at: int) -> bool:
    return re.fullmatch(r"\w\w", text[max(at - 1, 0) : at + 1]) is not None
