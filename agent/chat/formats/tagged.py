"""Calls whose arguments have tags of their own: Qwen3-Coder, GLM, MiniMax, Seed, DeepSeek 3.2."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from journeyman.agent.chat.formats.reading import MAX_CALL_CHARS, NAME, Search, Written, fixed, is_sound, skip_blanks
from journeyman.agent.chat.formats.values import schema_of, typed, untyped
from journeyman.agent.data import Json, Tool, ToolCall

_KEY = r"([^<>\s\"]{1,128})"


@dataclass(frozen=True)
class Tagged:
    """The texts of a call; reading takes any blanks where they have a line break."""

    begin: str
    """With {name}."""
    parameter: str
    """With {key} and {value}; with {string}, `true` or `false`, where the tag says whether the value is text."""
    end: str
    block: tuple[str, str] = ("", "")
    """Around all calls of a turn, or around each."""
    each: bool = False
    """Whether the block is around each call."""
    loose: bool = False
    """Whether a call is read outside any block, too."""

    @property
    def opening(self) -> str:
        """As Syntax."""
        return self.begin.partition("{name}")[0].strip()

    @cached_property
    def _begins(self) -> re.Pattern[str]:
        head = fixed(self.opening).pattern
        block = fixed(self.block[0]).pattern
        return re.compile(rf"{block}\s*(?:{head})?|{head}" if self.block[0] else head)

    @cached_property
    def _named(self) -> re.Pattern[str]:
        return re.compile(rf"\s*({NAME})\s*{fixed(self.begin.partition('{name}')[2]).pattern}\s*")

    @cached_property
    def _ends(self) -> re.Pattern[str]:
        end, close = fixed(self.end).pattern, fixed(self.block[1]).pattern
        return re.compile(rf"{end}(?:\s*{close})?" if self.block[1] else end)

    @cached_property
    def _key(self) -> re.Pattern[str]:
        before, after = self.parameter.split("{value}")[0].split("{key}")
        after = fixed(after).pattern.replace(re.escape("{string}"), "(true|false)")
        optional = "" if "{string}" in self.parameter else "()"
        return re.compile(rf"{fixed(before).pattern}\s*{_KEY}\s*{after}{optional}")

    @cached_property
    def _value_ends(self) -> re.Pattern[str]:
        first = fixed(self.parameter.partition("{key}")[0]).pattern
        return re.compile(rf"{fixed(self._value_close).pattern}\s*(?={first}|{fixed(self.end).pattern})")

    @property
    def _value_close(self) -> str:
        return self.parameter.partition("{value}")[2]

    def find(self, text: str, tools: Mapping[str, Tool]) -> Iterator[Written]:
        """As Syntax."""
        if (self.opening if self.loose else self.block[0].strip()) not in text:
            return
        begun, ended, values = (Search(pattern, text) for pattern in (self._begins, self._ends, self._value_ends))
        at = 0
        while (match := begun.at(at)) is not None:
            call, at, whole = self._read(text, match.end(), values, tools)
            if not whole:
                later = ended.at(at)
                at = len(text) if later is None else later.end()
            yield Written(match.start(), at, call)

    def _read(
        self, text: str, start: int, values: Search, tools: Mapping[str, Tool]
    ) -> tuple[ToolCall | None, int, bool]:
        """The call, how far it was read, and whether that is its end."""
        head = self._named.match(text, start)
        if head is None:
            return None, start, False
        at, arguments = head.end(), dict[str, Json]()
        while (key := self._key.match(text, at)) is not None:
            close = values.at(key.end())
            if close is None or close.start() - start > MAX_CALL_CHARS:
                return None, key.end() if close is None else close.end(), False
            inner = self._unpadded(text[key.end() : close.start()])
            schema = schema_of(tools.get(head[1]), key[1])
            arguments[key[1]] = typed(inner, {"true": {"type": "string"}, "false": {}}.get(key[2], schema))
            at = skip_blanks(text, close.end())
        end = self._ends.match(text, at)
        if end is None:
            return None, at, False
        return ToolCall(head[1], arguments) if is_sound(arguments) else None, end.end(), True

    def _unpadded(self, value: str) -> str:
        """The value without the line breaks that the format puts around it."""
        if self._value_close.startswith("\n"):
            value = value.removeprefix("\n").removesuffix("\n")
        return value

    def write(self, calls: Sequence[ToolCall], tools: Mapping[str, Tool]) -> str:
        """As Syntax."""
        texts = [self._write(call, tools.get(call.name)) for call in calls]
        first, last = self.block
        return "\n".join(f"{first}{text}{last}" for text in texts) if self.each else f"{first}{''.join(texts)}{last}"

    def _write(self, call: ToolCall, tool: Tool | None) -> str:
        parts = [self.begin.replace("{name}", call.name)]
        for key, value in call.arguments.items():
            says = "{string}" in self.parameter
            text = value if says and isinstance(value, str) else untyped(value, {} if says else schema_of(tool, key))
            frame = self.parameter.replace("{string}", str(isinstance(value, str)).lower()).replace("{key}", key)
            before, after = frame.split("{value}")
            parts.append(f"{before}{text}{after}")
        return "".join([*parts, self.end])
