"""Processes that look after others: ties to a parent, orphans taken in, and the end of all that is below a process."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def adopt_orphans() -> None:
    """From now on what loses its parent below this process becomes its child: no daemon gets away.

    Linux alone can do so; elsewhere only the process group of a worker is known.
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_with(parent: int, how: signal.Signals) -> None:
    """Has the kernel send this process the signal when its parent ends, and ends it now where that has happened.

    It is the parent's thread that counts. Elsewhere than on Linux only a closed socket tells.
    """
    _prctl(_PR_SET_PDEATHSIG, how)
    if sys.platform == "linux" and os.getppid() != parent:
        os._exit(1)


def children() -> set[int]:
    """The children of all this process's threads, dead ones that nobody has waited for included."""
    found: set[int] = set()
    for task in Path("/proc/self/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            found.update(map(int, task.read_text().split()))
    return found


def end_below() -> None:
    """Kills every process below this one, which has adopted orphans, and waits for their ends."""
    while left := children():  # what a killed one had started is a child by the next round
        for child in left:
            os.kill(child, signal.SIGKILL)  # nobody else waits for it, so the number is still its own
        for child in left:
            os.waitpid(child, 0)


@contextmanager
def held_back() -> Iterator[None]:
    """Signals to this process wait meanwhile: a fork and what it changes on both sides are one step."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def news_of(*signals: signal.Signals) -> tuple[int, int]:
    """The ends of a pipe: what may be read of the first is the numbers of those signals that came to this process."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    for one in signals:
        signal.signal(one, lambda *_: None)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    return read, write


def _prctl(what: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(what, value, 0, 0, 0)
