"""A worker process of the pool: verifies what it is sent, one attempt after the other, and answers each at once.

It is a process group of its own, so that whatever a verifier starts can be killed with it, and it ends with its parent.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, TypeAlias

from journeyman.agent.data import Json, Status, Task, Trajectory, Verdict
from journeyman.agent.plugins import VERIFIERS, given_environments, load_plugin
from journeyman.verifiers.isolation.boundary import failed, judged


class Recipe(NamedTuple):
    """How to make a verifier anew in another process."""

    name: str
    options: str
    """JSON."""
    version: str = ""
    """Of the verifier as the caller has it: another one, of a changed file say, is made anew."""
    environments: tuple[str, ...] = ()
    """The "module:object" environments that the run's settings name; tasks may name these and installed ones."""


class Chunk(NamedTuple):
    """What a worker is sent."""

    path: tuple[str, ...]
    """The caller's `sys.path`, where its plugins are."""
    calls: list[tuple[int, Recipe, bytes]]
    """Number, verifier, and the pickled task and trajectory of each call."""


class Loading(NamedTuple):
    """Sent before a verifier is made, which may take long and is no attempt's fault."""


class Answer(NamedTuple):
    """Sent after each call; None for a verifier that was made."""

    number: int | None
    verdict: Verdict | None = None
    milliseconds: float = 0.0
    last: bool = False
    """Whether the worker ends after it: its memory is used up, and later calls are not to suffer for it."""


Reply: TypeAlias = Loading | Answer


def main(descriptor: int, parent: int, cpu_seconds: int, memory_bytes: int) -> None:
    """Answers until the parent closes its end; a limit of 0 is none."""
    _end_with_parent(parent)
    if memory_bytes:
        _limit(resource.RLIMIT_AS, memory_bytes)
    _limit(resource.RLIMIT_CORE, 0)
    connection: Connection[Reply, Chunk] = Connection(descriptor)
    connection.send(Answer(None))
    made: dict[Recipe, Any] = {}
    try:
        while True:
            chunk = connection.recv()
            sys.path[:] = chunk.path
            for number, recipe, packed in chunk.calls:
                if recipe not in made:
                    connection.send(Loading())
                    _limit(resource.RLIMIT_CPU, resource.RLIM_INFINITY)  # an import is no attempt's fault
                    made[recipe] = _make(recipe)
                    connection.send(Answer(None))
                with given_environments(recipe.environments):
                    answer = _answer(number, made[recipe], packed, cpu_seconds)
                connection.send(answer)
                if answer.last:
                    return
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _answer(number: int, verifier: Any, packed: bytes, cpu_seconds: int) -> Answer:
    import pickle

    started = time.perf_counter()
    if isinstance(verifier, Verdict):
        return Answer(number, verifier, last=_is_out_of_memory(verifier))
    if cpu_seconds:
        _allow_cpu(cpu_seconds)
    pair: tuple[Task, Trajectory] = pickle.loads(packed)  # noqa: S301 - the parent's own
    verdict = judged(verifier, *pair)
    return Answer(number, verdict, 1000 * (time.perf_counter() - started), _is_out_of_memory(verdict))


def _is_out_of_memory(verdict: Verdict) -> bool:
    return verdict.status is Status.ERROR and (verdict.explanation or "").startswith(MemoryError.__name__)


def _make(recipe: Recipe) -> Any:
    """The verifier, or the verdict of status `error` on every attempt where it cannot be made."""
    import json

    options: dict[str, Json] = json.loads(recipe.options)
    try:
        return load_plugin(VERIFIERS, recipe.name, options, (recipe.name,))
    except (Exception, SystemExit) as error:  # a plugin's import may raise anything
        return failed(error)


def _allow_cpu(seconds: int) -> None:
    """So much from now on; the signal that follows kills even code that holds the interpreter."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + 1 + seconds)


def _limit(what: int, most: int) -> None:
    """Sets a soft limit; what the process was started with cannot be passed."""
    hard = resource.getrlimit(what)[1]
    allowed = [limit for limit in (most, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(what, (min(allowed, default=resource.RLIM_INFINITY), hard))


def _end_with_parent(parent: int) -> None:
    """A hanging verifier would never notice that the pipe is closed. Elsewhere than on Linux only the pipe tells."""
    if sys.platform == "linux":
        import ctypes

        death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(death_signal, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before it could be told
            sys.exit()
