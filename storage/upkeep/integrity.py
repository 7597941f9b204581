"""Is the store whole? Every rule that the database cannot keep by itself; nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, String, and_, cast, exists, func, literal, or_, select, text, tuple_
from sqlalchemy.orm import aliased

from journeyman.agent.data import Source, Split
from journeyman.agent.errors import StoreError
from journeyman.storage.database import Database
from journeyman.storage.schema.base import Id
from journeyman.storage.schema.outcomes import out_of_step
from journeyman.storage.schema.runs import Lease, TaskRow
from journeyman.storage.schema.trajectories import (
    ReplayEntry,
    ReplayPool,
    Score,
    SegmentRow,
    TokenBlob,
    TrainingUse,
    TrajectoryGroup,
    TrajectoryRow,
    TurnRow,
)
from journeyman.storage.trajectories.arrays import unpack_segment

_PAGE = 1000  # blobs read at once


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that should not be, e.g. `Problem("corrupt tokens", "trajectory 0192...", "zlib says ...")`."""

    what: str
    where: str
    why: str


def problems(database: Database) -> list[Problem]:
    """An empty list is a whole store. A damaged file is looked into no further."""
    damage = list(_file(database))
    return damage or [*_counts(database), *_blobs(database), *_rules(database), *_outcomes(database)]


def _file(database: Database) -> Iterator[Problem]:
    if not database.is_sqlite:
        return
    with database.read() as connection:
        for (message,) in connection.execute(text("PRAGMA integrity_check(20)")):
            if message != "ok":
                yield Problem("damaged file", str(database.url.database), message)
        for table, row, parent, _ in connection.execute(text("PRAGMA foreign_key_check")):
            yield Problem("dangling reference", f"{table} row {row}", f"there is no such {parent}")


def _counts(database: Database) -> Iterator[Problem]:
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
    with database.read() as connection:
        for i, announced, there, tokens_announced, tokens_there in connection.execute(query):
            why = f"{there} of {announced} turns, {tokens_there} of {tokens_announced} trained tokens"
            yield Problem("incomplete trajectory", f"trajectory {i}", why)
        for (i,) in connection.execute(select(SegmentRow.trajectory_id).where(SegmentRow.kept != blobs)):
            yield Problem("missing tokens", f"trajectory {i}", "a segment has no tokens and was not pruned")


def _blobs(database: Database) -> Iterator[Problem]:
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
                tuple_(TokenBlob.trajectory_id, TokenBlob.position) > tuple_(literal(after[0], Id()), literal(after[1]))
            )
        with database.read() as connection:
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


def _rules(database: Database) -> Iterator[Problem]:
    with database.read() as connection:
        for rule, what, why in _RULES:
            for (where,) in connection.execute(rule()):
                yield Problem(what, str(where), why)


def _outcomes(database: Database) -> Iterator[Problem]:
    with database.read() as connection:
        for where in out_of_step(connection):
            yield Problem(
                "outcome out of step", where, "it is not what follows from the verdicts: `journeyman db upgrade`"
            )


def _trained_on_held_out() -> Select[Any]:
    return (
        select(TrainingUse.trajectory_id)
        .join(TrajectoryRow, TrajectoryRow.id == TrainingUse.trajectory_id)
        .join(TrajectoryGroup, TrajectoryGroup.id == TrajectoryRow.group_id)
        .join(TaskRow, TaskRow.id == TrajectoryGroup.task_id)
        .where(TaskRow.split != Split.TRAIN)
    )


def _shown_held_out() -> Select[Any]:
    return (
        select(TrajectoryGroup.key)
        .join(TaskRow, TaskRow.id == TrajectoryGroup.task_id)
        .where(TrajectoryGroup.source != Source.POLICY, TaskRow.split != Split.TRAIN)
    )


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


def _unmade() -> Select[Any]:
    """Chunks that were generated by their leases, named by their first task, without an attempt at it."""
    attempted = (
        select(TrajectoryGroup.id)
        .join(TaskRow, TaskRow.id == TrajectoryGroup.task_id)
        .where(TaskRow.run_id == Lease.run_id, TaskRow.hash == Lease.subject)
        .where(literal("generate/") + cast(TrajectoryGroup.iteration, String) == Lease.kind)
        .correlate(Lease)
        .exists()
    )
    return select(Lease.subject).where(Lease.state == "done", Lease.kind.startswith("generate/"), ~attempted)


def _unscored() -> Select[Any]:
    """Attempts that were scored by their leases, without a score."""
    scored = select(cast(Score.trajectory_id, String).label("id")).distinct().subquery()
    query = select(Lease.subject).outerjoin(scored, scored.c.id == Lease.subject)
    return query.where(Lease.state == "done", Lease.kind.startswith("score/"), scored.c.id.is_(None))


def _gaps() -> Select[Any]:
    placed = func.coalesce(func.count(ReplayEntry.group_id), 0), func.coalesce(func.max(ReplayEntry.position), -1)
    of_pool = [getattr(ReplayEntry, name) == getattr(ReplayPool, name) for name in ("run_id", "kind", "policy")]
    return (
        select(ReplayPool.kind)
        .outerjoin(ReplayEntry, and_(*of_pool))
        .group_by(ReplayPool.run_id, ReplayPool.kind, ReplayPool.policy, ReplayPool.size)
        .having(or_(placed[0] != ReplayPool.size, placed[1] != ReplayPool.size - 1))
    )


_RULES: tuple[tuple[Callable[[], Select[Any]], str, str], ...] = (
    (
        _trained_on_held_out,
        "held-out attempt trained on",
        "training_use names an attempt at a validation, test or guard task",
    ),
    (_shown_held_out, "relabel or demonstration for a held-out task", "its task is one of validation, test or a guard"),
    (_orphans, "wrong lineage", "a relabel names its parent and its relabeller, an attempt has neither"),
    (_strays, "wrong lineage", "an expert goes on from an attempt of the policy at its own task"),
    (_unmade, "work done without an outcome", "its lease is done, but nothing was stored"),
    (_unscored, "work done without an outcome", "its lease is done, but it has no score"),
    (_gaps, "replay pool with gaps", "its entries are not at the places 0 to size - 1"),
)
