"""How messages are laid before a chat template: as rows that it shows, in the form that it was seen to take.

Templates differ in what they show, refuse or silently leave out: system messages, tools' results, structured calls and
their ids, thoughts beside them. A `Form` says what one of them takes (agent/chat/probing.py finds it out); what it does
not take is folded into what it does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from journeyman.agent.chat.tool_calls import ToolFormat, around_calls, read_calls, write_calls
from journeyman.agent.data import Message, Tool, ToolCall

Row: TypeAlias = dict[str, Any]
"""One message as templates take it."""

OPEN_THOUGHT, CLOSE_THOUGHT = "<think>\n", "\n</think>\n\n"
"""Around a thought, where a template shows none by itself."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a template takes."""

    parts: bool = False
    """Whether content is a list of parts, as models that see images have it."""
    system: bool = True
    """Whether it shows system messages; else they begin the next user message."""
    merged: bool = False
    """Whether messages of one role in a row are to be one, since roles must alternate."""
    calls: Literal["object", "text", "written"] = "object"
    """Arguments as an object or as JSON text; or calls are written into the content, since it shows none."""
    ids: bool = True
    """Whether calls keep the ids they have, else each is given one of nine letters and digits."""
    silent: bool = False
    """Whether a call beside which nothing is said has content None."""
    beside: Literal["shown", "thought", "written"] = "shown"
    """What is said beside a call: shown as it is, as part of the thought, or with the call written into it."""
    results: bool = True
    """Whether it shows tools' results; else they are user messages."""
    loose: bool = True
    """Whether it shows a result that no call was made for."""
    thought: str = ""
    """The field that it shows thoughts of; empty where it shows none: then they are written into the content."""


def rows_of(messages: Sequence[Message], form: Form, tool_format: ToolFormat, tools: Sequence[Tool]) -> list[Row]:
    """The messages as the template takes them; raises ValueError for a call that the format cannot say."""
    rows: list[Row] = []
    system: list[str] = []
    waiting: list[tuple[ToolCall, str]] = []  # calls that have no result yet, with the ids that the template is given
    numbers = iter(range(len(messages) * 1000))
    for message in messages:
        if message.role == "assistant":
            row, waiting = _action(message, form, tool_format, tools, numbers)
        elif message.role == "tool":
            row = _result(message, form, waiting)
        elif message.role == "system" and not form.system:
            system.append(message.content)
            continue
        else:
            row = {"role": message.role, "content": message.content}
        if system and row["role"] == "user":
            row["content"] = "\n\n".join([*system, row["content"]])
            system = []
        rows.append(row)
    if system:
        rows.append({"role": "user", "content": "\n\n".join(system)})
    rows = _merged(rows) if form.merged else rows
    return [_in_parts(row) for row in rows] if form.parts else rows


def written(message: Message, tool_format: ToolFormat, tools: Sequence[Tool]) -> str:
    """The message's content with its calls in it, which are written where they are not in it already.

    Raises ValueError for a call that the format cannot say.
    """
    if not message.tool_calls or read_calls(message.content, tool_format, tools) == message.tool_calls:
        return message.content
    calls = write_calls(message.tool_calls, tool_format, tools)
    gap = "" if tool_format is ToolFormat.POSITIONAL or not message.content else "\n"
    return f"{message.content}{gap}{calls}"


def _action(
    message: Message, form: Form, tool_format: ToolFormat, tools: Sequence[Tool], numbers: Iterator[int]
) -> tuple[Row, list[tuple[ToolCall, str]]]:
    """The row, and its calls with their ids."""
    said, thought = _outside(message, tool_format, tools), message.thought
    structured = bool(message.tool_calls) and form.calls != "written" and said is not None
    if structured and said and form.beside == "thought":
        said, thought = "", "\n\n".join([thought, said] if thought else [said])
    if not structured or ((said or (thought and not form.thought)) and form.beside == "written"):
        content = written(message, tool_format, tools)
        return _with_thought({"role": "assistant", "content": content}, thought, form), []
    row: Row = {"role": "assistant", "content": None if form.silent and not said else said}
    named = [(call, call.id if form.ids and call.id else f"call{next(numbers):05d}") for call in message.tool_calls]
    row["tool_calls"] = [_call(call, name, form) for call, name in named]
    return _with_thought(row, thought, form), named


def _outside(message: Message, tool_format: ToolFormat, tools: Sequence[Tool]) -> str | None:
    """What is said beside the message's calls; None where some of what looks like calls are none."""
    if read_calls(message.content, tool_format, tools) != message.tool_calls:
        return message.content  # the calls are not in it
    pieces = around_calls(message.content, tool_format)
    return "".join(pieces).strip() if len(pieces) == len(message.tool_calls) + 1 else None


def _with_thought(row: Row, thought: str, form: Form) -> Row:
    if thought and form.thought:
        row[form.thought] = thought
    elif thought:
        row["content"] = f"{OPEN_THOUGHT}{thought}{CLOSE_THOUGHT}{row['content'] or ''}"
    return row


def _call(call: ToolCall, name: str, form: Form) -> Row:
    import json

    arguments: Any = dict(call.arguments)
    if form.calls == "text":
        arguments = json.dumps(arguments, ensure_ascii=False)
    return {"id": name, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _result(message: Message, form: Form, waiting: list[tuple[ToolCall, str]]) -> Row:
    """The result's row; the call that it answers is taken from those that wait."""
    answered = next((one for one in waiting if message.call_id and one[0].id == message.call_id), None)
    if answered is None and waiting:
        answered = waiting[0]
    if answered is not None:
        waiting.remove(answered)
    if not form.results or (answered is None and not form.loose):
        return {"role": "user", "content": f"<tool_response>\n{message.content}\n</tool_response>"}
    row = {"role": "tool", "content": message.content}
    return row if answered is None else {**row, "name": answered[0].name, "tool_call_id": answered[1]}


def _merged(rows: Sequence[Row]) -> list[Row]:
    merged: list[Row] = []
    for row in rows:
        if merged and row["role"] == merged[-1]["role"] == "user":
            merged[-1] = {**row, "content": f"{merged[-1]['content']}\n\n{row['content']}"}
        else:
            merged.append(row)
    return merged


def _in_parts(row: Row) -> Row:
    return {**row, "content": [{"type": "text", "text": row["content"] or ""}]}
