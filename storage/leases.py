"""The work queue: pieces of work that many workers share, each done once, whoever dies on the way.

A worker claims some pieces for a time. It writes its outcome and `finish` in one transaction; a claim that has expired
and was taken over by then raises LeaseLostError, so nothing of the slower worker's outcome stays.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, not_, or_, select, true, update

from journeyman.agent.errors import LeaseLostError
from journeyman.storage.database import Database, chunks, insert_new, present
from journeyman.storage.schema.base import new_id
from journeyman.storage.schema.runs import Lease

CLOCKS_APART_S = 60.0
"""Clocks of machines that share a store may differ by so much; what is dated further ahead is dated wrongly."""
_ANY = true()
_UNDONE = {"state": "open", "token": None, "worker": None, "expires_at": None}


logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Claim:
    """Pieces of work that one worker holds, e.g. 8 tasks of kind `generate/3`."""

    run_id: str
    kind: str
    subjects: tuple[str, ...]
    token: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the work of one kind is."""

    open: int
    claimed: int
    done: int

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do or under way."""
        return not self.open and not self.claimed


class WorkQueue:
    """The part of the replay store that hands out work."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def enqueue(self, run_id: str, kind: str, subjects: Iterable[str]) -> None:
        """Adds work; what is there already, done or not, is left as it is."""
        rows = [{"run_id": run_id, "kind": kind, "subject": s, "state": "open", "claims": 0} for s in subjects]
        with self.database.write() as connection:
            insert_new(connection, Lease, rows)

    def claim(self, run_id: str, kind: str, worker: str, *, limit: int, seconds: float) -> Claim | None:
        """At most `limit` pieces that are open, or whose lease has expired; None where there are none.

        A lease that runs on for longer than `seconds`, which all workers of a run ask for, has expired too: the clock
        that dated it was wrong.
        """
        token = new_id()
        with self.database.write() as connection:
            at = present(connection)
            rows = list(connection.execute(_claimable(run_id, kind, Lease.state == "open", limit)))
            rows += connection.execute(_claimable(run_id, kind, _expired(at, seconds), limit - len(rows)))
            if not rows:
                return None
            values = {"state": "claimed", "token": token, "worker": worker, "claims": Lease.claims + 1}
            subjects = tuple(row.subject for row in rows)
            _update(connection, run_id, kind, subjects, {**values, "expires_at": at + timedelta(seconds=seconds)})
        ahead = [row for row in rows if row.expires_at is not None and row.expires_at > at]
        if ahead:
            logger.warning(
                "%s claimed %d pieces of %s until %s, which no lease is: %s takes them over; set its clock",
                ahead[0].worker,
                len(ahead),
                kind,
                ahead[0].expires_at.isoformat(timespec="seconds"),
                worker,
            )
        return Claim(run_id, kind, subjects, token)

    def renew(self, claim: Claim, *, seconds: float) -> None:
        """Holds the claim for `seconds` from now; raises LeaseLostError where another worker has taken it over."""
        with self.database.write() as connection:
            _check(connection, claim, {"claimed"})
            values = {"expires_at": present(connection) + timedelta(seconds=seconds)}
            _update(connection, claim.run_id, claim.kind, claim.subjects, values)

    def release(self, claim: Claim) -> None:
        """Gives the work back undone, for others to claim at once; a claim lost already is none to give."""
        with self.database.write() as connection:
            held = and_(Lease.token == claim.token, Lease.state == "claimed")
            _update(connection, claim.run_id, claim.kind, claim.subjects, _UNDONE, held)

    def release_all_of(self, run_id: str, kind: str, worker: str) -> None:
        """Gives back undone whatever the worker of that name holds, for a caller who knows that it is dead."""
        held = and_(Lease.run_id == run_id, Lease.kind == kind, Lease.worker == worker, Lease.state == "claimed")
        with self.database.write() as connection:
            connection.execute(update(Lease).where(held).values(_UNDONE))

    def finish(self, claim: Claim) -> None:
        """Marks the work as done, where its outcome is no trajectory (they take `finishes`)."""
        with self.database.write() as connection:
            finish(connection, claim)

    def kinds_to_do(self, run_id: str, *, seconds: float) -> list[str]:
        """Kinds of the run's work of which a claim for `seconds` would get some now."""
        with self.database.read() as connection:
            free = or_(Lease.state == "open", _expired(present(connection), seconds))
            query = select(Lease.kind).where(Lease.run_id == run_id).where(free).distinct()
            return list(connection.scalars(query.order_by(Lease.kind)))

    def workers(self, run_id: str, *, seconds: float) -> list[str]:
        """Names of those that hold work of the run now, by leases of `seconds`."""
        with self.database.read() as connection:
            held = and_(Lease.state == "claimed", not_(_expired(present(connection), seconds)))
            query = select(Lease.worker).where(Lease.run_id == run_id, held).distinct()
            return sorted(str(worker) for worker in connection.scalars(query))

    def progress(self, run_id: str, kind: str) -> Progress:
        """Counts by state."""
        query = select(Lease.state, func.count()).where(Lease.run_id == run_id, Lease.kind == kind)
        with self.database.read() as connection:
            counts = {row[0]: row[1] for row in connection.execute(query.group_by(Lease.state))}
        return Progress(counts.get("open", 0), counts.get("claimed", 0), counts.get("done", 0))


def finish(connection: Connection, claim: Claim) -> bool:
    """Marks the work as done in a transaction of the caller's; False where this claim had done it. LeaseLostError."""
    states = _check(connection, claim, {"claimed", "done"})
    _update(connection, claim.run_id, claim.kind, claim.subjects, {"state": "done", "expires_at": None})
    return "claimed" in states


def _expired(at: datetime, seconds: float) -> ColumnElement[bool]:
    """Claims whose time is over, or further away than any that a right clock could have given."""
    furthest = at + timedelta(seconds=max(seconds, 0.0) + CLOCKS_APART_S)
    return and_(Lease.state == "claimed", or_(Lease.expires_at < at, Lease.expires_at > furthest))


def _claimable(run_id: str, kind: str, free: ColumnElement[bool], limit: int) -> Select[tuple[str, Any, Any]]:
    """The free pieces that have waited longest; rows that another claims right now are passed over."""
    query = select(Lease.subject, Lease.worker, Lease.expires_at).where(
        Lease.run_id == run_id, Lease.kind == kind, free
    )
    return query.order_by(Lease.expires_at, Lease.subject).limit(limit).with_for_update(skip_locked=True)


def _check(connection: Connection, claim: Claim, states: set[str]) -> set[str]:
    """The pieces' states; raises LeaseLostError unless all are the claim's, in one of `states`. Locks them."""
    held: dict[str, str] = {}
    for chunk in chunks(claim.subjects):
        query = select(Lease.subject, Lease.state).where(*_of(claim.run_id, claim.kind, chunk))
        query = query.where(Lease.token == claim.token, Lease.state.in_(states))
        held |= {row.subject: row.state for row in connection.execute(query.with_for_update())}
    lost = [s for s in claim.subjects if s not in held]
    if lost:
        raise LeaseLostError(
            f"{len(lost)} of {len(claim.subjects)} pieces of {claim.kind} are another worker's by now "
            f"(the first is {lost[0]}): claim for longer, or renew while at work"
        )
    return set(held.values())


def _update(
    connection: Connection,
    run_id: str,
    kind: str,
    subjects: Collection[str],
    values: dict[str, Any],
    also: ColumnElement[bool] = _ANY,
) -> None:
    for chunk in chunks(subjects):
        connection.execute(update(Lease).where(*_of(run_id, kind, chunk), also).values(values))


def _of(run_id: str, kind: str, subjects: Collection[str]) -> tuple[Any, ...]:
    return Lease.run_id == run_id, Lease.kind == kind, Lease.subject.in_(subjects)
