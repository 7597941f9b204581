"""Stage 3, hindsight: failed attempts told anew for goals they did reach, each checked by the same verifiers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from journeyman.agent.chance import keyed_rng
from journeyman.agent.data import Json, Source, StopReason, Task, Trajectory
from journeyman.agent.protocols import GoalEnvironment
from journeyman.agent.rendering import rerender
from journeyman.storage.hindsight import Proposal, propose
from journeyman.storage.rows import NewTrajectory
from journeyman.storage.trajectories import StoredTrajectory
from journeyman.workflows.attempts import attempts_of
from journeyman.workflows.session import RunRef, Session, borrow


def relabel(ref: RunRef, iteration: int) -> Json:
    """Stores the iteration's relabels in one transaction; there are none for environments without goals.

    A relabel is refused where its task is held out (by canonical hash), where its verifiers do not pass it, and where
    the iteration has `relabel.per_task` of its task already.
    """
    with borrow(ref) as session:
        store, run_id = session.store, session.run.id
        if not store.groups(run_id, iteration, Source.HINDSIGHT):
            failed = [t for t in attempts_of(session, iteration) if _can_be_told_anew(session, t)]
            store.add_trajectories(run_id, *_relabels(session, iteration, failed))
        return {"relabels": store.counts(run_id).get((iteration, Source.HINDSIGHT), 0)}


def _can_be_told_anew(session: Session, stored: StoredTrajectory) -> bool:
    finished = stored.trajectory.stop_reason in (StopReason.TERMINATED, StopReason.TRUNCATED)
    return finished and not session.rubric.succeeded(stored.verdicts)


def _relabels(
    session: Session, iteration: int, failed: list[StoredTrajectory]
) -> tuple[list[NewTrajectory], list[Task]]:
    held_out = session.store.held_out(session.run.id)
    kept: Counter[str] = Counter()
    rows: list[NewTrajectory] = []
    tasks: dict[str, Task] = {}
    with session.reporter.progress(f"iteration {iteration}: relabel", len(failed)) as advance:
        for parent in failed:
            for task, row in _told_anew(session, iteration, parent):
                if task.hash not in held_out and kept[task.hash] < session.settings.relabel.per_task:
                    kept[task.hash] += 1
                    tasks[task.hash] = task
                    rows.append(row)
            advance()
    return rows, list(tasks.values())


def _told_anew(session: Session, iteration: int, parent: StoredTrajectory) -> Iterator[tuple[Task, NewTrajectory]]:
    """The parent's relabels that the verifiers pass."""
    environment = session.open_environment(parent.task)
    if not isinstance(environment, GoalEnvironment):
        return
    for proposal in _proposals(session, environment, parent):
        episode = environment.relabel(parent.trajectory, proposal.goal, proposal.start_turn)
        segments = rerender(parent.trajectory, episode, session.renderer, environment.tools)
        trajectory = Trajectory(
            episode.task.hash,
            Source.HINDSIGHT,
            episode.turns,
            segments,
            StopReason.TERMINATED,
            attempt=parent.trajectory.attempt,
        )
        scores = session.rubric.score(episode.task, trajectory)
        if session.rubric.succeeded({s.verifier: s.verdict for s in scores}):
            group = f"hindsight/{parent.key}/{proposal.relabeller}/{proposal.start_turn}/{episode.task.hash}"
            yield (
                episode.task,
                NewTrajectory(group, trajectory, iteration, parent.policy_id, parent.id, proposal.relabeller, scores),
            )


def _proposals(session: Session, environment: GoalEnvironment, parent: StoredTrajectory) -> list[Proposal]:
    settings = session.settings.relabel
    rng = keyed_rng(session.settings.run.seed, "relabel", parent.key)
    achieved = environment.achieved_goals(parent.trajectory)
    return propose(achieved, parent.task.goal, settings.strategies, settings.draws, rng)
