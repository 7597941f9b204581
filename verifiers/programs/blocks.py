"""The program in an answer: which of its fenced blocks.

Fences are those of CommonMark: three or more backticks or tildes, behind a list's mark or indented too; the block ends
at a fence of the same sign that is at least as long, or with the text. Of an indented block the lines lose that
indentation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

Choice: TypeAlias = Literal["last", "first", "longest"]

_FENCE = re.compile(r"([ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)*)(`{3,}(?=[^`]*$)|~{3,})(.*)")
_PYTHON = re.compile(r"(?:python|py|pypy|cpython)(?:[ -]?[23](?:\.\d+)*)?(?![\w-])", re.IGNORECASE)


@dataclass
class Block:
    """A fenced block: the language after its fence, as it is written, and its lines."""

    language: str
    lines: list[str]

    @property
    def is_python(self) -> bool:
        """Whether it says so: `python`, `Python3`, `py title="a.py"`, `{.python}`."""
        return _PYTHON.match(self.language.lstrip("{. \t")) is not None


def program_in(text: str, choice: Choice) -> str:
    """The chosen one of the blocks of Python, else of those without a language, else of all; else the text.

    Of equally long ones the last. A thought that ends with `</think>` is not read.
    """
    text = text.rpartition("</think>")[2]
    found = blocks(text)
    python = [block for block in found if block.is_python]
    unnamed = [block for block in found if not block.language.strip()]
    programs = ["\n".join(block.lines) for block in python or unnamed or found]
    if not programs:
        return text
    if choice == "longest":
        return max(reversed(programs), key=len)
    return programs[0 if choice == "first" else -1]


def blocks(text: str) -> list[Block]:
    """All fenced blocks, in order."""
    found: list[Block] = []
    closing: re.Pattern[str] | None = None
    width = 0
    for line in text.replace("\r\n", "\n").split("\n"):
        if closing is None:
            if opened := _FENCE.fullmatch(line):
                width = len(opened[1])
                # deeper than three blanks further in, it is a line of the block: one of a docstring, say
                closing = re.compile(rf"[ \t]{{0,{width + 3}}}{re.escape(opened[2])}{opened[2][0]}*[ \t]*")
                found.append(Block(opened[3].strip(), []))
        elif closing.fullmatch(line):
            closing = None
        else:
            blank = len(line) - len(line.lstrip(" \t"))
            found[-1].lines.append(line[min(width, blank) :])
    return found
