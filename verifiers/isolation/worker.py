"""A worker process of the pool: verifies what it is sent, one attempt after the other, and answers each at once.

Nothing in this process is out of a verifier's reach, so what the pool makes of its answers does not depend on good
conduct here: it knows an answer by the token that came with the question, and by their order.
"""

from __future__ import annotations

import json
import os
import resource
import time
from os import _exit, getpid, read, write
from pickle import loads
from signal import pause
from time import perf_counter
from typing import Any, NamedTuple

from journeyman.agent.data import Json, Status, Verdict
from journeyman.agent.plugins import VERIFIERS, given_environments, load_plugin
from journeyman.verifiers.isolation import frames
from journeyman.verifiers.isolation.boundary import failed, judged
from journeyman.verifiers.isolation.frames import HEAD, LOADING, MADE, NOBODY, READY, Answer, frame
from journeyman.verifiers.isolation.surroundings import Surroundings


class Recipe(NamedTuple):
    """How to make a verifier anew in another process."""

    name: str
    options: str
    """JSON."""
    version: str = ""
    """Of the verifier as the caller has it: another one, of a changed file say, is made anew."""
    environments: tuple[str, ...] = ()
    """The "module:object" environments that the run's settings name; tasks may name these and installed ones."""


class _Channel:
    """The worker's end of its socket. Forked children of a verifier have none: one that comes here ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._owner = descriptor, getpid()
        os.register_at_fork(after_in_child=lambda: os.close(descriptor))

    def send(self, token: bytes, content: bytes) -> None:
        if getpid() != self._owner:
            _exit(0)
        data = memoryview(frame(token, content))
        try:
            while data:
                data = data[write(self._descriptor, data) :]
        except OSError:  # a verifier has closed it, which the pool has seen, or the pool has ended
            while True:
                pause()

    def receive(self) -> tuple[bytes, bytes] | None:
        """The next question's token and content; None where the pool has closed its end.

        Not a byte more is read: until it is their turn later questions, and their tokens, are not in this process.
        """
        if not (head := self._read(HEAD.size)):
            return None
        _, length, token = HEAD.unpack(head)
        return token, self._read(length)

    def _read(self, size: int) -> bytes:
        """So many bytes, or fewer where the pool has closed its end."""
        data = read(self._descriptor, size)
        while data and len(data) < size and (more := read(self._descriptor, size - len(data))):
            data += more
        return data


def serve(descriptor: int, cpu_seconds: int, memory_bytes: int) -> None:
    """Answers until the pool closes its end, or an attempt leaves something behind; a limit of 0 is none."""
    if memory_bytes:
        _limit(resource.RLIMIT_AS, memory_bytes)
    _limit(resource.RLIMIT_CORE, 0)
    surroundings = Surroundings()
    channel = _Channel(descriptor)
    channel.send(NOBODY, READY)
    made: dict[Recipe, Any] = {}
    while (asked := channel.receive()) is not None:
        token, (path, named, packed) = asked[0], loads(asked[1])  # noqa: S301 - the pool's own
        recipe = Recipe(*named)
        surroundings.enter(path)
        if recipe not in made:
            channel.send(token, LOADING)
            made[recipe] = _make(recipe)
            surroundings.keep()
            surroundings.put_back()
            channel.send(token, MADE)
        if cpu_seconds:
            _allow_cpu(cpu_seconds)
        with given_environments(recipe.environments):
            verdict, milliseconds = _judge(made[recipe], packed)
        last = _is_out_of_memory(verdict) or not surroundings.put_back()
        channel.send(token, frames.packed(Answer(verdict, milliseconds, last)))
        if last:
            return


def _judge(verifier: Any, packed: bytes) -> tuple[Verdict, float]:
    started = perf_counter()
    verdict = verifier if isinstance(verifier, Verdict) else judged(verifier, *loads(packed))  # noqa: S301 - as above
    return verdict, 1000 * (perf_counter() - started)


def _is_out_of_memory(verdict: Verdict) -> bool:
    return verdict.status is Status.ERROR and (verdict.explanation or "").startswith(MemoryError.__name__)


def _make(recipe: Recipe) -> Any:
    """The verifier, or the verdict of status `error` on every attempt where it cannot be made."""
    options: dict[str, Json] = json.loads(recipe.options)
    try:
        return load_plugin(VERIFIERS, recipe.name, options, (recipe.name,))
    except BaseException as error:  # a plugin's import may raise anything
        return failed(error)


def _allow_cpu(seconds: int) -> None:
    """So much from now on; the signal that follows kills even code that holds the interpreter."""
    _limit(resource.RLIMIT_CPU, int(time.process_time()) + 1 + seconds)


def _limit(what: int, most: int) -> None:
    """Sets a soft limit; what the process was started with cannot be passed."""
    hard = resource.getrlimit(what)[1]
    allowed = [limit for limit in (most, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(what, (min(allowed, default=resource.RLIM_INFINITY), hard))
