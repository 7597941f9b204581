"""What all tables are made of: their parent, ids, times, texts and references.

Natural keys are unique, ids UUIDv7 made by the client, times UTC.

    run -> rubric_term, iteration, task, policy_version -> evaluation, audit
    task -> trajectory_group -> trajectory -> turn, segment -> token_blob
                                trajectory -> score, training_use, label, outcome (group_tally: of a group)
    lease: who is at work on what        retraction: whose verdicts no longer count
    replay_pool -> replay_entry: which groups may be drawn for training

Those of the first line, leases and retractions are in `runs`, the others in `trajectories`; `views` is what people
query.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import CHAR, JSON, DateTime, Dialect, ForeignKey, LargeBinary, MetaData, Text, Uuid
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator, TypeEngine

from journeyman.agent.chance import uuid7


def new_id() -> str:
    """A time-ordered id as text."""
    return str(uuid7())


def id_end(text: str) -> str:
    """An id, or the end of one, as it is stored: in lower case, with the hyphens that a person may have left out."""
    digits = text.strip().lower().replace("-", "")
    if len(digits) > 32:
        return digits  # of no id
    padded = digits.rjust(32)
    return (
        "-".join((padded[:8], padded[8:12], padded[12:16], padded[16:20], padded[20:])).rpartition(" ")[2].lstrip("-")
    )


def is_id(text: str) -> bool:
    """Whether the text is a whole id as it is stored."""
    return re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text) is not None


def now() -> datetime:
    """The present time, UTC."""
    return datetime.now(UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """A time that comes back as it went in: aware and in UTC, on SQLite too, which stores no zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Gives the zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class AnyText(TypeDecorator[str]):
    """Text of any origin: a NUL character, which PostgreSQL cannot hold, becomes U+FFFD on every database."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[str]:
        """Sorts by code point, as SQLite does, whatever the server's language is."""
        return dialect.type_descriptor(Text(collation="C") if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Replaces what cannot be stored; lone surrogates too, which are no UTF-8."""
        if value is None or (value.isascii() and "\0" not in value):
            return value
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


class Id(TypeDecorator[str]):
    """An id, in lower case and with hyphens on every database, so that one that is shown is found by SQL too."""

    impl = CHAR(36)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[str]:
        """PostgreSQL has a type for it, SQLite stores the text."""
        return dialect.type_descriptor(Uuid(as_uuid=False) if dialect.name == "postgresql" else CHAR(36))


class Base(DeclarativeBase):
    """Parent of all tables: naming convention and the types of annotations."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012
        datetime: UtcDateTime,
        bytes: LargeBinary,
        str: AnyText,
        Any: JSON,
        dict[str, Any]: JSON,
    }


def make_id() -> Mapped[str]:
    """A primary key."""
    return mapped_column(Id(), primary_key=True, default=new_id)


def reference(column: str, *, index: bool = False, primary_key: bool = False) -> Mapped[str]:
    """A foreign key that is always there."""
    return mapped_column(Id(), ForeignKey(column), index=index, primary_key=primary_key)


def maybe_reference(column: str, *, index: bool = False) -> Mapped[str | None]:
    """A foreign key that may be missing."""
    return mapped_column(Id(), ForeignKey(column), index=index)
