"""The schema by migrations: the same as the declared one, made once by many, and never guessed at."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text

from journeyman.agent.errors import StoreError
from journeyman.storage import migrate, schema_trajectories
from journeyman.storage.database import Database
from journeyman.storage.schema import Base
from journeyman.storage.views import VIEWS


def stamp(url: str, revision: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})
    engine.dispose()


def test_migrations_make_the_declared_schema(url: str) -> None:
    database = Database(url)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
        assert set(inspect(connection).get_view_names()) == set(VIEWS)
        assert context.get_current_revision() == migrate.HEAD == migrate.known_revisions()[0]
    assert schema_trajectories.TrajectoryRow.__tablename__ in Base.metadata.tables
    database.close()


def test_many_may_make_it_at_once(url: str) -> None:
    def work(_: int) -> None:
        Database(url).close()

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(work, range(16))) == [None] * 16


def test_a_newer_schema_is_refused(url: str) -> None:
    Database(url).close()
    stamp(url, "9999")
    with pytest.raises(StoreError, match=r"has schema 9999, made by a newer Journeyman .* upgrade Journeyman"):
        Database(url)
    with pytest.raises(StoreError, match="upgrade Journeyman"):
        Database(url, upgrade=True)


def test_an_older_schema_is_upgraded_on_request(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Database(url).close()
    monkeypatch.setattr(migrate, "HEAD", "0002")
    with pytest.raises(StoreError, match="has schema 0001, this version needs 0002: run `journeyman db upgrade`"):
        Database(url)


def test_somebody_elses_tables_are_left_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/other.db"
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE trajectory (id INTEGER)"))
    with pytest.raises(StoreError, match="that no migration of Journeyman made"):
        Database(url)
    assert inspect(engine).get_table_names() == ["trajectory"]
