"""Plugins for tests of audits and guards: sums to answer, a verifier with a hole in it, and one without."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from journeyman.agent.data import Message, Observation, Split, Step, Task, Trajectory, Verdict, canonical_hash
from journeyman.agent.environments.dataset import SingleTurn
from journeyman.agent.protocols import Environment


@dataclass(frozen=True)
class Sums:
    """What is a + b? Other splits begin at other sums, and so do other offsets."""

    offset: int = 0
    max_turns: int = 1
    rubric: dict[str, float] = field(default_factory=lambda: {"watched_plugins:SaysAnswer": 1.0})

    def tasks(self, split: Split, seed: int) -> Iterator[Task]:
        for a in range(self.offset, self.offset + 300):
            b = list(Split).index(split)
            asked = Message("user", f"{a}+{b}?")
            yield Task("watched_plugins:Sums", str(a + b), (asked,), split, canonical_hash("sums", [a, b]))

    def demonstrate(self, task: Task, after: Sequence[Message] = ()) -> Sequence[Message]:
        return [Message("assistant", f"answer {task.goal}")]

    def open(self, task: Task) -> Environment:
        return SingleTurn(task)


@dataclass(frozen=True)
class Fragile(Sums):
    """Sums of which those whose first number stands under "sums" in the file `switch` break at "where", by "how"."""

    switch: str = ""

    def open(self, task: Task) -> Environment:
        told = json.loads(Path(self.switch).read_text()) if Path(self.switch).exists() else {"sums": []}
        if int(task.prompt[0].content.split("+")[0]) not in told["sums"]:
            return FragileTurn(task)
        if told["where"] == "open":
            return BREAKS[told["how"]]()
        return FragileTurn(task, told["where"], told["how"])


class FragileTurn(SingleTurn):
    """Breaks where it is told to, and on the word "crash"."""

    def __init__(self, task: Task, where: str = "", how: str = "") -> None:
        super().__init__(task)
        self._where, self._how = where, how
        if where == "tools":
            self.tools = None

    async def start(self) -> Observation:
        return await self._maybe("start") or await super().start()

    async def step(self, action: Message) -> Step:
        if "crash" in action.content:
            raise RuntimeError("crashed")
        return await self._maybe("step") or await super().step(action)

    async def close(self) -> None:
        await self._maybe("close")

    async def _maybe(self, where: str) -> object:
        if where != self._where:
            return None
        if self._how == "hang":
            await asyncio.Event().wait()
        return BREAKS[self._how]()


def _raise(error: BaseException) -> None:
    raise error


BREAKS = {
    "raise": lambda: _raise(RuntimeError("boom")),
    "exit": lambda: _raise(SystemExit(2)),
    "cancel": lambda: _raise(asyncio.CancelledError()),
    "block": lambda: time.sleep(2),
    "hang": lambda: time.sleep(2),
    "nonsense": lambda: "nonsense",
    "nan": lambda: Step(Observation(()), float("nan"), True, False),
}


@dataclass(frozen=True)
class SaysAnswer:
    """Passes whoever says "answer", right or wrong."""

    name: ClassVar[str] = "says_answer"
    version: ClassVar[str] = "1"

    def verify(self, task: Task, trajectory: Trajectory) -> Verdict:
        return Verdict.passed("answer" in trajectory.final_text)


@dataclass(frozen=True)
class LastWord:
    """Passes those whose last word is the sum."""

    name: ClassVar[str] = "last_word"
    version: ClassVar[str] = "1"

    def verify(self, task: Task, trajectory: Trajectory) -> Verdict:
        said = trajectory.final_text.split(" ")[-1]
        return Verdict.passed(said == task.goal, extracted=said, expected=task.goal)


@dataclass(frozen=True)
class Breaks:
    """Raises where the sum is even."""

    name: ClassVar[str] = "breaks"
    version: ClassVar[str] = "1"

    def verify(self, task: Task, trajectory: Trajectory) -> Verdict:
        if int(task.goal) % 2 == 0:
            raise RuntimeError("even")
        return Verdict.passed(ok=True)


@dataclass(frozen=True)
class NeedsServer:
    """Fails as long as there is no file `switch`, and on those sums whose first number stands in it."""

    switch: str = ""
    name: ClassVar[str] = "needs_server"
    version: ClassVar[str] = "1"

    def verify(self, task: Task, trajectory: Trajectory) -> Verdict:
        switch = Path(self.switch)
        if not switch.exists() or task.prompt[0].content.split("+")[0] in switch.read_text().split():
            raise ConnectionError("refused")
        return Verdict.passed(True)
