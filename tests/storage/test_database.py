"""What can be wrong with a database, and what the user is told to do about it."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import create_engine, text

from journeyman.agent.errors import SettingsError, StoreError
from journeyman.storage import database
from journeyman.storage.database import filesystem_of
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.rows import NewTrajectory


def test_a_full_disk_loses_nothing(tmp_path: Path, task_of, trajectory_of) -> None:
    store = ReplayStore(f"sqlite:///{tmp_path}/a.db")
    run = store.runs.create("toy", {}).id
    store.tasks.add(run, [task_of(i) for i in range(600)], origin="generated")
    store.trajectories.add(run, [NewTrajectory("first", trajectory_of(task_of(0)), 1, None)])
    with store.database.engine.connect() as connection:  # as many pages as there are, and a few
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")
    many = [NewTrajectory(f"g{i}", trajectory_of(task_of(i)), 1, None) for i in range(600)]
    with pytest.raises(StoreError, match=r"disk is full; make room on the disk, then `journeyman resume`"):
        store.trajectories.add(run, many)
    assert [t.group for t in store.trajectories.of(run)] == ["first"]
    assert store.upkeep.check() == []
    store.close()


@contextmanager
def nobody() -> Iterator[None]:
    """Root may write everywhere, so for a while it is someone else."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    ReplayStore(f"sqlite:///{tmp_path}/a.db").close()  # nobody may not read what is imported late
    with TemporaryDirectory() as folder:  # `tmp_path` is hidden from others by its parents
        Path(folder).chmod(0o555)
        with nobody(), pytest.raises(StoreError, match="check that the folder exists and is writable"):
            ReplayStore(f"sqlite:///{folder}/a.db")


def test_a_read_only_database_is_named(tmp_path: Path) -> None:
    ReplayStore(f"sqlite:///{tmp_path}/a.db").close()
    store = ReplayStore(f"sqlite:///{tmp_path}/a.db")
    with store.database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only = ON")
    with pytest.raises(StoreError, match="make the file and its folder writable for this user"):
        store.runs.create("toy", {})
    store.close()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    ReplayStore(f"sqlite:///{file}").close()
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(file.read_bytes())
    content[4096:] = b"\x5a" * (len(content) - 4096)
    file.write_bytes(bytes(content))
    with pytest.raises(StoreError, match="malformed; the file is damaged: `journeyman db check` may say where"):
        ReplayStore(f"sqlite:///{file}").runs.create("toy", {})


def test_postgresql_says_what_is_missing(postgresql: str) -> None:
    with pytest.raises(StoreError, match=r"does not exist.*create the database or role first"):
        ReplayStore(postgresql.replace("/t", "/no", 1))
    with pytest.raises(StoreError, match="start the server, or correct host and port"):
        ReplayStore("postgresql+psycopg://nobody@127.0.0.1:1/none")


def test_postgresql_without_permission(postgresql: str, task_of) -> None:
    ReplayStore(postgresql).close()
    admin = create_engine(postgresql, isolation_level="AUTOCOMMIT")
    role = f"reader_{admin.url.database}"
    with admin.connect() as connection:
        connection.execute(text(f"CREATE ROLE {role} LOGIN"))
        connection.execute(text(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"))
    store = ReplayStore(admin.url.set(username=role).render_as_string())
    with pytest.raises(StoreError, match="ask the database's owner to grant it"):
        store.runs.create("toy", {})
    store.close()
    with admin.connect() as connection:
        connection.execute(text(f"DROP OWNED BY {role}"))
        connection.execute(text(f"DROP ROLE {role}"))
    admin.dispose()


def test_other_databases_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"write sqlite:///FILE\.db or postgresql\+psycopg"):
        ReplayStore("oracle+oracledb://h/d")


def test_a_network_file_system_is_warned_of(tmp_path: Path, monkeypatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(database, "filesystem_of", lambda folder: "nfs4")
    with caplog.at_level(logging.WARNING):
        ReplayStore(f"sqlite:///{tmp_path}/a.db").close()
    assert "network file system (nfs4)" in caplog.text
    assert "use PostgreSQL" in caplog.text


def test_the_mount_that_holds_a_folder(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("root / ext4 rw 0 0\nserver:/x /data nfs4 rw 0 0\nserver:/y /my\\040data cifs rw 0 0\n")
    found = {
        place: filesystem_of(Path(place), str(mounts)) for place in ("/home", "/data/runs", "/datas", "/my data/a")
    }
    assert found == {"/home": "ext4", "/data/runs": "nfs4", "/datas": "ext4", "/my data/a": "cifs"}
    assert filesystem_of(tmp_path, str(tmp_path / "none")) == ""
