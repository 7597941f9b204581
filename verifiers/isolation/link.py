"""The pool's end of one worker: what it was asked, what it has said, and how it ended. Nothing here waits."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias

from journeyman.agent.data import Status, Verdict
from journeyman.verifiers.isolation.frames import MOST_BYTES, Inbox
from journeyman.verifiers.isolation.worker import Recipe

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
    asked: Pair | None = None
    """What it is at."""
    first: Pair | None = None
    """What a fresh worker is started for."""
    token: bytes = b""
    """Of what it was asked last."""
    asked_at: float = 0.0
    loading: bool | None = None
    """Whether it makes a verifier at the moment; None before it has said so for this question."""
    judged: int = 0
    """How many answers it has given."""
    verdict: Verdict = _UNMADE
    """Of what it is at, when the worker is to end: given when it has."""
    milliseconds: float = 0.0
    leaving: bool = False
    closed_itself: bool = False
    """Whether it is to end because its socket was closed at its end, by its own end perhaps."""
    inbox: Inbox = field(default_factory=lambda: Inbox(MOST_BYTES))
    outgoing: memoryview = field(default_factory=lambda: memoryview(b""))

    @property
    def is_idle(self) -> bool:
        """Whether it may be asked."""
        return self.ready and self.asked is None

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

    def hang_up(self) -> None:
        """Has its guardian end it."""
        self.leaving = True
        with suppress(OSError):  # it is gone
            self.line.shutdown(socket.SHUT_WR)
        self.channel.close()

    def close(self) -> None:
        """When it has ended, or nobody waits for its end."""
        self.channel.close()
        self.line.close()
