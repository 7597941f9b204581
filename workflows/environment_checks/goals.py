"""Checks of hindsight: what attempts reached, and whether they can be told anew for it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from journeyman.agent.asking import (
    ask_for_goals,
    ask_for_states,
    ask_to_relabel,
)
from journeyman.agent.chance import keyed_rng
from journeyman.agent.chat.rendering import rerender
from journeyman.agent.data import Achieved, Episode, Json, Source, StopReason, Task, Trajectory
from journeyman.agent.errors import Late, Outage
from journeyman.agent.protocols import GoalEnvironment, Retraceable
from journeyman.storage.replay.hindsight import Strategy, propose
from journeyman.workflows.environment_checks.drawing import SPLITS, same_json
from journeyman.workflows.environment_checks.subject import Subject, short
from journeyman.workflows.findings import Finding

TASKS = 6
DRAWS = 3
"""Goals of an attempt that are told from a later turn."""


@dataclass(frozen=True, slots=True, eq=False)
class _Reached:
    """An attempt, and what it reached."""

    task: Task
    trajectory: Trajectory
    environment: GoalEnvironment
    achieved: Sequence[Achieved]


def check_goals(subject: Subject) -> Iterator[Finding]:
    """Nothing where the environment has no goals, or no tasks."""
    if not any(subject.tasks.values()):
        return
    try:
        attempts = _attempts(subject)
        reached = [found for task, made in attempts if (found := _reached(subject, task, made)) is not None]
        if not reached:
            return
        goals = _goals(subject, reached)
        yield goals
        if goals.ok:
            yield _relabels(subject, reached)
    except Late as fault:
        yield Finding("goals", ok=False, says=str(fault), remedy="it is to answer at once, from the actions alone")
    except Outage as fault:
        remedy = "an attempt that it raises for is not told anew: mend it, see docs/environments.md"
        yield Finding("goals", ok=False, says=str(fault), remedy=remedy)


def _attempts(subject: Subject) -> list[tuple[Task, Trajectory]]:
    """What was acted out so far, and each task acted out by another task's demonstration, whole and cut short."""
    tasks = [task for split in SPLITS for task in subject.tasks[split][: TASKS // 2]]
    shown = [subject.demonstrate(task) for task in tasks]
    if not isinstance(subject.ask("open", partial(subject.task_set.open, tasks[0])), GoalEnvironment):
        return []
    for task, actions in zip(tasks, [*shown[1:], *shown[:1]], strict=True):
        if actions:
            subject.act(task, actions[: subject.task_set.max_turns])
            subject.act(task, actions[: (len(actions) + 1) // 2])
    finished = (StopReason.TERMINATED, StopReason.TRUNCATED)
    return [(task, made) for task, made in subject.acted if made.turns and made.stop_reason in finished]


def _reached(subject: Subject, task: Task, made: Trajectory) -> _Reached | None:
    environment = subject.ask("open", partial(subject.task_set.open, task))
    if not isinstance(environment, GoalEnvironment):
        return None
    achieved = subject.timed("achieved_goals", partial(ask_for_goals, environment, made, subject.seconds))
    return _Reached(task, made, environment, achieved)


def _goals(subject: Subject, reached: Sequence[_Reached]) -> Finding:
    """Whether each is JSON, given once, and where states are told the goal of one state only."""
    remedy = "goals are to be one-to-one with states: give each that was reached once, with the turn that reached it"
    for one in reached:
        names = [_text(a.goal) for a in one.achieved]
        if bad := [a.goal for a in one.achieved if not same_json(a.goal)]:
            says = f"goal {short(bad[0])} comes back from the store as {short(json.loads(json.dumps(bad[0])))}"
            return Finding("goals", ok=False, says=says, remedy="use lists for tuples, and texts as keys")
        if twice := [name for name in names if names.count(name) > 1]:
            says = f"an attempt reached {short(twice[0])} twice, in {_said(one.trajectory)}"
            return Finding("goals", ok=False, says=says, remedy=remedy)
        if problem := _states(subject, one):
            return Finding("goals", ok=False, says=problem, remedy=remedy)
    count = len({_text(a.goal) for one in reached for a in one.achieved})
    return Finding("goals", ok=True, says=f"{count} reached in {len(reached)} attempts, each given once")


def _states(subject: Subject, one: _Reached) -> str | None:
    """What is wrong between the states of the attempt and the goals it reached."""
    if not isinstance(one.environment, Retraceable):
        return None
    actions = [turn.action for turn in one.trajectory.acted_out]
    states = subject.timed("states", partial(ask_for_states, one.environment, actions, subject.seconds))
    for achieved in one.achieved:
        state = states[achieved.turn + 1] if achieved.turn < len(actions) else None
        if state in states[: achieved.turn + 1]:
            return f"goal {short(achieved.goal)} is said to be reached in turn {achieved.turn}, and was so before"
    return None


def _relabels(subject: Subject, reached: Sequence[_Reached]) -> Finding:
    """Whether attempts told anew pass the verifiers, and whether acting them out anew shows the same."""
    told: list[tuple[Task, Trajectory]] = []
    rng = keyed_rng(0, "check-environment")
    strategies = (Strategy.FINAL, Strategy.EPISODE, Strategy.FUTURE)
    for one in reached:
        for proposal in propose(one.achieved, one.task.goal, strategies, DRAWS, rng):
            place = one.environment, one.trajectory, proposal.goal, proposal.start_turn
            episode = subject.timed("relabel", partial(ask_to_relabel, *place, subject.seconds))
            where = f"goal {short(proposal.goal)} from turn {proposal.start_turn} of {_said(one.trajectory)}"
            if problem := next(_problems(subject, one, episode, proposal.goal), None):
                remedy = "`relabel` is to give the task of that goal, and every message as it would have been shown"
                return Finding("relabels", ok=False, says=f"{where}: {problem}", remedy=remedy)
            told.append((episode.task, _trajectory(subject, one, episode)))
    for (task, made), given in zip(told, subject.scores(told), strict=True):
        if subject.rubric is not None and not subject.rubric.passes(given):
            says = f"told for {short(task.goal)} that it reached, {_said(made)} does not pass {given[0].verifier.name}"
            remedy = "let `achieved_goals` and the verifiers agree: what they do not pass is dropped"
            return Finding("relabels", ok=False, says=says, remedy=remedy)
    says = f"{len(told)} attempts told anew pass, and act out as they are told" if told else "no attempt to tell anew"
    return Finding("relabels", ok=True, says=says)


def _problems(subject: Subject, one: _Reached, episode: Episode, goal: Json) -> Iterator[str]:
    """What is wrong with the attempt told anew."""
    if _text(episode.task.goal) != _text(goal):
        yield f"the task's goal is {short(episode.task.goal)}"
    if episode.task.hash == one.task.hash:
        yield "its task has the hash of the old one: the goal is to be part of the hash"
    if episode.task.environment != subject.name:
        yield f"the task's environment is {episode.task.environment!r}"
    acted = subject.act(episode.task, [turn.action for turn in episode.turns])
    if acted.stop_reason is StopReason.ERROR:
        yield f"acted out anew, the environment raised {acted.error}"
    for number, (turn, shown) in enumerate(zip(episode.turns, acted.turns, strict=False)):
        told, seen = ([m.content for m in messages] for messages in (turn.observation, shown.observation))
        if told != seen:
            yield f"turn {number} is told as {short(told)}, and shows {short(seen)}"
    if len(acted.turns) < len(episode.turns):
        yield f"acted out anew, it is over after {len(acted.turns)} of {len(episode.turns)} turns"


def _trajectory(subject: Subject, one: _Reached, episode: Episode) -> Trajectory:
    tell = partial(rerender, one.trajectory, episode, subject.renderer, subject.tools)
    segments = subject.ask("relabel", tell)
    return Trajectory(episode.task.hash, Source.HINDSIGHT, episode.turns, segments, StopReason.TERMINATED)


def _said(made: Trajectory) -> str:
    return short([turn.action.content for turn in made.turns])


def _text(goal: Json) -> str:
    return json.dumps(goal, sort_keys=True)
