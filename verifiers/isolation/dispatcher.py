"""The thread that drives a pool's workers: has them started, asks them, takes answers in, has them ended and replaced.

What a worker says is taken in as it comes, by frames, and nothing is waited for longer than until the next deadline. A
frame that is none, or not the answer to the question it is at, ends the worker; the attempt that it was at is asked
again in a fresh worker where an earlier one may have left the frame behind, and gets the blame otherwise. A verdict
that ends a worker is given when nothing that its verifiers started is left.
"""

from __future__ import annotations

import pickle
import secrets
import selectors
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from journeyman.agent.data import Status, Verdict
from journeyman.agent.errors import JourneymanError
from journeyman.verifiers.isolation import frames
from journeyman.verifiers.isolation.crew import END_SECONDS, Crew
from journeyman.verifiers.isolation.frames import LOADING, MADE, NOBODY, READY, NoFrameError, frame
from journeyman.verifiers.isolation.guardian import unpacked
from journeyman.verifiers.isolation.link import CLOSED, UNGUARDED, Call, Link, Pair, ending, settle
from journeyman.verifiers.isolation.waiting import CLOSED_POOL, Waiting
from journeyman.verifiers.isolation.worker import Recipe

LOAD_SECONDS = 120.0
"""A worker may take so long to start, and then to import each verifier."""
CLOSE_SECONDS = 1.0
"""A worker may run so long with its socket closed."""
MOST_AT_ONCE = 64
"""Calls that a worker is sent at once, at most."""
START_TRIES = 3
"""Workers in a row that end before they are ready: then none can be started."""


class Dispatcher:
    """Runs batches of calls in worker processes; thread-safe."""

    def __init__(self, workers: int, seconds: float, cpu_seconds: int, memory_bytes: int) -> None:
        """Limits of one call, 0 for none; a worker's memory is its address space."""
        self._size, self._seconds = workers, seconds or float("inf")
        self._limits = (cpu_seconds, memory_bytes)
        self._waiting = Waiting()
        self._links: list[Link] = []
        self._leaving: list[Link] = []
        self._failed_starts = 0
        self._crew: Crew | None = None
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._woken, selectors.EVENT_READ, self._wake_up)
        # the warden ends with the thread that started it (see isolation/processes.py), so one thread does all that
        self._thread = threading.Thread(target=self._run, name="verifier-pool", daemon=True)
        self._thread.start()

    def run(self, calls: Sequence[Call]) -> None:
        """Has every call answered, and waits. Raises JourneymanError where workers cannot be started."""
        batch = self._waiting.add(calls)
        self._call()
        batch.done.wait()
        if batch.failure is not None:
            raise batch.failure

    def close(self) -> None:
        """Ends the workers, all that they started, and the thread."""
        self._waiting.close()
        self._call()
        self._thread.join()

    def _call(self) -> None:
        """Wakes the thread; where the socket is full it has been called often enough."""
        with suppress(BlockingIOError):
            self._wake.send(b"!")

    def _wake_up(self, _: int) -> None:
        self._woken.recv(2**12)

    def _run(self) -> None:
        while not self._waiting.is_closed:
            try:
                self._start_workers()
                self._ask_the_idle()
                self._take_in()
                self._end_the_late()
            except Exception as error:  # nobody could wait for this thread's errors but those whom it serves
                self._fail_all(error)
        self._fail_all(JourneymanError(CLOSED_POOL))
        self._selector.close()
        self._wake.close()
        self._woken.close()

    def _start_workers(self) -> None:
        """As many as there are calls, up to the pool's size; one for each call that needs a fresh one."""
        while self._waiting.doubted:
            link = self._hire()
            link.first = self._waiting.doubted.popleft()
        busy = sum(not link.is_idle and (link.ready or link.first is not None) for link in self._links)
        while len(self._links) < min(self._size, len(self._waiting) + busy):
            self._hire()

    def _hire(self) -> Link:
        while True:
            if self._crew is None:
                self._crew = Crew(*self._limits)
                self._selector.register(self._crew.orders, selectors.EVENT_READ, self._lose_crew)
            if (link := self._crew.hire(LOAD_SECONDS)) is not None:
                break
            self._count_failed_start(self._lose_crew())
        self._links.append(link)
        self._selector.register(link.channel, selectors.EVENT_READ, partial(self._serve, link))
        self._selector.register(link.line, selectors.EVENT_READ, partial(self._see_end, link))
        return link

    def _ask_the_idle(self) -> None:
        for link in [link for link in self._links if link.is_idle]:
            if link.first is not None:
                pairs, link.first = [link.first], None
            else:
                pairs = self._waiting.take(min(MOST_AT_ONCE, -(-len(self._waiting) // (2 * self._size))))
            if pairs:
                self._ask(link, pairs)

    def _ask(self, link: Link, pairs: Sequence[Pair]) -> None:
        link.given.extend((pair, secrets.token_bytes(16)) for pair in pairs)
        self._turn(link)
        path = tuple(sys.path)
        questions = [
            frame(token, pickle.dumps((path, tuple(call.recipe), call.packed))) for (call, _), token in link.given
        ]
        link.outgoing = memoryview(b"".join(questions))
        self._push(link)

    def _turn(self, link: Link) -> None:
        """It is the next one's turn."""
        link.loading, link.asked_at = None, time.monotonic()
        link.deadline = link.asked_at + self._seconds

    def _push(self, link: Link) -> None:
        try:
            link.push()
        except OSError:  # it has closed its end, as reading will show
            link.outgoing = memoryview(b"")
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if link.outgoing else 0)
        key = self._selector.get_key(link.channel)
        if key.events != events:
            self._selector.modify(link.channel, events, key.data)

    def _take_in(self) -> None:
        waited_for = [link for link in self._links if not link.is_idle] + self._leaving
        soonest = min((link.deadline for link in waited_for), default=float("inf"))
        timeout = None if soonest == float("inf") else max(soonest - time.monotonic(), 0.0)
        for key, events in self._selector.select(timeout):
            if self._selector.get_map().get(key.fd) is key:  # what came before has not ended it
                key.data(events)

    def _serve(self, link: Link, events: int) -> None:
        """Sends and takes in what can be without waiting."""
        if events & selectors.EVENT_WRITE:
            self._push(link)
        if not events & selectors.EVENT_READ:
            return
        is_open = link.pull()
        try:
            while not link.leaving and (found := link.inbox.take()) is not None:
                self._hear(link, *found)
            if link.is_idle and link.inbox:
                raise NoFrameError("something after its answer")
        except NoFrameError as error:
            self._accuse(link, f"the verifier's process wrote {error} into the pool's socket")
            return
        if not (is_open or link.leaving or link.closed_itself):
            link.closed_itself = True  # by its end, as its guardian will tell soon, or not
            link.deadline = time.monotonic() + CLOSE_SECONDS
            self._selector.unregister(link.channel)

    def _hear(self, link: Link, token: bytes, content: bytes) -> None:
        """Takes in one frame. Raises NoFrameError where it is not the worker's turn to say so."""
        now = time.monotonic()
        if not link.ready and (token, content) == (NOBODY, READY):
            link.ready, self._failed_starts = True, 0
        elif not link.given or token != link.given[0][1]:
            raise NoFrameError("an answer that nobody asked for")
        elif content == LOADING and link.loading is None:
            link.loading, link.deadline = True, now + LOAD_SECONDS
        elif content == MADE and link.loading:
            link.loading, link.asked_at, link.deadline = False, now, now + self._seconds
        elif link.loading:
            raise NoFrameError("an answer before it had the verifier")
        else:
            answer = frames.unpacked(content)
            link.judged += 1
            if answer.last:
                self._end(link, answer.verdict, answer.milliseconds)
            else:
                pair, _ = link.given.popleft()
                self._turn(link)
                settle(pair, answer.verdict, answer.milliseconds)

    def _accuse(self, link: Link, why: str) -> None:
        """Ends a worker that does not keep to the form; what it was at gets the blame where it was the first there."""
        if link.at is not None and link.judged and not link.at[0].doubted:
            self._waiting.doubt(link.given.popleft()[0])
            self._end(link, None)
        else:
            self._end(link, Verdict(Status.ERROR, explanation=why))

    def _end_the_late(self) -> None:
        now = time.monotonic()
        for link in [link for link in self._links if not link.is_idle and link.deadline <= now]:
            if link.closed_itself:
                self._end(link, CLOSED)
                continue
            if link.at is None:
                raise JourneymanError(f"a verifier's worker process did not start within {LOAD_SECONDS:g} s")
            if link.loading:
                late = Verdict(Status.TIMEOUT, explanation=f"importing the verifier took over {LOAD_SECONDS:g} s")
                self._give_up(link.at[0].recipe, late, 1000 * (now - link.asked_at))
            else:
                late = Verdict(Status.TIMEOUT, explanation=f"the verifier took over {self._seconds:g} s")
            self._end(link, late)
        for link in [link for link in self._leaving if link.deadline <= now]:
            if not link.kill_guardian():  # it was stopped, say; the warden does the rest
                self._lose_crew()
                break
            link.deadline = now + END_SECONDS

    def _give_up(self, recipe: Recipe, verdict: Verdict, milliseconds: float) -> None:
        """Every call that needs what a worker could not import gets the verdict: all would wait as long."""
        for pair in self._waiting.take_all_of(recipe):
            settle(pair, verdict, milliseconds)

    def _end(self, link: Link, verdict: Verdict | None, milliseconds: float | None = None) -> None:
        """Has the worker ended; what it is at gets the verdict when it has, and others do what it has not begun."""
        begun = [link.given.popleft()] if link.given and verdict is not None else []
        self._waiting.put_back(pair for pair, _ in link.given)
        link.given = deque(begun)
        link.verdict = verdict or link.verdict
        link.milliseconds = 1000 * (time.monotonic() - link.asked_at) if milliseconds is None else milliseconds
        link.deadline = time.monotonic() + END_SECONDS
        self._forget_channel(link)
        link.hang_up()
        self._links.remove(link)
        self._leaving.append(link)

    def _see_end(self, link: Link, _: int) -> None:
        """Its guardian has told that nothing is left of it, or has ended itself."""
        if link.listen():
            return
        report = unpacked(link.told)
        if self._crew is not None and self._crew.code is not None:
            self._lose_crew()
            return
        if not link.leaving:
            self._serve(link, selectors.EVENT_READ)  # what it said before it ended
        if not link.leaving:
            link.closed_itself = True
            self._end(link, CLOSED)
        self._selector.unregister(link.line)
        self._leaving.remove(link)
        link.close()
        if not link.ready:
            if link.first is not None:
                self._waiting.doubt(link.first)
            self._count_failed_start(report.code if report else -signal.SIGKILL)
        elif link.at is not None:
            self._conclude(link, link.at, link.verdict_after(report, self._limits[0]), retried=link.is_excused(report))

    def _count_failed_start(self, code: int) -> None:
        """Of a worker or warden that ended before it was ready: another one is started, but not for ever."""
        self._failed_starts += 1
        if self._failed_starts >= START_TRIES:
            raise JourneymanError(f"a verifier's worker process cannot start: it {ending(code)}")

    def _conclude(self, link: Link, pair: Pair, verdict: Verdict, *, retried: bool) -> None:
        """Gives what the worker was at when it ended its verdict, or has it `retried` where it may not be to blame."""
        if retried and not pair[0].doubted:
            self._waiting.doubt(pair)
            return
        if link.closed_itself and link.loading:
            verdict = replace(verdict, explanation=f"{verdict.explanation}, while it was imported")
            self._give_up(pair[0].recipe, verdict, link.milliseconds)
        settle(pair, verdict, link.milliseconds)

    def _lose_crew(self, _: int = 0) -> int:
        """After the warden's end, or to bring it about: what was under way is asked again, but only once.

        Returns how the warden ended.
        """
        links, leaving, code = self._dismiss()
        for link in leaving:
            if link.at is not None:
                settle(link.at, link.verdict, link.milliseconds)
        for link in links:
            if link.first is not None:
                self._waiting.doubt(link.first)
            begun = link.given.popleft()[0] if link.given else None
            if begun is not None and begun[0].doubted:
                settle(begun, UNGUARDED, 1000 * (time.monotonic() - link.asked_at))
            elif begun is not None:
                self._waiting.doubt(begun)
            self._waiting.put_back(pair for pair, _ in link.given)
        if any(not link.ready for link in links):
            self._count_failed_start(code)
        return code

    def _dismiss(self) -> tuple[list[Link], list[Link], int]:
        """Ends all processes; returns the workers at work, those that were leaving, and the warden's code."""
        links, leaving, self._links, self._leaving = self._links, self._leaving, [], []
        for link in (*links, *leaving):
            self._forget_channel(link)
            self._selector.unregister(link.line)
            link.close()
        crew, self._crew = self._crew, None
        if crew is None:
            return links, leaving, 0
        self._selector.unregister(crew.orders)
        return links, leaving, crew.end()

    def _forget_channel(self, link: Link) -> None:
        if link.channel in self._selector.get_map():
            self._selector.unregister(link.channel)

    def _fail_all(self, error: Exception) -> None:
        """Every caller gets the error, and a new warden is started for later ones."""
        links, leaving, _ = self._dismiss()
        pairs = self._waiting.take_all_of()
        self._failed_starts = 0
        for link in (*links, *leaving):
            pairs += [pair for pair, _ in link.given] + ([link.first] if link.first else [])
        for _, batch in pairs:
            batch.failure = error
            batch.done.set()
