"""Sends a run's numbers to its trackers, whose failures are their own: none stops a run, and none loses a number.

What is sent is in the store, and what a tracker has it is asked when it is opened. So a run that was killed goes on in
the same tracker runs without a number twice, and a tracker that was out of reach gets later what it missed.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
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


@dataclass(slots=True)
class _Open:
    """A tracker with what it has."""

    tracker: Tracker
    held: dict[str, set[int]]
    """By number the steps at which it has it."""
    first: int = 0
    """Step before which it has all: when it was opened more may have become known of any, by a late evaluation, say."""

    def lacks(self, name: str, step: int) -> bool:
        return step not in self.held.get(name, ())

    def got(self, names: Iterable[str], step: int) -> None:
        for name in names:
            self.held.setdefault(name, set()).add(step)


class Sender:
    """The trackers of one run, each opened when there is something to send, and again after it has failed."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._open: dict[str, _Open] = {}

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
            opened = self._opened(name)
            for step in range(opened.first, iteration + 1):
                numbers = {n: v for n, v in figures(store, run_id, step).items() if opened.lacks(n, step)}
                if numbers:
                    _bounded(name, partial(opened.tracker.log, step, numbers))
                    opened.got(numbers, step)
            opened.first = iteration
        except Outage:
            self._open.pop(name, None)
            raise

    def _opened(self, name: str) -> _Open:
        if name not in self._open:
            tracker = TRACKERS[name]()
            held = _bounded(name, partial(tracker.open, self._subject()))
            self._open[name] = _Open(tracker, {number: set(steps) for number, steps in held.items()})
            self._session.reporter.line(f"  numbers go to {name} as {self._session.run.own_name}")
        return self._open[name]

    def close(self, *, finished: bool) -> None:
        """Ends the trackers' runs."""
        for name, opened in self._open.items():
            try:
                _bounded(name, partial(opened.tracker.close, finished=finished))
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
