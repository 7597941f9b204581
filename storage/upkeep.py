"""Upkeep: is the store whole, what may be thrown away, and the disk space that gives back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Select,
    String,
    Uuid,
    and_,
    cast,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import aliased

from journeyman.agent.data import Source, Split
from journeyman.agent.errors import StoreError
from journeyman.storage.arrays import unpack_segment
from journeyman.storage.database import Database
from journeyman.storage.replay_pools import leave
from journeyman.storage.schema import Lease, TaskRow
from journeyman.storage.schema_trajectories import (
    ReplayEntry,
    ReplayPool,
    SegmentRow,
    TokenBlob,
    TrainingUse,
    TrajectoryGroup,
    TrajectoryRow,
    TurnRow,
)

_PAGE = 1000  # blobs read at once


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that should not be, e.g. `Problem("corrupt tokens", "trajectory 0192...", "zlib says ...")`."""

    what: str
    where: str
    why: str


class Upkeep:
    """The part of the replay store that looks after itself."""

    database: Database

    def check(self) -> list[Problem]:
        """Every rule that the database cannot keep by itself; an empty list is a whole store. Changes nothing."""
        damage = list(self._check_file())
        return damage or [*self._check_counts(), *self._check_blobs(), *self._check_rules()]

    def prune(self, run_id: str, *, before_iteration: int) -> int:
        """Deletes the tokens of attempts and relabels of earlier iterations; how many segments that was.

        Rows, turns, scores and uses stay, so every question about the past has its answer still; the attempts can
        no longer be trained on. Demonstrations and held-out attempts' scores are left alone.
        """
        old = (
            select(TrajectoryRow.id)
            .join(TrajectoryGroup, TrajectoryGroup.id == TrajectoryRow.group_id)
            .where(
                TrajectoryGroup.run_id == run_id,
                TrajectoryGroup.source != Source.EXPERT,
                TrajectoryGroup.iteration < before_iteration,
            )
        )
        with self.database.write() as connection:
            gone = connection.execute(delete(TokenBlob).where(TokenBlob.trajectory_id.in_(old))).rowcount
            connection.execute(update(SegmentRow).where(SegmentRow.trajectory_id.in_(old)).values(kept=False))
            leave(connection, run_id, before_iteration)
        return gone

    def vacuum(self) -> None:
        """Gives the space of what was deleted back to the disk; needs as much room again while it works."""
        engine = self.database.engine
        raw = engine.raw_connection()  # no transaction may be open
        driver: Any = raw.driver_connection
        errors: Any = engine.dialect.dbapi
        try:
            if not self.database.is_sqlite:
                driver.autocommit = True
            driver.execute("VACUUM")
        except errors.Error as error:
            wrapped = DBAPIError.instance("VACUUM", None, error, errors.Error, dialect=engine.dialect)
            raise self.database.refused(wrapped) from error
        finally:
            raw.detach()
            raw.close()

    def _check_file(self) -> Iterator[Problem]:
        if not self.database.is_sqlite:
            return
        with self.database.read() as connection:
            for (message,) in connection.execute(text("PRAGMA integrity_check(20)")):
                if message != "ok":
                    yield Problem("damaged file", str(self.database.url.database), message)
            for table, row, parent, _ in connection.execute(text("PRAGMA foreign_key_check")):
                yield Problem("dangling reference", f"{table} row {row}", f"there is no such {parent}")

    def _check_counts(self) -> Iterator[Problem]:
        """Whether turns and tokens are all there: a trajectory is written whole or not at all."""
        turns = select(func.count()).where(TurnRow.trajectory_id == TrajectoryRow.id).scalar_subquery()
        trained = func.coalesce(func.sum(SegmentRow.trained_tokens), 0)
        tokens = select(trained).where(SegmentRow.trajectory_id == TrajectoryRow.id).scalar_subquery()
        query = select(TrajectoryRow.id, TrajectoryRow.turn_count, turns, TrajectoryRow.trained_tokens, tokens).where(
            or_(turns != TrajectoryRow.turn_count, tokens != TrajectoryRow.trained_tokens)
        )
        blobs = (
            exists()
            .where(TokenBlob.trajectory_id == SegmentRow.trajectory_id)
            .where(TokenBlob.position == SegmentRow.position)
        )
        with self.database.read() as connection:
            for i, announced, there, tokens_announced, tokens_there in connection.execute(query):
                why = f"{there} of {announced} turns, {tokens_there} of {tokens_announced} trained tokens"
                yield Problem("incomplete trajectory", f"trajectory {i}", why)
            for (i,) in connection.execute(select(SegmentRow.trajectory_id).where(SegmentRow.kept != blobs)):
                yield Problem("missing tokens", f"trajectory {i}", "a segment has no tokens and was not pruned")

    def _check_blobs(self) -> Iterator[Problem]:
        after = ("", -1)
        query = (
            select(TokenBlob, SegmentRow.prompt_tokens, SegmentRow.completion_tokens, SegmentRow.trained_tokens)
            .join(
                SegmentRow,
                (SegmentRow.trajectory_id == TokenBlob.trajectory_id) & (SegmentRow.position == TokenBlob.position),
            )
            .order_by(TokenBlob.trajectory_id, TokenBlob.position)
            .limit(_PAGE)
        )
        while True:
            page = query
            if after[0]:
                page = query.where(
                    tuple_(TokenBlob.trajectory_id, TokenBlob.position)
                    > tuple_(literal(after[0], Uuid(as_uuid=False)), literal(after[1]))
                )
            with self.database.read() as connection:
                rows = connection.execute(page).mappings().all()
            if not rows:
                return
            for row in rows:
                try:
                    segment = unpack_segment(row["data"])
                except StoreError as error:
                    yield Problem("corrupt tokens", f"trajectory {row['trajectory_id']}", str(error))
                    continue
                found = len(segment.prompt_ids), len(segment.completion_ids), int(segment.loss_mask.sum())
                if found != (row["prompt_tokens"], row["completion_tokens"], row["trained_tokens"]):
                    why = f"{found} tokens (prompt, completion, trained) are not those announced"
                    yield Problem("corrupt tokens", f"trajectory {row['trajectory_id']}", why)
            after = (rows[-1]["trajectory_id"], rows[-1]["position"])

    def _check_rules(self) -> Iterator[Problem]:
        trained = (
            select(TrainingUse.trajectory_id)
            .join(TrajectoryRow, TrajectoryRow.id == TrainingUse.trajectory_id)
            .join(TrajectoryGroup, TrajectoryGroup.id == TrajectoryRow.group_id)
            .join(TaskRow, TaskRow.id == TrajectoryGroup.task_id)
            .where(TaskRow.split != Split.TRAIN)
        )
        shown_held_out = (
            select(TrajectoryGroup.key)
            .join(TaskRow, TaskRow.id == TrajectoryGroup.task_id)
            .where(TrajectoryGroup.source != Source.POLICY, TaskRow.split != Split.TRAIN)
        )
        attempted = (
            select(TrajectoryGroup.id)
            .join(TaskRow, TaskRow.id == TrajectoryGroup.task_id)
            .where(TaskRow.run_id == Lease.run_id, TaskRow.hash == Lease.subject)
            .where(literal("generate/") + cast(TrajectoryGroup.iteration, String) == Lease.kind)
            .correlate(Lease)
            .exists()
        )
        undone = select(Lease.subject).where(Lease.state == "done", Lease.kind.startswith("generate/"), ~attempted)
        placed = func.coalesce(func.count(ReplayEntry.group_id), 0), func.coalesce(func.max(ReplayEntry.position), -1)
        of_pool = [getattr(ReplayEntry, name) == getattr(ReplayPool, name) for name in ("run_id", "kind", "policy")]
        gaps = (
            select(ReplayPool.kind)
            .outerjoin(ReplayEntry, and_(*of_pool))
            .group_by(ReplayPool.run_id, ReplayPool.kind, ReplayPool.policy, ReplayPool.size)
            .having(or_(placed[0] != ReplayPool.size, placed[1] != ReplayPool.size - 1))
        )
        rules = (
            (trained, "held-out attempt trained on", "training_use names an attempt at a validation or test task"),
            (shown_held_out, "relabel or demonstration for a held-out task", "its task is one of validation or test"),
            (_orphans(), "wrong lineage", "a relabel names its parent and its relabeller, an attempt has neither"),
            (_strays(), "wrong lineage", "an expert goes on from an attempt of the policy at its own task"),
            (undone, "work done without an outcome", "its lease is done, but nothing was stored"),
            (gaps, "replay pool with gaps", "its entries are not at the places 0 to size - 1"),
        )
        with self.database.read() as connection:
            for query, what, why in rules:
                for (where,) in connection.execute(query):
                    yield Problem(what, str(where), why)


def _orphans() -> Select[Any]:
    """Relabels without a parent, attempts with one, and rows that name a parent or a relabeller without the other.

    A demonstration may have a parent (DAgger) or not.
    """
    has_parent = TrajectoryRow.parent_id.is_not(None)
    return (
        select(TrajectoryRow.id)
        .join(TrajectoryGroup, TrajectoryGroup.id == TrajectoryRow.group_id)
        .where(
            or_(
                (TrajectoryGroup.source == Source.HINDSIGHT) & ~has_parent,
                (TrajectoryGroup.source == Source.POLICY) & has_parent,
                has_parent != TrajectoryRow.relabeller.is_not(None),
            )
        )
    )


def _strays() -> Select[Any]:
    """Demonstrations with a parent that is no attempt of the policy at the same task."""
    parent, parent_group = aliased(TrajectoryRow), aliased(TrajectoryGroup)
    return (
        select(TrajectoryRow.id)
        .join(TrajectoryGroup, TrajectoryGroup.id == TrajectoryRow.group_id)
        .join(parent, parent.id == TrajectoryRow.parent_id)
        .join(parent_group, parent_group.id == parent.group_id)
        .where(TrajectoryGroup.source == Source.EXPERT)
        .where(or_(parent_group.source != Source.POLICY, parent_group.task_id != TrajectoryGroup.task_id))
    )
