"""Stage 0: the run's tasks, disjoint by canonical hash; the held-out ones are chosen first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from journeyman.agent.asking import ask_for_tasks
from journeyman.agent.chance import keyed_seed
from journeyman.agent.data import Json, Split, Task
from journeyman.agent.errors import DataError
from journeyman.workflows.console import Advance
from journeyman.workflows.session.engines import Guard
from journeyman.workflows.session.oversights import warn_of_equal_prompts
from journeyman.workflows.session.session import RunRef, Session, borrow

_STALE = 1000  # repeats in a row after which a task set counts as exhausted


def prepare(ref: RunRef) -> Json:
    """Draws test, validation, guard and training tasks and stores them in one transaction each; counts by split.

    All but training tasks depend on the seed alone, so that they are the same for all runs of a name with one seed;
    training tasks differ from run to run. A run that goes on from earlier ones of its name holds out nothing that they
    were trained on. Raises DataError where there are too few.
    """
    with borrow(ref) as session:
        counts, store, run = session.settings.tasks, session.store, session.run
        continues = session.settings.run.continues
        trained = store.tasks.trained_on(run.name, before_ordinal=run.ordinal) if continues else frozenset()
        held_out: set[str] = set()
        for split, count in ((Split.TEST, counts.test), (Split.VALIDATION, counts.validation)):
            tasks = store.tasks.of(run.id, split) or _draw(session, split, count, held_out | trained)
            held_out.update(task.hash for task in tasks)
        for guard in session.guards:
            tasks = store.tasks.of(run.id, Split.GUARD, guard.origin) or _draw_guard(session, guard, held_out | trained)
            held_out.update(task.hash for task in tasks)
        if not store.tasks.of(run.id, Split.TRAIN):
            _draw(session, Split.TRAIN, counts.train, held_out)
        return {**counts.model_dump(), "guard": sum(guard.settings.tasks for guard in session.guards)}


def _draw(session: Session, split: Split, count: int, taken: set[str]) -> list[Task]:
    """Stores the tasks; a task set is not asked for a split of which none are wanted, and need not have it."""
    if not count:
        return []
    seed, name = session.settings.run.seed, session.settings.environment["name"]
    if split is Split.TRAIN:
        seed = keyed_seed(seed, session.run.ordinal)
    with session.reporter.progress(f"{split} tasks", count) as advance:
        tasks = _first_new(ask_for_tasks(session.task_set, split, seed, name), count, taken, advance)
    if len(tasks) < count:
        raise DataError(f"environment {name!r} has only {len(tasks)} {split} tasks of its own: set tasks.{split} lower")
    session.store.tasks.add(session.run.id, tasks, origin="generated")
    warn_of_equal_prompts(session, split, tasks)
    return tasks


def _draw_guard(session: Session, guard: Guard, taken: set[str]) -> list[Task]:
    """From the guard's validation tasks, in an order of its own; they are guard tasks from then on."""
    name, count = guard.settings.name, guard.settings.tasks
    seed = keyed_seed(session.settings.run.seed, "guard", name)
    environment = guard.settings.environment["name"]
    with session.reporter.progress(f"guard {name}", count) as advance:
        stream = ask_for_tasks(guard.task_set, Split.VALIDATION, seed, environment)
        found = _first_new(stream, count, taken, advance)
    if len(found) < count:
        what = f"environment {environment!r} has only {len(found)} validation tasks that serve nothing else"
        raise DataError(f"guard {name!r}: {what}: set its tasks lower")
    tasks = [replace(task, split=Split.GUARD) for task in found]
    session.store.tasks.add(session.run.id, tasks, origin=guard.origin)
    return tasks


def _first_new(stream: Iterator[Task], count: int, taken: set[str], advance: Advance) -> list[Task]:
    """The first `count` distinct tasks of the stream that are not taken, or as many as there are."""
    found: dict[str, Task] = {}
    repeats = 0
    for task in stream:
        if task.hash in taken or task.hash in found:
            repeats += 1
            if repeats == _STALE:
                break
            continue
        repeats = 0
        found[task.hash] = task
        advance()
        if len(found) == count:
            break
    return list(found.values())
