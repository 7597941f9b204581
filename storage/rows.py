"""Data classes to table rows and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from journeyman.agent.data import (
    Message,
    ScoreRecord,
    Segment,
    Source,
    Split,
    Status,
    StopReason,
    Task,
    Trajectory,
    Turn,
    Verdict,
    as_messages,
)
from journeyman.storage.schema import new_id, now

Row: TypeAlias = Mapping[Any, Any]
"""A result row by column name."""


@dataclass(frozen=True, slots=True)
class NewTrajectory:
    """A trajectory to store. Its task must be in the run already, or come in the same batch."""

    key: str
    """Natural key within the run: storing the same key again changes nothing."""
    trajectory: Trajectory
    iteration: int
    policy_id: str | None
    """Version that sampled it (a relabel: its parent's); None for experts."""
    parent_id: str | None = None
    relabeller: str | None = None
    scores: tuple[ScoreRecord, ...] = ()


def task_row(run_id: str, task: Task, origin: str, ordinal: int) -> dict[str, Any]:
    """The task as a row of `task`."""
    return {
        "id": new_id(),
        "run_id": run_id,
        "ordinal": ordinal,
        "origin": origin,
        "environment": task.environment,
        "split": task.split,
        "hash": task.hash,
        "goal": task.goal,
        "payload": dict(task.payload),
        "prompt": [m.to_json() for m in task.prompt],
    }


def task_from_row(row: Row) -> Task:
    """The inverse of `task_row`."""
    return Task(
        environment=row["environment"],
        goal=row["goal"],
        prompt=as_messages(row["prompt"]),
        split=Split(row["split"]),
        hash=row["hash"],
        payload=row["payload"],
    )


def trajectory_row(run_id: str, task_id: str, new: NewTrajectory) -> dict[str, Any]:
    """The trajectory as a row of `trajectory`, its tokens left out."""
    trajectory = new.trajectory
    turns = [
        {"action": t.action.to_json(), "observation": [m.to_json() for m in t.observation], "reward": t.reward}
        for t in trajectory.turns
    ]
    return {
        "id": new_id(),
        "run_id": run_id,
        "key": new.key,
        "task_id": task_id,
        "policy_version_id": new.policy_id,
        "parent_id": new.parent_id,
        "iteration": new.iteration,
        "source": trajectory.source,
        "attempt": trajectory.attempt,
        "relabeller": new.relabeller,
        "stop_reason": trajectory.stop_reason,
        "error": trajectory.error,
        "turns": turns,
        "turn_count": len(turns),
        "prompt_tokens": sum(len(s.prompt_ids) for s in trajectory.segments),
        "completion_tokens": sum(len(s.completion_ids) for s in trajectory.segments),
        "trained_tokens": sum(int(s.loss_mask.sum()) for s in trajectory.segments),
        "created_at": now(),
    }


def trajectory_from_row(row: Row, task_hash: str, segments: tuple[Segment, ...]) -> Trajectory:
    """The inverse of `trajectory_row`."""
    turns = tuple(
        Turn(Message.from_json(t["action"]), as_messages(t["observation"]), t["reward"]) for t in row["turns"]
    )
    return Trajectory(
        task_hash=task_hash,
        source=Source(row["source"]),
        turns=turns,
        segments=segments,
        stop_reason=StopReason(row["stop_reason"]),
        attempt=row["attempt"],
        error=row["error"],
    )


def score_row(trajectory_id: str, record: ScoreRecord) -> dict[str, Any]:
    """The verdict as a row of `score`."""
    verdict = record.verdict
    return {
        "id": new_id(),
        "trajectory_id": trajectory_id,
        "verifier": record.verifier.name,
        "version": record.verifier.version,
        "config_hash": record.verifier.config_hash,
        "attempt": 0,
        "status": verdict.status,
        "score": verdict.score,
        "raw": verdict.raw,
        "extracted": verdict.extracted,
        "expected": verdict.expected,
        "explanation": verdict.explanation,
        "latency_ms": record.latency_ms,
        "created_at": now(),
    }


def verdict_from_row(row: Row) -> Verdict:
    """The inverse of `score_row`."""
    return Verdict(
        Status(row["status"]), row["score"], row["raw"], row["extracted"], row["expected"], row["explanation"]
    )
