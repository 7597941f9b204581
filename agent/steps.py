"""Cuts what the agent said into steps: the pieces that a process reward model scores and step-level advantages weigh.

A turn's text is cut after every separator, so its steps are whole with the separators that follow them: put together
they are the text. No step is blank: blank text belongs to the step before it, or at the start to the first step.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from journeyman.agent.chat.tool_calls import call_spans
from journeyman.agent.data import Trajectory

StepSplit: TypeAlias = Literal["newline", "blank_line", "turn", "tool_call"]
"""Where a step ends, beside the end of each turn: at a line's end, at blank lines, nowhere, or after a tool call."""

_SEPARATORS = {
    "newline": re.compile(r"\n(?:\s*\n)?"),
    "blank_line": re.compile(r"\n\s*\n"),
}
_BLANKS = re.compile(r"\s*")


@dataclass(frozen=True, slots=True)
class StepSpan:
    """One step, e.g. `StepSpan(turn=0, start=0, end=6)`: the characters [start, end) of a turn's action."""

    turn: int
    start: int
    end: int

    def text(self, trajectory: Trajectory) -> str:
        """What the step says, without the blanks and separators around it; never empty."""
        return trajectory.turns[self.turn].action.content[self.start : self.end].strip()


def split_steps(trajectory: Trajectory, by: StepSplit) -> list[StepSpan]:
    """The steps of a trajectory in order; none where the agent said nothing."""
    return [
        StepSpan(turn, start, end)
        for turn, said in enumerate(trajectory.turns)
        for start, end in split_text(said.action.content, by)
    ]


def split_text(text: str, by: StepSplit) -> list[tuple[int, int]]:
    """The steps of one turn's text as [start, end); they cover it without gaps, and a blank text has none."""
    cuts = _cuts(text, by)
    steps: list[tuple[int, int]] = []
    start = 0
    for end in (*cuts, len(text)):
        if text[start:end].strip():
            steps.append((start, end))
            start = end
    if steps:
        steps[-1] = (steps[-1][0], len(text))
    return steps


def _cuts(text: str, by: StepSplit) -> list[int]:
    """Where a step may end, in order; blanks after a call belong to its step."""
    if by == "turn":
        return []
    if by == "tool_call":
        return [match.end() for _, end in call_spans(text) if (match := _BLANKS.match(text, end))]
    return [match.end() for match in _SEPARATORS[by].finditer(text)]
