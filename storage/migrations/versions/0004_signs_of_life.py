"""How a run stands: its state, its stage, where it is driven, its last sign of life, and why it stopped."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from journeyman.storage.schema.base import AnyText, UtcDateTime

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """From 0003."""
    op.add_column("run", sa.Column("state", AnyText(), nullable=False, server_default="running"))
    for name, kind in (("stage", AnyText()), ("host", AnyText()), ("reason", AnyText()), ("seen_at", UtcDateTime())):
        op.add_column("run", sa.Column(name, kind, nullable=True))
    op.execute("UPDATE run SET state = 'finished' WHERE finished_at IS NOT NULL")
