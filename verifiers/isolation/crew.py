"""The pool's end of its warden: starts it, has it start workers, and ends it with everything below it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

from journeyman.verifiers.isolation.link import Link

END_SECONDS = 5.0
"""A warden or a guardian may take so long to end what is below it."""


class Crew:
    """A warden and its workers; all of it is for one thread, which has to live as long as they shall."""

    def __init__(self, cpu_seconds: int, memory_bytes: int) -> None:
        """Limits of a worker, 0 for none."""
        self._limits = (cpu_seconds, memory_bytes)
        self.orders, theirs = socket.socketpair()
        self.orders.setblocking(False)
        arguments = ", ".join(map(str, (theirs.fileno(), os.getpid(), *self._limits)))
        try:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-c",
                    f"from journeyman.verifiers.isolation.warden import main; main({arguments})",
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env=os.environ
                | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
            )
        except BaseException:
            self.orders.close()
            raise
        finally:
            theirs.close()

    def hire(self, seconds: float) -> Link | None:
        """A new worker, which is to be ready within so many seconds; None where the warden does not take orders."""
        (channel, their_channel), (line, their_line) = socket.socketpair(), socket.socketpair()
        with their_channel, their_line:
            channel.setblocking(False)
            line.setblocking(False)
            link = Link(channel, line, time.monotonic() + seconds)
            try:
                socket.send_fds(self.orders, [b"+"], [their_channel.fileno(), their_line.fileno()])
            except OSError:  # it has ended, or has not read for long
                link.close()
                return None
        return link

    @property
    def code(self) -> int | None:
        """How the warden ended; None while it runs."""
        return self._process.poll()

    def end(self) -> int:
        """Ends all processes and waits until they have ended, for `END_SECONDS` at most; how the warden ended."""
        if self._process.poll() is None:
            self.orders.shutdown(socket.SHUT_RDWR)
            try:
                self._process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:  # stopped, say; its guardians are told by the kernel
                self._process.kill()
                self._process.wait()
        self.orders.close()
        return self._process.wait()
