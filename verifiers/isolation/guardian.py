"""A guardian: the parent of one worker, there to kill it with everything that its verifiers started.

A worker is a session of its own, and its guardian another: a verifier that kills its process group, or its parent's,
reaches neither the pool nor other workers. Orphans go to the worker while it lives, then to its guardian, and to the
warden where a verifier has killed that one too.
"""

from __future__ import annotations

import fcntl
import os
import resource
import selectors
import signal
import socket
import struct
from contextlib import suppress
from enum import IntEnum
from typing import NamedTuple

from journeyman.verifiers.isolation.processes import adopt_orphans, end_below, end_with, news_of
from journeyman.verifiers.isolation.worker import serve

_HIGH = 200
"""A worker's socket gets a number from here on, where so many are allowed: what is closed by mistake is a low one."""
BROKEN = 70
"""The code of a worker whose own code failed: what a verifier has done to it may have been an earlier attempt's."""
_PROCESS, _REPORT = struct.Struct("!i"), struct.Struct("!ii")
"""What a guardian says at first, its own process, and at last."""


class Cause(IntEnum):
    """Why a worker ended."""

    ITSELF = 0
    """It did so, or was killed from outside."""
    TOLD = 1
    """The pool wanted it."""
    SIGNAL = 2
    """Its guardian was sent a signal: by the kernel where the warden has ended, or by anybody."""


class Report(NamedTuple):
    """Sent when nothing is left of a worker."""

    code: int
    """How it ended, as subprocess has it: below 0 is a signal's number."""
    cause: Cause


def guardian_of(told: bytes) -> int | None:
    """The guardian's process, of all that it has said; None where it has not yet."""
    return _PROCESS.unpack_from(told)[0] if len(told) >= _PROCESS.size else None


def unpacked(told: bytes) -> Report | None:
    """The report, of all that the guardian has said; None where there is none yet."""
    if len(told) != _PROCESS.size + _REPORT.size:
        return None
    code, cause = _REPORT.unpack_from(told, _PROCESS.size)
    return Report(code, Cause(cause))


def guard(warden: int, channel: int, line: socket.socket, cpu_seconds: int, memory_bytes: int) -> None:
    """Runs a worker at the socket `channel` until it ends or the pool hangs up `line`, and reports its end there.

    To be called with signals held back, in a process of its own, a child of the process `warden`, that ends after it.
    """
    os.setsid()
    read, write = news_of(signal.SIGCHLD, signal.SIGTERM)
    adopt_orphans()
    guardian = os.getpid()
    line.send(_PROCESS.pack(guardian))
    worker = os.fork()
    if worker == 0:
        try:
            for descriptor in (line.detach(), read, write):
                os.close(descriptor)
            _become_worker(guardian, channel, cpu_seconds, memory_bytes)
        finally:
            os._exit(BROKEN)
    os.close(channel)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    end_with(warden, signal.SIGTERM)
    report = _watch(worker, line, read)
    end_below()
    with suppress(OSError):  # the pool has ended
        line.send(_REPORT.pack(*report))


def _watch(worker: int, line: socket.socket, news: int) -> Report:
    """Waits for the worker's end, or brings it about when it is time."""
    with selectors.DefaultSelector() as selector:
        selector.register(line, selectors.EVENT_READ)
        selector.register(news, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            told = os.read(news, 2**10) if news in ready else b""
            ended, state = os.waitpid(worker, os.WNOHANG)
            if ended:
                return Report(os.waitstatus_to_exitcode(state), Cause.ITSELF)
            if line in ready or signal.SIGTERM in told:
                os.kill(worker, signal.SIGKILL)
                cause = Cause.SIGNAL if signal.SIGTERM in told else Cause.TOLD
                return Report(os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]), cause)


def _become_worker(guardian: int, channel: int, cpu_seconds: int, memory_bytes: int) -> None:
    """Never returns, but may raise."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    for one in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(one, signal.SIG_DFL)
    lowest = min(_HIGH, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
    high = fcntl.fcntl(channel, fcntl.F_DUPFD_CLOEXEC, lowest)
    os.close(channel)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    end_with(guardian, signal.SIGKILL)
    adopt_orphans()
    serve(high, cpu_seconds, memory_bytes)
    os._exit(0)
