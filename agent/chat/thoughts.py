"""Thought and answer apart: where in a completion a model thinks, and what it says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple


class Spoken(NamedTuple):
    """A completion's text taken apart, e.g. `Spoken("two and two", "4", 25)`."""

    thought: str
    """Without its marks; several are joined by a blank line."""
    answer: str
    """All else, as it was written."""
    thought_end: int
    """Characters of the text up to the end of the last thought, its marks included; 0 where there is none."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What stands around thoughts and answers, e.g. `Marks("<think>", "</think>")`, with their white space."""

    open: str
    close: str
    answer: str = ""
    """What comes before an answer, as the channel `final` of gpt-oss does."""
    answer_end: str = ""
    """What comes after it, before the token that ends the turn."""

    def opened_by(self, prompt: str) -> bool:
        """Whether the prompt ends within a thought."""
        return bool(self.open.strip()) and prompt.rstrip().endswith(self.open.strip())

    def closed_by(self, prompt: str) -> bool:
        """Whether the prompt ends with an empty thought: the model is not to think."""
        empty = rf"{re.escape(self.open.strip())}\s*{re.escape(self.close.strip())}\s*\Z"
        return bool(self.open.strip()) and re.search(empty, prompt[-400:]) is not None

    def apart(self, text: str, *, opened: bool) -> Spoken:
        """The thoughts in the text and the rest; `opened` where it begins within one.

        A thought that is not closed goes to the end: the answer was not reached.
        """
        opens, closes = self.open.strip(), self.close.strip()
        thoughts: list[str] = []
        said: list[str] = []
        at = end = 0
        within = opened
        while True:
            mark = closes if within else opens
            found = text.find(mark, at) if mark else -1
            piece = text[at:] if found < 0 else text[at:found]
            (thoughts if within else said).append(piece)
            if found < 0:
                end = len(text) if within else end
                break
            at, within = found + len(mark), not within
            end = end if within else at
        if not end:
            return Spoken("", self._bare(text), 0)
        answer = "".join(said).strip()
        return Spoken("\n\n".join(t.strip() for t in thoughts if t.strip()), self._bare(answer), end)

    def _bare(self, answer: str) -> str:
        """The answer without the marks around it."""
        if self.answer.strip() and answer.lstrip().startswith(self.answer.strip()):
            answer = answer.lstrip().removeprefix(self.answer.strip())
        return answer.removesuffix(self.answer_end) if self.answer_end.strip() else answer
