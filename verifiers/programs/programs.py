"""Programs that the agent wrote, judged by unit tests or by what they print.

A program never meets what is expected of it. With `cases` it runs alone in a sandbox, once for each case, and what it
printed is compared outside. With `tests` it runs in one sandbox and the tests in another, which holds names of the
program as references: calls and plain values cross between them as JSON (`sandboxed/`), and the tests' side
tells its verdict together with a fresh secret, on a channel that the program does not have. So there is nothing to
forge: no asserts to patch, no frame to read, no exit that ends the tests too. docs/programs.md says what that costs and
what it does not defend against.
"""

from __future__ import annotations

import json
import secrets
import socket
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from journeyman.agent.data import Json, Task, Trajectory, Verdict
from journeyman.agent.errors import SettingsError
from journeyman.agent.sandbox import sandbox
from journeyman.agent.sandbox.sandbox import PYTHON, Limits, Outcome, Sandbox, run

_PYTHON_BLOCKS = ("python", "python3", "py")
_SCRIPT = """import site, sys
sys.path += {paths}
site.setquit()
sys.argv = ["program.py"]
exec(compile(open("program.py").read(), "program.py", "exec"), {{"__name__": "__main__", "__builtins__": __builtins__}})
"""
_GUEST = """import sys
sys.path[:0] = ["/tmp/.guest"]
sys.path += {paths}
from journeyman.verifiers.programs.sandboxed.{side} import main
main({descriptor})
"""


@dataclass(frozen=True)
class ProgramTests:
    """1 where the program passes all its tests, else 0, or the share that it passes; 1 is success.

    The tests are `{"tests": "assert add(1, 2) == 3"}` (text, or a list of texts; with an `"entry_point"` where it is
    for their `check(candidate)`), or `{"cases": [{"stdin": "1 2", "stdout": "3"}]}`.
    """

    source: str = "goal"
    """Where a task has its tests: `goal`, or a key of its payload."""
    extract: Literal["block", "whole"] = "block"
    """The program is the last fenced block of Python, else the last block, else the whole text; or always the text."""
    score: Literal["all", "share"] = "all"
    """Whether all cases must pass, or their share counts."""
    seconds: float = 6.0
    """Wall time of all tests of one program; a slower one has failed. Keep it below what a verdict may take."""
    cpu_seconds: int = 5
    """Processor time of the program, in each case."""
    memory_mb: int = 512
    """Address space of the program, in MiB."""
    packages: bool = False
    """Whether programs and tests may import what is installed beside journeyman, or the standard library only."""
    name: ClassVar[str] = "program"
    version: ClassVar[str] = "1"

    def __post_init__(self) -> None:
        for option, least in (("seconds", 0.1), ("cpu_seconds", 1), ("memory_mb", 64)):
            if not least <= (value := getattr(self, option)) < float("inf"):
                raise SettingsError(f"option {option!r} must be finite and at least {least}, got {value}")

    def check(self) -> None:
        """Raises SandboxError where this machine runs no sandboxes."""
        sandbox.check()

    def verify(self, task: Task, trajectory: Trajectory) -> Verdict:
        """Abstains where the task has no tests; raises ValueError for bad ones, SandboxError without a sandbox."""
        found = task.goal if self.source == "goal" else task.payload.get(self.source)
        if found is None:
            return Verdict.abstain(f"the task has no {self.source}")
        program = self._program(trajectory.final_text)
        if not program.strip():
            return Verdict.passed(False, why="no program")
        sandbox.check()
        spec = found if isinstance(found, Mapping) else {"tests": found}
        if "cases" in spec:
            passed, total, why = self._run_cases(program, spec["cases"])
        else:
            passed, total, why = self._run_tests(program, _text(spec), spec.get("entry_point"))
        score = passed / total if self.score == "share" else float(passed == total)
        told = f"{passed} of {total} passed{f'; {why}' if why else ''}"
        return Verdict.scored(score, extracted=program, why=told)

    def _program(self, text: str) -> str:
        blocks = _blocks(text) if self.extract == "block" else []
        marked = [block for language, block in blocks if language in _PYTHON_BLOCKS]
        return marked[-1] if marked else blocks[-1][1] if blocks else text

    def _run_cases(self, program: str, cases: Json) -> tuple[int, int, str | None]:
        """How many cases passed, of how many, and why the first failed one failed. Each has a sandbox of its own."""
        if not (isinstance(cases, Sequence) and cases and all(_is_case(case) for case in cases)):
            raise ValueError('`cases` must be a list of at least one {"stdin": text, "stdout": text}')
        passed, why, left = 0, None, self.seconds
        for number, case in enumerate(cases, 1):
            command = [*PYTHON, "-c", _SCRIPT.format(paths=self._paths)]
            files = {"program.py": program.encode(errors="replace")}
            outcome = run(
                command,
                stdin=case.get("stdin", "").encode(),
                files=files,
                readable=self._paths,
                limits=self._limits(left),
            )
            left -= outcome.seconds
            failure = self._failure(outcome, case["stdout"])
            passed += failure is None
            why = why or (failure and f"case {number}: {failure}")
            if failure and (self.score == "all" or left <= 0):
                break
        return passed, len(cases), why

    def _failure(self, outcome: Outcome, expected: str) -> str | None:
        if outcome.limit:
            return self._over(outcome)
        if outcome.exit_code:
            last = outcome.stderr.decode(errors="replace").strip().splitlines()[-1:]
            return f"exit code {outcome.exit_code}{f', {last[0]}' if last else ''}"[:500]
        right = _lines(outcome.stdout.decode(errors="replace")) == _lines(expected)
        return None if right else "another output than expected"

    def _run_tests(self, program: str, tests: str, entry_point: str | None) -> tuple[int, int, str | None]:
        """How many cases passed, of how many, and why the first failed one failed. Two sandboxes, side by side."""
        secret = secrets.token_hex(16)
        job = {"tests": tests, "entry_point": entry_point, "secret": secret, "whole": self.score == "share"}
        ends = socket.socketpair()
        try:
            one = self._guest("candidate", ends[0].fileno(), program.encode(errors="replace"))
            with one as candidate, self._guest("judge", ends[1].fileno(), json.dumps(job).encode()) as judge:
                for end in ends:  # so that either side hears of the other's end
                    end.close()
                outcome = judge.wait()
                verdict = _read_verdict(outcome, secret)
                if verdict is not None and verdict.get("broken"):
                    end_of_program = candidate.wait()
                    return 0, 1, self._over(end_of_program) if end_of_program.limit else verdict["why"]
        finally:
            for end in ends:
                end.close()
        if verdict is None and outcome.limit in ("seconds", "cpu_seconds"):
            return 0, 1, self._over(outcome)
        if verdict is None:
            raise RuntimeError(f"the tests came to no end: exit code {outcome.exit_code}")
        if "bad" in verdict:
            raise ValueError(verdict["bad"])
        return verdict["passed"], verdict["total"], verdict["why"]

    def _guest(self, side: str, descriptor: int, stdin: bytes) -> Sandbox:
        command = [*PYTHON, "-c", _GUEST.format(paths=self._paths, side=side, descriptor=descriptor)]
        return Sandbox(
            command,
            stdin=stdin,
            files=_guest_files(),
            readable=self._paths,
            limits=self._limits(self.seconds),
            descriptors=[descriptor],
        )

    def _limits(self, seconds: float) -> Limits:
        return Limits(seconds=max(seconds, 0.1), cpu_seconds=self.cpu_seconds, memory=self.memory_mb * 2**20)

    @property
    def _paths(self) -> list[str]:
        return sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}) if self.packages else []

    def _over(self, outcome: Outcome) -> str:
        if outcome.limit == "output":
            return "it printed too much"
        return f"over its limit: {outcome.limit} = {getattr(self, outcome.limit or 'seconds')}"


def _blocks(text: str) -> list[tuple[str, str]]:
    """The closed fenced blocks of a text with their languages, in order."""
    found: list[tuple[str, str]] = []
    opened: tuple[str, list[str]] | None = None
    for line in text.split("\n"):
        fence = line.strip()
        if opened is None and fence.startswith("```"):
            opened = (fence.strip("`").strip().lower(), [])
        elif opened is not None and fence == "```":
            found.append((opened[0], "\n".join(opened[1])))
            opened = None
        elif opened is not None:
            opened[1].append(line)
    return found


def _lines(text: str) -> list[str]:
    """The lines of an output without the blanks at their ends, and without empty ones at its own."""
    return [line.rstrip() for line in text.rstrip().splitlines()]


def _is_case(case: Json) -> bool:
    return isinstance(case, Mapping) and isinstance(case.get("stdin", ""), str) and isinstance(case.get("stdout"), str)


def _text(spec: Mapping[str, Json]) -> str:
    tests = spec.get("tests")
    parts = [tests] if isinstance(tests, str) else tests
    if not (isinstance(parts, Sequence) and parts and all(isinstance(part, str) for part in parts)):
        raise ValueError("a task's tests must be a text, a list of texts, or an object with `tests` or `cases`")
    return "\n".join(parts)


def _read_verdict(outcome: Outcome, secret: str) -> dict[str, Any] | None:
    """What the tests' side wrote, where it came to its end: then the secret is there."""
    try:
        verdict: dict[str, Any] = json.loads(outcome.stdout)
    except ValueError:
        return None
    return verdict if secrets.compare_digest(str(verdict.get("secret")), secret) else None


@cache
def _guest_files() -> dict[str, bytes]:
    folder = Path(__file__).parent / "sandboxed"
    return {
        f".guest/journeyman/verifiers/programs/sandboxed/{path.name}": path.read_bytes() for path in folder.glob("*.py")
    }
