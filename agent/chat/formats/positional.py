"""The short format of small models over characters: `<tool_call>move("up")</tool_call>`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from journeyman.agent.chat.formats.reading import MAX_CALL_CHARS, NAME, Search, Written, dump, json_at
from journeyman.agent.data import Json, Tool, ToolCall

_CALL = re.compile(rf"\s*({NAME})\((.*)\)\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Positional:
    """JSON literals in the order of the schema's properties."""

    opening: str = "<tool_call>"
    closing: str = "</tool_call>"

    def find(self, text: str, tools: Mapping[str, Tool]) -> Iterator[Written]:
        """As Syntax; a call of an unknown tool is malformed."""
        opened = Search(re.compile(re.escape(self.opening)), text)
        closed = Search(re.compile(re.escape(self.closing)), text)
        at = 0
        while (match := opened.at(at)) is not None:
            close = closed.at(match.end())
            end = len(text) if close is None else close.start()
            call = self._read(text[match.end() : end], tools) if close and end - match.end() <= MAX_CALL_CHARS else None
            at = len(text) if close is None else close.end()
            yield Written(match.start(), at, call)

    def _read(self, body: str, tools: Mapping[str, Tool]) -> ToolCall | None:
        match = _CALL.fullmatch(body)
        if match is None or match[1] not in tools:
            return None
        names = _names(tools[match[1]])
        listed = f"[{match[2]}]"
        found = json_at(listed, 0)
        if found is None or found[1] != len(listed) or len(found[0]) > len(names):
            return None
        return ToolCall(match[1], dict(zip(names, found[0], strict=False)))

    def write(self, calls: Sequence[ToolCall], tools: Mapping[str, Tool]) -> str:
        """As Syntax."""
        return "".join(f"{self.opening}{self._write(call, tools)}{self.closing}" for call in calls)

    def _write(self, call: ToolCall, tools: Mapping[str, Tool]) -> str:
        names = _names(tools[call.name]) if call.name in tools else None
        if names is None or list(call.arguments) != [name for name in names if name in call.arguments]:
            raise ValueError(f"no tool takes the call {call}: known are {list(tools)}")
        if list(call.arguments) != names[: len(call.arguments)]:
            raise ValueError(f"a positional call cannot leave out an argument before others: {call}")
        values = ",".join(dump(value) for value in call.arguments.values())
        return f"{call.name}({values})".replace("</", "<\\/")  # in a JSON text the same, and it closes no call


def _names(tool: Tool) -> list[Json]:
    return list(tool.parameters.get("properties", {}))
