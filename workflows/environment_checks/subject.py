"""What is checked, and how its methods are called: in a thread, so that one that hangs is a finding too."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Thread
from typing import TypeVar

from journeyman.agent.asking import EnvironmentFault
from journeyman.agent.chat.rendering import Renderer
from journeyman.agent.data import Json, Message, Observation, ScoreRecord, Split, Step, Task, Tool, Trajectory
from journeyman.agent.protocols import Environment, TaskSet
from journeyman.agent.rollout import replay
from journeyman.verifiers.rubric import Rubric

T = TypeVar("T")

_POLL_S = 0.02


class Stuck(EnvironmentFault):
    """A method did not end in time: its thread is left behind, and nothing more is asked of the environment."""


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
        """What one call gives; raises EnvironmentFault where it raises anything, Stuck where it does not end."""
        watch = _Watch(self)
        watch.begin(method)
        return self._watched(watch, call)

    def act(self, task: Task, actions: Sequence[Message]) -> Trajectory:
        """The actions acted out in a fresh environment; raises EnvironmentFault where it could not be begun."""
        environment = self.ask("open", partial(self.task_set.open, task))
        watch = _Watch(self)
        watched = _Watched(environment, watch)
        found = self._watched(watch, lambda: replay(task, watched, actions, self.renderer))
        if watched.fault is not None:
            raise watched.fault
        self.acted.append((task, found))
        return found

    def _watched(self, watch: _Watch, call: Callable[[], T]) -> T:
        given: list[T] = []
        raised: list[BaseException] = []

        def work() -> None:
            try:
                given.append(call())
            except BaseException as error:
                raised.append(error)
            finally:
                watch.end()

        thread = Thread(target=work, daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(_POLL_S)
            if watch.overdue():
                raise Stuck(f"{watch.method} did not end within {self.seconds:g} s")
        if given:
            return given[0]
        error = raised[0]
        if isinstance(error, EnvironmentFault):
            raise error
        raise EnvironmentFault(f"{watch.method}: {type(error).__name__}: {error}") from error

    def scores(self, attempts: Sequence[tuple[Task, Trajectory]]) -> list[tuple[ScoreRecord, ...]]:
        """Every verifier's verdict on each; nothing where there is no rubric."""
        return self.rubric.score_all(attempts) if self.rubric is not None else [()] * len(attempts)


class _Watch:
    """Which method is under way, and since when."""

    def __init__(self, subject: Subject) -> None:
        self.method = "acting a task out"
        self._subject = subject
        self._since: float | None = None

    def begin(self, method: str) -> None:
        self.method, self._since = method, time.perf_counter()

    def end(self) -> None:
        if self._since is not None:
            took, self._since = time.perf_counter() - self._since, None
            self._subject.slowest[self.method] = max(took, self._subject.slowest.get(self.method, 0.0))

    def overdue(self) -> bool:
        since = self._since  # the other thread may end it meanwhile
        return since is not None and time.perf_counter() - since > self._subject.seconds


class _Watched:
    """An environment whose calls are timed; what `start` and `close` raise is kept, since `replay` says less of it."""

    def __init__(self, environment: Environment, watch: _Watch) -> None:
        self.fault: EnvironmentFault | None = None
        self.tools: Sequence[Tool] = ()
        self._environment, self._watch = environment, watch

    async def start(self) -> Observation:
        self._watch.begin("start")
        try:
            shown = await self._environment.start()
            self.tools = self._environment.tools
            return shown
        except Exception as error:
            self.fault = EnvironmentFault(f"start: {type(error).__name__}: {error}")
            raise
        finally:
            self._watch.end()

    async def step(self, action: Message) -> Step:
        self._watch.begin("step")
        try:
            return await self._environment.step(action)
        finally:
            self._watch.end()

    async def close(self) -> None:
        self._watch.begin("close")
        try:
            await self._environment.close()
        except Exception as error:
            self.fault = EnvironmentFault(f"close: {type(error).__name__}: {error}")
            raise
        finally:
            self._watch.end()


def short(value: object, most: int = 60) -> str:
    """The value in quotation marks, cut where it is long."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."
