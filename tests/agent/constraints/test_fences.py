"""Fenced blocks of Markdown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.agent.constraints.fences import fenced_blocks


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("a", []),
        ("```\na\n```", [("", "a")]),
        ("``` python \na\n\nb\n```\nc\n~~~\nd\n~~~", [("python", "a\n\nb"), ("", "d")]),
        ("```JSON\r\n{}\r\n```\r\n", [("json", "{}")]),
        ("```{.json .numbers}\n1\n```", [("json", "1")]),
        ("```json:a.json\n1\n```", [("json", "1")]),
        ("````\n```\na\n```\n````", [("", "```\na\n```")]),
        ("```\na\n~~~\n```", [("", "a\n~~~")]),
        ("```\na\n``` b\n```", [("", "a\n``` b")]),
        ("- a\n\n  ```sh\n  b\n  ```", [("sh", "  b")]),
        ("1. ```sh\n   b\n   ```", [("sh", "   b")]),
        ("> ```sh\n> b\n> ```\nc", [("sh", "b")]),
        ("``` `a` ```\nb", []),
        ("```json\na", [("json", "a")]),
        ("```json\na\n```\n```\n \n", [("json", "a")]),
        ("a ```\nb", []),
        ("```\n\u2028\n```", [("", "\u2028")]),
    ],
)
def test_blocks_stand_between_fences(text, blocks):
    assert [(block.language, block.text) for block in fenced_blocks(text)] == blocks


@given(st.lists(st.sampled_from(["```", "```json", "a", "", "  ```", "`", "~~~"])))
def test_a_block_holds_no_fence_that_could_end_it(lines):
    for block in fenced_blocks("\n".join(lines)):
        assert block.language in ("", "json")
        held = {line.strip() for line in block.text.split("\n")}
        assert not {"```", "~~~"} <= held
