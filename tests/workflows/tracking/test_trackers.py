"""The trackers with the real libraries: what is in the files that they write, read with the libraries' own readers."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from journeyman.agent.data import Split
from journeyman.storage.store import ReplayStore
from journeyman.workflows.tracking.figures import figures
from journeyman.workflows.tracking.offline import records
from journeyman.workflows.tracking.sending import tracking
from journeyman.workflows.tracking.trackers import TRACKERS, Held, Subject

Found = list[tuple[str, int, float]]
"""Name, step and value of every number, as often as it is there."""


class TensorBoardFiles:
    def __init__(self, folder: Path, monkeypatch) -> None:
        pytest.importorskip("tensorboard", reason="takes the extra tensorboard")
        self.settings = {"folder": str(folder / "boards")}

    def read(self, name: str) -> tuple[Found, dict]:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        board = EventAccumulator(f"{self.settings['folder']}/{name}", size_guidance={"scalars": 0}).Reload()
        found = [(tag, e.step, e.value) for tag in board.Tags()["scalars"] for e in board.Scalars(tag)]
        (text,) = board.Tensors("settings/text_summary")
        (told,) = text.tensor_proto.string_val
        return found, json.loads(told.decode().removeprefix("```json\n").removesuffix("\n```"))


class TrackioDatabase:
    def __init__(self, folder: Path, monkeypatch) -> None:
        pytest.importorskip("trackio", reason="takes the extra trackio")
        monkeypatch.setattr("trackio.sqlite_storage.TRACKIO_DIR", folder / "trackio")  # else read when it is imported
        for name in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
            monkeypatch.delenv(name, raising=False)
        self.settings = {"project": "words"}

    def read(self, name: str) -> tuple[Found, dict]:
        from trackio import Api
        from trackio.sqlite_storage import SQLiteStorage

        (run,) = Api().runs("words")
        assert run.name == name
        rows = SQLiteStorage.get_logs("words", run_id=run.id)
        found = [(n, row["step"], v) for row in rows for n, v in row.items() if n not in ("step", "timestamp")]
        return found, run.config


class MlflowServer:
    uri = "sqlite:///{}/mlflow.db"

    def __init__(self, folder: Path, monkeypatch) -> None:
        pytest.importorskip("mlflow", reason="takes the extra mlflow")
        monkeypatch.chdir(folder)  # where mlflow makes a folder for artifacts
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        self.settings = {"project": "words", "uri": self.uri.format(folder)}

    def read(self, name: str) -> tuple[Found, dict]:
        from mlflow import MlflowClient

        client = MlflowClient(self.settings["uri"])
        (run,) = client.search_runs([client.get_experiment_by_name("words").experiment_id])
        assert run.info.run_name == name
        assert run.info.status == "FINISHED"
        found = [(n, m.step, m.value) for n in run.data.metrics for m in client.get_metric_history(run.info.run_id, n)]
        settings: dict = {}
        for param, value in run.data.params.items():
            *tables, last = param.split(".")
            place = settings
            for table in tables:
                place = place.setdefault(table, {})
            place[last] = value
        return found, settings


class MlflowFolder(MlflowServer):
    uri = "{}/mlruns"


class WandbOffline:
    """Several folders of files, one for each process, with the same run's id."""

    def __init__(self, folder: Path, monkeypatch) -> None:
        pytest.importorskip("wandb", reason="takes the extra wandb")
        monkeypatch.setenv("WANDB_MODE", "offline")
        monkeypatch.setenv("WANDB_DIR", str(folder))
        self.settings = {"project": "words"}
        self.folder = folder / "wandb"

    def read(self, name: str) -> tuple[Found, dict]:
        from wandb.proto.wandb_internal_pb2 import Record

        found, settings = [], {}
        for file in sorted(self.folder.glob("offline-run-*/*.wandb")):
            for record in map(Record.FromString, records(file.read_bytes())):
                row = {"/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
                found += [(n, row["iteration"], v) for n, v in row.items() if n != "iteration" and n[0] != "_"]
                if record.run.display_name:
                    assert (record.run.display_name, record.run.project) == (name, "words")
                    settings = {item.key: json.loads(item.value_json) for item in record.run.config.update}
        return found, settings


KINDS = {
    "tensorboard": ("tensorboard", TensorBoardFiles),
    "trackio": ("trackio", TrackioDatabase),
    "wandb, offline": ("wandb", WandbOffline),
    "mlflow, SQLite": ("mlflow", MlflowServer),
    "mlflow, files": ("mlflow", MlflowFolder),
}


@pytest.fixture(params=KINDS)
def read(request, tmp_path, monkeypatch, session, track) -> Callable[[], tuple[Found, dict]]:
    """What one tracker, which the session has from now on, holds of it: its numbers, and the settings it was told."""
    name, kind = KINDS[request.param]
    tracker = kind(tmp_path, monkeypatch)
    track(name, **tracker.settings)
    return lambda: tracker.read(session.run.own_name)


def expected(store: ReplayStore, run_id: str, last: int) -> Found:
    rows = [figures(store, run_id, step) for step in range(last + 1)]
    return [(name, step, pytest.approx(value)) for step, row in enumerate(rows) for name, value in row.items()]


class Deaf:
    """A tracker that keeps nothing."""

    def open(self, run: Subject) -> Held:
        return {}

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        pass

    def close(self, *, finished: bool) -> None:
        pass


def test_all_numbers_are_there_once_after_a_resumption(session, read, go_on, measure, track, monkeypatch) -> None:
    for iteration in (0, 1, 2):
        go_on(iteration)
    with suppress(KeyboardInterrupt), tracking(session) as send:
        send(0)
        send(1)
        raise KeyboardInterrupt
    monkeypatch.setitem(TRACKERS, "deaf", Deaf)
    track(*session.settings.track.to, "deaf")  # where else it goes is of no account
    with tracking(session) as send:
        send(0)
        send(2)
        measure(Split.TEST, 2, 0.125, number=1)
        measure(Split.TEST, 2, 0.375, number=2)
        send(2)
    measure(Split.GUARD, 0, 0.5, guard="late")  # of a step before the last one
    with tracking(session) as send:
        send(2)
    found, settings = read()
    wanted = expected(session.store, session.run.id, 2)
    assert Counter((name, step) for name, step, _ in found) == Counter((name, step) for name, step, _ in wanted)
    assert sorted(found) == sorted(wanted, key=lambda row: row[:2])
    assert settings["run"]["name"] == "watched"
    assert settings["verifiers"]["pattern"]["pattern"] == "https://***@host/x"
    assert str(settings["generate"]["max_tokens"]) == "64"
    assert session.said == []


DIES_WHILE_SENDING = """
import os, signal, sys
from journeyman.workflows.cli import main
from journeyman.workflows.tracking.trackers import TensorBoard

log = TensorBoard.log

def dies(self, step, numbers):
    if step == 1:
        log(self, step, dict(list(numbers.items())[:5]))
        os.kill(os.getpid(), signal.SIGKILL)
    log(self, step, numbers)

TensorBoard.log = dies
sys.exit(main())
"""


@pytest.mark.slow  # a small run
def test_a_run_that_is_killed_while_it_sends_goes_on_in_the_same_tracker_runs(cli, small, monkeypatch) -> None:
    board, project = (kind(cli.folder, monkeypatch) for kind in (TensorBoardFiles, TrackioDatabase))
    track = f'track={{to = ["trackio", "tensorboard"], project = "words", folder = "{board.settings["folder"]}"}}'
    short = ["run.iterations=1", "warm_start.max_epochs=2", "warm_start.check_every=2", "evaluate.attempts=1"]
    short += [
        "warm_start.demonstrations=16",
        "tasks.validation=4",
        "tasks.test=4",
        "generate.tasks=4",
        "replay.groups=8",
    ]
    command = ["run", small, "--engine", "none", *(part for setting in (track, *short) for part in ("--set", setting))]
    environment = {"TRACKIO_DIR": str(cli.folder / "trackio")}
    cli(*command, script=DIES_WHILE_SENDING, code=-signal.SIGKILL, **environment)
    cli("resume", "--engine", "none", **environment)
    store = ReplayStore(f"sqlite:///{cli.folder}/runs/journeyman.db")
    run = store.runs.newest()
    for tracker in (board, project):
        found, settings = tracker.read(run.own_name)
        wanted = expected(store, run.id, 1)
        assert sorted(found) == sorted(wanted, key=lambda row: row[:2])
        assert settings["run"]["name"] == "small"
    names = {name for name, _, _ in found}
    assert {"test/pass_at_1", "learner/grad_norm", "policy/handover_gap", "train/pass_at_1"} <= names
    store.close()
