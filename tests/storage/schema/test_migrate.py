"""The schema by migrations: the same as the declared one, made once by many, and never guessed at."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text

from journeyman.agent.data import Split
from journeyman.agent.errors import StoreError
from journeyman.storage.database import Database
from journeyman.storage.runs.evaluations import EvaluationInfo
from journeyman.storage.runs.runs import RunState
from journeyman.storage.schema import migrate, trajectories
from journeyman.storage.schema.base import Base
from journeyman.storage.schema.views import VIEWS
from journeyman.storage.store import ReplayStore


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
    assert trajectories.TrajectoryRow.__tablename__ in Base.metadata.tables
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


FILLED = (
    "INSERT INTO run VALUES (:run, 'old', 0, '{}', :at, NULL)",
    "INSERT INTO policy_version VALUES (:policy, :run, 1, NULL, 0, 'x', 'x', :yes, :yes, '{}', :at)",
    "INSERT INTO evaluation VALUES (:evaluation, :policy, 'validation', 0, 10, 4, 0.25, 0.5, NULL, :at)",
    "INSERT INTO task VALUES (:task, :run, 0, 'generated', 'toy', 'train', 'h', '1', '{}', '[]')",
    "INSERT INTO trajectory_group VALUES (:group, :run, 'k', :task, :policy, 'policy', 1)",
    "INSERT INTO trajectory VALUES (:attempt, :group, 0, NULL, NULL, 'terminated', NULL, 0, 0, 0, 0, :at)",
    "INSERT INTO score VALUES (:old, :attempt, 'goal', '1', '00', 0, 'ok', 0.0, NULL, NULL, '', '', '', 1.0, :at)",
    "INSERT INTO score VALUES (:new, :attempt, 'goal', '1', '00', 1, 'ok', 1.0, NULL, NULL, '', '', '', 1.0, :at)",
    "INSERT INTO score VALUES (:bad, :attempt, 'words', '1', '00', 0, 'ok', 0.0, NULL, NULL, '', '', '', 1.0, :at)",
    "INSERT INTO retraction VALUES (:taken_back, 'words', '1', '*', 'faulty', :at)",
)
IDS = ("run", "policy", "evaluation", "task", "group", "attempt", "old", "new", "bad", "taken_back")


def fill_first_schema(url: str) -> None:
    """A database as revision 0001 left it, with an evaluation in it, and an attempt that was judged three times."""
    engine = create_engine(url)
    config = migrate._config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        values = {name: UUID(int=i).hex for i, name in enumerate(IDS, 1)}  # as SQLite had them
        values |= {"yes": True, "at": datetime(2026, 1, 1, tzinfo=UTC)}
        for statement in FILLED:
            connection.execute(text(statement), values)
    engine.dispose()


def test_an_older_schema_is_upgraded_on_request(url: str) -> None:
    fill_first_schema(url)
    needs = f"has schema 0001, this version needs {migrate.HEAD}: run `journeyman db upgrade`"
    with pytest.raises(StoreError, match=needs):
        ReplayStore(url)
    Database(url, upgrade=True).close()
    store = ReplayStore(url)
    found = store.runs.find("old")
    assert (found.state, found.seen_at, found.alive) == (RunState.RUNNING, datetime(2026, 1, 1, tzinfo=UTC), False)
    run = found.id
    before = EvaluationInfo(Split.VALIDATION, 0, 1, 10, 4, 0.25, 0.5, None)
    assert store.evaluations.of(run) == [before]
    assert store.policies.numbered(run, 1).stopped_by is None
    guards = [replace(before, split=Split.GUARD, guard=name) for name in ("a", "b")]
    for info in (before, *guards):
        store.evaluations.add(run, info)
    assert store.evaluations.of(run) == [*guards, before]
    (attempt,) = store.trajectories.of(run, tokens=False)
    assert attempt.id == str(UUID(int=1 + IDS.index("attempt")))
    assert {v.name: d.score for v, d in attempt.verdicts.items()} == {"goal": 1.0}
    asked = text("SELECT score, success, verdicts_ok FROM v_trajectory WHERE id = :id AND run_id = :run")
    with store.database.read() as connection:
        assert connection.execute(asked, {"id": attempt.id, "run": str(UUID(int=1))}).all() == [(1.0, 1, 1)]
    assert store.upkeep.check() == []
    store.close()


def test_somebody_elses_tables_are_left_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/other.db"
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE trajectory (id INTEGER)"))
    with pytest.raises(StoreError, match="is no database of Journeyman; it holds trajectory"):
        Database(url)
    assert inspect(engine).get_table_names() == ["trajectory"]
