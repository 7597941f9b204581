"""Gemma's calls: `call:NAME{key:value, ...}` between marks, texts in marks of their own and keys bare."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from journeyman.agent.chat.formats.literals import Literals, MalformedError
from journeyman.agent.chat.formats.reading import Search, Written, dump, is_sound
from journeyman.agent.data import Json, Tool, ToolCall


@dataclass(frozen=True, slots=True)
class Braced:
    """The marks around a call, and what stands on both sides of a text; a text that has it cannot be written."""

    opening: str
    closing: str
    quote: str

    def find(self, text: str, tools: Mapping[str, Tool]) -> Iterator[Written]:
        """As Syntax."""
        opened = Search(re.compile(re.escape(self.opening)), text)
        closed = Search(re.compile(re.escape(self.closing)), text)
        at = 0
        while (match := opened.at(at)) is not None:
            literals, call = Literals(text, match.end(), quote=self.quote), None
            try:
                literals.needs("call:")
                name = literals.name()
                literals.needs("{")
                arguments = literals.fields()
                literals.needs(self.closing)
                at = literals.at
                call = ToolCall(name, arguments) if is_sound(arguments) else None
            except MalformedError:
                close = closed.at(match.end())
                at = len(text) if close is None else close.end()
            yield Written(match.start(), at, call)

    def write(self, calls: Sequence[ToolCall], tools: Mapping[str, Tool]) -> str:
        """As Syntax."""
        return "".join(
            f"{self.opening}call:{call.name}{self._fields(call.arguments, sort=True)}{self.closing}" for call in calls
        )

    def _fields(self, fields: Mapping[str, Json], *, sort: bool = False) -> str:
        rows = sorted(fields.items()) if sort else fields.items()  # Gemma's templates sort a call's arguments
        return "{" + ",".join(f"{key}:{self._value(value)}" for key, value in rows) + "}"

    def _value(self, value: Json) -> str:
        if isinstance(value, str):
            return f"{self.quote}{value}{self.quote}"
        if isinstance(value, Mapping):
            return self._fields(value)
        if isinstance(value, list | tuple):
            return "[" + ",".join(self._value(item) for item in value) + "]"
        return dump(value)
