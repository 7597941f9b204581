"""Chats as people keep them, read into an expert's episode: what was asked, what it did, what it was shown between.

    {"messages": [{"role": ..., "content": ...}, ...]}            OpenAI's form, and that of Hugging Face
    {"prompt": ..., "completion": ...}                            messages, or plain texts
    {"conversations": [{"from": "human", "value": ...}, ...]}     ShareGPT's

Beside them a row may have `tools` (schemas, or JSON text of them), `system` (text) and `answer`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, get_args

from journeyman.agent.data import Json, Message, Role, Tool, ToolCall, Turn
from journeyman.agent.errors import DataError, suggestion

_ROLES: Mapping[str, Role] = {
    **{role: role for role in get_args(Role)},
    "developer": "system",
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "function": "tool",
    "observation": "tool",
    "function_response": "tool",
    "tool_response": "tool",
}
"""Names that files give to roles."""
_TEXTS = ("text", "input_text", "output_text")
"""Kinds of parts of a message that are text."""


class ChatDemonstration(NamedTuple):
    """An expert's episode, e.g. prompt "What is 6 x 7?", one turn "42", answer "42"."""

    prompt: tuple[Message, ...]
    turns: tuple[Turn, ...]
    """The assistant's messages, each with what followed it until the next."""
    answer: Json
    """The row's `answer`, None where it has none."""
    tools: tuple[Tool, ...] | None = None
    """The row's, None where it names none."""

    @property
    def actions(self) -> tuple[Message, ...]:
        """The assistant's messages alone, for an environment that says its own part again."""
        return tuple(turn.action for turn in self.turns)


def demonstration_in(row: Mapping[str, Json], where: str) -> ChatDemonstration:
    """The demonstration in a row of any of the three forms; raises DataError with `where` for any other."""
    system = _text(row["system"], f"{where}, 'system'") if row.get("system") else ""
    if row.get("messages") is not None:
        prompt, turns = chat_turns(row["messages"], where)
    elif row.get("conversations") is not None:
        prompt, turns = chat_turns(row["conversations"], where, "conversations")
    elif row.get("prompt") is not None and row.get("completion") is not None:
        prompt = read_messages(row["prompt"], where, "prompt", "user")
        turns = _turns(read_messages(row["completion"], where, "completion", "assistant"), where)
    else:
        near = suggestion("messages", row)
        raise DataError(f"{where}: no column 'messages', 'conversations', or 'prompt' with 'completion': {near}")
    if not turns:
        raise DataError(f"{where}: no message of role 'assistant', so nothing is demonstrated")
    if system and prompt[0].role != "system":
        prompt = (Message("system", system), *prompt)
    tools = None if row.get("tools") is None else _tools(row["tools"], where)
    return ChatDemonstration(prompt, turns, row.get("answer"), tools)


def chat_turns(messages: Json, where: str, column: str = "messages") -> tuple[tuple[Message, ...], tuple[Turn, ...]]:
    """Splits a chat into the prompt (all before the first assistant's message) and the turns."""
    chat = read_messages(messages, where, column, None)
    first = next((i for i, message in enumerate(chat) if message.role == "assistant"), len(chat))
    if first == 0:
        raise DataError(f"{where}: the first message is the assistant's, so there is no prompt")
    return chat[:first], _turns(chat[first:], where) if first < len(chat) else ()


def read_messages(messages: Json, where: str, column: str, role: Role | None) -> tuple[Message, ...]:
    """The column's messages; a plain text is one message of `role`, where there is one."""
    if role and isinstance(messages, str):
        return (Message(role, _unicode(messages, f"{where}, {column!r}")),)
    if not isinstance(messages, list) or not messages:
        raise DataError(f"{where}: {column!r} must be a list of messages with at least one in it")
    return tuple(_message(row, f"{where}, message {i}") for i, row in enumerate(messages, 1))


def _turns(chat: Sequence[Message], where: str) -> tuple[Turn, ...]:
    """The turns of messages of which the first is the assistant's; results stand in the order of their calls."""
    if chat[0].role != "assistant":
        raise DataError(f"{where}: the completion begins with a message of role {chat[0].role!r}, not 'assistant'")
    starts = [i for i, message in enumerate(chat) if message.role == "assistant"]
    turns = []
    for start, end in zip(starts, [*starts[1:], len(chat)], strict=True):
        order = {call.id: n for n, call in enumerate(chat[start].tool_calls) if call.id}
        shown = chat[start + 1 : end]
        results = sorted((m for m in shown if m.call_id in order), key=lambda m: order[m.call_id])
        left = iter(results)
        turns.append(Turn(chat[start], tuple(next(left) if m.call_id in order else m for m in shown)))
    return tuple(turns)


def _message(row: Json, where: str) -> Message:
    if not isinstance(row, dict):
        raise DataError(f"{where}: a message must be a JSON object, got {type(row).__name__}")
    named, content = ("from", row.get("value")) if "from" in row else ("role", row.get("content"))
    given = row.get(named)
    role = _ROLES.get(given) if isinstance(given, str) else None
    if role is None:
        raise DataError(f"{where}: {named} {given!r}: {suggestion(str(given), _ROLES)}")
    calls = row.get("tool_calls") or ([row["function_call"]] if row.get("function_call") else [])
    if given == "function_call":
        calls, content = _calls_in_text(content, where), None
    if not isinstance(calls, Sequence) or isinstance(calls, str):
        raise DataError(f"{where}: 'tool_calls' must be a list, got {type(calls).__name__}")
    thought = next((row[name] for name in ("reasoning_content", "reasoning", "thinking") if row.get(name)), "")
    if content is None and (calls or thought):
        content = ""
    message = Message(role, _text(content, where), tuple(_call(call, where) for call in calls))
    call_id = row.get("tool_call_id")
    return replace(message, thought=_text(thought, where), call_id=call_id if isinstance(call_id, str) else "")


def _text(content: Json, where: str) -> str:
    """The text of a message's content: itself, or its parts one after another."""
    if isinstance(content, list):
        parts = [part if isinstance(part, dict) else {"type": "text", "text": part} for part in content]
        for part in parts:
            if part.get("type") not in _TEXTS or not isinstance(part.get("text"), str):
                raise DataError(f"{where}: 'content' holds a part of type {part.get('type')!r}: only text can be read")
        content = "".join(part["text"] for part in parts)
    if not isinstance(content, str):
        raise DataError(f"{where}: 'content' must be text, got {type(content).__name__}")
    return _unicode(content, where)


def _unicode(text: str, where: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError(f"{where}: the text holds half of a character (a lone surrogate)") from None
    return text


def _calls_in_text(text: Json, where: str) -> list[Json]:
    """ShareGPT's calls: JSON text of one, or of a list."""
    value = _json(text, f"{where}: the function call") if isinstance(text, str) else text
    return value if isinstance(value, list) else [value]


def _call(call: Json, where: str) -> ToolCall:
    inner = call.get("function", call) if isinstance(call, dict) else call
    if isinstance(inner, dict) and isinstance(inner.get("name"), str):
        arguments = inner.get("arguments", inner.get("parameters"))
        if isinstance(arguments, str):
            arguments = _json(arguments, f"{where}: arguments of {inner['name']!r}")
        if isinstance(arguments, dict):
            _check_json(arguments, f"{where}: arguments of {inner['name']!r}")
            given = call.get("id")
            return ToolCall(inner["name"], arguments, given if isinstance(given, str) else "")
    raise DataError(f"{where}: a tool call must have a 'name' and an object of 'arguments', got {call!r:.200}")


def _tools(tools: Json, where: str) -> tuple[Tool, ...]:
    """The row's tools, each OpenAI's form or its inner part; they may be JSON text, as tables have them."""
    if isinstance(tools, str):
        tools = _json(tools, f"{where}: 'tools'") if tools.strip() else []
    if not isinstance(tools, list):
        raise DataError(f"{where}: 'tools' must be a list of tools, got {type(tools).__name__}")
    found = []
    for number, tool in enumerate(tools, 1):
        inner = tool.get("function", tool) if isinstance(tool, dict) else None
        schema = inner.get("parameters") if isinstance(inner, dict) else None
        schema = {"type": "object", "properties": {}} if schema is None else schema
        if not isinstance(inner, dict) or not isinstance(inner.get("name"), str) or not isinstance(schema, dict):
            raise DataError(
                f"{where}: tool {number} must have a 'name' and a schema as 'parameters', got {tool!r:.200}"
            )
        found.append(Tool(inner["name"], str(inner.get("description") or ""), schema))
    return tuple(found)


def _check_json(value: Json, what: str) -> None:
    """Raises DataError for what Python's reader takes and JSON has not: NaN, infinities, half characters."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise DataError(f"{what} are not JSON: {error}") from None


def _json(text: str, what: str) -> Json:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{what} are not JSON: {error}") from None
