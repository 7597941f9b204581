"""Processes that learn together, as ranks: children of the run's process, which give its learner their own.

They get references and read from the store what they learn from. They end when this process's pipe to them closes,
however that comes about; and where one of them ends too early, all do.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from journeyman.agent.errors import JourneymanError, MicroBatchTooLargeError
from journeyman.verifiers.isolation.link import ending
from journeyman.workflows.console import Reporter
from journeyman.workflows.session.session import RunRef, Session, join
from journeyman.workflows.terminal import kept_stdout, leave, open_out, pass_on, tell

_LOOK_S = 0.05
"""Between two looks at the processes."""
_REFUSED, _TOO_LARGE = 2, 3
"""Exit codes of a rank whose last line is what is wrong, or how many tokens were too many for its memory."""
_LAST_WORDS = 300
"""Characters of what a rank said last that are repeated."""


def as_rank(ref: RunRef, work: Callable[[Session], None]) -> None:
    """What a rank's process does; never returns. `work` is done by every rank with a session of its own.

    The first one's lines go to stdout, for the run's process to show; what plugins print there goes to stderr.
    """
    open_out()
    out = kept_stdout()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    code = 1
    try:
        from journeyman.agent.learning.hardware.ranks import Ranks, join_ranks

        join_ranks()
        with join(ref, _Relayed(out) if Ranks.joined().first else Reporter(quiet=True)) as session:
            work(session)
        code = 0
    except MicroBatchTooLargeError as error:
        tell(str(error.tokens))
        code = _TOO_LARGE
    except JourneymanError as error:
        tell(str(error))
        code = _REFUSED
    except BaseException:  # it is told, and this process ends by it
        sys.excepthook(*sys.exc_info())
    leave(code)  # an ordinary end would wait for the others, who may wait for this one


def _end_with_parent() -> None:
    """Its end of the pipe, this process's stdin, closes with it."""
    while os.read(0, 2**10):
        pass
    os._exit(1)


class _Relayed(Reporter):
    """Says to the run's process what that one is to show."""

    def __init__(self, to: TextIO) -> None:
        super().__init__(quiet=True)
        self._to = to

    def line(self, text: str) -> None:
        """One line."""
        pass_on([None, text], self._to)

    def warn(self, of: str, text: str) -> None:
        """What the run says once."""
        pass_on([of, text], self._to)


@dataclass(frozen=True, slots=True)
class _Rank:
    """One of the processes, and the files that it writes to."""

    process: subprocess.Popen[bytes]
    said: Path
    told: Path

    def last_words(self) -> str:
        """The last line on stderr that says anything."""
        lines = self.told.read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")[-_LAST_WORDS:]


def learn_in_ranks(reporter: Reporter, count: int, program: str, arguments: Sequence[str]) -> None:
    """Runs a Python `program` that calls `as_rank` in `count` processes, and shows what the first one says.

    Raises JourneymanError, once all have ended, where one of them fails or is killed: with its rank and last words;
    MicroBatchTooLargeError where it has too little memory.
    """
    with tempfile.TemporaryDirectory(prefix="journeyman-ranks-") as folder:
        ranks: list[_Rank] = []
        try:
            port = _free_port()
            ranks.extend(_start(Path(folder), rank, count, port, [program, *arguments]) for rank in range(count))
            shown = 0
            while True:
                codes = [rank.process.poll() for rank in ranks]  # before the last look at what was said
                shown = _show(reporter, ranks[0], shown)
                if fallen := [(code, rank) for rank, code in enumerate(codes) if code]:
                    raise _obituary(ranks, *min(fallen, key=_was_first))
                if None not in codes:
                    return
                time.sleep(_LOOK_S)
        finally:
            for one in ranks:
                one.process.kill()
                one.process.communicate()


def _start(folder: Path, rank: int, count: int, port: int, command: Sequence[str]) -> _Rank:
    """As `torchrun` does it, but in a session of its own: Ctrl-C is the run's process's business."""
    said, told = (folder / f"{rank}.{stream}" for stream in ("stdout", "stderr"))
    env = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // count))} | os.environ
    env |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
    env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    env |= {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with said.open("wb") as out, told.open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", *command],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=err,
            env=env,
            start_new_session=True,
        )
    return _Rank(process, said, told)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def _show(reporter: Reporter, rank: _Rank, shown: int) -> int:
    """Shows the lines after the first `shown` ones, and gives how many there are."""
    lines = rank.said.read_text(encoding="utf-8").split("\n")[:-1]
    for line in lines[shown:]:
        of, text = json.loads(line)
        if of is None:
            reporter.line(text)
        else:
            reporter.warn(of, text)
    return len(lines)


def _was_first(fallen: tuple[int, int]) -> tuple[bool, bool, int]:
    """Order of ranks that were found ended: one that was killed, or that says why, before those that missed it."""
    code, rank = fallen
    return code > 0, code not in (_REFUSED, _TOO_LARGE), rank


def _obituary(ranks: Sequence[_Rank], code: int, rank: int) -> JourneymanError:
    words, name = ranks[rank].last_words(), f"rank {rank} of the learner's {len(ranks)} processes"
    if code == _TOO_LARGE:
        return MicroBatchTooLargeError(int(words))
    if code == _REFUSED:
        return JourneymanError(f"{name}: {words}")
    again = "`journeyman resume` does the update again; of a finished run the same `journeyman finetune` does"
    return JourneymanError(f"{name} {ending(code)}; its last words: {words or 'none'}; {again}")
