"""Calls that wait for a worker: those of all callers in their order, and those that are to have a fresh one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence

from journeyman.agent.errors import JourneymanError
from journeyman.verifiers.isolation.link import Batch, Call, Pair
from journeyman.verifiers.isolation.worker import Recipe

CLOSED_POOL = "the verifier pool was closed"


class Waiting:
    """Thread-safe: callers add, the dispatcher takes."""

    def __init__(self) -> None:
        self.is_closed = False
        self.doubted: deque[Pair] = deque()
        """The dispatcher's own."""
        self._lock = threading.Lock()
        self._pairs: deque[Pair] = deque()

    def __len__(self) -> int:
        """How many wait for any worker."""
        return len(self._pairs)

    def add(self, calls: Sequence[Call]) -> Batch:
        """Puts them last. Raises JourneymanError once it is closed."""
        batch = Batch(len(calls))
        with self._lock:
            if self.is_closed:
                raise JourneymanError(CLOSED_POOL)
            self._pairs += [(call, batch) for call in calls]
        return batch

    def close(self) -> None:
        """Nothing is added from now on."""
        with self._lock:
            self.is_closed = True

    def take(self, most: int) -> list[Pair]:
        """The first ones, no longer waiting."""
        with self._lock:
            return [self._pairs.popleft() for _ in range(min(most, len(self._pairs)))]

    def put_back(self, pairs: Iterable[Pair]) -> None:
        """Puts them first, in their order."""
        with self._lock:
            self._pairs.extendleft(reversed(list(pairs)))

    def doubt(self, pair: Pair) -> None:
        """Has it wait for a fresh worker."""
        pair[0].doubted = True
        self.doubted.append(pair)

    def take_all_of(self, recipe: Recipe | None = None) -> list[Pair]:
        """All that wait for a verifier, or all of all, no longer waiting."""
        with self._lock:
            everyone = (*self._pairs, *self.doubted)
            self._pairs, self.doubted = (
                deque(pair for pair in pairs if recipe is not None and pair[0].recipe != recipe)
                for pairs in (self._pairs, self.doubted)
            )
        return [pair for pair in everyone if recipe is None or pair[0].recipe == recipe]
