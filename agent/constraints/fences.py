"""Fenced blocks of a Markdown text (CommonMark 0.31, 4.5), also in lists and quotations."""

from __future__ import annotations

import re
from dataclasses import dataclass

_FENCE = re.compile(r"(?P<before>[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?)(?P<marks>`{3,}|~{3,})(?P<info>.*)")
_LABEL = re.compile(r"[\s{.]*([^\s{}.,:;=]*)")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block."""

    language: str
    """The first word of what stands behind its first fence, in lower case: `json` of "```JSON title=a"; or ""."""
    text: str
    """Its lines, line ends as \\n."""


def fenced_blocks(text: str) -> list[Block]:
    """The blocks between fences of three or more ` or ~, in their order; without a last fence one ends with the text.

    A fence ends a block only where it is of the same mark, at least as long as the first, and alone on its line. Of
    a block that does not end only one with words in it counts: else it is a fence too many.
    """
    blocks: list[Block] = []
    opened: re.Match[str] | None = None
    held: list[str] = []
    for line in text.split("\n"):
        fence = _FENCE.fullmatch(line.rstrip())
        if opened is None:
            if fence and not (fence["marks"][0] == "`" and "`" in fence["info"]):
                opened, held = fence, []
        elif fence and not fence["info"] and fence["marks"].startswith(opened["marks"]):
            blocks.append(_block(opened, held))
            opened = None
        else:
            held.append(line)
    if opened is not None and any(line.strip() for line in held):
        blocks.append(_block(opened, held))
    return blocks


def _block(opened: re.Match[str], lines: list[str]) -> Block:
    if ">" in opened["before"]:
        lines = [re.sub(r"^[ \t>]*", "", line) for line in lines]
    label = _LABEL.match(opened["info"])
    return Block(label.group(1).lower() if label else "", "\n".join(line.rstrip("\r") for line in lines))
