"""The thread that drives a pool's workers: starts them, hands calls out, takes answers in, kills and replaces."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

from journeyman.agent.data import Status, Verdict
from journeyman.agent.errors import JourneymanError
from journeyman.verifiers.isolation.worker import Answer, Chunk, Loading, Recipe, Reply

LOAD_SECONDS = 120.0
"""A worker may take so long to start, and then to import each verifier."""
MOST_AT_ONCE = 64
"""Calls that a worker is sent at once, at most."""
_UNMADE = Verdict(Status.ERROR, explanation="the verifier was not asked")


@dataclass(slots=True, eq=False)
class Call:
    """One question, and its answer once there is one."""

    recipe: Recipe
    packed: bytes
    """The pickled task and trajectory."""
    verdict: Verdict = _UNMADE
    milliseconds: float = 0.0


@dataclass(slots=True, eq=False)
class _Batch:
    """The calls of one caller, who waits."""

    left: int
    done: threading.Event = field(default_factory=threading.Event)
    failure: Exception | None = None


@dataclass(slots=True, eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    connection: Connection[Chunk, Reply]
    deadline: float
    """When its silence has lasted too long, by the monotonic clock."""
    ready: bool = False
    loading: bool = False
    given: deque[tuple[Call, _Batch]] = field(default_factory=deque)
    """What it has not answered yet, in the order that it will."""
    asked_at: float = 0.0


class Dispatcher:
    """Runs batches of calls in worker processes; thread-safe."""

    def __init__(self, workers: int, seconds: float, cpu_seconds: int, memory_bytes: int) -> None:
        """Limits of one call, 0 for none; a worker's memory is its address space."""
        self._size, self._seconds = workers, seconds or float("inf")
        self._limits = (cpu_seconds, memory_bytes)
        self._waiting: deque[tuple[Call, _Batch]] = deque()
        self._lock = threading.Lock()
        self._workers: list[_Worker] = []
        self._wake, self._woken = Pipe()
        self._called = self._closing = False
        # workers end with the thread that started them (see isolation/worker.py), so one thread starts them all
        self._thread = threading.Thread(target=self._run, name="verifier-pool", daemon=True)
        self._thread.start()

    def run(self, calls: Sequence[Call]) -> None:
        """Has every call answered, and waits. Raises JourneymanError where workers cannot be started."""
        batch = _Batch(len(calls))
        with self._lock:
            if self._closing:
                raise JourneymanError("the verifier pool was closed")
            self._waiting += [(call, batch) for call in calls]
            self._call()
        batch.done.wait()
        if batch.failure is not None:
            raise batch.failure

    def close(self) -> None:
        """Kills the workers and ends the thread."""
        with self._lock:
            self._closing = True
            self._call()
        self._thread.join()
        self._wake.close()
        self._woken.close()

    def _call(self) -> None:
        """Wakes the thread; under the lock. One call is under way at most, so the pipe never fills."""
        if not self._called:
            self._called = True
            self._wake.send(None)

    def _run(self) -> None:
        while not self._closing:
            try:
                self._hand_out()
                self._take_in()
                self._replace_the_late()
            except Exception as error:  # nobody could wait for this thread's errors but those whom it serves
                self._fail_all(error)
        self._fail_all(JourneymanError("the verifier pool was closed"))

    def _hand_out(self) -> None:
        with self._lock:
            waiting = len(self._waiting)
        while len(self._workers) < min(self._size, waiting + sum(bool(w.given) for w in self._workers)):
            self._workers.append(self._start())
        for worker in self._workers:
            if worker.ready and not worker.given:
                with self._lock:
                    share = min(MOST_AT_ONCE, -(-len(self._waiting) // (2 * self._size)))
                    taken = [self._waiting.popleft() for _ in range(share)]
                if taken:
                    self._send(worker, taken)

    def _send(self, worker: _Worker, taken: Iterable[tuple[Call, _Batch]]) -> None:
        worker.given.extend(taken)
        worker.asked_at = time.monotonic()
        worker.deadline = worker.asked_at + self._seconds
        calls = [(number, call.recipe, call.packed) for number, (call, _) in enumerate(worker.given)]
        try:
            worker.connection.send(Chunk(tuple(sys.path), calls))
        except OSError:  # it died idle, and no call is to blame: its end is seen by `_take_in`
            with self._lock:
                self._waiting.extendleft(reversed(worker.given))
            worker.given.clear()

    def _take_in(self) -> None:
        now = time.monotonic()
        busy = [w for w in self._workers if w.given or not w.ready]
        soonest = min((w.deadline for w in busy), default=float("inf"))
        timeout = None if soonest == float("inf") else max(soonest - now, 0.0)
        by_connection: dict[Any, _Worker] = {w.connection: w for w in self._workers}
        for connection in wait([self._woken, *by_connection], timeout):
            if connection is self._woken:
                with self._lock:
                    self._woken.recv()
                    self._called = False
            else:
                self._hear(by_connection[connection])

    def _hear(self, worker: _Worker) -> None:
        """Takes in all that the worker has sent."""
        try:
            while True:
                reply = worker.connection.recv()
                now = time.monotonic()
                worker.loading = isinstance(reply, Loading)
                worker.deadline = now + (LOAD_SECONDS if worker.loading else self._seconds)
                if isinstance(reply, Answer) and reply.number is None:
                    worker.ready = True
                elif isinstance(reply, Answer):
                    self._answer(worker, reply.verdict or _UNMADE, reply.milliseconds)
                    if reply.last:
                        self._dismiss(worker)
                        return
                if not worker.connection.poll():
                    return
        except (EOFError, OSError):
            self._bury(worker)

    def _answer(self, worker: _Worker, verdict: Verdict, milliseconds: float) -> None:
        _answered(*worker.given.popleft(), verdict, milliseconds)
        worker.asked_at = time.monotonic()

    def _replace_the_late(self) -> None:
        now = time.monotonic()
        for worker in [w for w in self._workers if (w.given or not w.ready) and w.deadline <= now]:
            if worker.process.poll() is not None:  # something that it started holds its pipe open
                self._bury(worker)
            elif not worker.ready:
                self._remove(worker)
                raise JourneymanError(f"a verifier's worker process did not start within {LOAD_SECONDS:g} s")
            elif worker.loading:
                self._give_up(worker, f"importing the verifier took over {LOAD_SECONDS:g} s")
            else:
                self._blame(worker, Status.TIMEOUT, f"the verifier took over {self._seconds:g} s")

    def _give_up(self, worker: _Worker, why: str) -> None:
        """Every call that needs what the worker could not import gets the verdict: all would wait as long."""
        recipe = worker.given[0][0].recipe
        with self._lock:
            others = [pair for pair in self._waiting if pair[0].recipe == recipe]
            self._waiting = deque(pair for pair in self._waiting if pair[0].recipe != recipe)
        for call, batch in [*(pair for pair in worker.given if pair[0].recipe == recipe), *others]:
            _answered(call, batch, Verdict(Status.TIMEOUT, explanation=why), 1000 * LOAD_SECONDS)
        worker.given = deque(pair for pair in worker.given if pair[0].recipe != recipe)
        self._dismiss(worker)

    def _bury(self, worker: _Worker) -> None:
        """After a worker's end that was its own doing, or where it has closed its pipe."""
        try:
            code = worker.process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self._blame(worker, Status.ERROR, "the verifier closed its process's pipe")
            return
        if not worker.ready:
            self._remove(worker)
            raise JourneymanError(f"a verifier's worker process cannot start: it ended with code {code}")
        if code == -signal.SIGXCPU:
            self._blame(worker, Status.TIMEOUT, f"the verifier used over {self._limits[0]} s of processor time")
        else:
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
            self._blame(worker, Status.ERROR, f"the verifier's process {how}")

    def _blame(self, worker: _Worker, status: Status, why: str) -> None:
        """Ends the worker; the call that it was at gets the verdict."""
        if worker.given:
            taken = 1000 * (time.monotonic() - worker.asked_at)
            self._answer(worker, Verdict(status, explanation=why), taken)
        self._dismiss(worker)

    def _dismiss(self, worker: _Worker) -> None:
        """Ends the worker; what it had not begun goes to others."""
        with self._lock:
            self._waiting.extendleft(reversed(worker.given))
        self._remove(worker)

    def _remove(self, worker: _Worker) -> None:
        with suppress(ProcessLookupError):
            os.killpg(worker.process.pid, signal.SIGKILL)  # with all that its verifiers started
        worker.process.wait()
        worker.connection.close()
        self._workers.remove(worker)

    def _fail_all(self, error: Exception) -> None:
        """Every caller gets the error, and new workers are started for later ones."""
        with self._lock:
            batches = [batch for _, batch in self._waiting]
            self._waiting.clear()
        for worker in list(self._workers):
            batches += [batch for _, batch in worker.given]
            self._remove(worker)
        for batch in batches:
            batch.failure = error
            batch.done.set()

    def _start(self) -> _Worker:
        mine, theirs = Pipe()
        arguments = ", ".join(map(str, (theirs.fileno(), os.getpid(), *self._limits)))
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", f"from journeyman.verifiers.isolation.worker import main; main({arguments})"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # what a verifier prints is nobody's answer
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
        )
        theirs.close()
        return _Worker(process, mine, time.monotonic() + LOAD_SECONDS)


def _answered(call: Call, batch: _Batch, verdict: Verdict, milliseconds: float) -> None:
    call.verdict, call.milliseconds = verdict, milliseconds
    batch.left -= 1
    if not batch.left:
        batch.done.set()
