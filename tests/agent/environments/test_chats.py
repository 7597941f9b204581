"""Demonstrations as people keep them: every form gives the same episode, and nothing of it is lost."""

from __future__ import annotations

import json

import pytest

from journeyman.agent.data import Message, Tool, ToolCall, Turn
from journeyman.agent.environments.rows import read_chat_demonstrations
from journeyman.agent.errors import DataError

SCHEMA = {"type": "object", "properties": {"expression": {"type": "string"}}, "required": ["expression"]}
TOOLS = [{"type": "function", "function": {"name": "calculator", "description": "Sums.", "parameters": SCHEMA}}]
CALL = {"id": "c1", "type": "function", "function": {"name": "calculator", "arguments": '{"expression": "6*7"}'}}

PROMPT = (Message("system", "Be brief."), Message("user", "6 x 7?"))
TURNS = (
    Turn(Message("assistant", "", (ToolCall("calculator", {"expression": "6*7"}),)), (Message("tool", "42"),)),
    Turn(Message("assistant", "It is 42."), (Message("user", "Sure?"),)),
    Turn(Message("assistant", "Yes.")),
)
ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "6 x 7?"}]
PART = {"type": "text", "text": "6 x"}
REST = [
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "content": "42"},
    {"role": "assistant", "content": "It is 42."},
    {"role": "user", "content": "Sure?"},
    {"role": "assistant", "content": "Yes."},
]
SHAREGPT = [
    {"from": "human", "value": "6 x 7?"},
    {"from": "function_call", "value": '{"name": "calculator", "arguments": {"expression": "6*7"}}'},
    {"from": "observation", "value": "42"},
    {"from": "gpt", "value": "It is 42."},
    {"from": "human", "value": "Sure?"},
    {"from": "gpt", "value": "Yes."},
]


def read(tmp_path, *rows):
    (tmp_path / "chat.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_chat_demonstrations(str(tmp_path / "chat.jsonl"))


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [*ASKED, *REST]},
        {"messages": [{"role": "developer", "content": "Be brief."}, *ASKED[1:], *REST]},
        {"prompt": ASKED, "completion": REST},
        {"conversations": [{"from": "system", "value": "Be brief."}, *SHAREGPT]},
        {"conversations": SHAREGPT, "system": "Be brief."},
        {"conversations": [*ASKED, *REST]},
        {"messages": [*ASKED, {**REST[0], "content": [], "tool_calls": [CALL["function"]]}, *REST[1:]]},
        {"messages": [*ASKED, {"role": "assistant", "function_call": CALL["function"]}, *REST[1:]]},
        {"messages": [ASKED[0], {"role": "user", "content": [PART, {**PART, "text": " 7?"}]}, *REST]},
    ],
    ids=["openai", "developer", "prompt", "sharegpt", "system column", "mixed", "bare call", "function_call", "parts"],
)  # fmt: skip
def test_every_form_gives_the_same_episode(tmp_path, row):
    (found,) = read(tmp_path, {**row, "answer": 42, "tools": TOOLS})
    assert (found.prompt, found.turns, found.answer) == (PROMPT, TURNS, 42)
    assert found.actions == tuple(turn.action for turn in TURNS)
    assert found.tools == (Tool("calculator", "Sums.", SCHEMA),)


def test_texts_are_one_message_each_and_tools_may_be_text(tmp_path):
    plain, told, none = read(
        tmp_path,
        {"prompt": "6 x 7?", "completion": "42"},
        {"prompt": "6 x 7?", "completion": "42", "tools": json.dumps([TOOLS[0]["function"]])},
        {"prompt": "6 x 7?", "completion": "42", "tools": []},
    )
    assert (plain.prompt, plain.turns) == ((Message("user", "6 x 7?"),), (Turn(Message("assistant", "42")),))
    assert (plain.tools, told.tools, none.tools) == (None, (Tool("calculator", "Sums.", SCHEMA),), ())


def test_what_the_assistant_said_in_a_prompt_is_no_demonstration(tmp_path):
    earlier = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    (found,) = read(tmp_path, {"prompt": earlier, "completion": [{"role": "assistant", "content": "d"}]})
    assert [m.content for m in found.prompt] == ["a", "b", "c"]
    assert [t.action.content for t in found.turns] == ["d"]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
def test_thoughts_are_kept(tmp_path, name):
    (found,) = read(tmp_path, {"messages": [*ASKED, {"role": "assistant", "content": "42", name: "Six sevens."}]})
    assert found.turns == (Turn(Message("assistant", "42", thought="Six sevens.")),)


def test_results_stand_in_the_order_of_their_calls(tmp_path):
    calls = [{"id": name, "name": "calculator", "arguments": {"expression": name}} for name in ("first", "second")]
    results = [{"role": "tool", "content": f"of {c['id']}", "tool_call_id": c["id"]} for c in calls[::-1]]
    (found,) = read(tmp_path, {"messages": [*ASKED, {"role": "assistant", "tool_calls": calls}, *results, REST[-1]]})
    assert [m.content for m in found.turns[0].observation] == ["of first", "of second"]
    assert [m.call_id for m in found.turns[0].observation] == ["first", "second"]
    assert [c.id for c in found.turns[0].action.tool_calls] == ["first", "second"]


def said(**message):
    return {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", **message}]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": []}, r"chat.jsonl:1: no column 'messages', 'conversations', or 'prompt' with 'completion'"),
        ({"mesages": []}, r"did you mean 'mesages'\?"),
        ({"messages": []}, r"chat.jsonl:1: 'messages' must be a list of messages with at least one in it"),
        ({"messages": ["hi"]}, r"chat.jsonl:1, message 1: a message must be a JSON object, got str"),
        ({"messages": [{"role": "usr", "content": "x"}]}, r"message 1: role 'usr': did you mean 'user'\?"),
        ({"conversations": [{"from": "humn", "value": "x"}]}, r"message 1: from 'humn': did you mean 'human'\?"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, r"message 1: role \['user'\]: did you mean 'user'"),
        ({"messages": [{"role": "user", "content": 5}]}, r"message 1: 'content' must be text, got int"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "image": "cat.png"}]}]},
            r"message 1: 'content' holds a part of type 'image': only text can be read",
        ),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, r"message 1: the text holds half of a character"),
        ({"messages": [{"role": "user", "content": "x"}]}, r"chat.jsonl:1: no message of role 'assistant'"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, r"the first message is the assistant's"),
        ({"prompt": "x", "completion": [{"role": "user", "content": "y"}]}, r"the completion begins with .*'user'"),
        (said(content=None), r"message 2: 'content' must be text, got NoneType"),
        (said(tool_calls=[{"name": "f"}]), r"message 2: a tool call must have a 'name' and an object of 'arguments'"),
        (said(tool_calls="f()"), r"message 2: 'tool_calls' must be a list, got str"),
        (said(tool_calls=[{"name": "f", "arguments": "{"}]), r"message 2: arguments of 'f' are not JSON"),
        (
            said(tool_calls=[{"name": "f", "arguments": {"a": float("nan")}}]),
            r"message 2: arguments of 'f' are not JSON",
        ),
        ({**said(content="y"), "tools": "calculator"}, r"chat.jsonl:1: 'tools' are not JSON"),
        ({**said(content="y"), "tools": [{"type": "function"}]}, r"chat.jsonl:1: tool 1 must have a 'name'"),
    ],
)
def test_malformed_rows_name_file_line_and_message(tmp_path, row, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, row)


def test_a_file_without_rows_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"chat.jsonl: no rows"):
        read(tmp_path)
