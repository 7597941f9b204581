"""Runs a program against its cases or its tests: in sandboxes, and within its time."""

from __future__ import annotations

import importlib.util
import json
import marshal
import math
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from journeyman.agent.data import Json
from journeyman.agent.sandbox.own_time import OwnTime
from journeyman.agent.sandbox.sandbox import PYTHON, Limits, Outcome, Sandbox
from journeyman.verifiers.programs.outputs import same_output
from journeyman.verifiers.programs.timing import GRACE, Allowed, Board, MachineTooSlow, Watch

_SCRIPT = """import site, sys
sys.path += {paths}
sys.argv = ["program.py"]
site.setquit()
del site, sys
__file__ = "/tmp/program.py"
exec(compile(open("/tmp/.prelude.py").read(), "prelude", "exec", dont_inherit=True))
exec(compile(open(__file__, "rb").read(), __file__, "exec", dont_inherit=True))
"""
_GUEST = """import sys
sys.path[:0] = ["/tmp/.guest"]
sys.path += {paths}
from journeyman.verifiers.programs.sandboxed.{side} import main
main({descriptors})
"""


@dataclass(frozen=True)
class Result:
    """How many cases passed, of how many, and why the first that failed did."""

    passed: int
    total: int
    why: str | None


@dataclass(frozen=True)
class Runner:
    """What every run of a program shares."""

    allowed: Allowed
    memory: int
    output: int
    """Bytes of what a program prints."""
    paths: tuple[str, ...]
    """Folders of packages that it may import."""
    prelude: str
    whole: bool
    """Whether a failure is not the end, since a share counts."""

    def run_cases(self, program: str, cases: Json, tolerance: float) -> Result:
        """Each case in a sandbox of its own. Raises ValueError for bad cases, MachineTooSlow."""
        if not (isinstance(cases, Sequence) and cases and all(_is_case(case) for case in cases)):
            raise ValueError('`cases` must be a list of at least one {"stdin": text, "stdout": text}')
        large = [n for n, case in enumerate(cases, 1) if len(case["stdout"].encode(errors="replace")) > self.output]
        if large:
            raise ValueError(f"case {large[0]} expects more output than a program may print: raise `output_mb`")
        passed, why, spent, wall = 0, None, 0.0, 0.0
        for number, case in enumerate(cases, 1):
            watch, outcome = self._run_case(program, case.get("stdin", ""), spent, self.allowed.wall - wall)
            spent += watch.own.waited + outcome.cpu_seconds
            wall += outcome.seconds
            if outcome.limit == "seconds":
                raise MachineTooSlow(f"case {number}: {_told(spent, self.allowed.wall)}")
            failure = watch.over or self._failure(outcome, case["stdout"], tolerance)
            passed += failure is None
            why = why or (failure and f"case {number}: {failure}")
            if failure and (not self.whole or spent >= self.allowed.all):
                break
        return Result(passed, len(cases), why)

    def _run_case(self, program: str, stdin: str, before: float, wall: float) -> tuple[Watch, Outcome]:
        files = {"program.py": _bytes(program), ".prelude.py": _bytes(self.prelude)}
        most = min(self.allowed.cpu, self.allowed.case, max(self.allowed.all - before, 0.0))
        limits = self._limits(wall, most)
        command = [*PYTHON, "-c", _SCRIPT.format(paths=list(self.paths))]
        with Sandbox(command, stdin=_bytes(stdin), files=files, readable=self.paths, limits=limits) as sandbox:
            watch = Watch(OwnTime(sandbox.processes), self.allowed, before=before)
            outcome = sandbox.wait(watch)
        if outcome.limit == "cpu_seconds" and watch.over is None:
            watch.over = self.allowed.over(outcome.cpu_seconds, outcome.cpu_seconds, before + outcome.cpu_seconds)
        return watch, outcome

    def _failure(self, outcome: Outcome, expected: str, tolerance: float) -> str | None:
        if outcome.limit == "output":
            return "it printed too much"
        if outcome.exit_code:
            last = outcome.stderr.decode(errors="replace").strip().splitlines()[-1:]
            return f"exit code {outcome.exit_code}{f', {last[0]}' if last else ''}"[:500]
        right = same_output(outcome.stdout.decode(errors="replace"), expected, tolerance)
        return None if right else "another output than expected"

    def run_tests(self, program: str, tests: str, entry_point: str | None) -> Result:
        """Two sandboxes, side by side. Raises ValueError for tests that cannot judge it, MachineTooSlow."""
        secret = secrets.token_hex(16)
        job = {
            "tests": tests,
            "entry_point": entry_point,
            "secret": secret,
            "whole": self.whole,
            "prelude": self.prelude,
        }
        files = {"program.py": _bytes(program)}
        ends = socket.socketpair()
        try:
            with (
                Board() as board,
                self._guest("candidate", [ends[0].fileno()], _bytes(self.prelude), files) as candidate,
                self._guest("judge", [ends[1].fileno(), board.descriptor], json.dumps(job).encode(), {}) as judge,
            ):
                for end in ends:  # so that either side hears of the other's end
                    end.close()
                watch = Watch(OwnTime(candidate.processes, judge.processes), self.allowed, board)

                def look() -> bool:
                    if watch():
                        candidate.kill()  # the tests hear of it, and tell how far they came
                    return watch.over is not None and time.monotonic() > watch.over_since + GRACE

                outcome = judge.wait(look)
                watch()
        finally:
            for end in ends:
                end.close()
        return _result(outcome, secret, watch)

    def _guest(self, side: str, descriptors: list[int], stdin: bytes, files: Mapping[str, bytes]) -> Sandbox:
        words = ", ".join(map(str, descriptors))
        return Sandbox(
            [*PYTHON, "-c", _GUEST.format(paths=list(self.paths), side=side, descriptors=words)],
            stdin=stdin,
            files={**_guest_files(), **files},
            readable=self.paths,
            limits=self._limits(self.allowed.wall, self.allowed.wall),
            descriptors=descriptors,
        )

    def _limits(self, wall: float, cpu: float) -> Limits:
        """A second more of processor time than is allowed: the watch is finer than that limit, which is the last."""
        return Limits(seconds=max(wall, 0.1), cpu_seconds=math.ceil(cpu) + 1, memory=self.memory, output=self.output)


def _result(outcome: Outcome, secret: str, watch: Watch) -> Result:
    """What the tests' side told, and where that is nothing, why."""
    verdict = _read_verdict(outcome, secret)
    if verdict is None and watch.over:
        return Result(0, 1, watch.over)
    if verdict is None and outcome.limit == "seconds":
        raise MachineTooSlow(_told(watch.own.seconds, watch.allowed.wall))
    if verdict is None:
        raise RuntimeError(f"the tests came to no end: exit code {outcome.exit_code}")
    if "bad" in verdict:
        raise ValueError(verdict["bad"])
    why = watch.over if verdict["broken"] and watch.over else verdict["why"]
    return Result(verdict["passed"], verdict["total"], why)


def _told(own: float, wall: float) -> str:
    return (
        f"{wall:g} s went by, and the program itself had {own:.1f} s of them: the machine was busy with others, "
        "or the tests themselves took long; raise `seconds`"
    )


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")


def _is_case(case: Json) -> bool:
    return isinstance(case, Mapping) and isinstance(case.get("stdin", ""), str) and isinstance(case.get("stdout"), str)


def _read_verdict(outcome: Outcome, secret: str) -> dict[str, Any] | None:
    """What the tests' side wrote, where it came to its end: then the secret is there."""
    try:
        verdict: dict[str, Any] = json.loads(outcome.stdout)
    except ValueError:
        return None
    return verdict if secrets.compare_digest(str(verdict.get("secret")), secret) else None


@cache
def _guest_files() -> dict[str, bytes]:
    """The sandboxed modules, compiled: that takes longer than all else they do."""
    folder = Path(__file__).parent / "sandboxed"
    return {
        f".guest/journeyman/verifiers/programs/sandboxed/{path.stem}.pyc": _compiled(path)
        for path in folder.glob("*.py")
    }


def _compiled(path: Path) -> bytes:
    """As the interpreter, which is the sandbox's too, reads it: magic number, no flags, time, size; then the code."""
    code = compile(path.read_bytes(), path.name, "exec", dont_inherit=True)
    return importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(code)
