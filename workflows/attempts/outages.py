"""Outages: verifiers that fail and environments that break on most attempts. They must decide nothing.

A judge's server is down, say, or a tool's: what failed is asked, and what broke is made, once more; where that does not
help, the run stops with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias, TypeVar

from journeyman.agent.data import Status, Verdict, VerifierId
from journeyman.agent.errors import UsageError
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.trajectories import JudgedAttempt, StoredTrajectory
from journeyman.verifiers.rubric import Rubric

T = TypeVar("T", JudgedAttempt, StoredTrajectory)

MakeAgain: TypeAlias = Callable[[Sequence[StoredTrajectory]], None]
"""Makes broken attempts again, and stores the new ones in their place."""

_PAGE = 256


def without_outage(
    store: ReplayStore, rubric: Rubric, read: Callable[[], Sequence[T]], what: str, make_again: MakeAgain
) -> Sequence[T]:
    """The attempts that `read` finds; where most have no reward, what broke or failed gets another chance before.

    Raises UsageError where that does not help, see `refuse_outage`. What was made stays, and `journeyman resume` tries
    again: a verifier's next version is asked too, which has judged none of them.
    """
    attempts = read()
    if not _is_outage(rubric, [a.verdicts for a in attempts]):
        return attempts
    for page in _failed(store, rubric, attempts):
        broken = [t for t in page if t.trajectory.broken]
        if broken:
            make_again(broken)
    for page in _failed(store, rubric, read()):
        judged = rubric.score_all([(t.task, t.trajectory) for t in page])
        pairs = [(t, record) for t, records in zip(page, judged, strict=True) for record in records]
        store.verdicts.add([(t.id, record) for t, record in pairs if _has_failed(t.verdicts.get(record.verifier))])
    attempts = read()
    refuse_outage(rubric, [a.verdicts for a in attempts], what)
    return attempts


def refuse_outage(rubric: Rubric, verdicts: Sequence[Mapping[VerifierId, Verdict]], what: str) -> None:
    """Raises UsageError, with the first reason, where most of the attempts have no reward.

    A failure here and there is data. Where most attempts have no reward, an update would learn from the rest alone
    and an evaluation would be a 0 that nobody gave.
    """
    if not _is_outage(rubric, verdicts):
        return
    failed = [given for given in verdicts if rubric.failed(given)]
    asked = ((c.id, failed[0].get(c.id)) for c in rubric.criteria if c.term.counts)
    name, verdict = next((identity.name, verdict) for identity, verdict in asked if _has_failed(verdict))
    why = f"{name} on the first: {verdict.explanation if verdict else 'not asked'}"
    count = f"{len(failed)} of {len(verdicts)} attempts have no reward"
    raise UsageError(f"{what}: {count}; {why}; put that right, then `journeyman resume`")


def _failed(store: ReplayStore, rubric: Rubric, attempts: Sequence[T]) -> Iterator[list[StoredTrajectory]]:
    """Those that have no reward by somebody's failure, without tokens, page by page."""
    failed = [a.id for a in attempts if rubric.failed(a.verdicts)]
    for first in range(0, len(failed), _PAGE):
        yield store.trajectories.by_id(failed[first : first + _PAGE], tokens=False)


def _is_outage(rubric: Rubric, verdicts: Sequence[Mapping[VerifierId, Verdict]]) -> bool:
    return 2 * sum(map(rubric.failed, verdicts)) > len(verdicts)


def _has_failed(verdict: Verdict | None) -> bool:
    return verdict is None or verdict.status in (Status.ERROR, Status.TIMEOUT)
