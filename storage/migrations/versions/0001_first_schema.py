"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from journeyman.storage.schema.base import AnyText, UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    """From an empty database."""
    _runs()
    _what_runs_have()
    _attempts()
    _turns_and_tokens()
    _scores()
    _judgements()
    _replay()


def _runs() -> None:
    """Runs, their iterations and work, and retractions, which belong to none."""
    op.create_table(
        "retraction",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("verifier", AnyText(), nullable=False),
        sa.Column("version", AnyText(), nullable=False),
        sa.Column("config_hash", AnyText(), nullable=False),
        sa.Column("reason", AnyText(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retraction")),
        sa.UniqueConstraint(
            "verifier", "version", "config_hash", name=op.f("uq_retraction_verifier_version_config_hash")
        ),
    )
    op.create_table(
        "run",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("name", AnyText(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
        sa.UniqueConstraint("name", "ordinal", name=op.f("uq_run_name_ordinal")),
    )
    op.create_table(
        "iteration",
        sa.Column("run_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("tasks", sa.JSON(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_iteration_run_id_run")),
        sa.PrimaryKeyConstraint("run_id", "number", name=op.f("pk_iteration")),
    )
    op.create_table(
        "lease",
        sa.Column("run_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("kind", AnyText(), nullable=False),
        sa.Column("subject", AnyText(), nullable=False),
        sa.Column("state", AnyText(), nullable=False),
        sa.Column("token", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("worker", AnyText(), nullable=True),
        sa.Column("claims", sa.Integer(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint("(state = 'claimed') = (expires_at IS NOT NULL)", name=op.f("ck_lease_claimed_expires")),
        sa.CheckConstraint("state IN ('open', 'claimed', 'done')", name=op.f("ck_lease_state")),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_lease_run_id_run")),
        sa.PrimaryKeyConstraint("run_id", "kind", "subject", name=op.f("pk_lease")),
    )
    op.create_index(
        op.f("ix_lease_run_id_kind_state_expires_at"), "lease", ["run_id", "kind", "state", "expires_at"], unique=False
    )
    op.create_index(
        op.f("ix_lease_run_id_kind_state_subject"), "lease", ["run_id", "kind", "state", "subject"], unique=False
    )


def _what_runs_have() -> None:
    """Policy versions with their evaluations, and tasks."""
    op.create_table(
        "policy_version",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("run_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("parent_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("iteration", sa.Integer(), nullable=False),
        sa.Column("kind", AnyText(), nullable=False),
        sa.Column("path", AnyText(), nullable=False),
        sa.Column("promoted", sa.Boolean(), nullable=True),
        sa.Column("kept", sa.Boolean(), nullable=False),
        sa.Column("stats", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["policy_version.id"], name=op.f("fk_policy_version_parent_id_policy_version")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_policy_version_run_id_run")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy_version")),
        sa.UniqueConstraint("run_id", "number", name=op.f("uq_policy_version_run_id_number")),
    )
    op.create_table(
        "task",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("run_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("origin", AnyText(), nullable=False),
        sa.Column("environment", AnyText(), nullable=False),
        sa.Column("split", AnyText(), nullable=False),
        sa.Column("hash", AnyText(), nullable=False),
        sa.Column("goal", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("prompt", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_task_run_id_run")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task")),
        sa.UniqueConstraint("run_id", "hash", name=op.f("uq_task_run_id_hash")),
    )
    op.create_index(op.f("ix_task_hash"), "task", ["hash"], unique=False)
    op.create_index(
        op.f("ix_task_run_id_split_origin_ordinal"), "task", ["run_id", "split", "origin", "ordinal"], unique=False
    )
    op.create_table(
        "evaluation",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("policy_version_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("split", AnyText(), nullable=False),
        sa.Column("iteration", sa.Integer(), nullable=False),
        sa.Column("tasks", sa.Integer(), nullable=False),
        sa.Column("k", sa.Integer(), nullable=False),
        sa.Column("pass_at_1", sa.Float(), nullable=False),
        sa.Column("pass_at_k", sa.Float(), nullable=False),
        sa.Column("mean_reward", sa.Float(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["policy_version_id"], ["policy_version.id"], name=op.f("fk_evaluation_policy_version_id_policy_version")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluation")),
        sa.UniqueConstraint(
            "policy_version_id", "split", "iteration", name=op.f("uq_evaluation_policy_version_id_split_iteration")
        ),
    )


def _attempts() -> None:
    """Groups of attempts."""
    op.create_table(
        "trajectory_group",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("run_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("key", AnyText(), nullable=False),
        sa.Column("task_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("policy_version_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("source", AnyText(), nullable=False),
        sa.Column("iteration", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["policy_version_id"],
            ["policy_version.id"],
            name=op.f("fk_trajectory_group_policy_version_id_policy_version"),
        ),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_trajectory_group_run_id_run")),
        sa.ForeignKeyConstraint(["task_id"], ["task.id"], name=op.f("fk_trajectory_group_task_id_task")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trajectory_group")),
        sa.UniqueConstraint("run_id", "key", name=op.f("uq_trajectory_group_run_id_key")),
    )
    op.create_index(
        op.f("ix_trajectory_group_policy_version_id"), "trajectory_group", ["policy_version_id"], unique=False
    )
    op.create_index(
        op.f("ix_trajectory_group_run_id_source_iteration"),
        "trajectory_group",
        ["run_id", "source", "iteration"],
        unique=False,
    )
    op.create_index(op.f("ix_trajectory_group_task_id"), "trajectory_group", ["task_id"], unique=False)
    op.create_table(
        "trajectory",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("group_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("parent_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("relabeller", AnyText(), nullable=True),
        sa.Column("stop_reason", AnyText(), nullable=False),
        sa.Column("error", AnyText(), nullable=True),
        sa.Column("turn_count", sa.Integer(), nullable=False),
        sa.Column("prompt_tokens", sa.Integer(), nullable=False),
        sa.Column("completion_tokens", sa.Integer(), nullable=False),
        sa.Column("trained_tokens", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"], ["trajectory_group.id"], name=op.f("fk_trajectory_group_id_trajectory_group")
        ),
        sa.ForeignKeyConstraint(["parent_id"], ["trajectory.id"], name=op.f("fk_trajectory_parent_id_trajectory")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trajectory")),
        sa.UniqueConstraint("group_id", "attempt", name=op.f("uq_trajectory_group_id_attempt")),
    )
    op.create_index(op.f("ix_trajectory_parent_id"), "trajectory", ["parent_id"], unique=False)


def _turns_and_tokens() -> None:
    """What was said, as messages and as tokens."""
    op.create_table(
        "turn",
        sa.Column("trajectory_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("action", sa.JSON(), nullable=False),
        sa.Column("observation", sa.JSON(), nullable=False),
        sa.Column("reward", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["trajectory_id"], ["trajectory.id"], name=op.f("fk_turn_trajectory_id_trajectory")),
        sa.PrimaryKeyConstraint("trajectory_id", "position", name=op.f("pk_turn")),
    )
    op.create_table(
        "segment",
        sa.Column("trajectory_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("prompt_tokens", sa.Integer(), nullable=False),
        sa.Column("completion_tokens", sa.Integer(), nullable=False),
        sa.Column("trained_tokens", sa.Integer(), nullable=False),
        sa.Column("kept", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["trajectory_id"], ["trajectory.id"], name=op.f("fk_segment_trajectory_id_trajectory")),
        sa.PrimaryKeyConstraint("trajectory_id", "position", name=op.f("pk_segment")),
    )
    op.create_table(
        "token_blob",
        sa.Column("trajectory_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["trajectory_id", "position"],
            ["segment.trajectory_id", "segment.position"],
            name=op.f("fk_token_blob_trajectory_id_segment"),
        ),
        sa.PrimaryKeyConstraint("trajectory_id", "position", name=op.f("pk_token_blob")),
    )


def _scores() -> None:
    """Verdicts."""
    op.create_table(
        "score",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("trajectory_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("verifier", AnyText(), nullable=False),
        sa.Column("version", AnyText(), nullable=False),
        sa.Column("config_hash", AnyText(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("status", AnyText(), nullable=False),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("raw", sa.Float(), nullable=True),
        sa.Column("step_scores", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("extracted", AnyText(), nullable=True),
        sa.Column("expected", AnyText(), nullable=True),
        sa.Column("explanation", AnyText(), nullable=True),
        sa.Column("latency_ms", sa.Float(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("(status = 'ok') = (score IS NOT NULL)", name=op.f("ck_score_ok_has_score")),
        sa.CheckConstraint(
            "status = 'ok' OR (raw IS NULL AND step_scores IS NULL)", name=op.f("ck_score_only_ok_has_numbers")
        ),
        sa.CheckConstraint("status IN ('ok', 'abstain', 'error', 'timeout')", name=op.f("ck_score_status")),
        sa.CheckConstraint("score IS NULL OR (score >= 0 AND score <= 1)", name=op.f("ck_score_score_range")),
        sa.ForeignKeyConstraint(["trajectory_id"], ["trajectory.id"], name=op.f("fk_score_trajectory_id_trajectory")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_score")),
        sa.UniqueConstraint(
            "trajectory_id",
            "verifier",
            "version",
            "config_hash",
            "attempt",
            name=op.f("uq_score_trajectory_id_verifier_version_config_hash_attempt"),
        ),
    )


def _judgements() -> None:
    """Labels, and what updates used."""
    op.create_table(
        "label",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("trajectory_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("other_id", sa.Uuid(as_uuid=False), nullable=True),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("person", AnyText(), nullable=False),
        sa.Column("comment", AnyText(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("value >= 0 AND value <= 1", name=op.f("ck_label_value_range")),
        sa.ForeignKeyConstraint(["other_id"], ["trajectory.id"], name=op.f("fk_label_other_id_trajectory")),
        sa.ForeignKeyConstraint(["trajectory_id"], ["trajectory.id"], name=op.f("fk_label_trajectory_id_trajectory")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label")),
    )
    op.create_index(op.f("ix_label_other_id"), "label", ["other_id"], unique=False)
    op.create_index(op.f("ix_label_trajectory_id"), "label", ["trajectory_id"], unique=False)
    op.create_table(
        "training_use",
        sa.Column("policy_version_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("trajectory_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("reward", sa.Float(), nullable=True),
        sa.Column("rubric_hash", AnyText(), nullable=False),
        sa.Column("advantage", sa.Float(), nullable=True),
        sa.Column("ratio", sa.Float(), nullable=True),
        sa.Column("nll_weight", sa.Float(), nullable=False),
        sa.Column("importance_weight", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["policy_version_id"], ["policy_version.id"], name=op.f("fk_training_use_policy_version_id_policy_version")
        ),
        sa.ForeignKeyConstraint(
            ["trajectory_id"], ["trajectory.id"], name=op.f("fk_training_use_trajectory_id_trajectory")
        ),
        sa.PrimaryKeyConstraint("policy_version_id", "trajectory_id", name=op.f("pk_training_use")),
    )
    op.create_index(op.f("ix_training_use_trajectory_id"), "training_use", ["trajectory_id"], unique=False)


def _replay() -> None:
    """What may be drawn for training."""
    pool = ("run_id", "kind", "policy")
    op.create_table(
        "replay_pool",
        sa.Column("run_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("kind", AnyText(), nullable=False),
        sa.Column("policy", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_replay_pool_run_id_run")),
        sa.PrimaryKeyConstraint(*pool, name=op.f("pk_replay_pool")),
    )
    op.create_table(
        "replay_entry",
        sa.Column("run_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("kind", AnyText(), nullable=False),
        sa.Column("policy", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("group_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"], ["trajectory_group.id"], name=op.f("fk_replay_entry_group_id_trajectory_group")
        ),
        sa.ForeignKeyConstraint(
            pool, [f"replay_pool.{column}" for column in pool], name=op.f("fk_replay_entry_run_id_replay_pool")
        ),
        sa.PrimaryKeyConstraint(*pool, "position", name=op.f("pk_replay_entry")),
        sa.UniqueConstraint("group_id", "kind", name=op.f("uq_replay_entry_group_id_kind")),
    )
