"""`journeyman check-environment`: is an environment whole? A line for each thing looked at, with the remedy."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from tempfile import TemporaryDirectory

from journeyman.agent.errors import Outage, UsageError
from journeyman.agent.hosting import call_bounded
from journeyman.agent.plugins import ENVIRONMENTS, check_options
from journeyman.agent.protocols import TaskSet
from journeyman.verifiers.rubric import Rubric
from journeyman.workflows.console import Reporter
from journeyman.workflows.environment_checks.acting import check_acting
from journeyman.workflows.environment_checks.drawing import check_drawing
from journeyman.workflows.environment_checks.goals import check_goals
from journeyman.workflows.environment_checks.subject import Subject
from journeyman.workflows.findings import Finding
from journeyman.workflows.session.engines import open_renderer, open_rubric, open_task_set
from journeyman.workflows.settings.loading import overridden, parse_settings
from journeyman.workflows.settings.settings import Settings
from journeyman.workflows.terminal import say_json

_LOADING_SECONDS = 60.0
"""What importing and making the plugin may take beside what one call may."""


def check_environment(options: argparse.Namespace) -> None:
    """`journeyman check-environment NAME`; raises UsageError where something is wrong."""
    findings = []
    reporter = Reporter(stdout=True, quiet=options.json)
    for finding in examine(options.environment, options.overrides, options.seconds, options.context):
        findings.append(finding)
        remedy = f": {finding.remedy}" if not finding.ok and finding.remedy else ""
        reporter.line(f"{'ok' if finding.ok else 'NO':<3} {finding.what:<17} {finding.says}{remedy}")
    if options.json:
        say_json([asdict(finding) for finding in findings])
    if wrong := [finding.what for finding in findings if not finding.ok]:
        count = f"{len(wrong)} of {len(findings)} checks"
        raise UsageError(f"environment {options.environment!r}: {count} say NO: {', '.join(wrong)}")


def examine(name: str, overrides: list[str], seconds: float, context: int | None) -> Iterator[Finding]:
    """What is found, one thing after the other; later ones are left out where they would need what is broken."""
    chosen = overridden({}, overrides, lambda path, _: check_options(ENVIRONMENTS, name, path[:1]))
    with TemporaryDirectory() as folder:
        values = {
            "environment": {"name": name, **chosen},
            "model": {"hidden": 32, "layers": 1},
            "store": {"artifacts": folder},
        }
        settings = parse_settings(values, "--set")

        def open_checked() -> tuple[TaskSet, str]:
            task_set = open_task_set(settings)
            _check(task_set)
            return task_set, f"{type(task_set).__name__}, max_turns {task_set.max_turns}"

        try:
            task_set, says = call_bounded("plugin", open_checked, _LOADING_SECONDS + seconds)
        except (UsageError, Outage) as error:
            yield Finding("plugin", ok=False, says=str(error), remedy="see TaskSet in docs/environments.md")
            return
        yield Finding("plugin", ok=True, says=says)
        limit = context or settings.sampler.max_context
        subject = Subject(name, chosen, task_set, open_renderer(settings), seconds, limit)
        yield _verifiers(subject, settings)
        yield from check_drawing(subject)
        findings = [*check_acting(subject)]
        yield from findings
        if all(finding.ok for finding in findings if finding.what in ("tools", "expert", "time")):
            yield from check_goals(subject)


def _check(task_set: TaskSet) -> None:
    if not isinstance(task_set.max_turns, int) or task_set.max_turns < 1:
        raise UsageError(f"max_turns is {task_set.max_turns!r}, not a number of 1 or more")
    if not dict(task_set.rubric):
        raise UsageError("rubric is empty: name the verifiers that judge its tasks, with their weights")


def _verifiers(subject: Subject, settings: Settings) -> Finding:
    """Makes the rubric that later checks judge by."""

    def make() -> Rubric:
        rubric = open_rubric(settings, subject.task_set)
        rubric.check()
        return rubric

    try:
        subject.rubric = subject.ask("rubric", make)
    except Outage as fault:
        return Finding("verifiers", ok=False, says=str(fault), remedy="mend the environment's `rubric`")
    return Finding("verifiers", ok=True, says=", ".join(c.id.name for c in subject.rubric.criteria))
