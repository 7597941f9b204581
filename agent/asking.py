"""What environments are asked beside acting a task out: tasks, demonstrations, goals, states.

This is the boundary around those methods. What they raise, an answer that is none, and none within `seconds`, is an
`Outage` with a text that names the method; it is data, and the caller goes on without the answer. Errors of this
package pass. A task set may take its time to draw tasks, since it has data to load: `LOADING_SECONDS` for each.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from typing import Any, get_args

from journeyman.agent.data import Achieved, Episode, Json, Message, Role, Split, Task, Tool, Trajectory
from journeyman.agent.environments.boundary import checked_tools
from journeyman.agent.errors import Outage, UsageError
from journeyman.agent.hosting import Seconds, a_host, call_bounded
from journeyman.agent.protocols import Environment, GoalEnvironment, Retraceable, TaskSet

LOADING_SECONDS = 600.0
AHEAD_SECONDS = 0.02
"""For which tasks are drawn before they are asked for."""

_ROLES = get_args(Role)


def ask_for_tasks(task_set: TaskSet, split: Split, seed: int, name: str) -> Iterator[Task]:
    """The task set's tasks; raises UsageError, naming the environment, where it raises or yields what is no task."""
    what = f"tasks({split.value!r}, seed {seed})"
    host = a_host(LOADING_SECONDS)  # one for all: what the task set holds, a connection say, may be its thread's
    try:
        tasks = host.call_now(what, lambda: iter(task_set.tasks(split, seed)), LOADING_SECONDS)
        ahead = 0.0  # whoever asks for one gets one
        while drawn := host.call_now(what, partial(_some, tasks, ahead), LOADING_SECONDS):
            ahead = AHEAD_SECONDS
            for task in drawn:
                if isinstance(task, Exception):
                    host.call_now(what, partial(_raise, task), LOADING_SECONDS)
                else:
                    yield task
    except Outage as fault:
        remedy = f"`journeyman check-environment {name}` looks at all of it"
        raise UsageError(f"environment {name!r}: {fault}; {remedy}") from fault
    finally:
        host.retire()


def _some(tasks: Iterator[Task], seconds: float) -> list[Task | Exception]:
    """As many as are drawn in that time, at least one: to ask for each alone would take longer than to draw it.

    What is raised comes last, in its place; nothing where they are at their end.
    """
    found: list[Task | Exception] = []
    until = time.monotonic() + seconds
    try:
        for task in tasks:
            check_task(task)
            found.append(task)
            if time.monotonic() >= until:
                break
    except Exception as error:
        found.append(error)
    return found


def _raise(error: Exception) -> None:
    raise error


def ask_expert(
    task_set: TaskSet, task: Task, after: Sequence[Message] = (), *, seconds: Seconds
) -> list[Message] | None:
    """The expert's actions for the task from the state after `after` on; None where it has none."""

    def asked() -> list[Message] | None:
        actions = task_set.demonstrate(task, after) if after else task_set.demonstrate(task)
        if actions is None:
            return None
        listed = list(actions)
        _check_messages(listed)
        if other := {m.role for m in listed} - {"assistant"}:
            raise TypeError(f"an action is an assistant's message, not one of role {sorted(other)}")
        return listed

    return call_bounded("demonstrate", asked, seconds)


def open_bounded(open_environment: Callable[[Task], Environment], task: Task, seconds: Seconds) -> Environment:
    """A fresh environment for the task."""
    return call_bounded("open", lambda: open_environment(task), seconds)


def ask_for_tools(environment: Environment, seconds: Seconds) -> tuple[Tool, ...]:
    """What the agent may call in it."""
    return call_bounded("tools", lambda: checked_tools(environment.tools), seconds)


def ask_for_goals(environment: GoalEnvironment, trajectory: Trajectory, seconds: Seconds) -> list[Achieved]:
    """The goals that the trajectory reached, each a JSON value with a turn of the trajectory."""

    def asked() -> list[Achieved]:
        achieved = list(environment.achieved_goals(trajectory))
        for one in achieved:
            if not isinstance(one, Achieved):
                raise TypeError(f"{one!r} is no Achieved(goal, turn)")
            if not isinstance(one.turn, int) or not 0 <= one.turn < len(trajectory.turns):
                raise ValueError(f"{one!r}: the attempt has the turns 0 to {len(trajectory.turns) - 1}")
            json.dumps(one.goal)
        return achieved

    return call_bounded("achieved_goals", asked, seconds)


def ask_to_relabel(
    environment: GoalEnvironment, trajectory: Trajectory, goal: Json, start_turn: int, seconds: Seconds
) -> Episode:
    """The attempt from `start_turn` on told for `goal`."""

    def asked() -> Episode:
        episode = environment.relabel(trajectory, goal, start_turn)
        if not isinstance(episode, Episode):
            raise TypeError(f"{type(episode).__name__} is no Episode")
        check_task(episode.task)
        last = episode.start_turn + len(episode.turns)
        if not 0 <= episode.start_turn <= last <= len(trajectory.turns):
            raise ValueError(f"it has turns {episode.start_turn} to {last}, the attempt {len(trajectory.turns)}")
        for turn in episode.turns:
            _check_messages([turn.action, *turn.observation])
        return episode

    return call_bounded("relabel", asked, seconds)


def ask_for_states(environment: Retraceable, actions: Sequence[Message], seconds: Seconds) -> list[Hashable]:
    """The state before each of the actions, and the one after the last."""

    def asked() -> list[Hashable]:
        states = list(environment.states(actions))
        if len(states) != len(actions) + 1:
            raise ValueError(f"{len(states)} states for {len(actions)} actions: one before each, and the last")
        for state in states:
            hash(state)
        return states

    return call_bounded("states", asked, seconds)


def check_task(task: Any) -> None:
    """Raises TypeError or ValueError where the task could not be stored, or not be shown to a model."""
    if not isinstance(task, Task):
        raise TypeError(f"{type(task).__name__} is no Task")
    if not isinstance(task.hash, str) or not isinstance(task.environment, str):
        raise TypeError("the task's hash and environment are texts")
    try:
        json.dumps([task.goal, dict(task.payload)])
    except (TypeError, ValueError) as error:
        raise TypeError(f"its goal or payload is no JSON: {error}") from error
    _check_messages(task.prompt)


def _check_messages(messages: Sequence[Any]) -> None:
    for message in messages:
        if not isinstance(message, Message):
            raise TypeError(f"{type(message).__name__} is no Message")
        if message.role not in _ROLES:
            raise ValueError(f"role {message.role!r} is none of {', '.join(_ROLES)}")
        message.content.encode()  # lone surrogates become no tokens
