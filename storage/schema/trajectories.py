"""The tables of trajectories: groups, attempts, turns, tokens, scores, outcomes, training uses, labels, replay."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint, column, table
from sqlalchemy.orm import Mapped, mapped_column

from journeyman.storage.schema.base import Base, Id, make_id, maybe_reference, now, reference


class TrajectoryGroup(Base):
    """The attempts at one task by one policy version: what GRPO compares."""

    __tablename__ = "trajectory_group"
    __table_args__ = (UniqueConstraint("run_id", "key"), Index(None, "run_id", "source", "iteration"))

    id: Mapped[str] = make_id()
    run_id: Mapped[str] = reference("run.id")
    key: Mapped[str]
    """Natural key within the run, e.g. `policy/3/<task hash>/v2`: writing twice is writing once."""
    task_id: Mapped[str] = reference("task.id", index=True)
    policy_version_id: Mapped[str | None] = maybe_reference("policy_version.id", index=True)
    """Who sampled it; None for experts. A relabelled group names its parent's."""
    source: Mapped[str]
    """`expert`, `policy` or `hindsight`."""
    iteration: Mapped[int]


class TrajectoryRow(Base):
    """One attempt at one task."""

    __tablename__ = "trajectory"
    __table_args__ = (UniqueConstraint("group_id", "attempt"),)

    id: Mapped[str] = make_id()
    group_id: Mapped[str] = reference("trajectory_group.id")
    attempt: Mapped[int]
    """Number within the group, from 0."""
    parent_id: Mapped[str | None] = maybe_reference("trajectory.id", index=True)
    """The attempt that a relabel tells anew, from which an expert goes on (DAgger), or that a judge revised."""
    relabeller: Mapped[str | None]
    """What made it of its parent, with a version: `final/2`, say; `dagger/1` or `constitution/2` for an expert's."""
    stop_reason: Mapped[str]
    error: Mapped[str | None]
    """What the environment raised, where `stop_reason` is `error`."""
    turn_count: Mapped[int]
    prompt_tokens: Mapped[int]
    completion_tokens: Mapped[int]
    trained_tokens: Mapped[int]
    seconds: Mapped[float | None]
    """Wall time from the first request to the last answer; None where it was not taken (experts, relabels)."""
    created_at: Mapped[datetime] = mapped_column(default=now)


class TurnRow(Base):
    """One model call and what the environment answered, as chat messages."""

    __tablename__ = "turn"

    trajectory_id: Mapped[str] = reference("trajectory.id", primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    action: Mapped[Any]
    observation: Mapped[Any]
    reward: Mapped[float | None]
    """The environment's own, where it has one."""


class SegmentRow(Base):
    """One unbroken token history; its tokens are in `token_blob`."""

    __tablename__ = "segment"

    trajectory_id: Mapped[str] = reference("trajectory.id", primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    prompt_tokens: Mapped[int]
    completion_tokens: Mapped[int]
    trained_tokens: Mapped[int]
    kept: Mapped[bool] = mapped_column(default=True)
    """False once `journeyman db prune` has deleted its tokens."""


class TokenBlob(Base):
    """The tokens of one segment, in a table of their own so that list pages never read them."""

    __tablename__ = "token_blob"
    __table_args__ = (
        ForeignKeyConstraint(["trajectory_id", "position"], ["segment.trajectory_id", "segment.position"]),
    )

    trajectory_id: Mapped[str] = mapped_column(Id(), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    data: Mapped[bytes]
    """See storage/trajectories/arrays.py."""


class Score(Base):
    """One verifier's verdict on one trajectory: a fact, never overwritten."""

    __tablename__ = "score"
    __table_args__ = (
        UniqueConstraint("trajectory_id", "verifier", "version", "config_hash", "attempt"),
        CheckConstraint("(status = 'ok') = (score IS NOT NULL)", name="ok_has_score"),
        CheckConstraint("score IS NULL OR (score >= 0 AND score <= 1)", name="score_range"),
        CheckConstraint("status = 'ok' OR (raw IS NULL AND step_scores IS NULL)", name="only_ok_has_numbers"),
        CheckConstraint("status IN ('ok', 'abstain', 'error', 'timeout')", name="status"),
    )

    id: Mapped[str] = make_id()
    trajectory_id: Mapped[str] = reference("trajectory.id")
    verifier: Mapped[str]
    version: Mapped[str]
    config_hash: Mapped[str]
    attempt: Mapped[int] = mapped_column(default=0)
    """0, or one more for each time it was asked again; the latest `ok` counts."""
    counts: Mapped[bool]
    """Whether it is the verifier's verdict that counts; see `outcomes`."""
    status: Mapped[str]
    score: Mapped[float | None]
    raw: Mapped[float | None]
    step_scores: Mapped[Any] = mapped_column(JSON(none_as_null=True), nullable=True)
    """A process reward model's score of each step, as a list."""
    extracted: Mapped[str | None]
    expected: Mapped[str | None]
    explanation: Mapped[str | None]
    latency_ms: Mapped[float]
    created_at: Mapped[datetime] = mapped_column(default=now)


CountedScore = table(
    "counted_score", *(column(c.name, c.type) for c in Score.__table__.columns if c.name not in ("id", "counts"))
)
"""The view of the verdicts that count; see `views`."""


class Outcome(Base):
    """What the run's rubric makes of one attempt's verdicts that count; see `outcomes`."""

    __tablename__ = "outcome"

    trajectory_id: Mapped[str] = mapped_column(Id(), ForeignKey("trajectory.id", ondelete="CASCADE"), primary_key=True)
    asked: Mapped[bool]
    """Whether a verifier's word decides it: false in a run without terms as long as nobody has judged."""
    score: Mapped[float | None]
    """The lowest that a verifier of positive weight gave."""
    success: Mapped[int | None]
    """1 or 0; None where a verifier that counts has not judged or has failed."""
    verdicts_ok: Mapped[int | None]
    """How many of the counted verdicts are `ok`; None where there are none."""
    verdicts_failed: Mapped[int | None]
    """How many are `error` or `timeout`."""


class GroupTally(Base):
    """What the attempts of one group came to, counted; see `outcomes`."""

    __tablename__ = "group_tally"

    group_id: Mapped[str] = mapped_column(Id(), ForeignKey("trajectory_group.id", ondelete="CASCADE"), primary_key=True)
    attempts: Mapped[int]
    scored: Mapped[int]
    """Of how many it is known whether they succeeded."""
    successes: Mapped[int]
    mean_score: Mapped[float | None]


class TrainingUse(Base):
    """What one update used of one trajectory, with the reward it had then."""

    __tablename__ = "training_use"

    policy_version_id: Mapped[str] = reference("policy_version.id", primary_key=True)
    trajectory_id: Mapped[str] = reference("trajectory.id", primary_key=True, index=True)
    reward: Mapped[float | None]
    """The rubric's weighted sum; None where a verifier failed and the row was masked."""
    rubric_hash: Mapped[str]
    """Of the verifiers and weights that gave the reward."""
    advantage: Mapped[float | None]
    """None where the row took no part in the policy loss; with step-level advantages the mean over its tokens."""
    ratio: Mapped[float | None]
    """Mean over the tokens of pi_prox / pi_behaviour before it was capped; None where none was needed.

    An update of one step, whose pi_prox is the policy that moves, keeps none.
    """
    nll_weight: Mapped[float]
    importance_weight: Mapped[float]
    """Corrects for how likely the replay sampler was to draw it, in (0, 1]."""


class ReplayPool(Base):
    """How many groups of one kind by one policy version may be drawn for training; see `replay`."""

    __tablename__ = "replay_pool"

    run_id: Mapped[str] = reference("run.id", primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    """What they are drawn as: `expert`, `success`, `hindsight` or `policy`."""
    policy: Mapped[int] = mapped_column(primary_key=True)
    """Number of the version that sampled them; 0 where none did."""
    size: Mapped[int]


class ReplayEntry(Base):
    """A group's place in a pool. Places are dense: to draw numbers is to draw groups, however many there are."""

    __tablename__ = "replay_entry"
    __table_args__ = (
        ForeignKeyConstraint(
            ["run_id", "kind", "policy"], ["replay_pool.run_id", "replay_pool.kind", "replay_pool.policy"]
        ),
        UniqueConstraint("group_id", "kind"),
    )

    run_id: Mapped[str] = mapped_column(Id(), primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    policy: Mapped[int] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    """From 0 to the pool's size - 1."""
    group_id: Mapped[str] = reference("trajectory_group.id")


class Label(Base):
    """A person's word, or a judge's: a score of one trajectory, or which of two is better."""

    __tablename__ = "label"
    __table_args__ = (
        Index(None, "trajectory_id"),
        CheckConstraint("value >= 0 AND value <= 1", name="value_range"),
    )

    id: Mapped[str] = make_id()
    trajectory_id: Mapped[str] = reference("trajectory.id")
    other_id: Mapped[str | None] = maybe_reference("trajectory.id", index=True)
    """The trajectory it is compared with; None for a score."""
    value: Mapped[float]
    """The score, or how far the first is preferred: 1 it is better, 0 the other is, 0.5 a tie."""
    person: Mapped[str]
    comment: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
