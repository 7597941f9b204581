"""`journeyman verify`: one verifier on one text or one stored trajectory, with what it read and why it says so."""

from __future__ import annotations

import argparse
import json
import sys

from journeyman.agent.data import (
    Json,
    Message,
    ScoreRecord,
    Source,
    Split,
    StopReason,
    Task,
    Trajectory,
    Turn,
    canonical_hash,
)
from journeyman.agent.errors import UsageError
from journeyman.storage.store import ReplayStore
from journeyman.workflows.console import Reporter, as_text
from journeyman.workflows.session.engines import build_rubric
from journeyman.workflows.settings.loading import overridden, settings_of
from journeyman.workflows.settings.settings import Settings


def verify(options: argparse.Namespace) -> None:
    """`journeyman verify VERIFIER --text TEXT | --trajectory ID`; nothing is stored."""
    chosen = overridden({}, options.overrides)
    if options.trajectory:
        task, trajectory, settings = _stored(options)
        chosen = dict(settings.verifiers.get(options.verifier, {})) | chosen
    else:
        task, trajectory = _told(options)
        settings = Settings(environment={"name": options.environment})
    told = settings.model_copy(update={"verifiers": {options.verifier: chosen}})
    rubric = build_rubric(told, {options.verifier: 1.0})
    rubric.check()
    [(record,)] = rubric.score_all([(task, trajectory)])
    said = _as_json(record, chosen)
    if options.json:
        print(json.dumps(said, indent=2))
    elif options.explain:
        reporter = Reporter(stdout=True)
        for name, value in said.items():
            reporter.line(f"{name:<12} {as_text(value)}")
    else:
        print(as_text(record.verdict.status if record.verdict.score is None else record.verdict.score))


def _stored(options: argparse.Namespace) -> tuple[Task, Trajectory, Settings]:
    """The stored attempt with its task, and its run's settings."""
    store = ReplayStore(options.store, must_exist=True)
    try:
        found = store.trajectories.find(options.trajectory)
        settings = settings_of(store.runs.find(found.run_id))
    finally:
        store.close()
    return found.task, found.trajectory, settings


def _told(options: argparse.Namespace) -> tuple[Task, Trajectory]:
    """An attempt that says the text at a task with the goal and payload given."""
    text = sys.stdin.read() if options.text == "-" else options.text
    payload = _value(options.payload)
    if not isinstance(payload, dict):
        raise UsageError(
            f"--payload {options.payload!r} is no JSON object, e.g. --payload '{{\"numbers\": [3, 8, 9]}}'"
        )
    goal = None if options.goal is None else _value(options.goal)
    prompt = Message("user", options.prompt)
    name = canonical_hash(options.environment, [goal, payload, options.prompt])
    task = Task(options.environment, goal, (prompt,), Split.TRAIN, name, payload)
    turn = Turn(Message("assistant", text))
    return task, Trajectory(name, Source.POLICY, (turn,), (), StopReason.TERMINATED)


def _value(text: str) -> Json:
    """The text as JSON where it is some, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _as_json(record: ScoreRecord, options: dict[str, Json]) -> dict[str, Json]:
    verdict = record.verdict
    return {
        "verifier": f"{record.verifier.name}/{record.verifier.version}",
        "options": json.dumps(options),
        "status": verdict.status,
        "score": verdict.score,
        "raw": verdict.raw,
        "step scores": None if verdict.step_scores is None else list(verdict.step_scores),
        "extracted": verdict.extracted,
        "expected": verdict.expected,
        "explanation": verdict.explanation,
        "took ms": record.latency_ms,
    }
