"""The choice of an iteration's training tasks: pass after pass, or those that promise the most contrast."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from journeyman.agent.chance import keyed_rng
from journeyman.agent.data import Split, Task, Verdict, VerifierId
from journeyman.agent.exploration.curriculum import best, thompson_scores, ucb_scores
from journeyman.storage.runs.curriculum import Tally, tallies
from journeyman.workflows.session.session import Session


def tasks_of(session: Session, iteration: int) -> list[Task]:
    """The iteration's training tasks, as they were chosen when it began: verdicts may have changed since."""
    tasks = {task.hash: task for task in session.store.tasks.of(session.run.id, Split.TRAIN)}
    return [tasks[name] for name in session.store.runs.chosen_tasks(session.run.id, iteration)]


def choose_tasks(session: Session, iteration: int) -> list[Task]:
    """Training tasks for the iteration, each once, as `curriculum.strategy` says, by attempts of earlier ones alone."""
    tasks = session.store.tasks.of(session.run.id, Split.TRAIN)
    if session.settings.curriculum.strategy == "passes":
        return _passes(session, tasks, iteration)
    return _promising(session, tasks, iteration)


def _passes(session: Session, tasks: Sequence[Task], iteration: int) -> list[Task]:
    """Pass after pass over all tasks, each pass in an order of its own; `generate.tasks` of them, or all there are."""
    count = session.settings.generate.tasks
    chosen: dict[str, Task] = {}
    for place in itertools.count((iteration - 1) * count):
        turn, i = divmod(place, len(tasks))
        if i == 0 or not chosen:
            order = keyed_rng(session.settings.run.seed, "order", session.run.ordinal, turn).permutation(len(tasks))
        chosen.setdefault(tasks[order[i]].hash, tasks[order[i]])  # where a pass ends, the next may repeat its last ones
        if len(chosen) == min(count, len(tasks)):
            break
    return list(chosen.values())


def _promising(session: Session, tasks: Sequence[Task], iteration: int) -> list[Task]:
    """Those of the highest score, by what earlier iterations came to."""
    settings, rubric = session.settings.curriculum, session.rubric
    recent = range(max(iteration - settings.max_age, 1), iteration)
    weighed = [c.id for c in rubric.criteria if c.term.counts]

    def succeeded(verdicts: Mapping[VerifierId, Verdict]) -> bool | None:
        return None if rubric.failed(verdicts) else rubric.succeeded(verdicts)

    found = tallies(session.store.database, session.run.id, recent, weighed, succeeded)
    counted = [found.get(task.hash, Tally()) for task in tasks]
    attempts_T = np.array([t.attempts for t in counted], dtype=np.int64)
    judged_T = np.array([t.judged for t in counted], dtype=np.int64)
    successes_T = np.array([t.successes for t in counted], dtype=np.int64)
    rng = keyed_rng(session.settings.run.seed, "curriculum", session.run.ordinal, iteration)
    if settings.strategy == "ucb":
        scores_T = ucb_scores(attempts_T, judged_T, successes_T, settings.explore)
    else:
        scores_T = thompson_scores(attempts_T, judged_T, successes_T, rng)
    return [tasks[i] for i in best(scores_T, session.settings.generate.tasks, rng)]
