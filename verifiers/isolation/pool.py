"""A pool of worker processes for verifiers, with limits of time and memory: nothing hangs, nothing crashes the caller.

One thread per pool starts the workers, hands calls out and takes answers in. A call that takes too long, or whose
worker dies, becomes a verdict of status `timeout` or `error`; its worker is killed with all it started and replaced;
every other call of the batch is answered as if nothing had happened. Calls with equal inputs are made once.

Idle workers take the more calls at once the more there are to do (guided self-scheduling: Polychronopoulos and Kuck,
1987, "Guided self-scheduling", IEEE Transactions on Computers 36(12)), so cheap verifiers pay little for the way.
"""

from __future__ import annotations

import atexit
import os
import pickle
import sys
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import NamedTuple, Self, TypeAlias

import numpy as np

from journeyman.agent.data import Status, Task, Trajectory, Verdict
from journeyman.verifiers.isolation.dispatcher import Dispatcher
from journeyman.verifiers.isolation.link import Call
from journeyman.verifiers.isolation.worker import Recipe

REMEMBERED = 20_000
"""Verdicts kept, so that equal inputs of different batches are scored once."""


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """What one verdict may use, and how many workers there are; 0 is no limit."""

    seconds: float = 10.0
    """Wall-clock time."""
    cpu_seconds: int = 10
    """Time on a processor, to the second."""
    memory_mb: int = 4096
    """Address space of a worker."""
    workers: int = 0
    """0 is one for each core that this process may use."""


class Judged(NamedTuple):
    """A verdict and what it took."""

    verdict: Verdict
    milliseconds: float


Attempted: TypeAlias = tuple[Task, Trajectory]


class VerifierPool:
    """Verifies batches; may be used from many threads at once. No worker is started before the first batch."""

    def __init__(self, limits: PoolLimits | None = None) -> None:
        self.limits = limits or PoolLimits()
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._dispatcher: Dispatcher | None = None
        self._known: OrderedDict[tuple[Recipe, bytes], Judged] = OrderedDict()

    def verify_all(self, recipe: Recipe, attempts: Sequence[Attempted], *, expenses: bool = False) -> list[Judged]:
        """The verifier's verdict on each attempt, in order; waits for them. From async code, call it in a thread.

        `expenses` is whether it may read what the attempts took (`reads_expenses` of its class).
        """
        keys, distinct = distinct_attempts(attempts, expenses=expenses)
        if self._process != os.getpid():  # forked: the dispatcher's thread and workers are the parent's
            self._process, self._lock, self._dispatcher = os.getpid(), threading.Lock(), None
        with self._lock:
            found = {key: self._known[recipe, key] for key in distinct if (recipe, key) in self._known}
        calls = {key: Call(recipe, pickle.dumps(pair)) for key, pair in distinct.items() if key not in found}
        if calls:
            self._started().run(list(calls.values()))
            made = {key: Judged(call.verdict, call.milliseconds) for key, call in calls.items()}
            self._remember(recipe, made)
            found |= made
        return [found[key] for key in keys]

    def close(self) -> None:
        """Ends the workers; a later batch starts new ones."""
        if self._process != os.getpid():
            return
        with self._lock:
            dispatcher, self._dispatcher = self._dispatcher, None
        if dispatcher is not None:
            dispatcher.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _started(self) -> Dispatcher:
        with self._lock:
            if self._dispatcher is None:
                self._dispatcher = Dispatcher(
                    self.limits.workers or _cores(),
                    self.limits.seconds,
                    self.limits.cpu_seconds,
                    self.limits.memory_mb * 2**20,
                )
            return self._dispatcher

    def _remember(self, recipe: Recipe, judged: Mapping[bytes, Judged]) -> None:
        """Failures are not: they may be the machine's."""
        with self._lock:
            for key, one in judged.items():
                if one.verdict.status in (Status.OK, Status.ABSTAIN):
                    self._known[recipe, key] = one
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)


def shared_pool(limits: PoolLimits) -> VerifierPool:
    """This process's pool with these limits; it stays until the process ends."""
    with _sharing:
        if limits not in _shared:
            _shared[limits] = VerifierPool(limits)
            atexit.register(_shared[limits].close)
        return _shared[limits]


_shared: dict[PoolLimits, VerifierPool] = {}
_sharing = threading.Lock()


def distinct_attempts(
    attempts: Sequence[Attempted], *, expenses: bool = False
) -> tuple[list[bytes], dict[bytes, Attempted]]:
    """A key for each attempt, and by key the attempts to judge, as verifiers see them; equal inputs have one key.

    Without `expenses` the attempts do not say what they took: no two take the same time, so none would be equal.
    """
    bare = [(task, _without_tokens(trajectory, expenses=expenses)) for task, trajectory in attempts]
    keys = [_digest(*pair) for pair in bare]
    return keys, dict(zip(keys, bare, strict=True))


def _without_tokens(trajectory: Trajectory, *, expenses: bool) -> Trajectory:
    """How many tokens were sampled may be kept, not which."""
    if not expenses:
        return replace(trajectory, segments=(), seconds=None, sampled_tokens=None)
    if not trajectory.segments:
        return trajectory
    sampled = sum(int(np.count_nonzero(segment.loss_mask)) for segment in trajectory.segments)
    return replace(trajectory, segments=(), sampled_tokens=sampled)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _digest(task: Task, trajectory: Trajectory) -> bytes:
    """Of all that a verdict may depend on; which attempt of its group it is does not matter."""
    told = (trajectory.turns, trajectory.stop_reason, trajectory.error)
    spent = (trajectory.seconds, trajectory.sampled_tokens)
    return blake2b(repr((task, told, spent)).encode("utf-8", "surrogatepass"), digest_size=16).digest()
