"""The pools that training groups are drawn from: which group stands where, so that a draw needs no search."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from journeyman.agent.errors import StoreError
from journeyman.storage.database import chunks
from journeyman.storage.schema.runs import PolicyVersion
from journeyman.storage.schema.trajectories import ReplayEntry, ReplayPool, SegmentRow, TrajectoryGroup, TrajectoryRow
from journeyman.storage.trajectories.bulk import insert_all


class Kind(StrEnum):
    """As what a group is drawn."""

    EXPERT = "expert"  # demonstrations, to be imitated
    SUCCESS = "success"  # own attempts with a success among them, to be imitated
    HINDSIGHT = "hindsight"  # attempts told anew
    POLICY = "policy"  # own attempts of older updates that differ in reward, for the policy loss


def enter(connection: Connection, run_id: str, kind: Kind, groups: Sequence[str]) -> None:
    """Makes the groups (by key) drawable as `kind`, in this order; see `ReplaySampler.enter`."""
    for policy, ids in sorted(_by_policy(connection, run_id, groups).items()):
        _append(connection, (run_id, kind, policy), ids)


def leave(connection: Connection, run_id: str, before_iteration: int) -> None:
    """Takes the groups of earlier iterations out of the run's pools, demonstrations apart, and closes the gaps."""
    pools = select(ReplayPool.kind, ReplayPool.policy).where(ReplayPool.run_id == run_id)
    pools = pools.where(ReplayPool.kind != Kind.EXPERT).with_for_update()  # nothing may enter meanwhile
    for kind, policy in connection.execute(pools).all():
        of_pool = (ReplayEntry.run_id == run_id, ReplayEntry.kind == kind, ReplayEntry.policy == policy)
        staying = (
            select(ReplayEntry.group_id)
            .join(TrajectoryGroup, TrajectoryGroup.id == ReplayEntry.group_id)
            .where(*of_pool, TrajectoryGroup.iteration >= before_iteration)
            .order_by(ReplayEntry.position)
        )
        groups = list(connection.scalars(staying))
        connection.execute(delete(ReplayEntry).where(*of_pool))
        _place(connection, (run_id, kind, policy), groups, first=0)


def _by_policy(connection: Connection, run_id: str, groups: Sequence[str]) -> dict[int, list[str]]:
    """Ids of the groups by the number of their policy version."""
    known: dict[str, tuple[str, int]] = {}
    for chunk in chunks(groups):
        query = (
            select(TrajectoryGroup.key, TrajectoryGroup.id, func.coalesce(PolicyVersion.number, 0))
            .outerjoin(PolicyVersion, PolicyVersion.id == TrajectoryGroup.policy_version_id)
            .where(TrajectoryGroup.run_id == run_id, TrajectoryGroup.key.in_(chunk))
        )
        known |= {key: (group, number) for key, group, number in connection.execute(query)}
    if unknown := [group for group in groups if group not in known]:
        raise StoreError(f"{len(unknown)} groups are to be drawn from that run {run_id} does not have: {unknown[0]!r}")
    found: dict[int, list[str]] = {}
    for group, number in (known[key] for key in dict.fromkeys(groups)):
        found.setdefault(number, []).append(group)
    return found


def _append(connection: Connection, pool: tuple[str, str, int], groups: Sequence[str]) -> None:
    """Adds what is not there yet behind the last place; the pool's row is locked till the end of the transaction.

    Groups whose tokens were pruned have left for good.
    """
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    run_id, kind, policy = pool
    insert = dialect.insert(ReplayPool).values(run_id=run_id, kind=kind, policy=policy, size=0)
    key = [ReplayPool.run_id, ReplayPool.kind, ReplayPool.policy]
    locked = insert.on_conflict_do_update(index_elements=key, set_={"size": ReplayPool.size}).returning(ReplayPool.size)
    size = connection.execute(locked).scalar_one()
    out: set[str] = set()
    for chunk in chunks(groups):
        query = select(ReplayEntry.group_id).where(ReplayEntry.group_id.in_(chunk), ReplayEntry.kind == kind)
        out |= set(connection.scalars(query))
        pruned = select(TrajectoryRow.group_id).join(SegmentRow, SegmentRow.trajectory_id == TrajectoryRow.id)
        pruned = pruned.where(TrajectoryRow.group_id.in_(chunk), SegmentRow.kept.is_(False))
        out |= set(connection.scalars(pruned))
    _place(connection, pool, [group for group in groups if group not in out], first=size)


def _place(connection: Connection, pool: tuple[str, str, int], groups: Sequence[str], *, first: int) -> None:
    names = ("run_id", "kind", "policy", "position", "group_id")
    rows = [dict(zip(names, (*pool, first + i, group), strict=True)) for i, group in enumerate(groups)]
    insert_all(connection, ReplayEntry, rows)
    which = (ReplayPool.run_id == pool[0], ReplayPool.kind == pool[1], ReplayPool.policy == pool[2])
    connection.execute(update(ReplayPool).where(*which).values(size=first + len(groups)))
