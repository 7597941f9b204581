"""What one attempt may leave behind in a worker's process, and what is put back before the next one.

Put back: working directory, `sys.path`, environment, standard streams, umask, recursion limit, limits of resources,
timers, handlers of the signals that timers, terminals and users send, and functions of the library's that everything
stands on. What cannot be put back, a thread or a
process that is still there, makes the worker unfit for the next attempt.
"""

from __future__ import annotations

import _thread
import builtins
import json
import os
import pickle
import resource
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from operator import itemgetter

from journeyman.verifiers.isolation.processes import children

_LIMITS = tuple(
    getattr(resource, f"RLIMIT_{name}")
    for name in ("AS", "CPU", "FSIZE", "NOFILE", "NPROC")
    if hasattr(resource, f"RLIMIT_{name}")
)
_SIGNALS = tuple(
    getattr(signal, f"SIG{name}")
    for name in ("ALRM", "CHLD", "HUP", "INT", "PIPE", "PROF", "TERM", "USR1", "USR2", "VTALRM", "XCPU")
)
_LIBRARY = {
    builtins: "bool dict float getattr int isinstance iter len list open print range repr sorted str sum tuple type",
    json: "dump dumps load loads",
    os: "_exit close dup2 environ fork fstat getcwd getpid kill listdir open path read stat unlink waitpid write",
    pickle: "dump dumps load loads",
    time: "monotonic perf_counter process_time sleep time",
}
_PICKED = [(vars(module), itemgetter(*names.split())) for module, names in _LIBRARY.items()]
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


class Surroundings:
    """This process as it is between attempts."""

    def __init__(self) -> None:
        """As it is now, when nobody's code has run yet; standard input and output are the null device's from now on."""
        self._null = os.open(os.devnull, os.O_RDWR)
        self._streams = (sys.stdin, sys.stdout, sys.stderr)
        self._plug()
        self._folder = os.open(".", os.O_RDONLY)
        self._added: list[str] = []
        self.enter(sys.path)
        self.keep()

    def enter(self, path: Sequence[str]) -> None:
        """Sets `sys.path` to a caller's, with what verifiers added to it when they were made."""
        self._path = [*path, *self._added]
        sys.path = list(self._path)

    def keep(self) -> None:
        """What there is now belongs to a verifier, which may have started and set what it needs when it was made.

        But for the working directory, in which others could get lost.
        """
        added = [folder for folder in sys.path if folder not in self._path]
        self._added += added
        self._path += added
        self._helpers = children()
        self._threads = _thread._count()
        self._environment = dict(os.environb)
        self._library = [(names.copy(), pick(names)) for names, pick in _PICKED]
        self._umask = os.umask(0)
        self._depth = sys.getrecursionlimit()
        self._limits = [resource.getrlimit(what) for what in _LIMITS]
        self._handlers = [signal.getsignal(one) for one in _SIGNALS]
        self._blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        os.umask(self._umask)

    def put_back(self) -> bool:
        """Undoes what was changed since; False where something is left nonetheless."""
        try:
            self._put_back_library()
            self._put_back_signals()
            for what, limits in zip(_LIMITS, self._limits, strict=True):
                if resource.getrlimit(what) != limits:
                    resource.setrlimit(what, limits)
            sys.setrecursionlimit(self._depth)
            self._plug()
            os.fchdir(self._folder)
            os.umask(self._umask)
        except (OSError, ValueError, TypeError, KeyError):
            # a descriptor is closed, a hard limit lowered, a handler not Python's, a function deleted
            return False
        if any(stream is not None and stream.closed for stream in self._streams):
            return False
        return _thread._count() <= self._threads and not self._has_new_children()

    def _put_back_library(self) -> None:
        for (names, pick), (whole, picked) in zip(_PICKED, self._library, strict=True):
            if pick(names) != picked:
                names.update(whole)
        sys.path = list(self._path)
        if os.environ._data != self._environment:  # type: ignore[attr-defined]  # a hundredth of the time of a copy
            os.environb.clear()
            os.environb.update(self._environment)

    def _put_back_signals(self) -> None:
        for timer in _TIMERS:
            signal.setitimer(timer, 0)
        for one, handler in zip(_SIGNALS, self._handlers, strict=True):
            if signal.getsignal(one) is not handler:
                signal.signal(one, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._blocked)

    def _plug(self) -> None:
        sys.stdin, sys.stdout, sys.stderr = self._streams
        for stream in range(3):
            os.dup2(self._null, stream)

    def _has_new_children(self) -> bool:
        """Beside its helpers; the dead are forgotten."""
        with suppress(ChildProcessError):  # it has none at all
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
            return not children() <= self._helpers
        return False
