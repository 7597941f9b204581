"""The warm start: behavioural cloning of demonstrations, stopped early by validation."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice

from journeyman.agent.asking import ask_expert
from journeyman.agent.chance import keyed_seed
from journeyman.agent.chat.rendering import render_episode
from journeyman.agent.data import (
    Episode,
    Json,
    Source,
    Split,
    Status,
    StopReason,
    Task,
    Tool,
    Trajectory,
    canonical_hash,
    said,
)
from journeyman.agent.environments.rows import placed_demonstrations
from journeyman.agent.errors import DataError, Outage
from journeyman.agent.hosting import call_bounded
from journeyman.agent.learning.learner import Learner, TrainingRow
from journeyman.agent.learning.schedule import warmup_then_decay
from journeyman.storage.runs.policies import NewPolicy, PolicyInfo, Use
from journeyman.storage.trajectories.rows import NewTrajectory
from journeyman.storage.trajectories.trajectories import StoredTrajectory
from journeyman.workflows.attempts.attempts import judged, success_rate
from journeyman.workflows.attempts.outages import without_outage
from journeyman.workflows.attempts.versions import WARM_START, version_path
from journeyman.workflows.session.oversights import warn_of_long_turns, warn_of_single_steps
from journeyman.workflows.session.session import RunRef, Session, borrow
from journeyman.workflows.settings.updates import WarmStartSettings
from journeyman.workflows.updates.replay import remember


def warm_start(ref: RunRef) -> Json:
    """Makes the run's first policy version, promoted as it is: nothing came before it."""
    with borrow(ref) as session:
        session.store.runs.begin_iteration(session.run.id, 0)
        known = [p for p in session.store.policies.of(session.run.id) if p.number == WARM_START]
        if not known:
            earlier = _policy_to_continue(session)
            if earlier is None:
                _clone(session)
            else:
                stats = {"continues": f"{earlier.run_id} v{earlier.number}"}
                policy = NewPolicy(WARM_START, earlier.id, 0, "continued", earlier.path, stats, promoted=True)
                session.store.policies.add(session.run.id, policy)
        session.store.runs.finish_iteration(session.run.id, 0)
        first = session.store.policies.numbered(session.run.id, WARM_START)
        return {"policy": first.number, "kind": first.kind, **first.stats}


def _policy_to_continue(session: Session) -> PolicyInfo | None:
    if not session.settings.run.continues:
        return None
    return session.store.policies.newest_promoted_of(session.run.name, before_ordinal=session.run.ordinal)


def _clone(session: Session) -> None:
    _store_demonstrations(session)
    shown = verified_demonstrations(session)
    remember(session.store, session.run.id, session.rubric, 0)
    path = version_path(session, WARM_START)
    learner = session.base_learner()
    learner.save(session.artifacts / path, WARM_START)
    rows = cloning_rows(shown)
    warn_of_long_turns(session, [t.trajectory for t in shown])
    stats = fit(session, learner, rows, path, session.settings.warm_start.max_epochs) if rows else {"demonstrations": 0}
    policy = NewPolicy(WARM_START, None, 0, "warm_start", path, stats, promoted=True)
    rubric = session.rubric
    uses = [Use(t.id, rubric.reward(t.verdicts), rubric.hash, None, nll_weight=1.0) for t in shown]
    session.store.policies.add(session.run.id, policy, uses)


def fit(session: Session, learner: Learner, rows: list[TrainingRow], path: str, max_epochs: int) -> dict[str, Json]:
    """Epochs until validation success has not risen for `patience` checks; the best weights are left at `path`.

    Validation's word is the share of its tasks solved, not the held-out loss: on a few hundred demonstrations the
    loss turns long before the policy stops getting better.
    """
    settings, seed = session.settings.warm_start, session.settings.run.seed
    tasks = session.store.tasks.of(session.run.id, Split.VALIDATION)
    best, best_epoch, epoch, checked = -1.0, 0, 0, f"{path}-check"
    with session.reporter.progress("warm start: epochs", max_epochs) as advance:
        for epoch in range(1, max_epochs + 1):
            update = learner.update(
                rows,
                minibatch_rows=settings.batch,
                seed=keyed_seed(seed, "warm_start", epoch),
                learning_rate=partial(_rate, settings, epoch - 1, max_epochs),
            )
            warn_of_single_steps(session, "warm_start", len(rows), update.stats["steps"])
            advance()
            if epoch % settings.check_every and epoch != max_epochs:
                continue
            learner.save(session.artifacts / checked, WARM_START)
            success = success_rate(session, checked, tasks)
            if success > best:
                best, best_epoch = success, epoch
                learner.save(session.artifacts / path, WARM_START)
            elif epoch - best_epoch >= settings.patience * settings.check_every:
                break
    shutil.rmtree(session.artifacts / checked)
    return {"demonstrations": len(rows), "epochs": epoch, "best_epoch": best_epoch, "validation_success": best}


def _rate(settings: WarmStartSettings, epochs_before: int, max_epochs: int, done: float) -> float:
    """One warm-up and one decay over all epochs; `done` is the share of the present one."""
    return warmup_then_decay(settings.learning_rate, settings.warmup, (epochs_before + done) / max_epochs)


def _store_demonstrations(session: Session) -> None:
    """Experts' trajectories, verified, in one transaction each; what is stored already is left alone."""
    settings = session.settings.warm_start
    if session.store.trajectories.groups(session.run.id, 0, Source.EXPERT) or not settings.demonstrations:
        return
    shown = _read_file(session, settings.file) if settings.file else _ask_expert(session)
    rows = [(task, NewTrajectory(f"expert/{task.hash}", t, 0, policy_id=None)) for task, t in shown]
    session.store.trajectories.add(session.run.id, judged(session.rubric, rows))


def _ask_expert(session: Session) -> list[tuple[Task, Trajectory]]:
    """The environment's expert on the first training tasks, acted out in the environment."""
    tasks = session.store.tasks.of(session.run.id, Split.TRAIN)[: session.settings.warm_start.demonstrations]
    shown = []
    with session.reporter.progress("demonstrations", len(tasks)) as advance:
        for number, task in enumerate(tasks, 1):
            try:
                actions = ask_expert(session.task_set, task, seconds=session.step_seconds)
            except Outage as fault:
                session.warn("expert", f"some tasks have no demonstration, since the expert fails at them: {fault}")
                actions = None
            if actions is not None:
                with _said_of(f"demonstration {number}, of task {task.hash}"):
                    shown.append((task, session.replay(task, actions)))
            advance()
    return shown


def _demonstrate_again(session: Session, broken: Sequence[StoredTrajectory]) -> None:
    shown = [(t, session.task_set.demonstrate(t.task)) for t in broken]
    rows = [
        NewTrajectory(t.group, session.replay(t.task, actions), 0, policy_id=None)
        for t, actions in shown
        if actions is not None
    ]
    session.store.trajectories.replace_broken(session.run.id, rows)


def _read_file(session: Session, path: str) -> list[tuple[Task, Trajectory]]:
    """Chats from a file, with all that the expert was shown; their prompts become training tasks.

    Those of held-out tasks are left out. A row that names no tools has the environment's.
    """
    store, run_id = session.store, session.run.id
    splits = (Split.VALIDATION, Split.TEST, Split.GUARD)
    held_out = [said(t.prompt) for split in splits for t in store.tasks.of(run_id, split, origin=None)]
    environment, tools = session.settings.environment["name"], _own_tools(session)
    shown: dict[str, tuple[Task, Trajectory]] = {}
    rows = list(islice(placed_demonstrations(path), session.settings.warm_start.demonstrations))
    for where, row in rows:
        task_hash = canonical_hash(environment, said(row.prompt))
        if said(row.prompt) in held_out or task_hash in shown:
            continue
        task = Task(environment, row.answer, row.prompt, Split.TRAIN, task_hash)
        episode = Episode(task, row.turns, 0)
        with _said_of(where):
            segments = render_episode(episode, session.renderer, tools if row.tools is None else row.tools)
        shown[task_hash] = task, Trajectory(task_hash, Source.EXPERT, episode.turns, segments, StopReason.TERMINATED)
    if 2 * len(shown) <= len(rows):
        session.warn(
            "left out",
            f"{len(rows) - len(shown)} of {len(rows)} demonstrations in {path} are left out: their prompts are those "
            "of held-out tasks or of earlier rows, and a task is known by its prompt",
        )
    session.store.tasks.add(session.run.id, [task for task, _ in shown.values()], origin="imported")
    return list(shown.values())


def _own_tools(session: Session) -> Sequence[Tool]:
    """The environment's tools, for rows that name none; nothing where it does not open."""
    tasks = session.store.tasks.of(session.run.id, Split.TRAIN)[:1]
    try:
        return call_bounded(
            "open",
            lambda: tuple(tool for task in tasks for tool in session.open_environment(task).tools),
            session.step_seconds,
        )
    except Outage as error:
        session.warn("tools", f"demonstrations are shown without the environment's tools: {error}")
        return ()


@contextmanager
def _said_of(where: str) -> Iterator[None]:
    """A DataError within is said to be of the demonstration that is there."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{where}: {error}") from None


def verified_demonstrations(session: Session) -> list[StoredTrajectory]:
    """The warm start's demonstrations that the verifiers pass, or on which they all abstain; those of DAgger are later.

    Raises DataError where none of them is good, UsageError where verifiers failed on most.
    """
    read = partial(session.store.trajectories.of, session.run.id, source=Source.EXPERT, iterations=[0])
    stored = without_outage(session.store, session.rubric, read, "demonstrations", partial(_demonstrate_again, session))
    good = [t for t in stored if session.rubric.succeeded(t.verdicts) or _all_abstain(t)]
    if stored and not good:
        why = next(v.explanation or f"got {v.extracted!r}, not {v.expected!r}" for v in stored[0].verdicts.values())
        raise DataError(f"none of the {len(stored)} demonstrations passes its own verifiers; the first: {why}")
    return good


def cloning_rows(shown: Sequence[StoredTrajectory]) -> list[TrainingRow]:
    """What behavioural cloning of these demonstrations trains on: a row for each segment."""
    return [TrainingRow(segment, nll=1.0) for t in shown for segment in t.trajectory.segments]


def _all_abstain(stored: StoredTrajectory) -> bool:
    return bool(stored.verdicts) and all(verdict.status is Status.ABSTAIN for verdict in stored.verdicts.values())
