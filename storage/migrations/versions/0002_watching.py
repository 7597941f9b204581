"""What an attempt took, what is a success, and what watches for reward hacking: audits, guards, what they stopped."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from journeyman.storage.schema.base import AnyText

revision = "0002"
down_revision = "0001"

_EVALUATION = ("policy_version_id", "split", "iteration")


def upgrade() -> None:
    """From 0001."""
    op.add_column("trajectory", sa.Column("seconds", sa.Float(), nullable=True))
    op.add_column("policy_version", sa.Column("stopped_by", AnyText(), nullable=True))
    op.create_table(
        "audit",
        sa.Column("policy_version_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("split", AnyText(), nullable=False),
        sa.Column("metric", AnyText(), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["policy_version_id"], ["policy_version.id"], name=op.f("fk_audit_policy_version_id_policy_version")
        ),
        sa.PrimaryKeyConstraint("policy_version_id", "split", "metric", name=op.f("pk_audit")),
    )
    op.create_table(
        "rubric_term",
        sa.Column("run_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("guard", AnyText(), nullable=False),
        sa.Column("verifier", AnyText(), nullable=False),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column("gate", sa.Float(), nullable=True),
        sa.Column("shaping", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_rubric_term_run_id_run")),
        sa.PrimaryKeyConstraint("run_id", "guard", "verifier", name=op.f("pk_rubric_term")),
    )
    with op.batch_alter_table("evaluation") as evaluation:
        evaluation.add_column(sa.Column("guard", AnyText(), nullable=False, server_default=""))
        evaluation.drop_constraint(op.f("uq_evaluation_policy_version_id_split_iteration"), type_="unique")
        evaluation.create_unique_constraint(
            op.f("uq_evaluation_policy_version_id_split_iteration_guard"), [*_EVALUATION, "guard"]
        )
        evaluation.create_check_constraint(op.f("ck_evaluation_guard_has_name"), "(split = 'guard') = (guard <> '')")
