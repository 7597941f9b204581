"""Trajectories as plain rows and back, for files: the round trip is exact, token ids and log-probs included.

One row is one attempt with its task, turns, segments and every verdict ever given, e.g. for JSONL or Parquet.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from sqlalchemy import select

from journeyman.agent.data import ScoreRecord, Segment, Source, Split, StopReason, Task, Trajectory, VerifierId
from journeyman.agent.data import as_messages as messages
from journeyman.agent.errors import DataError
from journeyman.storage.database import insert_new
from journeyman.storage.loading import StoredTrajectory, chunks
from journeyman.storage.rows import NewTrajectory, score_row, turn_from_row, turn_rows, verdict_from_row
from journeyman.storage.schema_trajectories import Score
from journeyman.storage.store import ReplayStore

FORMAT = 1
_PAGE = 500
_SCORE = tuple(c.name for c in Score.__table__.columns if c.name not in ("id", "trajectory_id", "created_at"))


def export_rows(store: ReplayStore, run_id: str) -> Iterator[dict[str, Any]]:
    """The run's trajectories as rows, parents before their relabels, else by iteration and group."""
    light = store.trajectories(run_id, tokens=False)
    ordered = sorted(light, key=lambda t: (t.parent_id is not None, t.iteration, t.group, t.trajectory.attempt))
    names = {t.id: [t.group, t.trajectory.attempt] for t in light}
    for page in pages(ordered, _PAGE):
        ids = [t.id for t in page]
        scores = _scores(store, ids)
        for stored in store.by_id(ids):
            yield _row(stored, names.get(stored.parent_id or ""), scores[stored.id])


def import_rows(store: ReplayStore, run_id: str, rows: Iterable[Mapping[str, Any]]) -> int:
    """Stores exported rows in a run; how many. Attempts that the run has already are left as they are.

    Their policy versions become versions of the run without weights. Raises DataError for a row that is no such row.
    """
    count = 0
    for page in pages(rows, _PAGE):
        try:
            _import_page(store, run_id, page, count)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            why = f"{type(error).__name__}: {error}"
            raise DataError(f"rows {count + 1} to {count + len(page)} are no exported trajectories ({why})") from error
        count += len(page)
    return count


def pages(rows: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """The rows in lists of `size`, the last one shorter."""
    iterator = iter(rows)
    while page := list(islice(iterator, size)):
        yield page


def _row(stored: StoredTrajectory, parent: list[Any] | None, scores: list[dict[str, Any]]) -> dict[str, Any]:
    task, trajectory = stored.task, stored.trajectory
    return {
        "format": FORMAT,
        "group": stored.group,
        "attempt": trajectory.attempt,
        "source": str(trajectory.source),
        "iteration": stored.iteration,
        "policy": stored.policy_number,
        "parent": parent,
        "relabeller": stored.relabeller,
        "stop_reason": str(trajectory.stop_reason),
        "error": trajectory.error,
        "task": {
            "environment": task.environment,
            "split": str(task.split),
            "hash": task.hash,
            "goal": task.goal,
            "payload": dict(task.payload),
            "prompt": [m.to_json() for m in task.prompt],
        },
        "turns": [
            {name: turn[name] for name in ("action", "observation", "reward")}
            for turn in turn_rows("", trajectory.turns)
        ],
        "segments": [_segment_row(s) for s in trajectory.segments],
        "scores": scores,
    }


def _segment_row(segment: Segment) -> dict[str, Any]:
    logprobs = segment.behaviour_logprobs
    return {
        "prompt_ids": segment.prompt_ids.tolist(),
        "completion_ids": segment.completion_ids.tolist(),
        "loss_mask": segment.loss_mask.tolist(),
        "behaviour_logprobs": None if logprobs is None else logprobs.tolist(),
    }


def _segment(row: Mapping[str, Any]) -> Segment:
    logprobs = row["behaviour_logprobs"]
    return Segment(
        np.array(row["prompt_ids"], np.int32),
        np.array(row["completion_ids"], np.int32),
        np.array(row["loss_mask"], np.bool_),
        None if logprobs is None else np.array(logprobs, np.float32),
    )


def _import_page(store: ReplayStore, run_id: str, page: Sequence[Mapping[str, Any]], before: int) -> None:
    for row in page:
        if row["format"] != FORMAT:
            raise ValueError(f"format {row['format']}, not {FORMAT}")
    tasks = {row["task"]["hash"]: _task(row["task"]) for row in page}
    store.add_tasks(run_id, tasks.values(), origin="imported", first_ordinal=before)
    store.add_imported_policies(run_id, {row["policy"] for row in page if row["policy"] is not None})
    policies = {p.number: p.id for p in store.policies(run_id)}
    for is_relabel in (False, True):  # a parent may be in the same page
        rows = [row for row in page if bool(row["parent"]) is is_relabel]
        parents = store.ids_of(run_id, {tuple(row["parent"]) for row in rows if is_relabel})
        store.add_trajectories(run_id, [_trajectory(row, policies, parents) for row in rows])
    ids = store.ids_of(run_id, {(row["group"], row["attempt"]) for row in page})
    scores = [
        score_row(ids[row["group"], row["attempt"]], _record(score), score["attempt"])
        for row in page
        for score in row["scores"]
    ]
    with store.database.write() as connection:
        insert_new(connection, Score, scores)


def _task(row: Mapping[str, Any]) -> Task:
    prompt = messages(row["prompt"])
    return Task(row["environment"], row["goal"], prompt, Split(row["split"]), row["hash"], row["payload"])


def _trajectory(
    row: Mapping[str, Any], policies: Mapping[int, str], parents: Mapping[tuple[str, int], str]
) -> NewTrajectory:
    trajectory = Trajectory(
        row["task"]["hash"],
        Source(row["source"]),
        tuple(turn_from_row(turn) for turn in row["turns"]),
        tuple(_segment(segment) for segment in row["segments"]),
        StopReason(row["stop_reason"]),
        row["attempt"],
        row["error"],
    )
    parent = parents[tuple(row["parent"])] if row["parent"] else None
    policy = None if row["policy"] is None else policies[row["policy"]]
    return NewTrajectory(row["group"], trajectory, row["iteration"], policy, parent, row["relabeller"])


def _record(row: Mapping[str, Any]) -> ScoreRecord:
    verifier = VerifierId(row["verifier"], row["version"], row["config_hash"])
    return ScoreRecord(verifier, verdict_from_row(row), row["latency_ms"])


def _scores(store: ReplayStore, ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with store.database.read() as connection:
        for chunk in chunks(ids):
            query = select(Score.__table__).where(Score.trajectory_id.in_(chunk))
            order = (Score.trajectory_id, Score.verifier, Score.version, Score.config_hash, Score.attempt)
            for row in connection.execute(query.order_by(*order)).mappings():
                found[row["trajectory_id"]].append({name: row[name] for name in _SCORE})
    return found
