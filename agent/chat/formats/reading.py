"""What all tool formats share: limits, JSON out of the middle of a text, searches that go through it once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from journeyman.agent.data import Json, Tool, ToolCall

MAX_CALL_CHARS = 20_000
"""Longest text of one call, or of one list of calls; a longer one is malformed."""
NAME = r"\w[\w.-]{0,127}"
"""A tool's or an argument's name, as a pattern."""

_BLANKS = re.compile(r"\s*")
_DECODER = json.JSONDecoder()


class Written(NamedTuple):
    """A call in a text: the characters [start, end). Further calls of one list have an empty stretch at its end."""

    start: int
    end: int
    call: ToolCall | None
    """None where it is malformed."""


class Syntax(Protocol):
    """How one family of models writes calls."""

    @property
    def opening(self) -> str:
        """What each of its calls, or lists of calls, has in its text; "" where nothing marks them."""

    def find(self, text: str, tools: Mapping[str, Tool]) -> Iterator[Written]:
        """The calls in order, malformed ones too where they are marked as calls. Never raises; linear in the text."""

    def write(self, calls: Sequence[ToolCall], tools: Mapping[str, Tool]) -> str:
        """The text of one turn's calls. Raises ValueError for what the format has no words for."""


class Search:
    """Where a pattern is found next; asked at rising places, it goes through the text once."""

    def __init__(self, pattern: re.Pattern[str], text: str) -> None:
        self._pattern, self._text = pattern, text
        self._asked, self._match = -1, pattern.search(text)

    def at(self, place: int) -> re.Match[str] | None:
        """The first match that begins at `place` or later."""
        if place < self._asked or (self._match is not None and self._match.start() < place):
            self._match = self._pattern.search(self._text, place)
        self._asked = place
        return self._match


def fixed(text: str) -> re.Pattern[str]:
    """The pattern of a text in which blanks at the ends, and line breaks, are any blanks or none."""
    return re.compile(r"\s*".join(re.escape(part) for part in re.split(r"\s*\n\s*", text.strip())))


def skip_blanks(text: str, at: int) -> int:
    """The first place from `at` on that is not blank."""
    match = _BLANKS.match(text, at)
    return match.end() if match else at


def json_at(text: str, at: int) -> tuple[Json, int] | None:
    """The JSON object or list that begins at `at`, blanks left out, and its end; None where there is none.

    None, too, where it is longer than MAX_CALL_CHARS, not finite, nested too deeply or not Unicode.
    """
    start = skip_blanks(text, at)
    if not text.startswith(("{", "["), start):
        return None
    try:
        value, length = _DECODER.raw_decode(text[start : start + MAX_CALL_CHARS])
    except (ValueError, RecursionError):
        return None
    return (value, start + length) if is_sound(value) else None


def is_sound(value: Json) -> bool:
    """Whether it can be written as JSON: finite, Unicode, and not too deep."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):  # UnicodeEncodeError is a ValueError
        return False
    return True


def dump(value: Json) -> str:
    """JSON as chat templates write it. Raises ValueError for what is not finite."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
