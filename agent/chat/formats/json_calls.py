"""Calls that are JSON objects, name and arguments in them: one between two marks, a list of them, or without marks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from journeyman.agent.chat.formats.reading import Search, Written, dump, json_at, skip_blanks
from journeyman.agent.data import Json, Tool, ToolCall


@dataclass(frozen=True, slots=True)
class Keys:
    """Where a call's JSON object has its name and its arguments."""

    name: str = "name"
    arguments: str = "arguments"
    also: str = ""
    """Where its arguments may be, too; "" for nowhere."""
    number: str = ""
    """Where it has its number among the turn's calls, from 0, as text; "" for nowhere."""

    def read(self, row: Json) -> ToolCall | None:
        """The call that is written so."""
        if not isinstance(row, dict) or not isinstance(row.get(self.name), str):
            return None
        arguments = row.get(self.arguments, row.get(self.also))
        return ToolCall(row[self.name], arguments) if isinstance(arguments, dict) else None

    def write(self, call: ToolCall, number: int) -> dict[str, Json]:
        """The object of the call."""
        row = {self.name: call.name, self.arguments: dict(call.arguments)}
        return {self.number: str(number), **row} if self.number else row


class NameIsKey:
    """A call that is `{NAME: ARGUMENTS}`."""

    def read(self, row: Json) -> ToolCall | None:
        """The call that is written so."""
        if not isinstance(row, dict) or len(row) != 1:
            return None
        ((name, arguments),) = row.items()
        return ToolCall(name, arguments) if isinstance(arguments, dict) else None

    def write(self, call: ToolCall, number: int) -> dict[str, Json]:
        """The object of the call."""
        return {call.name: dict(call.arguments)}


@dataclass(frozen=True, slots=True)
class JsonCalls:
    """JSON after `opening` and before `closing`; a closing of "" is none, and the JSON ends by itself."""

    opening: str
    closing: str = ""
    keys: Keys | NameIsKey = Keys()
    listed: bool = False
    """Whether one list has all calls of a turn."""
    pad: str = ""
    """Written between the JSON and each mark."""
    lines: bool = False
    """Whether all calls of a turn stand one a line between the marks."""
    kept: int = 0
    """How many characters at the end of the opening are the JSON's first ones."""

    def find(self, text: str, tools: Mapping[str, Tool]) -> Iterator[Written]:
        """As Syntax."""
        opened = Search(re.compile(re.escape(self.opening)), text)
        closed = Search(re.compile(re.escape(self.closing or self.opening)), text)
        at = 0
        while (match := opened.at(at)) is not None:
            rows, end = self._rows(text, match.end() - self.kept)
            end = skip_blanks(text, end) if self.closing else end
            if not rows or not text.startswith(self.closing, end):
                close = closed.at(match.end())
                at = len(text) if close is None else close.end() if self.closing else close.start()
                yield Written(match.start(), at, None)
                continue
            at = end + len(self.closing)
            for number, row in enumerate(rows):
                yield Written(at if number else match.start(), at, self.keys.read(row))

    def _rows(self, text: str, at: int) -> tuple[list[Json], int]:
        """The calls' objects and where they end; none where there is no JSON, or a list where there should be none."""
        found = json_at(text, at)
        if found is None or isinstance(found[0], list) is not self.listed:
            return [], at
        if self.listed:
            return found[0], found[1]
        rows, end = [found[0]], found[1]
        while self.lines and (more := json_at(text, end)) is not None:
            rows.append(more[0])
            end = more[1]
        return rows, end

    def write(self, calls: Sequence[ToolCall], tools: Mapping[str, Tool]) -> str:
        """As Syntax."""
        opening = self.opening[: len(self.opening) - self.kept]
        rows = [self.keys.write(call, number) for number, call in enumerate(calls)]
        texts = [dump(row) for row in rows]
        bodies = [dump(rows)] if self.listed else ["\n".join(texts)] if self.lines else texts
        return "\n".join(f"{opening}{self.pad}{body}{self.pad}{self.closing}" for body in bodies)


_PLACE = re.compile(r"(?:^|[\n>\]])[ \t]*(?:<\|python_tag\|>)?(?=[{\[])")
_FIRST = re.compile(r'\[?\s*\{\s*"(?:name|type|function|parameters|arguments)"\s*:')


@dataclass(frozen=True, slots=True)
class BareJson:
    """JSON without marks, at the beginning of a line: what is no well-formed call is no call at all, but text."""

    keys: Keys
    listed: bool = False
    opening: str = ""

    def find(self, text: str, tools: Mapping[str, Tool]) -> Iterator[Written]:
        """As Syntax."""
        places = Search(_PLACE, text)
        at = 0
        while (place := places.at(at)) is not None:
            start, at = place.end(), place.end() + 1  # the bracket that the place is before
            while _FIRST.match(text, start) and (found := json_at(text, start)) is not None:
                rows = found[0] if isinstance(found[0], list) else [found[0]]
                calls = [self.keys.read(row) for row in rows]
                if isinstance(found[0], list) is not self.listed or not calls or None in calls:
                    break
                for number, call in enumerate(calls):
                    yield Written(found[1] if number else start, found[1], call)
                at = found[1]
                start = skip_blanks(text, at)
                start = skip_blanks(text, start + 1) if text.startswith((";", ","), start) else start

    def write(self, calls: Sequence[ToolCall], tools: Mapping[str, Tool]) -> str:
        """As Syntax."""
        rows = [self.keys.write(call, number) for number, call in enumerate(calls)]
        return dump(rows) if self.listed else "; ".join(dump(row) for row in rows)
