"""A small reader of literals, Python's and JSON's alike, and of calls: `f(a=1, b="x")`. Nothing is run."""

from __future__ import annotations

import re
from collections.abc import Callable

from journeyman.agent.chat.formats.reading import MAX_CALL_CHARS, NAME, is_sound
from journeyman.agent.data import Json, ToolCall

MAX_DEPTH = 64
"""Deepest nesting of lists and objects."""

_TOKEN = re.compile(
    rf"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<float>[+-]?(?:\d+\.\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+))
    |(?P<int>[+-]?\d+)|(?P<name>{NAME})|(?P<mark>.))""",
    re.DOTALL | re.VERBOSE,
)
_CONSTANTS = {"True": True, "true": True, "False": False, "false": False, "None": None, "null": None}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_PLAIN = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "a": "\a", "0": "\0", "/": "/",
          "\n": "", "'": "'", '"': '"', "\\": "\\"}  # fmt: skip


class MalformedError(Exception):
    """The text is no literal."""


class Literals:
    """Reads one stretch of a text, token by token, from `at` on and no further than MAX_CALL_CHARS."""

    def __init__(self, text: str, at: int, *, quote: str | None = None) -> None:
        """`quote` is what texts stand between where it is no quotation mark, e.g. `<|"|>`; then keys have none."""
        self._text, self._quote, self.at = text, quote, at
        self._limit = min(len(text), at + MAX_CALL_CHARS)

    def _next(self) -> tuple[str, str]:
        match = _TOKEN.match(self._text, self.at, self._limit)
        if match is None or match.lastgroup is None:
            raise MalformedError
        self.at = match.end()
        return match.lastgroup, match[match.lastgroup]

    def takes(self, mark: str) -> bool:
        """Whether `mark` is next; then it is passed."""
        match = re.compile(r"\s*").match(self._text, self.at, self._limit)
        start = match.end() if match else self.at
        if not self._text.startswith(mark, start, self._limit):
            return False
        self.at = start + len(mark)
        return True

    def needs(self, mark: str) -> None:
        """Passes `mark`. Raises MalformedError where something else is next."""
        if not self.takes(mark):
            raise MalformedError

    def name(self) -> str:
        """Passes a name and gives it."""
        kind, name = self._next()
        if kind != "name":
            raise MalformedError
        return name

    def call(self) -> ToolCall:
        """Passes `name(key=value, ...)`."""
        name = self.name()
        self.needs("(")
        arguments: dict[str, Json] = {}

        def argument() -> None:
            key = self.name()
            self.needs("=")
            arguments[key] = self.value()

        self._several(")", argument)
        if not is_sound(arguments):
            raise MalformedError
        return ToolCall(name, arguments)

    def value(self, depth: int = 0) -> Json:
        """Passes a literal and gives it; tuples are lists."""
        if depth > MAX_DEPTH:
            raise MalformedError
        if self._quote is not None and self.takes(self._quote):
            return self._quoted(self._quote)
        kind, word = self._next()
        if word in ("[", "("):
            items: list[Json] = []
            self._several("]" if word == "[" else ")", lambda: items.append(self.value(depth + 1)))
            return items
        return self.fields(depth + 1) if word == "{" else self._single(kind, word)

    def _single(self, kind: str, word: str) -> Json:
        """A literal of one token."""
        if kind == "name" and word in _CONSTANTS:
            return _CONSTANTS[word]
        if kind == "text" and self._quote is None:
            return _unescaped(word[1:-1])
        if kind not in ("int", "float"):
            raise MalformedError
        try:
            return int(word) if kind == "int" else float(word)
        except ValueError:  # more digits than Python reads
            raise MalformedError from None

    def fields(self, depth: int = 0) -> dict[str, Json]:
        """Passes what an object has after its `{`, and the `}`."""
        fields: dict[str, Json] = {}

        def field() -> None:
            key = self._key()
            self.needs(":")
            fields[key] = self.value(depth)

        self._several("}", field)
        return fields

    def _key(self) -> str:
        if self._quote is not None and self.takes(self._quote):
            return self._quoted(self._quote)
        if self._quote is not None:
            match = re.compile(r"\s*([^\s:{}\[\],\"']{1,128})").match(self._text, self.at, self._limit)
            if match is None:
                raise MalformedError
            self.at = match.end()
            return match[1]
        kind, token = self._next()
        if kind != "text":
            raise MalformedError
        return _unescaped(token[1:-1])

    def _quoted(self, quote: str) -> str:
        end = self._text.find(quote, self.at, self._limit)
        if end < 0:
            raise MalformedError
        text, self.at = self._text[self.at : end], end + len(quote)
        return text

    def _several(self, close: str, read: Callable[[], None]) -> None:
        """Passes what `read` passes, any number of times with commas between, and `close`."""
        while not self.takes(close):
            read()
            if not self.takes(","):
                self.needs(close)
                return


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text

    def plain(match: re.Match[str]) -> str:
        digits = match[1] or match[2] or match[3]
        if digits:
            number = int(digits, 16)
            return chr(number) if number < 0x110000 else match[0]
        return _PLAIN.get(match[4], match[0])

    changed = _ESCAPE.sub(plain, text)
    try:  # JSON writes one character beyond 16 bits as two
        return changed.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        return changed
