"""`db drop`: a run goes with its rows, weights and results, and only where nobody is at work for it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from journeyman.storage.store import ReplayStore
from journeyman.workflows.session.life import artifacts_of, only_one, under_way


@pytest.fixture
def copy(small_run, cli, small: str):
    """The command line in a folder with a copy of the small run, whose paths are its own."""
    shutil.copytree(small_run.folder / "runs", cli.folder / "runs")
    store = ReplayStore(f"sqlite:///{cli.folder}/runs/journeyman.db")
    run = store.runs.find("small")
    settings = json.loads(json.dumps(run.settings).replace(str(small_run.folder), str(cli.folder)))
    with store.database.write() as connection:
        connection.exec_driver_sql("UPDATE run SET settings = ?", (json.dumps(settings),))
    cli.store, cli.run = store, store.runs.find("small")
    yield cli
    store.close()


def test_a_run_goes_with_its_files(copy) -> None:
    artifacts, results = artifacts_of(copy.run), Path(copy.folder, "runs", copy.run.own_name)
    assert (artifacts.is_dir(), results.is_dir()) == (True, True)
    refused = copy("db", "drop", "small", code=2).stderr
    assert f"Delete run {copy.run.id} (small), " in refused
    assert "There is no terminal to ask at: say --yes" in refused
    said = copy("db", "drop", "small", "--yes").stdout
    assert str(artifacts) in said
    assert str(results) in said
    assert (artifacts.exists(), results.exists(), artifacts.parent.exists()) == (False, False, True)
    assert "no runs in" in copy("status").stdout
    assert copy("db", "check").stdout.endswith("is whole\n")


def test_a_run_that_is_held_stays(copy) -> None:
    with only_one(artifacts_of(copy.run)), under_way(copy.store.runs, copy.run.id):
        refused = copy("db", "drop", "small", "--yes", code=2).stderr
    assert "is held by another process: wait for it, or stop it first" in refused
    copy.store.queue.enqueue(copy.run.id, "generate/9", ["x"])
    claim = copy.store.queue.claim(copy.run.id, "generate/9", "far-7", limit=1, seconds=60)
    assert "far-7 is at work for run" in copy("db", "drop", "small", "--yes", code=2).stderr
    copy.store.queue.release(claim)
    copy("db", "drop", "small", "--yes")


def test_a_name_of_several_runs_is_not_guessed_at(copy) -> None:
    other = copy.store.runs.create("small", {})
    refused = copy("db", "drop", "small", "--yes", code=2).stderr
    assert f"2 runs are called 'small': give the id of one: {copy.run.id} (finished), {other.id} (running)" in refused
    copy.store.runs.finish(other.id)
    copy("db", "drop", other.id[-8:], "--yes")
    assert [run["run"] for run in json.loads(copy("status", "--json").stdout)["runs"]] == [copy.run.id]
