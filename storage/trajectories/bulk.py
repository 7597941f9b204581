"""Bulk inserts: many rows into one table, as fast as the database takes them (COPY on PostgreSQL)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from sqlalchemy import Connection, Dialect
from sqlalchemy.exc import DBAPIError

from journeyman.storage.schema.base import Base

Row: TypeAlias = Mapping[str, Any]
Convert: TypeAlias = Callable[[Any], Any] | None


def insert_all(connection: Connection, table: type[Base], rows: Sequence[Row]) -> None:
    """Inserts the rows, which must have every column, as one statement; raises the database's IntegrityError.

    Values are converted by the columns' own types, without the rest of SQLAlchemy's work for a statement.
    """
    if not rows:
        return
    columns = ", ".join(_columns(table, connection.dialect)[0])
    values = driver_rows(table, connection.dialect, rows)
    if connection.dialect.name == "postgresql":
        copy_in = f"COPY {table.__tablename__} ({columns}) FROM STDIN"
        _copy(connection, copy_in, values)
    else:
        marks = ", ".join("?" * len(values[0]))
        connection.exec_driver_sql(f"INSERT INTO {table.__tablename__} ({columns}) VALUES ({marks})", values)


def _copy(connection: Connection, statement: str, values: Sequence[tuple[Any, ...]]) -> None:
    driver: Any = connection.connection.driver_connection
    errors: Any = connection.dialect.dbapi
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in values:
                copy.write_row(row)
    except errors.Error as error:  # as SQLAlchemy would raise it
        raise DBAPIError.instance(statement, None, error, errors.Error, dialect=connection.dialect) from error


def driver_rows(table: type[Base], dialect: Dialect, rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    """The rows as tuples of the database driver's own types, in the order of the table's columns."""
    names, converts = _columns(table, dialect)
    columns = (
        [row[n] for row in rows] if convert is None else [convert(row[n]) for row in rows]
        for n, convert in zip(names, converts, strict=True)
    )
    return list(zip(*columns, strict=True))


@lru_cache
def _columns(table: type[Base], dialect: Dialect) -> tuple[list[str], list[Convert]]:
    columns = list(table.__table__.columns)
    return [c.name for c in columns], [c.type.dialect_impl(dialect).bind_processor(dialect) for c in columns]
