"""Trajectories as plain rows for files: the round trip through `importing` is exact, token ids and log-probs included.

One row is one attempt with its task, turns, segments, every verdict ever given, people's labels and what updates used
of it, e.g. for JSONL or Parquet; `row_schema` has its fields. An attempt has its id, in lower case with dashes; rows
name each other by group and number, and policy versions by number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import aliased

from journeyman.agent.data import Segment
from journeyman.storage.database import chunks
from journeyman.storage.files.row_schema import FORMAT
from journeyman.storage.runs.policies import Use
from journeyman.storage.schema.runs import PolicyVersion, Retraction
from journeyman.storage.schema.trajectories import Label, Score, TrainingUse, TrajectoryGroup, TrajectoryRow
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.loading import StoredTrajectory
from journeyman.storage.trajectories.rows import turn_rows
from journeyman.storage.trajectories.verdicts import ANY_CONFIGURATION

USE = tuple(name for name in Use.__slots__ if name != "trajectory_id")
"""What a row says of a training use, beside the number of the policy version."""
_PAGE = 500
_SCORE = tuple(c.name for c in Score.__table__.columns if c.name not in ("id", "trajectory_id", "created_at"))
_LABEL = ("value", "person", "comment")


def export_rows(store: ReplayStore, run_id: str) -> Iterator[dict[str, Any]]:
    """The run's trajectories as rows, parents before their relabels, else by iteration and group; a page in memory."""
    with store.database.read() as connection:
        found = connection.execution_options(yield_per=_PAGE).execute(_in_order(run_id))
        for page in found.partitions():
            ids = [row.id for row in page]
            parents = {row.id: [row.parent, row.parent_attempt] for row in page if row.parent is not None}
            scores, labels, uses = _scores(store, ids), _labels(store, ids), _uses(store, ids)
            for t in store.trajectories.by_id(ids):
                yield _row(t, parents.get(t.id)) | {"scores": scores[t.id], "labels": labels[t.id], "uses": uses[t.id]}


def _in_order(run_id: str) -> Select[Any]:
    """Ids of the run's trajectories in the order of the export, with the names of their parents."""
    parent, parent_group = aliased(TrajectoryRow), aliased(TrajectoryGroup)
    return (
        select(TrajectoryRow.id, parent_group.key.label("parent"), parent.attempt.label("parent_attempt"))
        .join(TrajectoryGroup, TrajectoryGroup.id == TrajectoryRow.group_id)
        .outerjoin(parent, parent.id == TrajectoryRow.parent_id)
        .outerjoin(parent_group, parent_group.id == parent.group_id)
        .where(TrajectoryGroup.run_id == run_id)
        .order_by(
            TrajectoryRow.parent_id.is_not(None),
            TrajectoryGroup.iteration,
            TrajectoryGroup.key,
            TrajectoryRow.attempt,
        )
    )


def _row(stored: StoredTrajectory, parent: list[Any] | None) -> dict[str, Any]:
    task, trajectory = stored.task, stored.trajectory
    return {
        "format": FORMAT,
        "id": stored.id,
        "group": stored.group,
        "attempt": trajectory.attempt,
        "source": str(trajectory.source),
        "iteration": stored.iteration,
        "policy": stored.policy_number,
        "parent": parent,
        "relabeller": stored.relabeller,
        "stop_reason": str(trajectory.stop_reason),
        "error": trajectory.error,
        "seconds": trajectory.seconds,
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
    }


def _segment_row(segment: Segment) -> dict[str, Any]:
    logprobs = segment.behaviour_logprobs
    return {
        "prompt_ids": segment.prompt_ids.tolist(),
        "completion_ids": segment.completion_ids.tolist(),
        "loss_mask": segment.loss_mask.tolist(),
        "behaviour_logprobs": None if logprobs is None else logprobs.tolist(),
    }


def _scores(store: ReplayStore, ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Every verdict, with the reason why it no longer counts where it is retracted."""
    order = (Score.trajectory_id, Score.verifier, Score.version, Score.config_hash, Score.attempt)
    retracted = (
        select(func.max(Retraction.reason))
        .where(Retraction.verifier == Score.verifier, Retraction.version == Score.version)
        .where(Retraction.config_hash.in_((Score.config_hash, ANY_CONFIGURATION)))
        .scalar_subquery()
    )
    query = select(Score.__table__, retracted.label("retracted")).order_by(*order)
    return _by_trajectory(store, ids, query, Score.trajectory_id, (*_SCORE, "retracted"))


def _uses(store: ReplayStore, ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    query = select(TrainingUse.__table__, PolicyVersion.number.label("policy")).order_by(PolicyVersion.number)
    query = query.join(PolicyVersion, PolicyVersion.id == TrainingUse.policy_version_id)
    return _by_trajectory(store, ids, query, TrainingUse.trajectory_id, ("policy", *USE))


def _labels(store: ReplayStore, ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """People's labels of the trajectories, oldest first."""
    query = (
        select(Label.__table__, TrajectoryGroup.key.label("group"), TrajectoryRow.attempt)
        .outerjoin(TrajectoryRow, TrajectoryRow.id == Label.other_id)
        .outerjoin(TrajectoryGroup, TrajectoryGroup.id == TrajectoryRow.group_id)
        .order_by(Label.created_at, TrajectoryGroup.key, TrajectoryRow.attempt, Label.person, Label.value)
    )
    found = _by_trajectory(store, ids, query, Label.trajectory_id, ("group", "attempt", *_LABEL, "created_at"))
    for label in (label for labels in found.values() for label in labels):
        other = label.pop("group"), label.pop("attempt")
        label["other"] = None if other[0] is None else list(other)
        label["created_at"] = label["created_at"].isoformat()
    return found


def _by_trajectory(
    store: ReplayStore, ids: Sequence[str], query: Select[Any], trajectory_id: Any, names: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """The query's rows of these trajectories, by trajectory, with the columns of these names."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with store.database.read() as connection:
        for chunk in chunks(ids):
            for row in connection.execute(query.where(trajectory_id.in_(chunk))).mappings():
                found[row["trajectory_id"]].append({name: row[name] for name in names})
    return found
