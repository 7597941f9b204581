"""Answers judged as text: equal to the goal, or found by a pattern."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

import regex

from journeyman.agent.data import Json, Status, Task, Trajectory, Verdict
from journeyman.agent.errors import SettingsError


@dataclass(frozen=True)
class ExactText:
    """1 where the final text is the goal, blanks at both ends aside, else 0; abstains where there is no goal."""

    name: ClassVar[str] = "exact"
    version: ClassVar[str] = "1"

    def verify(self, task: Task, trajectory: Trajectory) -> Verdict:
        """Compares; a goal that is not text is compared as JSON."""
        if task.goal is None:
            return Verdict.abstain("the task has no goal")
        text, expected = trajectory.final_text.strip(), _as_text(task.goal)
        return Verdict.passed(text == expected, extracted=text, expected=expected)


@dataclass(frozen=True)
class Pattern:
    """Searches the final text for a regular expression (of the package `regex`), the last match counting.

    A pattern without groups checks the form: 1 where it is found. One with a group extracts: 1 where the first group
    is the goal, blanks at both ends aside; e.g. `<answer>(.*?)</answer>`. The dot matches line breaks too.
    """

    pattern: str
    timeout: float = 1.0
    """Seconds a search may take; a longer one is a verdict of status `timeout`."""
    name: ClassVar[str] = "pattern"
    version: ClassVar[str] = "1"

    def __post_init__(self) -> None:
        try:
            self._compiled()
        except regex.error as error:
            raise SettingsError(f"option 'pattern': {error} in {self.pattern!r}") from None
        if not 0 < self.timeout < float("inf"):
            raise SettingsError(f"option 'timeout' must be above 0 seconds and finite, got {self.timeout}")

    def verify(self, task: Task, trajectory: Trajectory) -> Verdict:
        """Abstains where a group is to be compared and there is no goal."""
        compiled = self._compiled()
        if compiled.groups and task.goal is None:
            return Verdict.abstain("the task has no goal")
        last = None
        try:
            for last in compiled.finditer(trajectory.final_text, timeout=self.timeout):  # noqa: B007 - only the last
                pass
        except TimeoutError:
            return Verdict(Status.TIMEOUT, explanation=f"the search took over {self.timeout} s")
        if not compiled.groups:
            return Verdict.passed(last is not None, extracted=last and last.group(), expected=self.pattern)
        expected = _as_text(task.goal)
        found = last and last.group(1) and last.group(1).strip()
        return Verdict.passed(found == expected, extracted=found, expected=expected)

    def _compiled(self) -> regex.Pattern[str]:
        return regex.compile(self.pattern, regex.DOTALL)  # kept compiled by the package


def _as_text(goal: Json) -> str:
    return goal.strip() if isinstance(goal, str) else json.dumps(goal)
