"""How far a sampler's log-probs were from the learner's when it was handed a version."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """From 0004."""
    op.add_column("policy_version", sa.Column("handover_gap", sa.Float(), nullable=True))
