"""The tables. Natural keys are unique, ids are made by the client (UUIDv7), times are UTC.

A run has tasks and policy versions; a trajectory belongs to both and has token blobs, scores and training uses; a
policy version has evaluations.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, DateTime, ForeignKey, Index, LargeBinary, MetaData, UniqueConstraint, Uuid
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from journeyman.agent.chance import uuid7


def new_id() -> str:
    """A time-ordered id as text."""
    return str(uuid7())


def now() -> datetime:
    """The present time, UTC."""
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """Parent of all tables: naming convention and the types of annotations."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: DateTime(timezone=True), bytes: LargeBinary, Any: JSON, dict[str, Any]: JSON}  # noqa: RUF012


def _id() -> Mapped[str]:
    return mapped_column(Uuid(as_uuid=False), primary_key=True, default=new_id)


def _reference(column: str, *, index: bool = False, primary_key: bool = False) -> Mapped[str]:
    return mapped_column(Uuid(as_uuid=False), ForeignKey(column), index=index, primary_key=primary_key)


class Run(Base):
    """One `journeyman run`, with the settings it was started with."""

    __tablename__ = "run"
    __table_args__ = (UniqueConstraint("name", "ordinal"),)

    id: Mapped[str] = _id()
    name: Mapped[str]
    ordinal: Mapped[int]
    """How many runs of this name came before, from 0; part of the key of the run's random numbers."""
    settings: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None]


class TaskRow(Base):
    """One problem of a run; a hash has one split, so what is held out is never trained on."""

    __tablename__ = "task"
    __table_args__ = (UniqueConstraint("run_id", "hash"), Index(None, "run_id", "split", "origin", "ordinal"))

    id: Mapped[str] = _id()
    run_id: Mapped[str] = _reference("run.id")
    ordinal: Mapped[int]
    """Place in the order in which the run made its tasks; relabelled ones take their parent's."""
    origin: Mapped[str]
    """`generated`, `imported` (with a file of demonstrations) or `hindsight`."""
    environment: Mapped[str]
    split: Mapped[str]
    hash: Mapped[str] = mapped_column(index=True)
    goal: Mapped[Any] = mapped_column(JSON(none_as_null=True), nullable=True)
    payload: Mapped[dict[str, Any]]
    prompt: Mapped[Any]


class PolicyVersion(Base):
    """One set of weights; the files are at `path` under the run's artifacts until they are pruned."""

    __tablename__ = "policy_version"
    __table_args__ = (UniqueConstraint("run_id", "number"),)

    id: Mapped[str] = _id()
    run_id: Mapped[str] = _reference("run.id")
    number: Mapped[int]
    """1 is the run's first policy, iteration i makes number i + 1."""
    parent_id: Mapped[str | None] = mapped_column(Uuid(as_uuid=False), ForeignKey("policy_version.id"))
    """The version it was trained from; of another run where a run continues one."""
    iteration: Mapped[int]
    kind: Mapped[str]
    """`warm_start`, `continued` or `finetune`."""
    path: Mapped[str]
    promoted: Mapped[bool | None]
    """None until validation has decided."""
    kept: Mapped[bool] = mapped_column(default=True)
    """False once the files are deleted."""
    stats: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)


class TrajectoryRow(Base):
    """One attempt at one task; the tokens are in `token_blob`."""

    __tablename__ = "trajectory"
    __table_args__ = (UniqueConstraint("run_id", "key"), Index(None, "run_id", "source", "iteration"))

    id: Mapped[str] = _id()
    run_id: Mapped[str] = _reference("run.id")
    key: Mapped[str]
    """Natural key within the run, e.g. `policy/3/<task hash>/v2/0`: writing twice is writing once."""
    task_id: Mapped[str] = _reference("task.id", index=True)
    policy_version_id: Mapped[str | None] = mapped_column(Uuid(as_uuid=False), ForeignKey("policy_version.id"))
    """Who sampled it; None for experts. A relabel names its parent's."""
    parent_id: Mapped[str | None] = mapped_column(Uuid(as_uuid=False), ForeignKey("trajectory.id"), index=True)
    iteration: Mapped[int]
    source: Mapped[str]
    attempt: Mapped[int]
    relabeller: Mapped[str | None]
    """Strategy and version that proposed the relabel, e.g. `final/1`."""
    stop_reason: Mapped[str]
    error: Mapped[str | None]
    turns: Mapped[Any]
    turn_count: Mapped[int]
    prompt_tokens: Mapped[int]
    completion_tokens: Mapped[int]
    trained_tokens: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=now)


class TokenBlob(Base):
    """The tokens of one segment, in a table of their own so that list pages never read them."""

    __tablename__ = "token_blob"

    trajectory_id: Mapped[str] = _reference("trajectory.id", primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    data: Mapped[bytes]
    """See storage/arrays.py."""


class Score(Base):
    """One verifier's verdict on one trajectory: a fact, never overwritten."""

    __tablename__ = "score"
    __table_args__ = (
        UniqueConstraint("trajectory_id", "verifier", "version", "config_hash", "attempt"),
        CheckConstraint("(status = 'ok') = (score IS NOT NULL)", name="ok_has_score"),
        CheckConstraint("score IS NULL OR (score >= 0 AND score <= 1)", name="score_range"),
    )

    id: Mapped[str] = _id()
    trajectory_id: Mapped[str] = _reference("trajectory.id")
    verifier: Mapped[str]
    version: Mapped[str]
    config_hash: Mapped[str]
    attempt: Mapped[int] = mapped_column(default=0)
    status: Mapped[str]
    score: Mapped[float | None]
    raw: Mapped[float | None]
    extracted: Mapped[str | None]
    expected: Mapped[str | None]
    explanation: Mapped[str | None]
    latency_ms: Mapped[float]
    created_at: Mapped[datetime] = mapped_column(default=now)


class TrainingUse(Base):
    """What one update used of one trajectory, with the reward it had then."""

    __tablename__ = "training_use"

    policy_version_id: Mapped[str] = _reference("policy_version.id", primary_key=True)
    trajectory_id: Mapped[str] = _reference("trajectory.id", primary_key=True, index=True)
    reward: Mapped[float | None]
    """The rubric's weighted sum; None where a verifier failed and the row was masked."""
    advantage: Mapped[float | None]
    """None where the row took no part in the policy loss."""
    nll_weight: Mapped[float]


class Evaluation(Base):
    """How one policy version did on one held-out split."""

    __tablename__ = "evaluation"
    __table_args__ = (UniqueConstraint("policy_version_id", "split", "iteration"),)

    id: Mapped[str] = _id()
    policy_version_id: Mapped[str] = _reference("policy_version.id")
    split: Mapped[str]
    iteration: Mapped[int]
    tasks: Mapped[int]
    k: Mapped[int]
    """Attempts a task."""
    pass_at_1: Mapped[float]
    pass_at_k: Mapped[float]
    mean_reward: Mapped[float | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
