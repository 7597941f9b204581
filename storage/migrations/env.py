"""Alembic's entry: `database.py` calls it with an open connection, `alembic` itself with a URL in alembic.ini."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from journeyman.storage.schema import trajectories  # noqa: F401 (its tables join the metadata)
from journeyman.storage.schema.base import Base


def run(connection: Connection) -> None:
    """Runs the migrations in the connection's transaction."""
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    context.run_migrations()


run(context.config.attributes["connection"])
