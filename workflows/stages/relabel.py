"""Stage 3, hindsight: failed attempts told anew for goals they did reach, each checked by the same verifiers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice

from journeyman.agent.asking import ask_for_goals, ask_for_tools, ask_to_relabel, open_bounded
from journeyman.agent.chance import keyed_rng
from journeyman.agent.chat.rendering import rerender
from journeyman.agent.data import Achieved, Json, Source, StopReason, Task, Tool, Trajectory
from journeyman.agent.errors import Outage, TemplateRefusedError
from journeyman.agent.protocols import GoalEnvironment
from journeyman.storage.replay.hindsight import GROUP_RELABELLER, Strategy, best_of_group, group_goals, propose
from journeyman.storage.trajectories.rows import NewTrajectory
from journeyman.storage.trajectories.trajectories import StoredTrajectory
from journeyman.verifiers.rubric import Rubric
from journeyman.workflows.attempts.attempts import attempts_of, judged
from journeyman.workflows.session.session import RunRef, Session, borrow


def relabel(ref: RunRef, iteration: int) -> Json:
    """Stores the iteration's relabels in one transaction; there are none for environments without goals.

    A relabel is refused where its task is held out (by canonical hash), where its verifiers do not pass it, where the
    same was told already, and where the iteration has `relabel.per_task` of its task or `relabel.per_goal` of its goal.
    """
    with borrow(ref) as session:
        store, run_id = session.store, session.run.id
        if not store.trajectories.groups(run_id, iteration, Source.HINDSIGHT):
            store.trajectories.add(run_id, *_relabels(session, attempts_of(session, iteration)))
        return {"relabels": store.trajectories.counts(run_id).get((iteration, Source.HINDSIGHT), 0)}


@dataclass(frozen=True, slots=True, eq=False)
class _Failure:
    """A failed attempt that can be told anew, and what it did reach."""

    stored: StoredTrajectory
    environment: GoalEnvironment
    tools: Sequence[Tool]
    achieved: Sequence[Achieved]


@dataclass(frozen=True, slots=True, eq=False)
class _Retelling:
    """One relabel, or a whole hindsight group: attempts at one task."""

    task: Task
    rows: list[NewTrajectory]

    @property
    def is_group(self) -> bool:
        """Whether it is a hindsight group."""
        return len(self.rows) > 1

    @property
    def content(self) -> tuple[object, ...]:
        """What was done for which task: equal where nothing new is told."""
        said = (turn.action.content for row in self.rows for turn in row.trajectory.turns)
        return (self.task.hash, *said)


def _relabels(session: Session, attempts: list[StoredTrajectory]) -> tuple[list[NewTrajectory], list[Task]]:
    settings, held_out = session.settings.relabel, session.store.tasks.held_out(session.run.id)
    tasks: Counter[tuple[str, bool]] = Counter()  # groups are counted apart, or single relabels would keep them out
    goals: Counter[tuple[str, bool]] = Counter()
    found: dict[tuple[object, ...], _Retelling] = {}
    proposed: list[_Retelling] = []
    faults: dict[str, Outage] = {}
    with session.reporter.progress("relabel", len(attempts)) as advance:
        for _, group in groupby(attempts, key=lambda stored: stored.group_id):
            siblings = list(group)
            proposed += [told for told in _told_anew(session, siblings, faults) if told.task.hash not in held_out]
            advance(len(siblings))
    if faults:
        session.warn(
            "relabel",
            f"{len(faults)} of {len(attempts)} attempts could not be told anew for a goal that they reached: the "
            f"environment's {next(iter(faults.values()))}; docs/environments.md says what is asked of goals",
        )
    for told in _passed(session.rubric, proposed):
        task = told.task.hash, told.is_group
        goal = json.dumps(told.task.goal, sort_keys=True), told.is_group
        is_new = told.content not in found
        if is_new and tasks[task] < settings.per_task and goals[goal] != settings.per_goal:
            tasks[task] += 1
            goals[goal] += 1
            found[told.content] = told
    return [row for told in found.values() for row in told.rows], [told.task for told in found.values()]


def _told_anew(session: Session, siblings: list[StoredTrajectory], faults: dict[str, Outage]) -> Iterator[_Retelling]:
    """The relabels of each failed attempt; of a group that failed whole its best one's, and its hindsight groups.

    What the environment raises is put into `faults`, by the attempt's id, and that one is not told anew.
    """
    settings = session.settings.relabel
    rng = keyed_rng(session.settings.run.seed, "relabel", siblings[0].group)
    failures = list(_failures(session, siblings, faults))
    all_failed = not any(session.rubric.succeeded(stored.verdicts) for stored in siblings)
    rewards = [session.rubric.reward(failure.stored.verdicts) for failure in failures]
    best = best_of_group(rewards, [failure.achieved for failure in failures]) if all_failed else None
    for i, failure in enumerate(failures):
        strategies = [s for s in settings.strategies if s is not Strategy.BEST or i == best]
        for proposal in propose(failure.achieved, failure.stored.task.goal, strategies, settings.draws, rng):
            key = f"{failure.stored.key}/{proposal.relabeller}/{proposal.start_turn}"
            yield from _told(session, key, proposal.relabeller, proposal.goal, [failure], faults, proposal.start_turn)
    if all_failed and settings.groups and len(failures) > 1:
        goals = group_goals([f.achieved for f in failures], siblings[0].task.goal, settings.groups, rng)
        for goal in goals:
            key = f"{siblings[0].group}/{GROUP_RELABELLER}"
            yield from _told(session, key, GROUP_RELABELLER, goal, failures, faults)


def _failures(session: Session, siblings: Sequence[StoredTrajectory], faults: dict[str, Outage]) -> Iterator[_Failure]:
    for stored in siblings:
        finished = stored.trajectory.stop_reason in (StopReason.TERMINATED, StopReason.TRUNCATED)
        if finished and not session.rubric.succeeded(stored.verdicts):
            try:
                environment = open_bounded(session.open_environment, stored.task, session.step_seconds)
                if isinstance(environment, GoalEnvironment):
                    achieved = ask_for_goals(environment, stored.trajectory, session.step_seconds)
                    yield _Failure(stored, environment, ask_for_tools(environment, session.step_seconds), achieved)
            except Outage as fault:
                faults.setdefault(stored.id, fault)


def _told(
    session: Session,
    key: str,
    relabeller: str,
    goal: Json,
    failures: Sequence[_Failure],
    faults: dict[str, Outage],
    start_turn: int = 0,
) -> Iterator[_Retelling]:
    """The failures told for the goal, as one group, not judged yet; nothing where the environment fails for one."""
    rows = []
    for failure in failures:
        parent = failure.stored
        try:
            episode = ask_to_relabel(failure.environment, parent.trajectory, goal, start_turn, session.step_seconds)
        except Outage as fault:
            faults.setdefault(parent.id, fault)
            return
        try:
            segments = rerender(parent.trajectory, episode, session.renderer, failure.tools)
        except TemplateRefusedError as fault:
            faults.setdefault(parent.id, Outage(str(fault)))
            return
        reached = any(a.goal == goal for a in failure.achieved)
        trajectory = Trajectory(
            episode.task.hash,
            Source.HINDSIGHT,
            episode.turns,
            segments,
            StopReason.TERMINATED if reached else parent.trajectory.stop_reason,
            attempt=parent.trajectory.attempt,
        )
        group = f"hindsight/{key}/{episode.task.hash}"
        rows.append(NewTrajectory(group, trajectory, parent.iteration, parent.policy_id, parent.id, relabeller))
    yield _Retelling(episode.task, rows)


def _passed(rubric: Rubric, proposed: Sequence[_Retelling]) -> Iterator[_Retelling]:
    """Those of which the verifiers, asked about all at once, pass one attempt at least."""
    rows = iter(judged(rubric, [(told.task, row) for told in proposed for row in told.rows]))
    for told in proposed:
        scored = list(islice(rows, len(told.rows)))
        if any(rubric.passes(row.scores) for row in scored):
            yield _Retelling(told.task, scored)
