"""Runs a command that nobody trusts: in bubblewrap, with limits on everything, leaving nothing behind.

What the command has: the system's programs and libraries and this interpreter's standard library, read-only; a /tmp of
its own, in which it starts and where its files are; /proc of its own processes; the plain devices. What it has not: a
network, the host's files, processes, environment and user (started by root, it runs as a user that owns nothing),
installed packages, the system calls of `agent/sandbox/system_calls.py`.

Everything ends with the process that asked for it, however that one dies: the first process of the sandbox's PID
namespace dies with bubblewrap, bubblewrap with the caller, and the kernel kills the rest of the namespace. For root's
command that first process is a reaper of bubblewrap's, out of the command's reach; a user's command is the first
process itself, and may not undo its tie. Nothing here depends on the thread or the event loop it is called from, beside
that the calling thread has to live until the command has ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import resource
import secrets
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Literal, Self, TypeAlias

from journeyman.agent.errors import SandboxError
from journeyman.agent.sandbox.own_time import descendants
from journeyman.agent.sandbox.places import places, system
from journeyman.agent.sandbox.system_calls import seccomp_filter

PYTHON = (os.path.realpath(getattr(sys, "_base_executable", sys.executable)), "-I", "-S")
"""How a command starts this interpreter, with its standard library and nothing else."""

_REMEDY = "install bubblewrap 0.7 or newer (`apt install bubblewrap`), where user namespaces are allowed"
_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/tmp",  # noqa: S108 - the sandbox's own
    "LANG": "C.UTF-8",
    "OMP_NUM_THREADS": "1",  # libraries that start a thread for every core would run into the limit of tasks
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",  # or each thread would take 64 MiB of the address space
}
_PR_SET_CHILD_SUBREAPER = 36
_USERS = range(61184, 65520)  # that systemd keeps for users made at run time, so they own nothing

_LOOK_SECONDS = 0.05
"""Between two questions of a watch."""

Reached: TypeAlias = Literal["seconds", "cpu_seconds", "output", "watch"]
"""The limits that a command is killed at; the last is the caller's own."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a command may use. Where the caller itself is under a hard limit that is lower, that one counts."""

    seconds: float = 10.0
    """Wall time from the start; then everything is killed."""
    cpu_seconds: int = 10
    """Processor time of each process."""
    memory: int = 512 * 2**20
    """Bytes of address space of each process."""
    tasks: int = 32
    """Processes and threads at once, all together."""
    forks: bool = False
    """Whether the command may start other processes; without it, it has only threads."""
    output: int = 2**20
    """Bytes of stdout and stderr together; then everything is killed."""
    disk: int = 16 * 2**20
    """Bytes in /tmp, which is memory too."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended."""

    exit_code: int
    """128 + N where signal N ended it."""
    stdout: bytes
    stderr: bytes
    """Both cut where `output` was reached."""
    seconds: float
    """Wall time, the start of the sandbox included."""
    cpu_seconds: float
    """Processor time of all its processes, the start of the sandbox (about 10 ms) included."""
    limit: Reached | None = None
    """Where it was killed at one. The others (memory, tasks, disk) the command meets as errors of its calls."""


def run(
    command: Sequence[str],
    *,
    stdin: bytes = b"",
    files: Mapping[str, bytes] | None = None,
    readable: Sequence[str] = (),
    limits: Limits = Limits(),
) -> Outcome:
    """Runs `command` to its end. `files` are put into its folder, `readable` are host paths it may read beside.

    Raises SandboxError where bubblewrap is missing or cannot start one; what the command does is never raised.
    """
    with Sandbox(command, stdin=stdin, files=files, readable=readable, limits=limits) as sandbox:
        return sandbox.wait()


class Sandbox:
    """A command under way; leaving its `with` block kills what still runs of it. See `run`."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        stdin: bytes = b"",
        files: Mapping[str, bytes] | None = None,
        readable: Sequence[str] = (),
        limits: Limits = Limits(),
        descriptors: Sequence[int] = (),
    ) -> None:
        """Starts it; it inherits the `descriptors` under their own numbers."""
        self._limits = limits
        self._outputs = {"stdout": bytearray(), "stderr": bytearray()}
        bubblewrap = _bubblewrap()
        with contextlib.ExitStack() as on_failure, contextlib.ExitStack() as only_now:
            status, status_end = os.pipe()
            on_failure.callback(os.close, status)
            only_now.callback(os.close, status_end)
            filter_end = _sealed(seccomp_filter(forks=limits.forks), only_now)
            ends = {name: _sealed(data, only_now) for name, data in (files or {}).items()}
            arguments = [bubblewrap, *system(), *places(ends, readable, limits.disk), "--chdir", "/tmp"]  # noqa: S108
            arguments += ["--json-status-fd", str(status_end), "--seccomp", str(filter_end), "--", *_launcher(limits)]
            _adopt_orphans()
            self._started = time.monotonic()
            self._process = subprocess.Popen(
                [*arguments, *command],
                stdin=_sealed(stdin, only_now),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_ENVIRONMENT,
                pass_fds=[status_end, filter_end, *ends.values(), *descriptors],
            )
            on_failure.pop_all()
        self._status = open(status, "rb", buffering=0)  # noqa: SIM115, PTH123 - closed by __exit__
        os.set_blocking(status, False)
        self._told = b""
        self._killed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.returncode is None:
            self._kill()
            self._reap()
        for pipe in (self._status, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def processes(self) -> list[int]:
        """The ids of its processes, bubblewrap's own first one among them, as this process sees them."""
        first = self._listen() if self._process.returncode is None else None
        return [] if first is None else descendants(first)

    def kill(self) -> None:
        """Kills it; `wait` then tells how it ended."""
        if self._process.returncode is None:
            self._killed = True
            self._kill()

    def wait(self, watch: Callable[[], bool] = bool) -> Outcome:
        """Waits for its end, at the latest that of the limits; raises SandboxError where it never came to run.

        The `watch` is asked twenty times a second whether to kill it.
        """
        limit = self._read(watch)
        if limit is not None:
            self._kill()
        cpu_seconds = self._reap()
        seconds = time.monotonic() - self._started
        code = self._process.returncode
        stdout, stderr = (bytes(data) for data in self._outputs.values())
        if limit is None and not self._killed and b"exit-code" not in self._told:
            raise SandboxError(
                f"bubblewrap could not start a sandbox: {stderr.decode(errors='replace').strip()}; {_REMEDY}"
            )
        most = _capped(resource.RLIMIT_CPU, self._limits.cpu_seconds)
        if limit is None and code == 128 + signal.SIGKILL and round(cpu_seconds) >= most:
            limit = "cpu_seconds"
        return Outcome(code if limit is None else 128 + signal.SIGKILL, stdout, stderr, seconds, cpu_seconds, limit)

    def _read(self, watch: Callable[[], bool]) -> Reached | None:
        """Reads both outputs until bubblewrap has ended or a limit is reached, which it names."""
        room = self._limits.output
        next_look = time.monotonic() + _LOOK_SECONDS
        ended = os.pidfd_open(self._process.pid)
        with selectors.DefaultSelector() as selector, os.fdopen(ended) as end:
            selector.register(end, selectors.EVENT_READ)
            for name, data in self._outputs.items():
                selector.register(getattr(self._process, name), selectors.EVENT_READ, data)
            while (left := self._started + self._limits.seconds - time.monotonic()) > 0:
                ready = [key for key, _ in selector.select(min(left, _LOOK_SECONDS))]
                if [key.data for key in ready] == [None]:
                    return None  # nothing to read beside the news that it has ended
                for key in (key for key in ready if key.data is not None):
                    chunk = os.read(key.fd, 2**16)
                    if not chunk:
                        selector.unregister(key.fileobj)
                    key.data.extend(chunk[:room])
                    room -= len(chunk)
                    if room < 0:
                        return "output"
                if time.monotonic() >= next_look:
                    if watch():
                        return "watch"
                    next_look = time.monotonic() + _LOOK_SECONDS
        return "seconds"

    def _kill(self) -> None:
        """Kills the first process of the namespace, so that bubblewrap reaps it and ends too."""
        os.set_blocking(self._status.fileno(), True)  # bubblewrap is about to start it, or to give up
        while b"\n" not in self._told and (told := self._status.read(2**12)):
            self._told += told
        os.set_blocking(self._status.fileno(), False)
        if first := self._listen():
            with contextlib.suppress(ProcessLookupError):
                os.kill(first, signal.SIGKILL)

    def _reap(self) -> float:
        """Waits until all processes are gone, and returns the seconds of processor time that they took."""
        _, state, usage = os.wait4(self._process.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(state)
        spent = usage.ru_utime + usage.ru_stime
        if first := self._listen():
            with contextlib.suppress(ChildProcessError):  # where bubblewrap has reaped it
                _, _, usage = os.wait4(first, 0)
                spent += usage.ru_utime + usage.ru_stime
        return spent

    def _listen(self) -> int | None:
        """The first process of the namespace, where bubblewrap has told it so far."""
        self._told += self._status.read(2**12) or b""
        return json.loads(self._told.splitlines()[0])["child-pid"] if b"\n" in self._told else None


def check() -> None:
    """Raises SandboxError unless this process can start sandboxes; tried once a process, however that ends."""
    if problem := _problem():
        raise SandboxError(problem)


@cache
def _problem() -> str | None:
    try:
        outcome = run([*PYTHON, "-c", "print('works')"], limits=Limits(seconds=60.0))
    except SandboxError as error:
        return str(error)
    if outcome.stdout == b"works\n":
        return None
    why = outcome.limit or outcome.stderr.decode(errors="replace").strip()
    return (
        f"a sandbox does not run Python ({PYTHON[0]}): {why}; prlimit and setpriv (util-linux)"
        " are needed too, and an interpreter that others may read"
    )


def _adopt_orphans() -> None:
    """Has the kernel hand bubblewrap's reaper over to this process, which waits for it, and not to some other."""
    if os.geteuid() == 0:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _bubblewrap() -> str:
    found = shutil.which("bwrap")
    if found is None or sys.platform != "linux":
        raise SandboxError(f"untrusted commands run in bubblewrap only, and `bwrap` is not on the PATH: {_REMEDY}")
    return found


def _launcher(limits: Limits) -> list[str]:
    """Sets the limits inside the sandbox, and gives root's command a user of its own."""
    wanted = {
        "as": (resource.RLIMIT_AS, limits.memory),
        "cpu": (resource.RLIMIT_CPU, limits.cpu_seconds),
        "nproc": (resource.RLIMIT_NPROC, limits.tasks),
        "fsize": (resource.RLIMIT_FSIZE, limits.disk),
        "nofile": (resource.RLIMIT_NOFILE, 64),
        "core": (resource.RLIMIT_CORE, 0),
    }
    command = ["prlimit", *(f"--{name}={_capped(kind, most)}" for name, (kind, most) in wanted.items()), "--"]
    if os.geteuid() == 0:
        user = secrets.choice(_USERS)
        command += ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--"]
    return command


def _capped(kind: int, wanted: int) -> int:
    hard = resource.getrlimit(kind)[1]
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


def _sealed(data: bytes, stack: contextlib.ExitStack) -> int:
    """A descriptor that reads `data` and cannot be written to."""
    descriptor = os.memfd_create("journeyman", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    stack.callback(os.close, descriptor)
    with os.fdopen(descriptor, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor
