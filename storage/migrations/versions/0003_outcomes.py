"""Ids in one form on every database; which verdict counts, and what each attempt came to, are stored."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from journeyman.storage.schema.base import Id

revision = "0003"
down_revision = "0002"

_HYPHENATED = "substr({0}, 1, 8) || '-' || substr({0}, 9, 4) || '-' || substr({0}, 13, 4) || '-' || substr({0}, 17, 4)"


def upgrade() -> None:
    """From 0002. What the new column and table hold is worked out after the last migration."""
    if op.get_bind().dialect.name == "sqlite":
        _hyphenate_ids()
    op.add_column("score", sa.Column("counts", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "outcome",
        sa.Column("trajectory_id", Id(), nullable=False),
        sa.Column("asked", sa.Boolean(), nullable=False),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("success", sa.Integer(), nullable=True),
        sa.Column("verdicts_ok", sa.Integer(), nullable=True),
        sa.Column("verdicts_failed", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["trajectory_id"],
            ["trajectory.id"],
            name=op.f("fk_outcome_trajectory_id_trajectory"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("trajectory_id", name=op.f("pk_outcome")),
    )
    op.create_table(
        "group_tally",
        sa.Column("group_id", Id(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("scored", sa.Integer(), nullable=False),
        sa.Column("successes", sa.Integer(), nullable=False),
        sa.Column("mean_score", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(
            ["group_id"],
            ["trajectory_group.id"],
            name=op.f("fk_group_tally_group_id_trajectory_group"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("group_id", name=op.f("pk_group_tally")),
    )


def _hyphenate_ids() -> None:
    """Rewrites every id, and the declared length of the columns, which SQLite only takes note of."""
    connection = op.get_bind()
    connection.execute(sa.text("PRAGMA defer_foreign_keys = ON"))  # till the end of the transaction
    inspector = sa.inspect(connection)
    for table in inspector.get_table_names():
        ids = [c["name"] for c in inspector.get_columns(table) if str(c["type"]) == "CHAR(32)"]
        if ids:
            rewritten = (f"{name} = {_HYPHENATED.format(name)} || '-' || substr({name}, 21)" for name in ids)
            connection.execute(sa.text(f"UPDATE {table} SET {', '.join(rewritten)}"))
    (version,) = connection.execute(sa.text("PRAGMA schema_version")).one()
    declared = "UPDATE sqlite_master SET sql = replace(sql, 'CHAR(32)', 'CHAR(36)') WHERE type = 'table'"
    for statement in ("PRAGMA writable_schema = ON", declared, f"PRAGMA schema_version = {version + 1}"):
        connection.execute(sa.text(statement))
    connection.execute(sa.text("PRAGMA writable_schema = RESET"))
