"""Calls written as Python's are: `[f(a=1), g(b="x")]`, between marks, line by line or bare; and Llama's python tag."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from journeyman.agent.chat.formats.literals import Literals, MalformedError
from journeyman.agent.chat.formats.reading import NAME, Search, Written, dump
from journeyman.agent.data import Json, Tool, ToolCall


def write_pythonic(value: Json) -> str:
    """A Python literal, its texts between double quotes. Raises ValueError for what is not finite."""
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{dump(str(key))}: {write_pythonic(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(write_pythonic(item) for item in value) + "]"
    return dump(value)


def _write_call(call: ToolCall, infix: str = "") -> str:
    return f"{call.name}{infix}({', '.join(f'{key}={write_pythonic(value)}' for key, value in call.arguments.items())})"


@dataclass(frozen=True, slots=True)
class Pythonic:
    """Calls between two marks, in a list or one a line."""

    opening: str
    closing: str
    lines: bool = False
    """Whether they stand one a line, and not in a list."""

    def find(self, text: str, tools: Mapping[str, Tool]) -> Iterator[Written]:
        """As Syntax."""
        opened = Search(re.compile(re.escape(self.opening)), text)
        closed = Search(re.compile(re.escape(self.closing)), text)
        at = 0
        while (match := opened.at(at)) is not None:
            try:
                calls, at = self._read(text, match.end())
            except MalformedError:
                close = closed.at(match.end())
                calls, at = [], len(text) if close is None else close.end()
            for number, call in enumerate(calls or [None]):
                yield Written(at if number else match.start(), at, call)

    def _read(self, text: str, at: int) -> tuple[Sequence[ToolCall | None], int]:
        literals, calls = Literals(text, at), list[ToolCall]()
        listed = literals.takes("[")
        while not literals.takes("]" if listed else self.closing):
            calls.append(literals.call())
            if listed and not literals.takes(","):
                literals.needs("]")
                break
        if listed:
            literals.needs(self.closing)
        return calls, literals.at

    def write(self, calls: Sequence[ToolCall], tools: Mapping[str, Tool]) -> str:
        """As Syntax."""
        texts = [_write_call(call) for call in calls]
        body = "\n" + "\n".join(texts) + "\n" if self.lines else f"[{', '.join(texts)}]"
        return f"{self.opening}{body}{self.closing}"


_PLACE = re.compile(rf"(?:^|[\n>])[ \t]*(?=\[\s*{NAME}\()")
_AFTER = re.compile(r"[ \t]*(?:\n|<|$)")


@dataclass(frozen=True, slots=True)
class BarePythonic:
    """A list of calls that is a line by itself; what is no well-formed list of calls is text."""

    opening: str = ""

    def find(self, text: str, tools: Mapping[str, Tool]) -> Iterator[Written]:
        """As Syntax."""
        places = Search(_PLACE, text)
        at = 0
        while (place := places.at(at)) is not None:
            start, at = place.end(), place.end() + 1  # the bracket that the place is before
            literals, calls = Literals(text, start + 1), list[ToolCall]()
            try:
                while not literals.takes("]"):
                    calls.append(literals.call())
                    if not literals.takes(","):
                        literals.needs("]")
                        break
            except MalformedError:
                continue
            if _AFTER.match(text, literals.at):
                at = literals.at
                for number, call in enumerate(calls):
                    yield Written(at if number else start, at, call)

    def write(self, calls: Sequence[ToolCall], tools: Mapping[str, Tool]) -> str:
        """As Syntax."""
        return f"[{', '.join(_write_call(call) for call in calls)}]"


@dataclass(frozen=True, slots=True)
class PythonTag:
    """`<|python_tag|>NAME.call(key=value, ...)`; the turn ends with it."""

    opening: str = "<|python_tag|>"

    def find(self, text: str, tools: Mapping[str, Tool]) -> Iterator[Written]:
        """As Syntax."""
        opened = Search(re.compile(re.escape(self.opening)), text)
        at = 0
        while (match := opened.at(at)) is not None:
            literals = Literals(text, match.end())
            try:
                call = literals.call()
                at = literals.at
            except MalformedError:
                call = None
                later = opened.at(match.end())
                at = len(text) if later is None else later.start()
            name = call.name.removesuffix(".call") if call else ""
            yield Written(match.start(), at, ToolCall(name, call.arguments) if call and name != call.name else None)

    def write(self, calls: Sequence[ToolCall], tools: Mapping[str, Tool]) -> str:
        """As Syntax."""
        if len(calls) > 1:
            raise ValueError(f"a turn ends with its first call, and has {len(calls)}")
        return "".join(f"{self.opening}{_write_call(call, '.call')}" for call in calls)
