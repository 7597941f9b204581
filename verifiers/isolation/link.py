"""The pool's end of one worker: what it was asked, what it has said, and how it ended. Nothing here waits."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias

from journeyman.agent.data import Status, Verdict
from journeyman.verifiers.isolation.frames import Inbox
from journeyman.verifiers.isolation.guardian import BROKEN, Cause, Report, guardian_of, unpacked
from journeyman.verifiers.isolation.worker import Recipe

CLOSED = Verdict(Status.ERROR, explanation="the verifier closed its process's pipe")
UNGUARDED = Verdict(Status.ERROR, explanation="the verifier ended the processes that guard its own")
_UNMADE = Verdict(Status.ERROR, explanation="the verifier was not asked")


@dataclass(slots=True, eq=False)
class Call:
    """One question, and its answer once there is one."""

    recipe: Recipe
    packed: bytes
    """The pickled task and trajectory."""
    verdict: Verdict = _UNMADE
    milliseconds: float = 0.0
    doubted: bool = False
    """Whether it is asked for the second time, in a fresh worker: what goes wrong there is its own doing."""


@dataclass(slots=True, eq=False)
class Batch:
    """The calls of one caller, who waits."""

    left: int
    done: threading.Event = field(default_factory=threading.Event)
    failure: Exception | None = None


Pair: TypeAlias = tuple[Call, Batch]


def settle(pair: Pair, verdict: Verdict, milliseconds: float) -> None:
    """Gives the call its verdict, and its batch back to the caller where it was the last."""
    call, batch = pair
    call.verdict, call.milliseconds = verdict, milliseconds
    batch.left -= 1
    if not batch.left:
        batch.done.set()


@dataclass(slots=True, eq=False)
class Link:
    """One worker."""

    channel: socket.socket
    """To the worker: questions and answers."""
    line: socket.socket
    """To its guardian, who hangs up when nothing is left of the worker."""
    deadline: float
    """When it has taken too long, by the monotonic clock."""
    ready: bool = False
    given: deque[tuple[Pair, bytes]] = field(default_factory=deque)
    """What it has not answered yet, in the order that it will, with the questions' tokens."""
    first: Pair | None = None
    """What a fresh worker is started for."""
    asked_at: float = 0.0
    """When it came to what it is at."""
    loading: bool | None = None
    """Whether it makes a verifier at the moment; None before it has said so for this question."""
    judged: int = 0
    """How many answers it has given."""
    verdict: Verdict = _UNMADE
    """Of what it is at, when the worker is to end; given when it has."""
    milliseconds: float = 0.0
    told: bytes = b""
    """What its guardian has said."""
    guardian_killed: bool = False
    leaving: bool = False
    closed_itself: bool = False
    """Whether its socket was closed at its end, by its own end perhaps."""
    inbox: Inbox = field(default_factory=Inbox)
    outgoing: memoryview = field(default_factory=lambda: memoryview(b""))

    @property
    def is_idle(self) -> bool:
        """Whether it may be asked."""
        return self.ready and not self.given and not self.closed_itself

    @property
    def at(self) -> Pair | None:
        """What it is at."""
        return self.given[0][0] if self.given else None

    def push(self) -> None:
        """Sends as much as goes at once. Raises OSError where the worker has closed its end."""
        with suppress(BlockingIOError):
            while self.outgoing:
                self.outgoing = self.outgoing[self.channel.send(self.outgoing) :]

    def pull(self) -> bool:
        """Takes in what is there; False where the worker has closed its end."""
        try:
            data = self.channel.recv(2**18)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self.inbox.add(data)
        return bool(data)

    def listen(self) -> bool:
        """Takes in what its guardian says; False where that was its last word."""
        try:
            data = self.line.recv(2**8)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self.told += data
        return bool(data) and unpacked(self.told) is None

    def kill_guardian(self) -> bool:
        """Kills the guardian, which has not hung up and so is still there; False where that was tried already."""
        if self.guardian_killed or (process := guardian_of(self.told)) is None:
            return False
        self.guardian_killed = True
        os.kill(process, signal.SIGKILL)
        return True

    def hang_up(self) -> None:
        """Has its guardian end it."""
        self.leaving = True
        with suppress(OSError):  # it is gone
            self.line.shutdown(socket.SHUT_WR)
        self.channel.close()

    def verdict_after(self, report: Report | None, cpu_seconds: int) -> Verdict:
        """Of what it was at, when it has ended: by its guardian's report, where that is not why it was to end."""
        if not self.closed_itself:
            return self.verdict
        if report is None or report.cause is Cause.SIGNAL:
            return UNGUARDED
        if report.code == BROKEN:
            return Verdict(Status.ERROR, explanation="the verifier broke its worker process")
        if report.code == -signal.SIGXCPU:
            why = f"the verifier used over {cpu_seconds} s of processor time"
            return Verdict(Status.TIMEOUT, explanation=why)
        if report.cause is Cause.ITSELF or report.code != -signal.SIGKILL:
            return Verdict(Status.ERROR, explanation=f"the verifier's process {ending(report.code)}")
        return self.verdict

    def is_excused(self, report: Report | None) -> bool:
        """Whether its end may be another's doing: the machine's, or an attempt's before."""
        if not self.closed_itself:
            return False
        if self.loading or report is None or report.cause is Cause.SIGNAL:
            return True
        killed = report.code == -signal.SIGKILL and report.cause is Cause.ITSELF
        return killed or (report.code == BROKEN and self.judged > 0)

    def close(self) -> None:
        """When it has ended, or nobody waits for its end."""
        self.channel.close()
        self.line.close()


def ending(code: int) -> str:
    """A process's end, by its exit code as subprocess has it."""
    if code >= 0:
        return f"ended with code {code}"
    named = -code in set(signal.Signals)
    return f"was killed by {signal.Signals(-code).name if named else f'signal {-code}'}"
