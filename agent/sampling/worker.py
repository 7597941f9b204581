"""A thread for an engine that lives only while there is work for it.

OpenMP keeps a pool of threads for every thread that has ever computed, and once the pools together have more threads
than the machine has cores, libgomp puts them to sleep at each barrier instead of letting them wait awake
(https://gcc.gnu.org/onlinedocs/libgomp/GOMP_005fSPINCOUNT.html). A learner beside an idle sampler's thread then takes
twice as long for an update. A thread that ends takes its pool along.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


class EngineThread:
    """Makes calls one after another, in their order, on a thread that ends as soon as none is left."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._calls: deque[Callable[[], None]] = deque()
        self._running = False

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Queues a call; the future gets what it returns or raises."""
        done: Future[T] = Future()

        def call() -> None:
            try:
                result = work()
            except BaseException as error:
                done.set_exception(error)
            else:
                done.set_result(result)

        with self._lock:
            self._calls.append(call)
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
        return done

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._calls:
                    self._running = False
                    return
                call = self._calls.popleft()
            call()
