"""Outages: verifiers that fail on most attempts, since a judge's server is down, say. They must decide nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from journeyman.agent.data import Status, Verdict, VerifierId
from journeyman.agent.errors import UsageError
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.trajectories import JudgedAttempt, StoredTrajectory
from journeyman.verifiers.rubric import Rubric

T = TypeVar("T", JudgedAttempt, StoredTrajectory)

_PAGE = 256


def without_outage(store: ReplayStore, rubric: Rubric, read: Callable[[], Sequence[T]], what: str) -> Sequence[T]:
    """The attempts that `read` finds; where verifiers failed on most of them, those are asked once more before.

    Raises UsageError where that does not help, see `refuse_outage`. What was made stays, and `journeyman resume` asks
    again: a verifier's next version too, which has judged none of them.
    """
    attempts = read()
    if not _is_outage(rubric, [a.verdicts for a in attempts]):
        return attempts
    failed = [a.id for a in attempts if rubric.failed(a.verdicts)]
    for first in range(0, len(failed), _PAGE):
        page = store.trajectories.by_id(failed[first : first + _PAGE], tokens=False)
        judged = rubric.score_all([(t.task, t.trajectory) for t in page])
        pairs = [(t, record) for t, records in zip(page, judged, strict=True) for record in records]
        store.verdicts.add([(t.id, record) for t, record in pairs if _has_failed(t.verdicts.get(record.verifier))])
    attempts = read()
    refuse_outage(rubric, [a.verdicts for a in attempts], what)
    return attempts


def refuse_outage(rubric: Rubric, verdicts: Sequence[Mapping[VerifierId, Verdict]], what: str) -> None:
    """Raises UsageError, with the first reason, where verifiers failed on most of the attempts.

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


def _is_outage(rubric: Rubric, verdicts: Sequence[Mapping[VerifierId, Verdict]]) -> bool:
    return 2 * sum(map(rubric.failed, verdicts)) > len(verdicts)


def _has_failed(verdict: Verdict | None) -> bool:
    return verdict is None or verdict.status in (Status.ERROR, Status.TIMEOUT)
