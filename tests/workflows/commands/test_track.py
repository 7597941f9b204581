"""`journeyman track` sends what is stored, once, and says in one line what keeps it from doing so."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from journeyman.agent.data import Split
from journeyman.storage.runs.evaluations import EvaluationInfo
from journeyman.workflows.cli import main
from journeyman.workflows.tracking.trackers import TRACKERS


class Kept:
    """A tracker that keeps what it is sent."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, str]] = []
        self.ends: list[bool] = []
        self.project = ""
        self.fails = False

    def open(self, run) -> dict[str, set[int]]:
        if self.fails:
            raise ConnectionError("no network")
        self.project = run.track.project
        return {name: {step} for step, name in self.rows}

    def log(self, step: int, numbers) -> None:
        self.rows += [(step, name) for name in numbers]

    def close(self, *, finished: bool) -> None:
        self.ends.append(finished)


@pytest.fixture
def kept(monkeypatch) -> Kept:
    tracker = Kept()
    monkeypatch.setitem(sys.modules, "tensorboard", ModuleType("tensorboard"))
    monkeypatch.setitem(TRACKERS, "tensorboard", lambda: tracker)
    return tracker


@pytest.fixture
def store(watched) -> list[str]:
    """Of a run of one iteration, which nobody holds."""
    session = watched.open()
    session.store.evaluations.add(session.run.id, EvaluationInfo(Split.VALIDATION, 0, 1, 8, 1, 0.5, 0.5, 0.5))
    session.store.runs.finish_iteration(session.run.id, 0)
    watched.stack.close()
    return ["--store", session.ref.store_url]


def test_what_is_stored_is_sent_once(store, kept, capsys) -> None:
    command = ["track", "watched", "--set", "track.to=tensorboard", "--set", "track.project=sums", *store]
    assert main(command) == 0
    assert "tensorboard has iterations 0 to 0 of run watched-" in capsys.readouterr().err
    assert (0, "validation/pass_at_1") in kept.rows
    sent = list(kept.rows)
    assert main(command) == 0
    assert (kept.rows, kept.project, kept.ends) == (sent, "sums", [False, False])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "has no trackers: say which, e.g. --set track.to=tensorboard"),
        (["--set", "track.to=tensorbord"], "did you mean 'tensorboard'?"),
        (["--set", "run.seed=3"], "where to is set by track.NAME=VALUE"),
        (["--set", "track.to=trackio"], "pip install 'journeyman[trackio]'"),
        (["--set", "track.to=tensorboard"], "tensorboard: ConnectionError: no network"),
    ],
)
def test_mistakes(store, kept, monkeypatch, capsys, arguments: list[str], says: str) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    kept.fails = True
    assert main(["track", "watched", *arguments, *store]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("journeyman: ") == 1


def test_a_run_that_has_only_begun(watched, kept, capsys) -> None:
    session = watched.open()
    watched.stack.close()
    assert main(["track", "watched", "--set", "track.to=tensorboard", "--store", session.ref.store_url]) == 2
    assert "has nothing to send: its warm start is not done" in capsys.readouterr().err
