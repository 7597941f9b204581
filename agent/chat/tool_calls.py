"""The text of tool calls, in the formats of all families, written and read without ever raising on what a model wrote.

    hermes       <tool_call>{"name": "move", "arguments": {"direction": "up"}}</tool_call>   as Qwen-style models write
    positional   <tool_call>move("up")</tool_call>   JSON literals in the order of the schema's properties

The positional format is short, for small models over characters that learn it from demonstrations alone. All others
are in docs/tool_formats.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import islice

from journeyman.agent.chat.formats.families import FAMILIES
from journeyman.agent.chat.formats.reading import Written
from journeyman.agent.data import Json, Tool, ToolCall

MAX_CALLS = 16
"""Calls read from one message; later ones are ignored."""


class ToolFormat(StrEnum):
    """How a model writes its calls; the order is that in which `format_of` tries them."""

    HARMONY = "harmony"
    DEEPSEEK_V3 = "deepseek_v3"
    DEEPSEEK_V31 = "deepseek_v31"
    DEEPSEEK_V32 = "deepseek_v32"
    KIMI_K2 = "kimi_k2"
    MISTRAL = "mistral"
    MISTRAL_JSON = "mistral_json"
    GEMMA4 = "gemma4"
    FUNCTION_GEMMA = "function_gemma"
    MINIMAX_M2 = "minimax_m2"
    MUSE = "muse"
    DOTS = "dots"
    STEP3 = "step3"
    SEED_OSS = "seed_oss"
    QWEN3_CODER = "qwen3_coder"
    GLM = "glm"
    HERMES = "hermes"
    POSITIONAL = "positional"
    LONGCAT = "longcat"
    LFM2 = "lfm2"
    LLAMA4 = "llama4"
    OLMO3 = "olmo3"
    NEMOTRON = "nemotron"
    JAMBA = "jamba"
    MINIMAX_M1 = "minimax_m1"
    PHI4_MINI = "phi4_mini"
    GRANITE = "granite"
    GRANITE_20B = "granite_20b"
    FUNCTOOLS = "functools"
    GIGACHAT = "gigachat"
    COHERE = "cohere"
    INTERNLM2 = "internlm2"
    APERTUS = "apertus"
    LLAMA3_PYTHON = "llama3_python"
    LLAMA3_JSON = "llama3_json"
    JSON_OBJECT = "json_object"
    JSON_LIST = "json_list"
    PYTHONIC = "pythonic"


def read_calls(text: str, tool_format: ToolFormat, tools: Sequence[Tool]) -> tuple[ToolCall, ...]:
    """The well-formed calls in `text`, in order.

    A call is dropped where it is not written as the format says, holds a number that is not finite or text that is not
    Unicode, where it lacks an argument that its tool requires, or (positional) where no tool has its name or it has
    too many arguments. Values have the types that their text says; a format whose text says none (Qwen3-Coder, GLM,
    MiniMax, Seed) takes them from the tool's schema. They are not checked against it: that is for the environment.
    """
    known = {tool.name: tool for tool in tools}
    found = islice(FAMILIES[tool_format].find(text, known), MAX_CALLS)
    required = {name: tool.parameters.get("required", ()) for name, tool in known.items()}
    calls = (written.call for written in found)
    return tuple(c for c in calls if c is not None and all(key in c.arguments for key in required.get(c.name, ())))


def call_spans(text: str, tool_format: ToolFormat | None = None) -> list[tuple[int, int]]:
    """The characters [start, end) of each call, well-formed or not; further calls of one list have none at its end.

    A call that is not closed goes to the end of the text. A format of None is that of the text, as far as it can be
    told: the first with a well-formed call, else the first whose marks are there.
    """
    if tool_format is not None:
        return _spans(FAMILIES[tool_format].find(text, {}))
    marked: list[Written] = []
    for syntax in FAMILIES.values():
        found = list(syntax.find(text, {}))
        if (syntax.opening or not marked) and any(written.call for written in found):
            return _spans(found)
        marked = marked or found
    return _spans(marked)


def _spans(found: Iterable[Written]) -> list[tuple[int, int]]:
    return [(written.start, written.end) for written in found]


def around_calls(text: str, tool_format: ToolFormat | None = None) -> list[str]:
    """The text before, between and after its calls, well-formed or not: one piece more than there are calls."""
    spans = call_spans(text, tool_format)
    ends, starts = [0, *(end for _, end in spans)], [*(start for start, _ in spans), len(text)]
    return [text[end:start] for end, start in zip(ends, starts, strict=True)]


def write_calls(calls: Sequence[ToolCall], tool_format: ToolFormat, tools: Sequence[Tool]) -> str:
    """The text of one turn's calls, as the model should write it: `read_calls` gives them back.

    Raises ValueError where the format cannot say them: a text that has the format's own marks, several calls where a
    turn ends with the first, or (positional) an unknown tool or argument, or a gap in the arguments.
    """
    if not calls:
        return ""
    known = {tool.name: tool for tool in tools}
    text = FAMILIES[tool_format].write(calls, known)
    read = [written.call for written in FAMILIES[tool_format].find(text, known)]
    if [_canonical(call) for call in read] != [_canonical(call) for call in calls]:
        raise ValueError(f"the format {tool_format} has no text that is read as {', '.join(map(str, calls))}")
    return text


def write_call(call: ToolCall, tool_format: ToolFormat, tools: Sequence[Tool]) -> str:
    """The text of a turn's only call, as `write_calls`."""
    return write_calls([call], tool_format, tools)


def _canonical(call: ToolCall | None) -> str | None:
    return None if call is None else json.dumps([call.name, dict(call.arguments)], sort_keys=True)


def format_of(rendered: str, call: ToolCall, tools: Sequence[Tool]) -> ToolFormat | None:
    """The format in which a chat template wrote `call`: the first whose reader gives it back; None where none does.

    `rendered` is the template's text, at best from the assistant's turn on. Give the call a name that is nowhere else
    in it, and the tool's schema with the types of its arguments.
    """
    known = {tool.name: tool for tool in tools}
    wanted = _canonical(call)
    for tool_format in ToolFormat:
        syntax = FAMILIES[tool_format]
        last = rendered.rfind(syntax.opening, 0, max(0, rendered.rfind(call.name)))
        for text in (rendered, rendered[last:] if last > 0 else ""):  # a mark in the system's text may hide the call
            if any(_canonical(written.call) == wanted for written in syntax.find(text, known)):
                return tool_format
    return None


def tool_schemas(tools: Sequence[Tool]) -> list[dict[str, Json]]:
    """The tools as chat templates take them."""
    return [
        {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": t.parameters}}
        for t in tools
    ]


def describe_tools(tools: Sequence[Tool], tool_format: ToolFormat) -> str:
    """A system message about the tools and how to call them, for chat templates that leave tools out.

    Its example is a call of the first tool, in the very format that is read.
    """
    lines = [json.dumps(schema, ensure_ascii=False) for schema in tool_schemas(tools)]
    if not tools:
        return ""
    properties = tools[0].parameters.get("properties", {})
    example = ToolCall(tools[0].name, {name: _example(schema) for name, schema in properties.items()})
    written = write_call(example, tool_format, tools).strip()
    return "\n".join(["You can call these functions:", *lines, "To call one, write it like this:", written])


def _example(schema: Json) -> Json:
    """A value that the schema of an argument allows, as far as its type and its choices say."""
    schema = schema if isinstance(schema, dict) else {}
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return schema["enum"][0]
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    examples: dict[Json, Json] = {"integer": 1, "number": 0.5, "boolean": True, "array": [], "object": {}, "null": None}
    return examples.get(kind, "...") if isinstance(kind, str) else "..."
