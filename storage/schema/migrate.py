"""Brings a database to this version's schema: alembic migrations that come with the package, views and outcomes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from journeyman.agent.errors import StoreError
from journeyman.storage.schema.outcomes import hold, settle_all
from journeyman.storage.schema.views import VIEWS, query_of

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0005"
"""Revision of the newest migration; a test compares it with the migrations' own word."""
_LOCK = 0x6A6E796D  # any number that nobody else uses


def revision(connection: Connection) -> str | None:
    """The revision the database is at, or None where it holds nothing."""
    tables = inspect(connection).get_table_names()
    if "alembic_version" in tables:
        found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return found
    if "trajectory" in tables:
        raise StoreError("the database has a table `trajectory` that no migration of Journeyman made: name another one")
    return None


def check_revision(connection: Connection, *, may_upgrade: bool) -> bool:
    """True where the schema is the present one, False where migrations are to be run; else raises StoreError."""
    found = revision(connection)
    if found is None or found == HEAD:
        return found is not None
    if found in known_revisions():
        if may_upgrade:
            return False
        raise StoreError(f"the database has schema {found}, this version needs {HEAD}: run `journeyman db upgrade`")
    if "trajectory" not in inspect(connection).get_table_names():
        raise StoreError("the database is another program's, which has migrations too: name another one")
    raise StoreError(
        f"the database has schema {found}, made by a newer Journeyman (this one knows up to {HEAD}): upgrade Journeyman"
    )


def upgrade(connection: Connection) -> None:
    """Runs what migrations are missing and works outcomes out anew, in the connection's transaction: all or nothing."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    if revision(connection) != HEAD:  # else another process was faster, or the schema was the present one
        _migrate(connection)
    hold(connection, alone=True)
    settle_all(connection)


def _migrate(connection: Connection) -> None:
    from alembic import command

    for name in reversed(VIEWS):
        connection.execute(text(f"DROP VIEW IF EXISTS {name}"))
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    for name in VIEWS:
        connection.exec_driver_sql(f"CREATE VIEW {name} AS {query_of(name, connection.dialect.name)}")


def known_revisions() -> list[str]:
    """Revisions of the migrations that come with the package, newest first."""
    from alembic.script import ScriptDirectory

    return [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()]


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parents[1] / "migrations"))
    return config
