"""What follows from the verdicts and is stored beside them, so that no view works it out anew.

`score.counts` is true of the one verdict of each trajectory and verifier that counts: the latest `ok` or else the
latest, and none where it is retracted, or where it is an `ok` on an attempt that an outage broke. `outcome` is what the
run's rubric makes of those (`Rubric.succeeded`), and `group_tally` counts a group's. Whoever writes attempts, scores or
retractions calls `hold` before it and `settle` or `settle_judged_by` after it, in one transaction.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, text

from journeyman.storage.schema.base import AnyText

_PAGE = 2000  # ids in one statement
_LOCK = 0x6A6E766D  # any number that nobody else uses

_COUNTING = """
SELECT score.id, score.counts, ROW_NUMBER() OVER (
           PARTITION BY trajectory_id, verifier, version, config_hash
           ORDER BY CASE WHEN status = 'ok' THEN 0 ELSE 1 END, attempt DESC
       ) = 1 AND NOT EXISTS (
           SELECT 1 FROM retraction
           WHERE retraction.verifier = score.verifier AND retraction.version = score.version
             AND retraction.config_hash IN ('*', score.config_hash)
       ) AND NOT (status = 'ok' AND EXISTS (
           SELECT 1 FROM trajectory WHERE trajectory.id = score.trajectory_id AND trajectory.stop_reason = 'error'
       )) AS due
FROM score WHERE score.trajectory_id IN (SELECT id FROM wanted)
"""

_SUCCESS = """
SELECT trajectory_id, MIN(CASE WHEN weight > 0 THEN score END) AS score,
       CASE
           WHEN COUNT(holds) = COUNT(*)
           THEN MIN(holds) * MAX(CASE WHEN status = 'ok' AND weight <> 0 THEN 1 ELSE 0 END)
       END AS success
FROM (
    SELECT asked.*,
           CASE
               WHEN status = 'ok' AND weight * score < (CASE WHEN weight > 0 THEN weight ELSE 0 END) - 1e-9 THEN 0
               WHEN status = 'ok' AND score < gate THEN 0
               WHEN status = 'abstain' AND weight > 0 THEN 0
               WHEN status IN ('ok', 'abstain') THEN 1
           END AS holds
    FROM (
        SELECT wanted.id AS trajectory_id, rubric_term.gate, verdict.status, verdict.score,
               CASE WHEN rubric_term.shaping THEN 0 ELSE rubric_term.weight END AS weight
        FROM wanted
        JOIN rubric_term ON rubric_term.run_id = wanted.run_id AND rubric_term.guard = wanted.guard
        LEFT JOIN score AS verdict
            ON verdict.trajectory_id = wanted.id AND verdict.verifier = rubric_term.verifier AND verdict.counts
        WHERE (rubric_term.weight <> 0 AND NOT rubric_term.shaping) OR rubric_term.gate IS NOT NULL
        UNION ALL
        SELECT wanted.id AS trajectory_id, NULL AS gate, verdict.status, verdict.score, 1 AS weight
        FROM wanted
        JOIN score AS verdict ON verdict.trajectory_id = wanted.id AND verdict.counts
        WHERE NOT EXISTS (SELECT 1 FROM rubric_term WHERE rubric_term.run_id = wanted.run_id)
    ) AS asked
) AS told
GROUP BY trajectory_id
"""

_COLUMNS = "trajectory_id, asked, score, success, verdicts_ok, verdicts_failed"
_OUTCOME = f"""
SELECT wanted.id AS trajectory_id, told.trajectory_id IS NOT NULL AS asked, told.score, told.success,
       verdict.ok AS verdicts_ok, verdict.failed AS verdicts_failed
FROM wanted
LEFT JOIN ({_SUCCESS}) AS told ON told.trajectory_id = wanted.id
LEFT JOIN (
    SELECT trajectory_id, SUM(CASE WHEN status = 'ok' THEN 1 ELSE 0 END) AS ok,
           SUM(CASE WHEN status IN ('error', 'timeout') THEN 1 ELSE 0 END) AS failed
    FROM score WHERE counts AND trajectory_id IN (SELECT id FROM wanted) GROUP BY trajectory_id
) AS verdict ON verdict.trajectory_id = wanted.id
"""

_TALLY = """
SELECT trajectory.group_id, COUNT(*) AS attempts, COUNT(outcome.success) AS scored,
       COALESCE(SUM(outcome.success), 0) AS successes, AVG(outcome.score) AS mean_score
FROM trajectory LEFT JOIN outcome ON outcome.trajectory_id = trajectory.id
WHERE trajectory.group_id IN (SELECT group_id FROM wanted)
GROUP BY trajectory.group_id
"""

_WANTED = """
wanted AS MATERIALIZED (
    SELECT trajectory.id, trajectory.group_id, trajectory_group.run_id,
           CASE WHEN task.split = 'guard' THEN SUBSTR(task.origin, 7) ELSE '' END AS guard
    FROM trajectory
    JOIN trajectory_group ON trajectory_group.id = trajectory.group_id
    JOIN task ON task.id = trajectory_group.task_id
    WHERE {which}
)
"""
_ALL = "true"
_IDS = {"sqlite": "(SELECT value FROM json_each(:ids))", "postgresql": "(SELECT unnest(CAST(:ids AS uuid[])))"}
"""A page of ids as one parameter: hundreds take either driver longer than the statement itself."""
_JUDGED = """
trajectory.id IN (SELECT trajectory_id FROM score WHERE score.verifier = :verifier AND score.version = :version)
"""

_MARK = """
UPDATE score SET counts = NOT counts
WHERE id IN (SELECT id FROM (WITH {wanted} {counting}) AS told WHERE counts <> due)
"""
_STORE = """
INSERT INTO outcome ({columns}) WITH {wanted} {outcome} WHERE true
ON CONFLICT (trajectory_id) DO UPDATE SET asked = excluded.asked, score = excluded.score, success = excluded.success,
    verdicts_ok = excluded.verdicts_ok, verdicts_failed = excluded.verdicts_failed
"""
_COUNT = """
INSERT INTO group_tally (group_id, attempts, scored, successes, mean_score) WITH {wanted} {tally}
ON CONFLICT (group_id) DO UPDATE SET attempts = excluded.attempts, scored = excluded.scored,
    successes = excluded.successes, mean_score = excluded.mean_score
"""
_STALE_MARKS = f"WITH {_WANTED.format(which=_ALL)} SELECT told.id FROM ({_COUNTING}) AS told WHERE counts <> due"
_STALE_OUTCOMES = f"""
WITH {_WANTED.format(which=_ALL)}
SELECT trajectory_id FROM (SELECT {_COLUMNS} FROM ({_OUTCOME}) AS due EXCEPT SELECT {_COLUMNS} FROM outcome) AS stale
"""
_STALE_TALLIES = f"""
WITH {_WANTED.format(which=_ALL)}
SELECT due.group_id FROM ({_TALLY}) AS due LEFT JOIN group_tally AS kept ON kept.group_id = due.group_id
WHERE kept.group_id IS NULL OR kept.attempts <> due.attempts OR kept.scored <> due.scored
   OR kept.successes <> due.successes OR ABS(COALESCE(kept.mean_score, -1) - COALESCE(due.mean_score, -1)) > 1e-9
"""
_LOCKED = "SELECT group_id FROM group_tally WHERE group_id IN {groups} ORDER BY group_id FOR UPDATE"
_THEIR_GROUPS = "(SELECT group_id FROM trajectory WHERE id IN {ids})"


def hold(
    connection: Connection, *, trajectories: Sequence[str] = (), groups: Sequence[str] = (), alone: bool = False
) -> None:
    """Keeps others from changing these stored groups, and those of these trajectories, till the transaction's end.

    On PostgreSQL, where two may write at once, what one settled would lack what the other had not yet committed.
    Retractions, which are about all trajectories, are written `alone`.
    """
    if connection.dialect.name != "postgresql":
        return
    connection.execute(text(f"SELECT pg_advisory_xact_lock{'' if alone else '_shared'}(:key)"), {"key": _LOCK})
    these = _IDS["postgresql"]
    for ids, which in ((trajectories, _THEIR_GROUPS.format(ids=these)), (groups, these)):
        for page in _pages(connection, ids):
            connection.execute(text(_LOCKED.format(groups=which)), {"ids": page})


def settle(connection: Connection, ids: Sequence[str], *, first: bool = False) -> None:
    """Brings marks, outcomes and tallies of these trajectories in step with their verdicts.

    `first` says that they are new: each of their verdicts counts, as it was written, but for those of retracted
    verifiers.
    """
    mark, *others = _statements(f"trajectory.id IN {_IDS[connection.dialect.name]}")
    marked = first and not connection.scalar(text("SELECT COUNT(*) FROM retraction"))
    for page in _pages(connection, ids):
        for statement in others if marked else (mark, *others):
            connection.execute(text(statement), {"ids": page})


def settle_judged_by(connection: Connection, verifier: str, version: str) -> None:
    """Brings those of all trajectories in step that the verifier has judged."""
    for statement in _statements(_JUDGED):
        which = text(statement).bindparams(
            bindparam("verifier", type_=AnyText()), bindparam("version", type_=AnyText())
        )
        connection.execute(which, {"verifier": verifier, "version": version})


def settle_all(connection: Connection) -> None:
    """Brings everything in step."""
    for statement in _statements(_ALL):
        connection.execute(text(statement))


def out_of_step(connection: Connection) -> list[str]:
    """Which rows are not what follows from the verdicts, e.g. `score 0192...`; nothing is changed."""
    marks = [f"score {i}" for i in connection.scalars(text(_STALE_MARKS))]
    outcomes = [f"outcome of trajectory {i}" for i in connection.scalars(text(_STALE_OUTCOMES))]
    return marks + outcomes + [f"tally of group {i}" for i in connection.scalars(text(_STALE_TALLIES))]


def _statements(which: str) -> tuple[str, str, str]:
    """In the order in which one needs the other."""
    wanted = _WANTED.format(which=which)
    store = _STORE.format(columns=_COLUMNS, wanted=wanted, outcome=_OUTCOME)
    return _MARK.format(wanted=wanted, counting=_COUNTING), store, _COUNT.format(wanted=wanted, tally=_TALLY)


def _pages(connection: Connection, ids: Sequence[str]) -> list[str]:
    """The ids page by page, in the form that `_IDS` reads."""
    ordered = sorted(set(ids))  # in one order, lest two writers wait for each other
    pages = [ordered[i : i + _PAGE] for i in range(0, len(ordered), _PAGE)]
    return [json.dumps(page) if connection.dialect.name == "sqlite" else "{" + ",".join(page) + "}" for page in pages]
