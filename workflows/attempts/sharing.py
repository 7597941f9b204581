"""Work that a run shares: pieces claimed by lease, by the process that drives the run and by workers that join it.

The driver puts the pieces into the store's queue, works like any worker, and waits until all are done. A piece whose
worker died is claimed by another once its lease has expired; the outcome of a worker that was too slow is refused.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from journeyman.agent.errors import LeaseLostError, StoreError
from journeyman.storage.leases import Claim
from journeyman.workflows.session.session import Session

PAUSE_S = 0.5
"""Between two looks for work, where there is none to claim."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Work:
    """What a stage of one iteration has to do, in pieces."""

    kind: str
    """Stage and iteration, e.g. `generate/3`."""
    pieces: Callable[[], Iterable[str]]
    """Names of the pieces that are to be done; only the driver asks."""
    do: Callable[[Claim], None]
    """Does the pieces of a claim, and stores the outcome in one transaction that finishes the claim."""
    claimed_at_once: int


def finish_together(session: Session, work: Work, label: str) -> None:
    """Has all pieces of the work done, by this process and by the run's workers; returns when none is left."""
    store, run_id = session.store, session.run.id
    store.queue.enqueue(run_id, work.kind, work.pieces())
    store.queue.release_all_of(run_id, work.kind, session.worker)  # one process drives a run: its former self is dead
    progress, shown = store.queue.progress(run_id, work.kind), 0
    with session.reporter.progress(label, progress.open + progress.claimed + progress.done) as advance:
        while not progress.finished:
            if not do_some(session, work):
                time.sleep(PAUSE_S)
            progress = store.queue.progress(run_id, work.kind)
            advance(progress.done - shown)
            shown = progress.done


def do_some(session: Session, work: Work) -> bool:
    """Claims some pieces and does them, or gives them back where that fails; False where there are none to claim."""
    seconds = session.settings.generate.lease_seconds
    claim = session.store.queue.claim(
        session.run.id, work.kind, session.worker, limit=work.claimed_at_once, seconds=seconds
    )
    if claim is None:
        return False
    try:
        work.do(claim)
    except LeaseLostError as error:  # the outcome of the worker that took over will count
        logger.warning("%s; what was done here is dropped", error)
    except BaseException:  # Ctrl-C too: others need not wait for the lease to expire
        session.store.queue.release(claim)
        raise
    return True


@contextmanager
def held(session: Session, claim: Claim) -> Iterator[None]:
    """Renews the claim's lease while the body goes on."""
    ended = threading.Event()
    renewing = threading.Thread(target=_renew, args=(session, claim, ended), name="lease", daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()


def _renew(session: Session, claim: Claim, ended: threading.Event) -> None:
    seconds = session.settings.generate.lease_seconds
    while not ended.wait(seconds / 3):
        try:
            session.store.queue.renew(claim, seconds=seconds)
        except LeaseLostError:
            return  # storing the outcome will say so
        except StoreError as error:
            logger.warning("a lease on %s could not be renewed, trying again: %s", claim.kind, error)
