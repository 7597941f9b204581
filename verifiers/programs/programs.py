"""Programs that the agent wrote, judged by unit tests or by what they print.

A program never meets what is expected of it. With `cases` it runs alone in a sandbox, once for each case, and what it
printed is compared outside. With `tests` it runs in one sandbox and the tests in another, which holds names of the
program as references: calls and plain values cross between them as JSON (`sandboxed/`), and the tests' side
tells its verdict together with a fresh secret, on a channel that the program does not have. So there is nothing to
forge: no asserts to patch, no frame to read, no exit that ends the tests too. docs/programs.md says what that costs and
what it does not defend against.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from journeyman.agent.data import Json, Status, Task, Trajectory, Verdict
from journeyman.agent.errors import SettingsError
from journeyman.agent.sandbox import sandbox
from journeyman.verifiers.programs.blocks import Choice, program_in
from journeyman.verifiers.programs.preludes import prelude_text, try_prelude
from journeyman.verifiers.programs.running import Runner
from journeyman.verifiers.programs.timing import Allowed, MachineTooSlow

_RANGES = {
    "seconds": (0.1, 86_400),
    "case_seconds": (0.1, 86_400),
    "cpu_seconds": (0.1, 86_400),
    "memory_mb": (64, 65_536),
    "output_mb": (0.001, 64),
    "tolerance": (0, 0.1),
}


@dataclass(frozen=True)
class ProgramTests:
    """1 where the program passes all its tests, else 0, or the share that it passes; 1 is success.

    The tests are `{"tests": "assert add(1, 2) == 3"}` (text, or a list of texts; with an `"entry_point"` where it is
    for their `check(candidate)`), or `{"cases": [{"stdin": "1 2", "stdout": "3"}]}`.
    """

    source: str = "goal"
    """Where a task has its tests: `goal`, or a key of its payload."""
    extract: Literal["block", "whole"] = "block"
    """The program is a fenced block of the text; or always the text."""
    block: Choice = "last"
    """Which of the blocks of Python; where there is none, of those without a language; else of all; else the text."""
    prelude: str = ""
    """What the program gets before its own text: `competition`, the usual imports of contest sites, or Python text."""
    score: Literal["all", "share"] = "all"
    """Whether all cases must pass, or their share counts."""
    tolerance: float = 0.0
    """How far printed numbers may be off, absolutely or relatively; with 0 the text has to be the same."""
    seconds: float = 6.0
    """The program's own time in all cases; more is a failure. Half as much again by the clock is a `timeout`."""
    case_seconds: float = 5.0
    """The program's own time in each case: what it computes, and what it waits by its own doing."""
    cpu_seconds: float = 5.0
    """Of that the processor time, of all its threads together."""
    memory_mb: int = 512
    """Address space of the program, in MiB."""
    output_mb: float = 16.0
    """What the program may print in each case, in MiB."""
    packages: bool = False
    """Whether programs and tests may import what is installed beside journeyman, or the standard library only."""
    name: ClassVar[str] = "program"
    version: ClassVar[str] = "2"

    def __post_init__(self) -> None:
        for option, (least, most) in _RANGES.items():
            if not least <= (value := getattr(self, option)) <= most:
                raise SettingsError(f"option {option!r} must be from {least} to {most}, got {value}")
        prelude_text(self.prelude)

    def check(self) -> None:
        """Raises SandboxError where this machine runs no sandboxes, SettingsError for a prelude that fails."""
        sandbox.check()
        try_prelude(prelude_text(self.prelude), self._paths, self.memory_mb * 2**20)

    def verify(self, task: Task, trajectory: Trajectory) -> Verdict:
        """Abstains where the task has no tests; raises ValueError where they cannot judge it, SandboxError.

        Status `timeout` where the machine was too busy to let the program have its time.
        """
        found = task.goal if self.source == "goal" else task.payload.get(self.source)
        if found is None:
            return Verdict.abstain(f"the task has no {self.source}")
        program = trajectory.final_text
        if self.extract == "block":
            program = program_in(program, self.block)
        if not program.strip():
            return Verdict.passed(False, why="no program")
        self.check()
        spec = found if isinstance(found, Mapping) else {"tests": found}
        runner = self._runner()
        try:
            if "cases" in spec:
                result = runner.run_cases(program, spec["cases"], self.tolerance)
            else:
                result = runner.run_tests(program, _text(spec), spec.get("entry_point"))
        except MachineTooSlow as error:
            return Verdict(Status.TIMEOUT, explanation=str(error))
        score = result.passed / result.total if self.score == "share" else float(result.passed == result.total)
        told = f"{result.passed} of {result.total} passed{f'; {result.why}' if result.why else ''}"
        return Verdict.scored(score, extracted=program, why=told)

    def _runner(self) -> Runner:
        return Runner(
            allowed=Allowed(self.cpu_seconds, self.case_seconds, self.seconds),
            memory=self.memory_mb * 2**20,
            output=int(self.output_mb * 2**20),
            paths=self._paths,
            prelude=prelude_text(self.prelude),
            whole=self.score == "share",
        )

    @property
    def _paths(self) -> tuple[str, ...]:
        folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        return tuple(sorted(folders)) if self.packages else ()


def _text(spec: Mapping[str, Json]) -> str:
    tests = spec.get("tests")
    parts = [tests] if isinstance(tests, str) else tests
    if not (isinstance(parts, Sequence) and parts and all(isinstance(part, str) for part in parts)):
        raise ValueError("a task's tests must be a text, a list of texts, or an object with `tests` or `cases`")
    return "\n".join(parts)
