"""The text of tool calls: two formats, each written and read without ever raising on what a model wrote.

    hermes       <tool_call>{"name": "move", "arguments": {"direction": "up"}}</tool_call>   as Qwen-style models write
    positional   <tool_call>move("up")</tool_call>   JSON literals in the order of the schema's properties

The positional format is short, for small models over characters that learn it from demonstrations alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum

from journeyman.agent.data import Json, Tool, ToolCall

OPEN, CLOSE = "<tool_call>", "</tool_call>"
MAX_CALLS = 16
"""Calls read from one message; later ones are ignored."""
MAX_CALL_CHARS = 20_000
"""Longest text of one call; a longer one is malformed."""

_CALL = re.compile(rf"{OPEN}(?:.*?{CLOSE}|.*)", re.DOTALL)
_POSITIONAL = re.compile(r"\s*([A-Za-z_][\w.-]*)\((.*)\)\s*", re.DOTALL)


class ToolFormat(StrEnum):
    """How a model writes its calls."""

    HERMES = "hermes"
    POSITIONAL = "positional"


def read_calls(text: str, tool_format: ToolFormat, tools: Sequence[Tool]) -> tuple[ToolCall, ...]:
    """The well-formed calls in `text`, in order.

    A call is dropped where its JSON does not parse, holds a number that is not finite or text that is not Unicode,
    where it lacks an argument that its tool requires, or (positional) where no tool has its name or it has too many
    arguments. Values are not checked against the schema's types: that is for the environment.
    """
    known = {tool.name: tool for tool in tools}
    read = _read_hermes if tool_format is ToolFormat.HERMES else _read_positional
    calls = (read(body, known) for body in _bodies(text))
    return tuple(call for call in calls if call is not None and _complete(call, known))


def around_calls(text: str) -> list[str]:
    """The text before, between and after its calls, well-formed or not: one piece more than there are calls.

    A call that is not closed goes to the end of the text.
    """
    return _CALL.split(text)


def write_call(call: ToolCall, tool_format: ToolFormat, tools: Sequence[Tool]) -> str:
    """The call as the model should write it; `read_calls` gives it back.

    Raises ValueError where the format cannot say it: an unknown tool or argument, or (positional) a gap in the
    arguments.
    """
    if tool_format is ToolFormat.HERMES:
        body = f"\n{_dump({'name': call.name, 'arguments': dict(call.arguments)})}\n"
    else:
        names = next((list(tool.parameters.get("properties", {})) for tool in tools if tool.name == call.name), None)
        if names is None or list(call.arguments) != [n for n in names if n in call.arguments]:
            raise ValueError(f"no tool takes the call {call}: known are {[tool.name for tool in tools]}")
        if list(call.arguments) != names[: len(call.arguments)]:
            raise ValueError(f"a positional call cannot leave out an argument before others: {call}")
        body = f"{call.name}({','.join(_dump(value) for value in call.arguments.values())})"
    return f"{OPEN}{body}{CLOSE}"


def tool_schemas(tools: Sequence[Tool]) -> list[dict[str, Json]]:
    """The tools as chat templates take them."""
    return [
        {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": t.parameters}}
        for t in tools
    ]


def describe_tools(tools: Sequence[Tool]) -> str:
    """A system message about the tools and the hermes format, for chat templates that leave tools out."""
    lines = [json.dumps(schema, ensure_ascii=False) for schema in tool_schemas(tools)]
    example = f'{OPEN}{{"name": "...", "arguments": {{...}}}}{CLOSE}'
    return "\n".join(["You can call these functions:", *lines, f"To call one, write {example}"])


def _bodies(text: str) -> Iterator[str]:
    start = -1
    for _ in range(MAX_CALLS):
        start = text.find(OPEN, start + 1)
        end = text.find(CLOSE, start)
        if start < 0 or end < 0:
            return
        if end - start <= MAX_CALL_CHARS:
            yield text[start + len(OPEN) : end]
        start = end


def _read_hermes(body: str, known: Mapping[str, Tool]) -> ToolCall | None:  # noqa: ARG001 (one signature for both)
    row = _load(body)
    if not isinstance(row, dict) or not isinstance(row.get("name"), str) or not isinstance(row.get("arguments"), dict):
        return None
    return ToolCall(row["name"], row["arguments"])


def _read_positional(body: str, known: Mapping[str, Tool]) -> ToolCall | None:
    match = _POSITIONAL.fullmatch(body)
    if match is None or match[1] not in known:
        return None
    names = list(known[match[1]].parameters.get("properties", {}))
    values = _load(f"[{match[2]}]")
    if not isinstance(values, list) or len(values) > len(names):
        return None
    return ToolCall(match[1], dict(zip(names, values, strict=False)))


def _complete(call: ToolCall, known: Mapping[str, Tool]) -> bool:
    required = known[call.name].parameters.get("required", ()) if call.name in known else ()
    return all(name in call.arguments for name in required)


def _load(text: str) -> Json:
    """The JSON value, or None where it is malformed, not finite, nested too deeply or not Unicode."""
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):  # JSONDecodeError and UnicodeEncodeError are ValueErrors
        return None
    return value


def _dump(value: Json) -> str:
    """JSON in which no string can close the call."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("</", "<\\/")
