"""Opens the database: engine, transactions, schema, and errors a user can act on."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError

from journeyman.agent.credentials import hidden
from journeyman.agent.errors import SettingsError, StoreError, UnknownNameError
from journeyman.storage.schema import migrate
from journeyman.storage.schema.base import Base

BUSY_TIMEOUT_S = 60.0
"""How long a SQLite connection waits for another writer before the caller hears of it."""
_CHUNK = 500  # values in one IN list: below every database's limit
_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "glusterfs", "lustre", "ceph")
_UNREADABLE: Sequence[str] = []  # the engine will say what is wrong with the file

T = TypeVar("T")
V = TypeVar("V")

logger = logging.getLogger(__name__)


class Database:
    """One database of the schema, made where it is not there yet (`must_exist`: raises UnknownNameError instead)."""

    def __init__(self, url: str, *, must_exist: bool = False, upgrade: bool = False) -> None:
        """`upgrade` brings an older schema to the present one, where otherwise StoreError says how to."""
        self.url = parse_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        if self.is_sqlite:
            self._prepare_file(must_exist=must_exist)
        self.engine = _engine(self.url)
        with self.read() as connection:
            ready = migrate.check_revision(connection, may_upgrade=upgrade)
            if must_exist and migrate.revision(connection) is None:
                raise self._foreign([])
        if not ready:
            with self.write() as connection:
                migrate.upgrade(connection)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes: all of it is kept, or nothing."""
        with self._connect(immediate=True) as connection, connection.begin():
            yield connection

    def write_again(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, done in a transaction; once more where another writer came in between.

        On PostgreSQL two may insert the same key, or rows in opposite orders, at the same time: one of them fails.
        """
        try:
            with self.write() as connection:
                return work(connection)
        except StoreError as error:
            if not isinstance(error.__cause__, IntegrityError) and "deadlock" not in str(error):
                raise
        with self.write() as connection:
            return work(connection)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        with self._connect(immediate=False) as connection, connection.begin():
            yield connection

    @contextmanager
    def _connect(self, *, immediate: bool) -> Iterator[Connection]:
        try:
            with self.engine.connect().execution_options(immediate=immediate) as connection:
                yield connection
        except DBAPIError as error:
            raise self.refused(error) from error

    def refused(self, error: DBAPIError) -> StoreError:
        """The error as one that says what to do about it."""
        place = self.url.render_as_string(hide_password=True)
        why = " ".join(str(error.orig).split())
        return StoreError(f"the database {place} refused: {why}; {_remedy(error)}")

    def close(self) -> None:
        """Closes all connections."""
        self.engine.dispose()

    def _foreign(self, tables: Sequence[str]) -> StoreError:
        """That the database is another program's, or nobody's yet where there has to be one."""
        place = self.url.render_as_string(hide_password=True)
        holds = f"; it holds {', '.join(tables[:5])}" if tables else ""
        return StoreError(f"{place} is no database of Journeyman{holds}: name another with --store or store.url")

    def _prepare_file(self, *, must_exist: bool) -> None:
        file = Path(self.url.database or "")
        if file.is_dir():
            raise SettingsError(f"the database {file} is a folder: name a file in it, e.g. {file / 'journeyman.db'}")
        if must_exist and not file.is_file():
            remedy = "`journeyman run` makes one; --store URL names another"
            raise UnknownNameError("database", str(file), [p.name for p in file.parent.glob("*.db")], remedy)
        tables = _tables_in(file)
        if "trajectory_group" not in tables and (tables or (must_exist and tables is not _UNREADABLE)):
            raise self._foreign(tables)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"the database's folder {file.parent} cannot be made: {error.strerror}") from error
        kind = filesystem_of(file.parent)
        if kind in _NETWORK:
            logger.warning(
                "the database %s is on a network file system (%s), where SQLite's locks may fail and rows be lost: "
                "put it on a local disk, or use PostgreSQL",
                file,
                kind,
            )


def parse_url(url: str) -> URL:
    """The URL, checked; raises SettingsError, without credentials, where it cannot be one or holds a password."""
    example = "write sqlite:///FILE.db or postgresql+psycopg://USER@HOST/NAME"
    place = f"store.url {hidden(url)!r}"
    try:
        parsed = make_url(url)
        if parsed.password or any("pass" in name.lower() for name in parsed.query):
            raise SettingsError("store.url holds a password, which would reach the tables: set PGPASSWORD instead")
        parsed.get_dialect().import_dbapi()
    except (ValueError, ArgumentError, NoSuchModuleError):  # whose texts show all of it
        raise SettingsError(f"{place} is not a database URL: its form, driver or port is none; {example}") from None
    except ModuleNotFoundError as error:
        remedy = "pip install 'journeyman[postgresql]'" if error.name == "psycopg" else example
        raise SettingsError(f"{place} needs the package {error.name!r}: {remedy}") from None
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise SettingsError(f"{place} is neither SQLite nor PostgreSQL; {example}")
    if parsed.get_dialect().is_async:
        raise SettingsError(f"{place} has an asynchronous driver; {example}")
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise SettingsError(f"{place} names no file, and a run needs one that stays; {example}")
    return parsed


def insert_new(connection: Connection, table: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
    """Inserts the rows whose unique keys are not there yet."""
    if rows:
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        connection.execute(dialect.insert(table).on_conflict_do_nothing(), list(rows))


def chunks(values: Collection[V]) -> Iterator[list[V]]:
    """The values in lists short enough for an IN."""
    iterator = iter(values)
    while chunk := list(islice(iterator, _CHUNK)):
        yield chunk


def filesystem_of(folder: Path, mounts: str = "/proc/self/mounts") -> str:
    """The type of the file system that holds the folder, e.g. `ext4`; empty where the system does not say."""
    best, kind = "", ""
    try:
        lines = Path(mounts).read_text().splitlines()
    except OSError:
        return ""
    place = str(folder.resolve())
    for line in lines:
        _, mount, found, *_ = line.split()
        mount = mount.encode().decode("unicode_escape")  # spaces are written \040
        if len(mount) >= len(best) and os.path.commonpath([mount, place]) == mount:
            best, kind = mount, found
    return kind


def _remedy(error: DBAPIError) -> str:
    """What to do about a database's complaint."""
    text = str(error.orig).lower()
    if isinstance(error, IntegrityError):
        return "the rows break a rule of the schema: look at what was to be stored"
    for sign, remedy in _REMEDIES.items():
        if sign in text:
            return remedy
    return "check that the path is writable, that the disk has room and that the server answers"


_REMEDIES = {
    "disk is full": "make room on the disk, then `journeyman resume`: nothing that was stored is lost",
    "no space left": "make room on the disk, then `journeyman resume`: nothing that was stored is lost",
    "readonly": "make the file and its folder writable for this user",
    "permission denied": "ask the database's owner to grant it, or name another user in the URL",
    "unable to open": "check that the folder exists and is writable",
    "malformed": "the file is damaged: `journeyman db check` may say where; restore a copy",
    "not a database": "the file is no SQLite database: name another one",
    "is locked": f"another process has been writing for {BUSY_TIMEOUT_S:.0f} s: stop it, or use PostgreSQL",
    "failed to resolve": "correct the host in store.url",
    "password authentication": "set PGPASSWORD, or name another user in store.url",
    "connection refused": "start the server, or correct host and port in store.url",
    "does not exist": "create the database or role first, e.g. with `createdb`",
}


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url)
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin where `begin` below says so
        _enter_wal(connection)
        for pragma in ("synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # a reader that turns writer would fail when another wrote in between: writers say so at once
        immediate = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _tables_in(file: Path) -> Sequence[str]:
    """The tables of a SQLite file, which is not changed by asking; none where it is not there."""
    import sqlite3

    if not file.is_file():
        return ()
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    except sqlite3.Error:
        return _UNREADABLE


def _enter_wal(connection: Any) -> None:
    """Write-ahead logging; the switch needs the file for itself and does not wait for it by its own."""
    import sqlite3

    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
