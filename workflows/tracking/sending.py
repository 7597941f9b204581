"""Sends a run's numbers to its trackers, whose failures are their own: none stops a run, and none loses a number.

What is sent is in the store, and what a tracker has it is asked when it is opened. So a run that was killed goes on in
the same tracker runs without a number twice, and a tracker that was out of reach gets later what it missed.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from typing import TypeVar

from journeyman.agent.credentials import without_credentials, without_secrets
from journeyman.agent.errors import Outage
from journeyman.agent.hosting import call_bounded
from journeyman.workflows.session.session import Session
from journeyman.workflows.tracking.figures import figures
from journeyman.workflows.tracking.trackers import TRACKERS, Subject, Tracker

T = TypeVar("T")

SECONDS = 60.0
"""Longest that a tracker is waited for: a run's start on a far server takes some."""


@contextmanager
def tracking(session: Session) -> Iterator[Callable[[int], None]]:
    """Gives the function that sends all iterations up to one that is over, as far as the trackers do not have them."""
    sender = Sender(session)
    finished = False
    try:
        yield sender.send
        finished = True
    finally:
        sender.close(finished=finished)


class Sender:
    """The trackers of one run, each opened when there is something to send, and again after it has failed."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._open: dict[str, tuple[Tracker, dict[str, int]]] = {}

    def send(self, iteration: int) -> None:
        """Sends the iterations up to this one to every tracker; one that fails is warned of."""
        for name in self._session.settings.track.to:
            try:
                self.send_to(name, iteration)
            except Outage as error:
                self._warn(name, error)

    def send_to(self, name: str, iteration: int) -> None:
        """The same to one tracker; raises Outage where that fails, and opens it anew the next time."""
        store, run_id = self._session.store, self._session.run.id
        try:
            tracker, held = self._opened(name)
            for step in range(max(held.values(), default=0), iteration + 1):
                numbers = {n: v for n, v in figures(store, run_id, step).items() if step > held.get(n, -1)}
                if numbers:
                    _bounded(name, partial(tracker.log, step, numbers))
                    held.update(dict.fromkeys(numbers, step))
        except Outage:
            self._open.pop(name, None)
            raise

    def _opened(self, name: str) -> tuple[Tracker, dict[str, int]]:
        """The tracker, and by number the last step at which it has it."""
        if name not in self._open:
            tracker = TRACKERS[name]()
            self._open[name] = tracker, dict(_bounded(name, partial(tracker.open, self._subject())))
            self._session.reporter.line(f"  numbers go to {name} as {self._session.run.own_name}")
        return self._open[name]

    def close(self, *, finished: bool) -> None:
        """Ends the trackers' runs."""
        for name, (tracker, _) in self._open.items():
            try:
                _bounded(name, partial(tracker.close, finished=finished))
            except Outage as error:
                self._warn(name, error)

    def _subject(self) -> Subject:
        run, settings = self._session.run, self._session.settings
        told = settings.model_dump(
            mode="json", exclude={"track"}
        )  # where to is no part of what was run, and may change
        return Subject(run.id, run.own_name, without_secrets(told), settings.track)

    def _warn(self, name: str, error: Outage) -> None:
        later = "the numbers are in the store, and are sent at the end of an iteration at which it answers"
        self._session.warn(f"tracker {name}", f"{error}; {later}")


def _bounded(name: str, call: Callable[[], T]) -> T:
    """What a call of a tracker returns, without what it prints on stdout, which is for what was asked for.

    Libraries say which URL they could not reach, so what an Outage says of it is without its credentials.
    """
    with redirect_stdout(io.StringIO()):
        try:
            return call_bounded(name, call, SECONDS)
        except Outage as error:
            raise Outage(without_credentials(str(error))) from None
