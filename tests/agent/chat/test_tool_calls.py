"""Tool calls as text: every format read, written, found and described; hostile texts cost little."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeyman.agent.chat.formats.families import FAMILIES
from journeyman.agent.chat.formats.reading import MAX_CALL_CHARS
from journeyman.agent.chat.tool_calls import (
    ToolFormat,
    around_calls,
    call_spans,
    describe_tools,
    format_of,
    read_calls,
    tool_schemas,
    write_call,
    write_calls,
)
from journeyman.agent.data import Tool, ToolCall

HERMES, POSITIONAL = ToolFormat.HERMES, ToolFormat.POSITIONAL
ALL = list(ToolFormat)
SINGLE = (ToolFormat.HARMONY, ToolFormat.LLAMA3_PYTHON)
"""A turn ends with its first call."""
MARKED = [one for one in ALL if FAMILIES[one].opening]
LIMITED = {
    ToolFormat.GEMMA4, ToolFormat.FUNCTION_GEMMA, ToolFormat.MINIMAX_M2, ToolFormat.MUSE, ToolFormat.DOTS,
    ToolFormat.STEP3, ToolFormat.SEED_OSS, ToolFormat.QWEN3_CODER, ToolFormat.GLM, ToolFormat.DEEPSEEK_V32,
}  # fmt: skip
"""Their texts stand between marks and have no escapes, so a text with such a mark cannot be written."""
MOVE = Tool(
    "move",
    "Go some cells.",
    {
        "type": "object",
        "properties": {"direction": {"type": "string"}, "cells": {"type": "integer"}},
        "required": ["direction"],
    },
)
SEARCH = Tool(
    "find_book",
    "Looks a book up.",
    {
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "year": {"type": "integer"},
            "old": {"type": "boolean"},
            "where": {"type": "object"},
        },
        "required": ["title"],
    },
)
UP = ToolCall("move", {"direction": "up", "cells": 2})
EXAMPLES = {
    "harmony": "<|channel|>commentary to=functions.move <|constrain|>json<|message|>"
    '{"direction": "up", "cells": 2}<|call|>',
    "deepseek_v3": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>move\n```json\n"
    '{"direction": "up", "cells": 2}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
    "deepseek_v31": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>move<｜tool▁sep｜>"
    '{"direction": "up", "cells": 2}<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
    "deepseek_v32": '<｜DSML｜function_calls>\n<｜DSML｜invoke name="move">\n'
    '<｜DSML｜parameter name="direction" string="true">up</｜DSML｜parameter>\n'
    '<｜DSML｜parameter name="cells" string="false">2</｜DSML｜parameter>\n'
    "</｜DSML｜invoke>\n</｜DSML｜function_calls>",
    "kimi_k2": "<|tool_calls_section_begin|><|tool_call_begin|>functions.move:3<|tool_call_argument_begin|>"
    '{"direction": "up", "cells": 2}<|tool_call_end|><|tool_calls_section_end|>',
    "mistral": '[TOOL_CALLS]move[CALL_ID]aB3dE6gH9[ARGS]{"direction": "up", "cells": 2}',
    "mistral_json": '[TOOL_CALLS] [{"name": "move", "arguments": {"direction": "up", "cells": 2}, "id": "aB3dE6gH9"}]',
    "gemma4": '<|tool_call>call:move{direction:<|"|>up<|"|>,cells:2}<tool_call|>',
    "function_gemma": "<start_function_call>call:move{direction:<escape>up<escape>,cells:2}<end_function_call>",
    "minimax_m2": '<minimax:tool_call>\n<invoke name="move">\n<parameter name="direction">up</parameter>\n'
    '<parameter name="cells">2</parameter>\n</invoke>\n</minimax:tool_call>',
    "muse": '<atem:function_calls>\n<atem:invoke name="move">\n<atem:parameter name="direction">up</atem:parameter>\n'
    '<atem:parameter name="cells">2</atem:parameter>\n</atem:invoke>\n</atem:function_calls>',
    "dots": '<dots_function_call><invoke name="move"><parameter name="direction">up</parameter>'
    '<parameter name="cells">2</parameter></invoke></dots_function_call>',
    "step3": '<｜tool_calls_begin｜><｜tool_call_begin｜>function<｜tool_sep｜><steptml:invoke name="move">'
    '<steptml:parameter name="direction">up</steptml:parameter><steptml:parameter name="cells">2</steptml:parameter>'
    "</steptml:invoke><｜tool_call_end｜><｜tool_calls_end｜>",
    "seed_oss": "<seed:tool_call>\n<function=move>\n<parameter=direction>up</parameter>\n"
    "<parameter=cells>2</parameter>\n</function>\n</seed:tool_call>",
    "qwen3_coder": "<tool_call>\n<function=move>\n<parameter=direction>\nup\n</parameter>\n"
    "<parameter=cells>\n2\n</parameter>\n</function>\n</tool_call>",
    "glm": "<tool_call>move<arg_key>direction</arg_key><arg_value>up</arg_value>"
    "<arg_key>cells</arg_key><arg_value>2</arg_value></tool_call>",
    "hermes": '<tool_call>\n{"name": "move", "arguments": {"direction": "up", "cells": 2}}\n</tool_call>',
    "positional": '<tool_call>move("up", 2)</tool_call>',
    "longcat": '<longcat_tool_call>{"name": "move", "arguments": {"direction": "up", "cells": 2}}</longcat_tool_call>',
    "lfm2": "<|tool_call_start|>[move(direction='up', cells=2)]<|tool_call_end|>",
    "llama4": '<|python_start|>[move(direction="up", cells=2)]<|python_end|>',
    "olmo3": '<function_calls>move(direction="up", cells=2)</function_calls>',
    "nemotron": '<TOOLCALL>[{"name": "move", "arguments": {"direction": "up", "cells": 2}}]</TOOLCALL>',
    "jamba": '<tool_calls>[\n {"name": "move", "arguments": {"direction": "up", "cells": 2}}\n]</tool_calls>',
    "minimax_m1": '<tool_calls>\n{"name": "move", "arguments": {"direction": "up", "cells": 2}}\n</tool_calls>',
    "phi4_mini": '<|tool_call|>[{"name": "move", "arguments": {"direction": "up", "cells": 2}}]<|/tool_call|>',
    "granite": '<|tool_call|>[{"name": "move", "arguments": {"direction": "up", "cells": 2}}]',
    "granite_20b": '<function_call> {"name": "move", "arguments": {"direction": "up", "cells": 2}}',
    "functools": 'functools[{"name": "move", "arguments": {"direction": "up", "cells": 2}}]',
    "gigachat": '<|function_call|>{"name": "move", "arguments": {"direction": "up", "cells": 2}}',
    "cohere": '<|START_ACTION|>[\n    {"tool_call_id": "0", "tool_name": "move", "parameters": '
    '{"direction": "up", "cells": 2}}\n]<|END_ACTION|>',
    "internlm2": '<|action_start|><|plugin|>\n{"name": "move", "parameters": {"direction": "up", "cells": 2}}'
    "<|action_end|>",
    "apertus": '<|tools_prefix|>[{"move": {"direction": "up", "cells": 2}}]<|tools_suffix|>',
    "llama3_python": '<|python_tag|>move.call(direction="up", cells=2)',
    "llama3_json": '{"name": "move", "parameters": {"direction": "up", "cells": 2}}',
    "json_object": '{"name": "move", "arguments": {"direction": "up", "cells": 2}}',
    "json_list": '[{"name": "move", "arguments": {"direction": "up", "cells": 2}}]',
    "pythonic": "[move(direction='up', cells=2)]",
}
"""The same call as each family publishes it."""


def test_every_format_has_a_syntax_in_the_order_of_trying():
    assert list(FAMILIES) == [tool_format.value for tool_format in ALL]
    page = (Path(__file__).parents[3] / "docs" / "tool_formats.md").read_text()
    assert [name for name in ALL if f"| `{name}` |" not in page] == []


@pytest.mark.parametrize("tool_format", ALL)
def test_the_published_form_is_read_and_told_from_all_others(tool_format):
    text = EXAMPLES[tool_format]
    assert read_calls(text, tool_format, [MOVE]) == (UP,)
    assert format_of(f"<|im_start|>assistant\n{text}<|im_end|>", UP, [MOVE]) is tool_format
    assert format_of(text.replace("up", "down"), UP, [MOVE]) is None
    assert around_calls(f"Up!\n{text}\nDone", tool_format) == ["Up!\n", "\nDone"]
    assert call_spans(f"Up!\n{text}\nDone") == [(4, 4 + len(text))]  # without being told the format


def test_a_mark_in_the_prompt_hides_no_call():
    text = f"system: write calls after <tool_call>\nassistant\n{EXAMPLES['hermes']}"
    assert format_of(text, UP, [MOVE]) is HERMES


@pytest.mark.parametrize("tool_format", ALL)
def test_a_truncated_call_is_none_or_whole(tool_format):
    text = EXAMPLES[tool_format]
    for end in range(len(text)):
        assert read_calls(text[:end], tool_format, [MOVE]) in ((), (UP,))
        assert read_calls(text[end:], tool_format, [MOVE]) in ((), (UP,))
        assert len(around_calls(text[:end], tool_format)) in (1, 2)


@pytest.mark.parametrize("tool_format", ALL)
def test_the_description_shows_the_format_that_is_read(tool_format):
    text = describe_tools([SEARCH, MOVE], tool_format)
    assert text.count("Looks a book up.") == text.count("Go some cells.") == 1
    (call,) = read_calls(text, tool_format, [SEARCH, MOVE])
    assert call == ToolCall("find_book", {"title": "...", "year": 1, "old": True, "where": {}})
    assert describe_tools([], tool_format) == ""


@pytest.mark.parametrize("tool_format", ALL)
def test_several_calls_of_a_turn(tool_format):
    calls = (UP, ToolCall("find_book", {"title": "a, (b)", "old": False, "where": {"shelf": [1, None, "x"]}}))
    if tool_format in SINGLE:
        with pytest.raises(ValueError, match="a turn ends with its first call, and has 2"):
            write_calls(calls, tool_format, [MOVE, SEARCH])
        calls = calls[:1]
    elif tool_format is POSITIONAL:
        calls = (UP, UP)
    text = write_calls(calls, tool_format, [MOVE, SEARCH])
    assert read_calls(f"So:\n{text}", tool_format, [MOVE, SEARCH]) == calls
    assert len(around_calls(f"So:\n{text}\n", tool_format)) == len(calls) + 1
    assert write_calls([], tool_format, [MOVE]) == ""


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20) | st.sampled_from(["</tool_call>", "<tool_call>", '")', "\\"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(st.lists(st.tuples(json_values, json_values), min_size=1, max_size=3), st.sampled_from([HERMES, POSITIONAL]))
def test_calls_come_back_between_texts(values, tool_format):
    calls = tuple(ToolCall("move", {"direction": a, "cells": b}) for a, b in values)
    text = "text".join(write_call(call, tool_format, [MOVE]) for call in calls)
    assert read_calls(text, tool_format, [MOVE]) == calls


_MARK = re.compile(r"<[^<>]*>|\[[A-Z_]+\]|```|[^<>]{1,12}")
marks = [mark for text in EXAMPLES.values() for mark in _MARK.findall(text)]
pieces = st.sampled_from(
    [*marks, "<tool_call>",
     "</tool_call>", "move(", '"up"', ",", ")", "[", "{", '{"name": "move", "arguments": {', "}}",
     "1e999", "NaN", '"\\ud800"', "9" * 5000, "[" * 3000, "\n", "é"]
)  # fmt: skip


@settings(max_examples=300)
@given(st.lists(pieces, max_size=12).map("".join), st.sampled_from(list(ToolFormat)))
def test_reading_never_raises_and_gives_sound_calls(text, tool_format):
    for call in read_calls(text, tool_format, [MOVE]):
        json.dumps(dict(call.arguments), allow_nan=False, ensure_ascii=False).encode()
        assert call.name != "move" or "direction" in call.arguments


@pytest.mark.parametrize(
    "body",
    [
        "move()",  # an argument that is required is missing
        'move("up", 1, 2)',
        "move(up)",
        'jump("up")',
        'move("up"',
        '__import__("os")',
        'move("up").x',
        "move(NaN)",
        "move(1e999)",
        'move("\\ud800")',
        "move(" + "[" * 3000 + ")",
        'move("' + "a" * MAX_CALL_CHARS + '")',
    ],
)
def test_malformed_positional_calls_are_no_calls(body):
    text = f'<tool_call>{body}</tool_call><tool_call>move("up")</tool_call>'
    assert read_calls(text, POSITIONAL, [MOVE]) == (ToolCall("move", {"direction": "up"}),)


@pytest.mark.parametrize(
    "body",
    ["", "{}", "[]", '{"name": "move"}', '{"name": 1, "arguments": {}}', '{"name": "move", "arguments": []}',
     '{"name": "move", "arguments": {}}', '{"name": "move", "arguments": {"direction": NaN}}'],
)  # fmt: skip
def test_malformed_hermes_calls_are_no_calls(body):
    assert read_calls(f"<tool_call>{body}</tool_call>", HERMES, [MOVE]) == ()


def test_a_flood_of_markers_is_read_in_no_time():
    assert read_calls("<tool_call>" * 200_000, HERMES, [MOVE]) == ()
    assert len(read_calls('<tool_call>move("up")</tool_call>' * 1000, POSITIONAL, [MOVE])) == 16


def test_a_call_that_the_format_cannot_say_is_an_error():
    with pytest.raises(ValueError, match="no tool takes the call"):
        write_call(ToolCall("jump", {}), POSITIONAL, [MOVE])
    with pytest.raises(ValueError, match="cannot leave out an argument"):
        write_call(ToolCall("move", {"cells": 1}), POSITIONAL, [MOVE])


texts = st.text(max_size=20) | st.sampled_from(
    ["</tool_call>", "</parameter>", "\n\nx\n", '"', "'", "3", "null", "\\", "😀"]
)


@settings(max_examples=400)
@given(
    st.sampled_from(ALL),
    texts,
    st.none() | st.integers(),
    st.dictionaries(
        texts, st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | texts, max_size=3
    ),
)
def test_what_is_written_is_read(tool_format, title, year, where):
    arguments = {"title": title, "year": year, "old": True, "where": where}
    call = ToolCall("find_book", {k: v for k, v in arguments.items() if v is not None or tool_format is POSITIONAL})
    try:
        text = write_call(call, tool_format, [SEARCH])
    except ValueError:
        assert tool_format in LIMITED
        assert any(c in json.dumps(arguments, ensure_ascii=False) for c in '<"\\:{}[], \x85') or not all(where)
        return
    (read,) = read_calls(text, tool_format, [SEARCH])
    assert json.dumps(read.arguments, sort_keys=True) == json.dumps(call.arguments, sort_keys=True)


@given(texts)
def test_texts_between_marks_are_kept_to_the_character(title):
    for tool_format in LIMITED:
        if "<" not in title:
            call = ToolCall("find_book", {"title": title})
            assert read_calls(write_call(call, tool_format, [SEARCH]), tool_format, [SEARCH]) == (call,)


@pytest.mark.parametrize("tool_format", ALL)
def test_a_megabyte_of_anything_costs_little(tool_format, own_time):
    example = EXAMPLES[tool_format]
    half = example[: len(example) * 2 // 3]
    opening = re.match(r"\W*\w+\W*", example)[0]
    floods = [opening, example[: len(example) // 3], half, example[::-1], example[len(example) // 2 :], " \n", "[", "{",
              f"{half} </tool_call></function>"]  # fmt: skip
    for flood in floods:
        text = flood * (1_000_000 // len(flood))
        started = own_time()
        read_calls(text, tool_format, [MOVE])
        assert own_time() - started < 0.5, flood
        call_spans(text[:200_000], tool_format)
        assert own_time() - started < 1, flood


def test_a_call_needs_what_its_tool_requires():
    for tool_format in set(ALL) - {POSITIONAL}:
        call = ToolCall("move", {"cells": 2})
        assert read_calls(write_call(call, tool_format, [MOVE]), tool_format, [MOVE]) == ()
        assert read_calls(write_call(call, tool_format, [SEARCH]), tool_format, [SEARCH]) == (call,)


def test_templates_that_write_calls_are_recognised():
    trl = pytest.importorskip("trl", reason="trl, whose chat templates are tried, is not installed")
    from transformers.utils.chat_template_utils import _compile_jinja_template

    family = {
        "deepseek": "deepseek_v3", "diffusion": "gemma4", "gemma4": "gemma4", "glm4moe": "glm", "gptoss": "harmony",
        "lfm2": "lfm2", "llama3": "llama3_json", "muse": "muse", "nemotron": "qwen3_coder", "qwen2": "hermes",
        "qwen3": "hermes",
    }  # fmt: skip
    xml = ("qwen3_5", "qwen3_6", "qwen3_8")
    call = ToolCall("find_book", {"title": "Emma", "year": 1815, "old": True, "where": {"shelf": 3}})
    found = {}
    for file in sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja")):
        template = _compile_jinja_template(file.read_text())
        for arguments in (call.arguments, json.dumps(call.arguments)):
            row = {"id": "a12345678", "type": "function", "function": {"name": call.name, "arguments": arguments}}
            for content in ("", None):
                messages = [
                    {"role": "user", "content": "?"},
                    {"role": "assistant", "content": content, "tool_calls": [row]},
                ]
                try:
                    text = template.render(messages=messages, tools=tool_schemas([SEARCH]), bos_token="", eos_token="")
                except Exception:
                    continue
                if "Emma" in text:
                    found.setdefault(file.stem, set()).add(format_of(text, call, [SEARCH]))
    assert len(found) > 10
    for name, formats in found.items():
        kind = (
            "qwen3_coder"
            if name.startswith(xml)
            else next(of for start, of in family.items() if name.startswith(start))
        )
        assert formats - {None} == {kind}, name


def test_a_written_type_is_the_schemas():
    text = (
        "<tool_call><function=find_book><parameter=title>\n 12 \n</parameter><parameter=year>\nnext\n</parameter>"
        "<parameter=old>\nTrue\n</parameter><parameter=where>\n{'a': 1}\n</parameter></function></tool_call>"
    )
    (call,) = read_calls(text, ToolFormat.QWEN3_CODER, [SEARCH])
    assert call.arguments == {"title": " 12 ", "year": "next", "old": True, "where": "{'a': 1}"}
    (call,) = read_calls(text, ToolFormat.QWEN3_CODER, [])
    assert call.arguments["title"] == 12
