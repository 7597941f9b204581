"""Stage 0: the run's tasks, disjoint by canonical hash; the held-out ones are chosen first."""

from __future__ import annotations

from journeyman.agent.chance import keyed_seed
from journeyman.agent.data import Json, Split, Task
from journeyman.agent.errors import DataError
from journeyman.workflows.session import RunRef, Session, borrow

_STALE = 1000  # repeats in a row after which a task set counts as exhausted


def prepare(ref: RunRef) -> Json:
    """Draws test, validation and training tasks and stores them in one transaction each; counts by split.

    Test and validation depend on the seed alone, so that they are the same for all runs of a name with one seed;
    training tasks differ from run to run. A run that goes on from earlier ones of its name holds out nothing that they
    were trained on. Raises DataError where there are too few.
    """
    with borrow(ref) as session:
        counts, run = session.settings.tasks, session.run
        continues = session.settings.run.continues
        trained = session.store.trained_on(run.name, before_ordinal=run.ordinal) if continues else frozenset()
        held_out: set[str] = set()
        for split, count in ((Split.TEST, counts.test), (Split.VALIDATION, counts.validation)):
            tasks = session.store.tasks(run.id, split) or _draw(session, split, count, held_out | trained)
            held_out.update(task.hash for task in tasks)
        if not session.store.tasks(run.id, Split.TRAIN):
            _draw(session, Split.TRAIN, counts.train, held_out)
        return counts.model_dump()


def _draw(session: Session, split: Split, count: int, taken: set[str]) -> list[Task]:
    seed = session.settings.run.seed
    if split is Split.TRAIN:
        seed = keyed_seed(seed, session.run.ordinal)
    found: dict[str, Task] = {}
    repeats = 0
    with session.reporter.progress(f"{split} tasks", count) as advance:
        for task in session.task_set.tasks(split, seed) if count else ():
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
    if len(found) < count:
        name = session.settings.environment["name"]
        raise DataError(f"environment {name!r} has only {len(found)} {split} tasks of its own: set tasks.{split} lower")
    tasks = list(found.values())
    session.store.add_tasks(session.run.id, tasks, origin="generated")
    return tasks
