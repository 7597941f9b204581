"""Stage 3, after hindsight: the expert goes on from states that failed attempts were in (DAgger).

Dataset aggregation (Ross, Gordon and Bagnell 2011, arXiv:1011.0686, algorithm 3.1, with the policy alone acting): an
imitator meets states that the expert's own demonstrations never show, so the expert is asked in those. What it does
there is stored as a demonstration of its own kind, and the update draws it as one.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from journeyman.agent.asking import ask_expert
from journeyman.agent.chance import keyed_rng
from journeyman.agent.chat.rendering import choices_of
from journeyman.agent.data import Json, Source, Trajectory
from journeyman.agent.errors import Outage
from journeyman.storage.trajectories.rows import NewTrajectory
from journeyman.storage.trajectories.trajectories import StoredTrajectory
from journeyman.workflows.attempts.attempts import attempts_of
from journeyman.workflows.session.session import RunRef, Session, borrow

LABELLER = "dagger/1"
"""What stands as `relabeller` of such a demonstration, with the version of its making."""


def dagger(ref: RunRef, iteration: int) -> Json:
    """Stores the iteration's demonstrations by DAgger in one transaction; there are none without an expert.

    They are of failed training attempts, whose task they keep and which they name as their parent. One is refused
    where the verifiers do not pass it, or where it takes more turns or tokens than an attempt may.
    """
    with borrow(ref) as session:
        store, run_id = session.store, session.run.id
        if not store.trajectories.groups(run_id, iteration, Source.EXPERT):
            store.trajectories.add(run_id, _demonstrations(session, iteration))
        return {"demonstrations": store.trajectories.counts(run_id).get((iteration, Source.EXPERT), 0)}


def _demonstrations(session: Session, iteration: int) -> list[NewTrajectory]:
    settings, seed = session.settings.dagger, session.settings.run.seed
    failed = [t for t in attempts_of(session, iteration) if _failed(session, t)]
    order = keyed_rng(seed, "dagger", session.run.ordinal, iteration).permutation(len(failed))
    asked: set[tuple[str, ...]] = set()
    rows: list[NewTrajectory] = []
    with session.reporter.progress(f"iteration {iteration}: dagger", len(failed)) as advance:
        for i in order:
            room = min(settings.per_attempt, settings.limit - len(rows))
            rows += islice(_going_on(session, iteration, failed[i], asked), room)
            advance()
    return rows


def _failed(session: Session, stored: StoredTrajectory) -> bool:
    """Whether the attempt failed by what the policy did: where the environment broke there is nothing to learn."""
    return not stored.trajectory.broken and not session.rubric.succeeded(stored.verdicts)


def _going_on(
    session: Session, iteration: int, parent: StoredTrajectory, asked: set[tuple[str, ...]]
) -> Iterator[NewTrajectory]:
    """Demonstrations from states of the attempt in a drawn order; `asked` are the histories that are done with."""
    task, turns, chosen = parent.task, parent.trajectory.turns, choices_of(parent.trajectory)
    rng = keyed_rng(session.settings.run.seed, "dagger", parent.key)
    for turn in rng.permutation(len(turns)).tolist():
        history = (task.hash, *(t.action.content for t in turns[:turn]))
        if history in asked:  # attempts of a group often begin alike
            continue
        asked.add(history)
        try:
            actions = ask_expert(session.task_set, task, [t.action for t in turns[:turn]], seconds=session.step_seconds)
        except Outage as fault:
            session.warn("expert", f"some states have no demonstration, since the expert fails in them: {fault}")
            continue
        if actions is None or turn + len(actions) > session.task_set.max_turns:
            continue
        context = [choice.ids for choice in chosen[:turn]]
        trajectory = session.replay(task, actions, context)
        [scores] = session.rubric.score_all([(task, trajectory)])
        if _fits(session, trajectory) and session.rubric.passes(scores):
            group = f"dagger/{parent.key}/{turn}"
            yield NewTrajectory(group, trajectory, iteration, None, parent.id, LABELLER, scores)


def _fits(session: Session, trajectory: Trajectory) -> bool:
    """Whether the expert had a turn, and the sampler could have been given every history and said every turn."""
    settings = session.settings
    lengths = [len(s.prompt_ids) + len(s.completion_ids) for s in trajectory.segments]
    said = [end - first for segment in trajectory.segments for first, end in segment.runs()]
    return bool(said) and max(lengths) <= settings.sampler.max_context and max(said) <= settings.generate.max_tokens
