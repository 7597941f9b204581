"""Data classes to table rows and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from journeyman.agent.data import (
    Message,
    ScoreRecord,
    Segment,
    Source,
    Status,
    StopReason,
    Trajectory,
    Turn,
    Verdict,
    as_messages,
)
from journeyman.agent.errors import StoreError
from journeyman.storage.schema.base import new_id, now
from journeyman.storage.trajectories.arrays import pack_segment

Row: TypeAlias = Mapping[Any, Any]
"""A result row by column name."""


@dataclass(frozen=True, slots=True)
class NewTrajectory:
    """A trajectory to store. Its task must be in the run already, or come in the same batch."""

    group: str
    """Natural key of its group within the run; with the attempt's number it names the row: twice is once."""
    trajectory: Trajectory
    iteration: int
    policy_id: str | None
    """Version that sampled it (a relabel: its parent's); None for experts."""
    parent_id: str | None = None
    relabeller: str | None = None
    scores: tuple[ScoreRecord, ...] = ()
    id: str | None = None
    """Of the row, where it has one already (it was exported); None makes a new one."""


def group_row(run_id: str, task_id: str, new: NewTrajectory) -> dict[str, Any]:
    """The row of `trajectory_group` that the trajectory belongs to."""
    return {
        "id": new_id(),
        "run_id": run_id,
        "key": new.group,
        "task_id": task_id,
        "policy_version_id": new.policy_id,
        "source": new.trajectory.source,
        "iteration": new.iteration,
    }


def trajectory_row(group_id: str, new: NewTrajectory) -> dict[str, Any]:
    """The trajectory as a row of `trajectory`; turns and segments have tables of their own."""
    trajectory = new.trajectory
    return {
        "id": new.id or new_id(),
        "group_id": group_id,
        "attempt": trajectory.attempt,
        "parent_id": new.parent_id,
        "relabeller": new.relabeller,
        "stop_reason": trajectory.stop_reason,
        "error": trajectory.error,
        "turn_count": len(trajectory.turns),
        "prompt_tokens": sum(len(s.prompt_ids) for s in trajectory.segments),
        "completion_tokens": sum(len(s.completion_ids) for s in trajectory.segments),
        "trained_tokens": sum(_trained(s) for s in trajectory.segments),
        "seconds": trajectory.seconds,
        "created_at": now(),
    }


def turn_rows(trajectory_id: str, turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """The turns as rows of `turn`."""
    return [
        {
            "trajectory_id": trajectory_id,
            "position": i,
            "action": turn.action.to_json(),
            "observation": [m.to_json() for m in turn.observation],
            "reward": _finite(turn.reward),
        }
        for i, turn in enumerate(turns)
    ]


def turn_from_row(row: Row) -> Turn:
    """The inverse of `turn_rows`."""
    return Turn(Message.from_json(row["action"]), as_messages(row["observation"]), row["reward"])


def segment_rows(trajectory_id: str, segments: Sequence[Segment]) -> list[dict[str, Any]]:
    """The segments as rows of `segment` and of `token_blob` at once: the blob is under `data`."""
    return [
        {
            "trajectory_id": trajectory_id,
            "position": i,
            "prompt_tokens": len(segment.prompt_ids),
            "completion_tokens": len(segment.completion_ids),
            "trained_tokens": _trained(segment),
            "kept": True,
            "data": pack_segment(segment),
        }
        for i, segment in enumerate(segments)
    ]


def _finite(value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise StoreError(f"a turn's reward is {value}: an environment gives finite numbers, or None")
    return value


def _trained(segment: Segment) -> int:
    return int(np.count_nonzero(segment.loss_mask))


def trajectory_from_row(row: Row, task_hash: str, turns: tuple[Turn, ...], segments: tuple[Segment, ...]) -> Trajectory:
    """The inverse of `trajectory_row`, its group's columns in the same row."""
    return Trajectory(
        task_hash=task_hash,
        source=Source(row["source"]),
        turns=turns,
        segments=segments,
        stop_reason=StopReason(row["stop_reason"]),
        attempt=row["attempt"],
        error=row["error"],
        seconds=row["seconds"],
        sampled_tokens=row["trained_tokens"],
    )


def score_row(trajectory_id: str, record: ScoreRecord, attempt: int = 0) -> dict[str, Any]:
    """The verdict as a row of `score`; `attempt` counts how often the verifier was asked before."""
    verdict = record.verdict
    return {
        "id": new_id(),
        "trajectory_id": trajectory_id,
        "verifier": record.verifier.name,
        "version": record.verifier.version,
        "config_hash": record.verifier.config_hash,
        "attempt": attempt,
        "status": verdict.status,
        "score": verdict.score,
        "raw": verdict.raw,
        "step_scores": None if verdict.step_scores is None else list(verdict.step_scores),
        "extracted": verdict.extracted,
        "expected": verdict.expected,
        "explanation": verdict.explanation,
        "latency_ms": record.latency_ms,
        "created_at": now(),
    }


def verdict_from_row(row: Row) -> Verdict:
    """The inverse of `score_row`."""
    steps = row["step_scores"]
    return Verdict(
        Status(row["status"]),
        row["score"],
        row["raw"],
        None if steps is None else tuple(steps),
        row["extracted"],
        row["expected"],
        row["explanation"],
    )
