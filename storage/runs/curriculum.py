"""How often each training task was attempted and solved: what the choice of tasks goes by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, and_, case, func, select

from journeyman.agent.data import Source, Split, Status, Verdict, VerifierId
from journeyman.storage.database import Database
from journeyman.storage.schema.runs import TaskRow
from journeyman.storage.schema.trajectories import CountedScore, TrajectoryGroup, TrajectoryRow


@dataclass(frozen=True, slots=True)
class Tally:
    """Attempts at one task, how many of them were judged, and how many succeeded, e.g. `Tally(8, 7, 3)`."""

    attempts: int = 0
    judged: int = 0
    successes: int = 0


def tallies(
    database: Database,
    run_id: str,
    iterations: range,
    verifiers: Sequence[VerifierId],
    succeeded: Callable[[Mapping[VerifierId, Verdict]], bool | None],
) -> dict[str, Tally]:
    """The policy's attempts in these consecutive iterations, by hash of the training task; only tasks that have some.

    The database counts alike verdicts of a task together, and `succeeded` is asked once for each kind: it sees status
    and score of the `verifiers` that have judged, and says None of an attempt that has no reward by somebody's failure.
    """
    found: dict[str, Tally] = {}
    with database.read() as connection:
        for task, count, *columns in connection.execute(_query(run_id, iterations, verifiers)):
            pairs = zip(columns[::2], columns[1::2], strict=True)
            verdicts = {v: Verdict(Status(s), x) for v, (s, x) in zip(verifiers, pairs, strict=True) if s is not None}
            old = found.get(task, Tally())
            success = succeeded(verdicts)
            judged = old.judged + count * (success is not None)
            found[task] = Tally(old.attempts + count, judged, old.successes + count * bool(success))
    return found


def _query(run_id: str, iterations: range, verifiers: Sequence[VerifierId]) -> Select[Any]:
    """Task, number of attempts, and of each verifier the status and the score that these attempts have in common."""
    columns = []
    for i, verifier in enumerate(verifiers):
        its = and_(
            CountedScore.c.verifier == verifier.name,
            CountedScore.c.version == verifier.version,
            CountedScore.c.config_hash == verifier.config_hash,
        )
        # one row a verifier counts, so the maximum only picks it out
        columns.append(func.max(case((its, CountedScore.c.status))).label(f"status_{i}"))
        columns.append(func.max(case((its, CountedScore.c.score))).label(f"score_{i}"))
    attempt = (
        select(TaskRow.hash, *columns)
        .select_from(TrajectoryGroup)
        .join(TaskRow, TaskRow.id == TrajectoryGroup.task_id)
        .join(TrajectoryRow, TrajectoryRow.group_id == TrajectoryGroup.id)
        .outerjoin(CountedScore, CountedScore.c.trajectory_id == TrajectoryRow.id)
        .where(TrajectoryGroup.run_id == run_id, TrajectoryGroup.source == Source.POLICY)
        .where(TrajectoryGroup.iteration >= iterations.start, TrajectoryGroup.iteration < iterations.stop)
        .where(TaskRow.split == Split.TRAIN)
        .group_by(TrajectoryRow.id, TaskRow.hash)
        .subquery()
    )
    alike = [attempt.c[column.name] for column in columns]
    return select(attempt.c.hash, func.count(), *alike).group_by(attempt.c.hash, *alike)
