"""What is checked, and how its methods are called: bounded and timed, so that one that hangs is a finding too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from journeyman.agent.asking import ask_expert
from journeyman.agent.chat.renderer import Renderer
from journeyman.agent.data import Json, Message, Observation, ScoreRecord, Split, Step, Task, Tool, Trajectory
from journeyman.agent.errors import JourneymanError, Late, Outage
from journeyman.agent.hosting import call_bounded, described
from journeyman.agent.protocols import Environment, TaskSet
from journeyman.agent.rollout import replay
from journeyman.verifiers.rubric import Rubric

T = TypeVar("T")


@dataclass(slots=True)
class Subject:
    """An environment under examination, and what is known of it so far."""

    name: str
    options: Mapping[str, Json]
    task_set: TaskSet
    renderer: Renderer
    seconds: float
    """What one call of a method may take."""
    context: int
    """Tokens that a history may have."""
    rubric: Rubric | None = None
    """None where its verifiers cannot be made."""
    tools: Sequence[Tool] = ()
    """Of its episodes."""
    tasks: dict[Split, list[Task]] = field(default_factory=dict)
    """Those drawn of each split."""
    acted: list[tuple[Task, Trajectory]] = field(default_factory=list)
    """Attempts that were acted out, experts' and others."""
    slowest: dict[str, float] = field(default_factory=dict)
    """By method the longest call, in seconds."""

    def ask(self, method: str, call: Callable[[], T]) -> T:
        """What one call gives; raises Outage where it raises anything, Late where it does not end in time."""
        return self.timed(method, lambda: call_bounded(method, call, self.seconds))

    def timed(self, method: str, call: Callable[[], T]) -> T:
        """The same for a call that is bounded already; an error of this package is an outage here like any other."""
        started = time.perf_counter()
        try:
            return call()
        except JourneymanError as error:
            raise Outage(f"{method}: {described(error)}") from error
        finally:
            self.took(method, time.perf_counter() - started)

    def demonstrate(self, task: Task, after: Sequence[Message] = ()) -> list[Message] | None:
        """The expert's actions; raises what `ask` raises."""
        return self.timed("demonstrate", lambda: ask_expert(self.task_set, task, after, seconds=self.seconds))

    def took(self, method: str, seconds: float) -> None:
        """Notes how long a call took."""
        self.slowest[method] = max(seconds, self.slowest.get(method, 0.0))

    def act(self, task: Task, actions: Sequence[Message]) -> Trajectory:
        """The actions acted out in a fresh environment; raises Outage where it could not be begun or be closed."""
        watched: list[_Watched] = []

        def opened(task: Task) -> Environment:
            watched.append(_Watched(self.task_set.open(task), self))
            return watched[-1]

        found = replay(task, opened, actions, self.renderer, step_seconds=self.seconds)
        for one in watched:
            if one.waiting is not None:
                raise Late(f"{one.waiting}: no answer within {self.seconds:g} s")
            if one.fault is not None:
                raise one.fault
        if found.broken and not found.turns:
            raise Outage(found.error)
        self.acted.append((task, found))
        return found

    def scores(self, attempts: Sequence[tuple[Task, Trajectory]]) -> list[tuple[ScoreRecord, ...]]:
        """Every verifier's verdict on each; nothing where there is no rubric."""
        return self.rubric.score_all(attempts) if self.rubric is not None else [()] * len(attempts)


class _Watched:
    """An environment whose calls are timed; what `close` raises is kept, since an attempt's record leaves it out."""

    def __init__(self, environment: Environment, subject: Subject) -> None:
        self.fault: Outage | None = None
        self.waiting: str | None = None
        """The method that was called and did not come to its end."""
        self._environment, self._subject = environment, subject
        self.tools = environment.tools

    async def start(self) -> Observation:
        return await self._timed("start", self._environment.start())

    async def step(self, action: Message) -> Step:
        return await self._timed("step", self._environment.step(action))

    async def close(self) -> None:
        try:
            await self._timed("close", self._environment.close())
        except Exception as error:
            self.fault = Outage(f"close: {type(error).__name__}: {error}")
            raise

    async def _timed(self, method: str, call: Awaitable[T]) -> T:
        self.waiting, started = method, time.perf_counter()
        try:
            given = await call
        except asyncio.CancelledError:
            raise
        except BaseException:
            self.waiting = None
            raise
        self.waiting = None
        self._subject.took(method, time.perf_counter() - started)
        return given


def short(value: object, most: int = 60) -> str:
    """The value in quotation marks, cut where it is long."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."
