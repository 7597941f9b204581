"""Reads rows of data: JSONL files, `datasets` names, chat messages, demonstrations."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, get_args

from journeyman.agent.data import Json, Message, Role, as_messages
from journeyman.agent.errors import DataError, SettingsError, suggestion


class ChatDemonstration(NamedTuple):
    """An expert's episode, e.g. prompt "What is 6 x 7?", one action "42", answer "42"."""

    prompt: tuple[Message, ...]
    actions: tuple[Message, ...]
    """The assistant's messages; what stood between them is the environment's to say again."""
    answer: Json
    """The row's `answer`, None where it has none."""


def read_chat_demonstrations(path: str) -> list[ChatDemonstration]:
    """The demonstrations of a JSONL file of `{"messages": [{"role": ..., "content": ...}, ...], "answer": ...}`.

    An assistant's `tool_calls` are `{"name": ..., "arguments": {...}}` or OpenAI's form (inside `function`, the
    arguments as JSON text). Raises DataError, naming file and line, for a row of another shape.
    """
    found = [demonstration for _, demonstration in placed_demonstrations(path)]
    if not found:
        raise DataError(f"{path}: no rows")
    return found


def placed_demonstrations(path: str) -> Iterator[tuple[str, ChatDemonstration]]:
    """The demonstrations of `read_chat_demonstrations`, each with its place ("file:line")."""
    for where, row in jsonl_rows(path):
        if "messages" not in row:
            raise DataError(f"{where}: no column 'messages': {suggestion('messages', row)}")
        prompt, actions = chat_turns(row["messages"], where)
        if not actions:
            raise DataError(f"{where}: no message of role 'assistant', so nothing is demonstrated")
        yield where, ChatDemonstration(prompt, actions, row.get("answer"))


def jsonl_rows(path: str) -> Iterator[tuple[str, dict[str, Json]]]:
    """The rows of a JSONL file, each with its place ("file:line"); blank lines are skipped."""
    file = Path(path).expanduser()
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    where = f"{path}:{number}"
                    yield where, _parsed(line, where)
    except OSError as error:
        near = suggestion(file.name, sorted(f.name for f in file.parent.iterdir())) if file.parent.is_dir() else ""
        raise DataError(f"cannot read {path}: {error.strerror}{'; ' + near if near else ''}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None


def hub_rows(name: str, config: str | None, split: str) -> Iterator[tuple[str, dict[str, Json]]]:
    """The rows of one split of a `datasets` name or folder, each with its place ("name[split][index]")."""
    try:
        import datasets
    except ImportError:
        remedy = "pip install 'journeyman[datasets]'"
        raise SettingsError(f"option 'hub' ({name!r}) needs the package 'datasets': {remedy}") from None
    try:
        rows = datasets.load_dataset(name, config, split=split)
    except Exception as error:  # a loader of a third party: it may raise anything
        raise DataError(f"cannot load split {split!r} of {name!r}: {type(error).__name__}: {error}") from error
    for index, row in enumerate(rows):
        yield f"{name}[{split}][{index}]", row


def chat_turns(messages: Json, where: str) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """Splits a chat into the prompt (all before the first assistant's message) and the assistant's messages."""
    if not isinstance(messages, list) or not messages:
        raise DataError(f"{where}: 'messages' must be a list of messages with at least one in it")
    chat = as_messages([_message(row, f"{where}, message {i}") for i, row in enumerate(messages, 1)])
    first = next((i for i, message in enumerate(chat) if message.role == "assistant"), len(chat))
    if first == 0:
        raise DataError(f"{where}: the first message is the assistant's, so there is no prompt")
    return chat[:first], tuple(message for message in chat if message.role == "assistant")


def _parsed(line: str, where: str) -> dict[str, Json]:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{where}: not JSON: {error}") from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: a row must be a JSON object, got {type(row).__name__}")
    return row


def _message(row: Json, where: str) -> dict[str, Json]:
    if not isinstance(row, dict):
        raise DataError(f"{where}: a message must be a JSON object, got {type(row).__name__}")
    role, content, calls = row.get("role"), row.get("content"), row.get("tool_calls") or []
    if role not in get_args(Role):
        raise DataError(f"{where}: role {role!r}: {suggestion(str(role), get_args(Role))}")
    if content is None and calls:
        content = ""
    if not isinstance(content, str):
        raise DataError(f"{where}: 'content' must be text, got {type(content).__name__}")
    if not isinstance(calls, Sequence) or isinstance(calls, str):
        raise DataError(f"{where}: 'tool_calls' must be a list, got {type(calls).__name__}")
    return {"role": role, "content": content, "tool_calls": [_call(call, where) for call in calls]}


def _call(call: Json, where: str) -> dict[str, Json]:
    inner = call.get("function", call) if isinstance(call, dict) else call
    if isinstance(inner, dict) and isinstance(inner.get("name"), str):
        arguments = inner.get("arguments")
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments)
            except json.JSONDecodeError as error:
                raise DataError(f"{where}: arguments of {inner['name']!r} are not JSON: {error}") from None
        if isinstance(arguments, dict):
            return {"name": inner["name"], "arguments": arguments}
    raise DataError(f"{where}: a tool call must have a 'name' and an object of 'arguments', got {call!r}")
