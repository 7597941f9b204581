"""Opens the database: engine, transactions, and errors a user can act on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, OperationalError

from journeyman.agent.errors import SettingsError, StoreError, UnknownNameError
from journeyman.storage.schema import Base

BUSY_TIMEOUT_MS = 60_000
"""How long a SQLite connection waits for another writer."""


class Database:
    """One database of the schema, made where it is not there yet (`must_exist`: raises StoreError instead)."""

    def __init__(self, url: str, *, must_exist: bool = False) -> None:
        self.url = parse_url(url)
        if self.url.get_backend_name() == "sqlite":
            file = Path(self.url.database or "")
            if must_exist and not file.is_file():
                remedy = "`journeyman run` makes one; --store URL names another"
                raise UnknownNameError("database", str(file), [p.name for p in file.parent.glob("*.db")], remedy)
            _make_folder(file.parent)
        self.engine = _engine(self.url)
        with self.write() as connection:
            Base.metadata.create_all(connection)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes: all of it is kept, or nothing."""
        with self._connect(immediate=True) as connection, connection.begin():
            yield connection

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
        except (OperationalError, DatabaseError) as error:
            place = self.url.render_as_string(hide_password=True)
            remedy = "check that the path is writable, that the disk has room and that the server answers"
            raise StoreError(f"the database {place} refused: {error.orig}; {remedy}") from error

    def close(self) -> None:
        """Closes all connections."""
        self.engine.dispose()


def parse_url(url: str) -> URL:
    """The URL, checked; raises SettingsError where it cannot be one, or holds a password."""
    try:
        parsed = make_url(url)
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError) as error:
        remedy = "write sqlite:///FILE.db or postgresql+psycopg://USER@HOST/NAME"
        raise SettingsError(f"store.url {url!r} is not a database URL ({error}); {remedy}") from None
    if parsed.password:
        raise SettingsError("store.url holds a password, which would reach the tables: set PGPASSWORD instead")
    return parsed


def insert_new(connection: Connection, table: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
    """Inserts the rows whose unique keys are not there yet."""
    if rows:
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        connection.execute(dialect.insert(table).on_conflict_do_nothing(), list(rows))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"the database's folder {folder} cannot be made: {error.strerror}") from error


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url)
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin where `begin` below says so
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # a reader that turns writer would fail when another wrote in between: writers say so at once
        immediate = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine
