"""Calls whose name stands before the JSON of their arguments: Mistral, DeepSeek, Kimi, gpt-oss's harmony."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from journeyman.agent.chat.formats.reading import NAME, Search, Written, dump, json_at, skip_blanks
from journeyman.agent.data import Tool, ToolCall


@dataclass(frozen=True)
class NamedJson:
    """`head`, JSON, `tail` for each call, maybe in a block."""

    opening: str
    head: str
    """What is written before the JSON, with {name} and maybe {number}."""
    begins: str
    """Pattern of where a call begins, the block's beginning with it or alone."""
    names: str
    """Pattern of what stands between there and the JSON; it takes NAME where it has @."""
    ends: str = ""
    """Pattern of what stands after the JSON."""
    tail: str = ""
    block: tuple[str, str] = ("", "")
    gap: str = ""
    """Written between two calls."""
    single: bool = False
    """Whether a turn ends with its first call."""

    @cached_property
    def _patterns(self) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
        return re.compile(self.begins), re.compile(self.names.replace("@", f"({NAME})")), re.compile(self.ends)

    def find(self, text: str, tools: Mapping[str, Tool]) -> Iterator[Written]:
        """As Syntax."""
        if self.opening not in text:
            return
        begins, names, ends = self._patterns
        begun, ended = Search(begins, text), Search(ends, text) if self.ends else Search(begins, text)
        at = 0
        while (match := begun.at(at)) is not None:
            head = names.match(text, match.end())
            found = json_at(text, head.end()) if head else None
            end = ends.match(text, skip_blanks(text, found[1]) if self.ends else found[1]) if found else None
            if head is None or found is None or end is None or not isinstance(found[0], dict):
                later = ended.at(match.end())
                at = len(text) if later is None else later.end() if self.ends else later.start()
                yield Written(match.start(), at, None)
                continue
            at = end.end()
            yield Written(match.start(), at, ToolCall(head[1], found[0]))

    def write(self, calls: Sequence[ToolCall], tools: Mapping[str, Tool]) -> str:
        """As Syntax."""
        if self.single and len(calls) > 1:
            raise ValueError(f"a turn ends with its first call, and has {len(calls)}")
        texts = [
            f"{self.head.format(name=call.name, number=number)}{dump(dict(call.arguments))}{self.tail}"
            for number, call in enumerate(calls)
        ]
        return f"{self.block[0]}{self.gap.join(texts)}{self.block[1]}"
