"""GSM8K: school mathematics in words, with a calculator to call (Cobbe et al., 2021, arXiv:2110.14168).

The data marks each calculation as `<<48/2=24>>`. Here a mark becomes a call of the calculator, so a solution is played
as several turns: text and call, the result as an observation, more text and call, ..., and at last `#### 72`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from journeyman.agent.data import Message, Observation, Step, Task, Tool, ToolCall
from journeyman.agent.environments.calculator import CALCULATOR, answer_call
from journeyman.agent.environments.dataset import Dataset, SingleTurn
from journeyman.agent.protocols import Environment

SYSTEM = (
    "Solve the problem step by step. Call the calculator for each calculation. "
    'End with a line of "#### " and the final number.'
)
_MARK = re.compile(r"<<([^<>\n]*)>>")


@dataclass(frozen=True)
class GSM8K(Dataset):
    """GSM8K's JSONL files (`question`, `answer`), wherever they lie: set `train` and `test`."""

    solution: str | None = "answer"
    answer_pattern: str | None = r"####[ \t]*(\S.*)"
    system: str | None = SYSTEM
    rubric: Mapping[str, float] = field(default_factory=lambda: {"number": 1.0})
    max_turns: int = 12
    """The longest solution of the data calls nine times."""
    instant: ClassVar[bool] = True

    environment = "gsm8k"

    def open(self, task: Task) -> Environment:
        """An episode with a calculator, over as soon as the agent calls nothing."""
        return CalculatorEpisode(task)

    def expert_actions(self, solution: str) -> tuple[Message, ...]:
        """One action for each mark, and one for the text after the last.

        The text is the solution's own, word for word: after the observation "24" it goes on "24 clips in May.".
        """
        pieces = _MARK.split(solution)
        steps = [
            Message("assistant", text, (ToolCall(CALCULATOR.name, {"expression": expression}),))
            for text, (expression, _) in zip(pieces[::2], marks(solution), strict=False)
        ]
        return (*steps, Message("assistant", pieces[-1]))


class CalculatorEpisode(SingleTurn):
    """Answers each call with a tool message; an action without a call is the final one."""

    tools: Sequence[Tool] = (CALCULATOR,)

    async def step(self, action: Message) -> Step:
        """One tool message for each call, in order."""
        results = tuple(Message("tool", answer_call(call)) for call in action.tool_calls)
        return Step(Observation(results), None, terminated=not results, truncated=False)


def marks(solution: str) -> Iterator[tuple[str, str]]:
    """The marked calculations of a solution in order: expression and result, e.g. ("48/2", "24").

    A mark without "=" is an expression without a result ("").
    """
    for inner in _MARK.findall(solution):
        expression, equals, result = inner.rpartition("=")
        yield (expression, result) if equals else (inner, "")
