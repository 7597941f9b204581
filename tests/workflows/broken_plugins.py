"""An environment that is whole, and each of the ways in which one may not be: `fault` says which."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import ClassVar

from journeyman import (
    Achieved,
    GoalEpisode,
    Message,
    Split,
    StopReason,
    Task,
    Tool,
    Trajectory,
    Verdict,
    canonical_hash,
)

NAME = "broken_plugins:Walk"
SERIAL = count()


@dataclass(frozen=True)
class Walk:
    """Walk along the numbers by + and -, from one to another."""

    fault: str = ""

    @property
    def max_turns(self) -> int:
        return {"no turns": 0, "too few turns": 2, "equal prompts": 1}.get(self.fault, 6)

    @property
    def rubric(self) -> dict[str, float]:
        if self.fault == "rubric raises":
            raise RuntimeError("no rubric today")
        name = {"unknown verifier": "gaol", "all pass": "broken_plugins:AllPass", "no rubric": ""}.get(self.fault)
        return {} if name == "" else {name or "broken_plugins:Arrived": 1.0}

    def tasks(self, split: Split, seed: int) -> Iterator[Task]:
        if self.fault == "tasks raise":
            raise OSError("no such disk")
        if self.fault == "no tests" and split is Split.TEST:
            return
        if self.fault == "tasks hangs":
            time.sleep(30)
        part = 0 if self.fault == "one part" else 1000 * list(Split).index(split)
        for start in range(part, part + 40):
            task = walk(start, start + 3, split, self.fault)
            yield {"no task": "go", "other split": replace(task, split=Split.GUARD)}.get(self.fault, task)

    def demonstrate(self, task: Task, after: Sequence[Message] = ()) -> Sequence[Message] | None:
        match self.fault:
            case "expert raises":
                raise ZeroDivisionError
            case "expert wrong":
                return [Message("assistant", "-")]
            case "expert speaks as the user":
                return [Message("user", "+")]
            case "expert begins anew":
                after = ()
        start = self.open(task).states(after)[-1]
        return [Message("assistant", "+")] * (task.payload["to"] - start) or None

    def open(self, task: Task) -> Episode:
        if self.fault == "open raises":
            raise ConnectionError("refused")
        if self.fault == "open hangs":
            time.sleep(30)
        return Episode(task, self.fault)


class Episode(GoalEpisode[int]):
    def __init__(self, task: Task, fault: str) -> None:
        tools = {
            "tools are none": None,
            "bad tool": (Tool("go", "Goes.", {"properties": {"by": {"type": "number"}}}),),
            "tool requires more": (Tool("go", "Goes.", {"type": "object", "required": ["by"]}),),
        }
        super().__init__(task, tools.get(fault, ()), task.payload["from"], max_turns=6)
        self.fault = fault

    async def start(self):
        if self.fault == "start raises":
            raise KeyError("board")
        if self.fault == "start hangs":
            await asyncio.sleep(30)
        return await super().start()

    async def step(self, action):
        if self.fault == "step raises" and action.content != "+":
            raise IndexError("no such action")
        if self.fault == "step exits" and action.content != "+":
            raise SystemExit(3)
        if self.fault == "step hangs":
            time.sleep(30)  # noqa: ASYNC251 (that is the fault)
        return await super().step(action)

    async def close(self):
        if self.fault == "close raises":
            raise OSError("gone")

    def after(self, state: int, action: Message) -> int:
        return state + {"+": 1, "-": -1}.get(action.content, 0)

    def goal_at(self, state: int):
        return {"goals of several states": state % 2, "goals are tuples": (state,)}.get(self.fault, state)

    def ends(self, state: int) -> bool:
        return state == self.task.payload["to"]

    def tell(self, action: Message) -> str:
        return f"at {self.path[-1]}"

    def between(self, start: int, goal) -> Episode:
        task = walk(start, goal, self.task.split, self.fault)
        return Episode(replace(task, goal=-1) if self.fault == "relabel of another goal" else task, self.fault)

    def achieved_goals(self, trajectory: Trajectory) -> list[Achieved]:
        found = super().achieved_goals(trajectory)
        match self.fault:
            case "achieved goals raise":
                raise LookupError("which?")
            case "achieved too much":
                return [*found, Achieved(found[-1].goal + 70, found[-1].turn)] if found else found
            case "turns out of range":
                return [Achieved(one.goal, one.turn + 50) for one in found]
            case "achieved none":
                return None
        return found

    def relabel(self, trajectory, goal, start_turn):
        if self.fault == "relabel raises":
            raise ValueError("not this time")
        told = super().relabel(trajectory, goal, start_turn)
        if self.fault == "relabel shows the old":
            turns = [replace(turn, observation=(Message("user", "at home"),)) for turn in told.turns]
            return replace(told, turns=tuple(turns))
        return told

    def states(self, actions):
        found = super().states(actions)
        return found[1:] if self.fault == "states are short" and len(found) > 2 else found


def walk(start: int, to: int, split: Split, fault: str) -> Task:
    text = "Walk." if fault == "equal prompts" else f"from {start} to {to}"
    if fault == "chance":
        text += f" {random.random()}"
    if fault == "long prompts":
        text += " please" * 300
    goal = {"goals are sets": {to}, "goals are tuples": (to,)}.get(fault, to)
    name = {
        "one hash": "same",
        "hash of the split": canonical_hash("walk", [start, to, next(SERIAL)]),
        "salted hash": f"{hash(text):x}",
        "goal not hashed": canonical_hash("walk", start),
    }.get(fault, canonical_hash("walk", [start, to]))
    environment = "walk" if fault == "other name" else NAME
    return Task(environment, goal, (Message("user", text),), split, name, {"from": start, "to": to})


@dataclass(frozen=True)
class Arrived:
    """Reads the last observation."""

    name: ClassVar[str] = "arrived"
    version: ClassVar[str] = "1"

    def verify(self, task: Task, trajectory: Trajectory) -> Verdict:
        told = [m.content for turn in trajectory.turns for m in turn.observation]
        arrived = bool(told) and told[-1] == f"at {task.payload['to']}"
        return Verdict.passed(arrived and trajectory.stop_reason is StopReason.TERMINATED)


@dataclass(frozen=True)
class AllPass:
    name: ClassVar[str] = "all_pass"
    version: ClassVar[str] = "1"

    def verify(self, task: Task, trajectory: Trajectory) -> Verdict:
        return Verdict.passed(ok=True)
