"""The time that a command took by its own doing, told apart from the time that the machine kept it from running.

By its own doing it computes (processor time) and it waits: sleeps, reads what does not come, stands before a lock. Not
its own is the time in which it could run and was given no processor, or stood before a disk. A loaded machine
stretches the wall time of every command, and its own time hardly.

The kernel tells processor time to the nanosecond, and for each thread the time that it stood runnable in a queue
(/proc/PID/task/TID/schedstat). There is no clock of sleep; so it is looked again and again: where all threads sleep at
both ends of an interval, what they neither computed nor queued in between they slept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

Processes: TypeAlias = Callable[[], Iterable[int]]
"""The ids of a command's processes, as this process sees them."""

_AWAKE = "RD"  # running or runnable; or in a wait that nothing interrupts, before a disk


@dataclass(frozen=True, slots=True)
class _Look:
    began: float
    ended: float
    """Around the reading, seconds of the monotonic clock."""
    computed: dict[int, float]
    """Seconds of processor time by process."""
    queued: dict[int, float]
    """Seconds in the run queue by thread; empty where the kernel does not count them."""
    asleep: bool


class OwnTime:
    """Of one command; `others` are commands that it works with in turns, whose doing is not its own."""

    def __init__(self, command: Processes, *others: Processes) -> None:
        self._command = command
        self._all = (command, *others)
        self._last: _Look | None = None
        self.computed = 0.0
        """Seconds of processor time, up to the last look."""
        self.computed_by_others = 0.0
        """The same of the others."""
        self.waited = 0.0
        """Seconds in which it, and the others, slept; an underestimate by an interval between looks or two."""

    @property
    def seconds(self) -> float:
        """Both together."""
        return self.computed + self.waited

    def look(self, *, waiting: bool = True) -> float:
        """Looks once more and returns `seconds`; twenty looks a second cost about 0.2 % of a processor.

        `waiting` is whether sleep since the last look is the command's own, and not that of an other one.
        """
        look = _look(self._all)
        if look is not None:
            own = set(self._command())
            self.computed = max(self.computed, sum(s for process, s in look.computed.items() if process in own))
            others = sum(s for process, s in look.computed.items() if process not in own)
            self.computed_by_others = max(self.computed_by_others, others)
            if self._last is not None and self._last.asleep and look.asleep and waiting:
                self.waited += max(_slept(self._last, look), 0.0)
        self._last = look
        return self.seconds


def _slept(last: _Look, look: _Look) -> float:
    """Seconds between two looks that found all asleep."""
    computed = sum(seconds - last.computed.get(process, 0.0) for process, seconds in look.computed.items())
    if computed > 0 and not look.queued:
        return 0.0  # it ran, and nobody knows how long it had to wait for that
    # of threads that queued at once, for each other too, the longest counts: a program cannot multiply its excuse
    queued = max((seconds - last.queued.get(thread, 0.0) for thread, seconds in look.queued.items()), default=0.0)
    return look.began - last.ended - computed - queued


def _look(commands: Iterable[Processes]) -> _Look | None:
    """None where a process ended meanwhile, or none has begun."""
    began = time.monotonic()
    computed: dict[int, float] = {}
    queued: dict[int, float] = {}
    asleep = True
    try:
        for process in (process for command in commands for process in command()):
            computed[process] = time.clock_gettime(_clock_of(process))
            for thread in Path(f"/proc/{process}/task").iterdir():
                asleep &= (thread / "stat").read_text().rpartition(")")[2].split()[0] not in _AWAKE
                _, delay, times = map(int, (thread / "schedstat").read_text().split())
                if times:
                    queued[int(thread.name)] = delay / 1e9
    except OSError:
        return None
    return _Look(began, time.monotonic(), computed, queued, asleep) if computed else None


def _clock_of(process: int) -> int:
    """The clock of another process's processor time, as clock_getcpuclockid(3) makes it."""
    return (~process << 3) | 2


def descendants(process: int) -> list[int]:
    """The process and all below it; empty where it is gone."""
    found = [process]
    for parent in found:
        try:
            threads = list(Path(f"/proc/{parent}/task").iterdir())
            found += [int(child) for thread in threads for child in (thread / "children").read_text().split()]
        except OSError:
            continue
    return found
