"""The time that a program may take: for each case, for all of them, and by the clock.

What counts is the program's own time (`agent/sandbox/own_time.py`): what it computed and what it waited. More of that
than it may take is a failure. Where the clock runs out before, it is the machine, or the tests, that took the time: no
verdict on the program.
"""

from __future__ import annotations

import mmap
import os
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from journeyman.agent.sandbox.own_time import OwnTime
from journeyman.verifiers.programs.sandboxed.judge import BOARD

PATIENCE = 1.5
"""Wall time that may pass at most, as a multiple of what the program may take in all."""
GRACE = 1.0
"""Seconds in which tests have to tell how far they came, when their program was ended."""


class MachineTooSlow(Exception):  # noqa: N818 - nobody's error
    """The clock ran out before the program had its time; says who had it."""


@dataclass(frozen=True)
class Allowed:
    """Seconds of a program's own time, for each case and for all."""

    cpu: float
    """Of processor time, in each case."""
    case: float
    all: float

    @property
    def wall(self) -> float:
        """Seconds by the clock, for all."""
        return PATIENCE * self.all

    def over(self, computed: float, in_case: float, in_all: float) -> str | None:
        """Which limit is reached, as its option, where one is; `computed` is of the case too."""
        if computed >= self.cpu:
            return f"over its limit: cpu_seconds = {self.cpu:g}"
        if in_case >= self.case:
            return f"over its limit: case_seconds = {self.case:g}"
        return f"over its limit: seconds = {self.all:g}" if in_all >= self.all else None


class Board:
    """What the tests' side shows while it runs (`judge.BOARD`): memory that both have, and the program has not."""

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("journeyman")
        os.ftruncate(self.descriptor, BOARD.size)
        self._memory = mmap.mmap(self.descriptor, BOARD.size)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._memory.close()
        os.close(self.descriptor)

    def read(self) -> tuple[int, float, float]:
        """The number of the case, from 0 before the first; the seconds that asking the program took; since when."""
        case, seconds, since = BOARD.unpack_from(self._memory)
        return case, seconds, since


@dataclass
class Watch:
    """Looks at a program in its cases, and says when one of its limits is reached."""

    own: OwnTime
    allowed: Allowed
    board: Board | None = None
    before: float = 0.0
    """Seconds that it took already."""
    over: str | None = None
    """The limit that is reached."""
    over_since: float = 0.0
    _case: int = 0
    _computed_at: float = 0.0
    _spent_at: float = 0.0

    def __call__(self) -> bool:
        """Whether a limit is reached, by now or before."""
        case, asking, since = self.board.read() if self.board else (0, 0.0, 0.0)
        self.own.look(waiting=self.board is None or since > 0)  # else it is the tests that sleep
        if since:
            asking += max(self.own.computed_by_others - since, 0.0)
        spent = self.own.seconds + asking
        computed = self.own.computed + asking
        if case != self._case:
            self._case, self._computed_at, self._spent_at = case, computed, spent
        if self.over is None:
            self.over = self.allowed.over(computed - self._computed_at, spent - self._spent_at, self.before + spent)
            self.over_since = time.monotonic()
        return self.over is not None
