"""Bulk inserts: many rows into one table, as fast as the database takes them (COPY on PostgreSQL)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from sqlalchemy import Connection, Dialect

from journeyman.storage.schema import Base

Row: TypeAlias = Mapping[str, Any]
Convert: TypeAlias = Callable[[Any], Any] | None


def insert_all(connection: Connection, table: type[Base], rows: Sequence[Row]) -> None:
    """Inserts the rows, which must have every column, as one statement; raises the database's IntegrityError.

    Values are converted by the columns' own types, without the rest of SQLAlchemy's work for a statement.
    """
    if not rows:
        return
    names, converts = _columns(table, connection.dialect)
    values = [tuple(row[n] if c is None else c(row[n]) for n, c in zip(names, converts, strict=True)) for row in rows]
    columns = ", ".join(names)
    if connection.dialect.name == "postgresql":
        with (
            connection.connection.cursor() as cursor,
            cursor.copy(f"COPY {table.__tablename__} ({columns}) FROM STDIN") as copy,
        ):
            for row in values:
                copy.write_row(row)
    else:
        marks = ", ".join("?" * len(names))
        connection.exec_driver_sql(f"INSERT INTO {table.__tablename__} ({columns}) VALUES ({marks})", values)


@lru_cache
def _columns(table: type[Base], dialect: Dialect) -> tuple[list[str], list[Convert]]:
    columns = list(table.__table__.columns)
    return [c.name for c in columns], [c.type.dialect_impl(dialect).bind_processor(dialect) for c in columns]
