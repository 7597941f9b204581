"""The tables of runs and what belongs to them, and those of work under way and of verdicts taken back."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from journeyman.storage.schema.base import Base, Id, make_id, maybe_reference, now, reference


class Run(Base):
    """One `journeyman run`, with the settings it was started with."""

    __tablename__ = "run"
    __table_args__ = (UniqueConstraint("name", "ordinal"),)

    id: Mapped[str] = make_id()
    name: Mapped[str]
    ordinal: Mapped[int]
    """One more than that of the run of this name before it, from 0; part of the key of the run's random numbers."""
    settings: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None]
    state: Mapped[str] = mapped_column(default="running")
    """`running`, `stopped`, `failed`, `finished` or `dropping`, as the run told it itself."""
    stage: Mapped[str | None]
    """Where it is, or where it stopped, e.g. `generate 3`."""
    host: Mapped[str | None]
    """Name of the machine that drives it, or drove it last."""
    reason: Mapped[str | None]
    """Why it stopped, in one line."""
    seen_at: Mapped[datetime | None]
    """Of its last sign of life, by the server's clock where there is a server."""


class RubricTerm(Base):
    """What one verifier's score counts for in a run; docs/verifiers.md says how terms make a reward and a success."""

    __tablename__ = "rubric_term"

    run_id: Mapped[str] = reference("run.id", primary_key=True)
    guard: Mapped[str] = mapped_column(primary_key=True, default="")
    """Name of the guard whose rubric it is of; empty for the run's own."""
    verifier: Mapped[str] = mapped_column(primary_key=True)
    weight: Mapped[float]
    gate: Mapped[float | None]
    shaping: Mapped[bool]


class Iteration(Base):
    """One turn of the loop; 0 is the warm start."""

    __tablename__ = "iteration"

    run_id: Mapped[str] = reference("run.id", primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    tasks: Mapped[list[str]] = mapped_column(JSON)
    """Hashes of the training tasks chosen for it, in order."""
    started_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None]


class TaskRow(Base):
    """One problem of a run; a hash has one split, so what is held out is never trained on."""

    __tablename__ = "task"
    __table_args__ = (UniqueConstraint("run_id", "hash"), Index(None, "run_id", "split", "origin", "ordinal"))

    id: Mapped[str] = make_id()
    run_id: Mapped[str] = reference("run.id")
    ordinal: Mapped[int]
    """Place in the order in which the run made its tasks; 0 for relabelled ones."""
    origin: Mapped[str]
    """`generated`, `imported` (with a file), `hindsight`, or `guard/NAME` for the tasks of that guard."""
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

    id: Mapped[str] = make_id()
    run_id: Mapped[str] = reference("run.id")
    number: Mapped[int]
    """1 is the run's first policy, iteration i makes number i + 1; `journeyman finetune` adds iterations at the end."""
    parent_id: Mapped[str | None] = maybe_reference("policy_version.id")
    """The version it was trained from; of another run where a run continues one."""
    iteration: Mapped[int]
    kind: Mapped[str]
    """`warm_start`, `continued`, the objective of its update (`grpo`, `bc`, `dpo`), `base`, or `imported` with
    trajectories."""
    path: Mapped[str]
    """Of the full weights or of the LoRA adapter, as the run's settings say."""
    promoted: Mapped[bool | None]
    """None until validation has decided."""
    stopped_by: Mapped[str | None]
    """The guards that kept it from being promoted, e.g. `guard gsm8k 0.410 -> 0.300`; None where none did."""
    kept: Mapped[bool] = mapped_column(default=True)
    """False once the files are deleted."""
    handover_gap: Mapped[float | None]
    """Largest of its hand-overs to samplers: mean difference of log-probs on probe sequences, nats a token."""
    stats: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Evaluation(Base):
    """How one policy version did on one held-out split, or on one guard."""

    __tablename__ = "evaluation"
    __table_args__ = (
        UniqueConstraint("policy_version_id", "split", "iteration", "guard"),
        CheckConstraint("(split = 'guard') = (guard <> '')", name="guard_has_name"),
    )

    id: Mapped[str] = make_id()
    policy_version_id: Mapped[str] = reference("policy_version.id")
    split: Mapped[str]
    iteration: Mapped[int]
    guard: Mapped[str] = mapped_column(default="")
    """Name of the guard; empty for validation and test."""
    tasks: Mapped[int]
    k: Mapped[int]
    """Attempts a task."""
    pass_at_1: Mapped[float]
    pass_at_k: Mapped[float]
    mean_reward: Mapped[float | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Audit(Base):
    """One number that watches one policy version for reward hacking; docs/audit.md says which there are."""

    __tablename__ = "audit"

    policy_version_id: Mapped[str] = reference("policy_version.id", primary_key=True)
    split: Mapped[str] = mapped_column(primary_key=True)
    """Whose attempts it is about, those of the iteration that made the version."""
    metric: Mapped[str] = mapped_column(primary_key=True)
    """E.g. `repetition`, or `flips/courtesy/to_pass`."""
    value: Mapped[float]
    count: Mapped[int]
    """Of how many attempts (of `verifier_failures`: verdicts) it is the mean or the share."""


class Lease(Base):
    """One piece of work, and who is at it; see `leases`."""

    __tablename__ = "lease"
    __table_args__ = (
        Index(None, "run_id", "kind", "state", "expires_at"),
        Index(None, "run_id", "kind", "state", "subject"),
        CheckConstraint("state IN ('open', 'claimed', 'done')", name="state"),
        CheckConstraint("(state = 'claimed') = (expires_at IS NOT NULL)", name="claimed_expires"),
    )

    run_id: Mapped[str] = reference("run.id", primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    """What is to be done, e.g. `generate/3` or `score`."""
    subject: Mapped[str] = mapped_column(primary_key=True)
    """What it is to be done to: a task's hash or a trajectory's id."""
    state: Mapped[str] = mapped_column(default="open")
    token: Mapped[str | None] = mapped_column(Id())
    """Of the claim that holds it now, or finished it."""
    worker: Mapped[str | None]
    claims: Mapped[int] = mapped_column(default=0)
    """How often it was claimed: above 1 a worker died or was too slow."""
    expires_at: Mapped[datetime | None]


class Retraction(Base):
    """Verdicts of a faulty verifier that no longer count; the scores themselves stay."""

    __tablename__ = "retraction"
    __table_args__ = (UniqueConstraint("verifier", "version", "config_hash"),)

    id: Mapped[str] = make_id()
    verifier: Mapped[str]
    version: Mapped[str]
    config_hash: Mapped[str]
    """`*` retracts every configuration."""
    reason: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)
