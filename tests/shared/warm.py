"""Child processes without the seconds that Python takes to import large packages, each time anew.

A process of its own imports them once and forks a child for each program that a test starts. Such a child is a real
process, with a pid, an environment, a folder and an end of its own, and can be killed like any other; but it shares its
parent's hash seed. Only packages of others should be preloaded: ours are then imported as a fresh process does it.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

START_SECONDS = 300.0
_MOST_BYTES = 1 << 20
"""Of a message; an environment and a script fit many times."""


class WarmPython:
    """Starts Python programs in processes forked from one that has imported `modules`; not for several threads."""

    def __init__(self, modules: Sequence[str], env: Mapping[str, str]) -> None:
        """`env` replaces this process's environment: some packages look at theirs when they are imported."""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, __file__, str(theirs.fileno()), *modules]
        with theirs:
            self._process = subprocess.Popen(
                command, env=dict(env), pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True
            )
        self._socket.settimeout(START_SECONDS)

    def start(self, arguments: Sequence[str], cwd: Path, env: Mapping[str, str], out: BinaryIO, err: BinaryIO) -> Child:
        """What `python *arguments` does, in a session of its own; `arguments` begin with `-m MODULE` or `-c SCRIPT`."""
        order = {"arguments": list(arguments), "cwd": str(cwd), "env": dict(env)}
        socket.send_fds(self._socket, [json.dumps(order).encode()], [out.fileno(), err.fileno()])
        return Child(self, int(self._answer()), arguments)

    def exit_code(self, pid: int) -> int | None:
        """Of a child, minus the signal where one ended it; None while it runs. Once told it is forgotten."""
        self._socket.send(json.dumps({"pid": pid}).encode())
        code: int | None = json.loads(self._answer())
        return code

    def close(self) -> None:
        """Ends it, and whatever its children's sessions still hold."""
        self._socket.close()
        self._process.wait()

    def _answer(self) -> bytes:
        answer = self._socket.recv(_MOST_BYTES)
        assert answer, "the warm process has ended: see what it printed"
        return answer


class Child:
    """One of `WarmPython`'s; as subprocess.Popen, as far as it goes."""

    def __init__(self, warm: WarmPython, pid: int, arguments: Sequence[str]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._warm, self._arguments = warm, list(arguments)

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        if self.returncode is None:
            self.returncode = self._warm.exit_code(self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code. Raises subprocess.TimeoutExpired after so many seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                raise subprocess.TimeoutExpired(self._arguments, timeout)
            watched = os.pidfd_open(self.pid)
            select.select([watched], [], [], left)
            os.close(watched)
        return self.returncode

    def kill(self) -> None:
        """This process alone, as `kill -9` does."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def kill_session(self) -> None:
        """It and what it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait()


def serve(orders: socket.socket) -> list[str]:
    """Forks a child for every order until nobody sends any. Comes back in a child alone, with its arguments."""
    children: set[int] = set()
    while True:
        message, files, _, _ = socket.recv_fds(orders, _MOST_BYTES, 2)
        if not message:
            for pid in children:
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
            os._exit(0)
        order = json.loads(message)
        if "pid" in order:
            ended, status = os.waitpid(order["pid"], os.WNOHANG)
            children.discard(ended)
            orders.send(json.dumps(os.waitstatus_to_exitcode(status) if ended else None).encode())
            continue
        pid = os.fork()
        if pid == 0:
            orders.close()
            return become(order, files)
        children.add(pid)
        for file in files:
            os.close(file)
        orders.send(str(pid).encode())


def become(order: dict[str, object], files: list[int]) -> list[str]:
    """This process is from now on what was ordered; gives its arguments."""
    os.setsid()
    for number, file in enumerate(files, start=1):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["cwd"])
    return order["arguments"]


def run(kind: str, what: str, *arguments: str) -> int:
    """What `python kind what *arguments` does; gives its exit code."""
    sys.argv = [kind, *arguments]
    try:
        if kind == "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def main() -> None:
    """What the warm process runs, and its children."""
    _, number, *modules = sys.argv
    sys.path[0] = ""  # a program's own folder is that in which it is started
    for module in modules:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # no collection in a child looks at what was imported here
    code = run(*serve(socket.socket(fileno=int(number))))
    # all of an interpreter's end but taking every module apart, for which the memory would have to be copied
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
