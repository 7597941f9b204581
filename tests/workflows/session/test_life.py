"""How a run stands: by what it says, by its lock, by the age of its last sign of life."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from journeyman.agent.errors import StoreError, UnknownNameError, UsageError
from journeyman.storage.runs.policies import NewPolicy
from journeyman.storage.runs.runs import SILENT_S, RunInfo, RunState
from journeyman.storage.schema.runs import Run
from journeyman.storage.store import ReplayStore
from journeyman.workflows.session import life
from journeyman.workflows.session.life import only_one, standing, under_way
from journeyman.workflows.session.runs import unfinished_run
from journeyman.workflows.settings.settings import Settings


@pytest.fixture
def store(tmp_path: Path):
    opened = ReplayStore(f"sqlite:///{tmp_path}/store.db")
    yield opened
    opened.close()


@pytest.fixture
def begun(store: ReplayStore, tmp_path: Path):
    """`begun(name)`: the id of a new run of that name, with settings."""

    def begin(name: str = "a", *, policy: bool = False) -> str:
        settings = Settings().anchored(str(tmp_path)).model_dump(mode="json")
        run = store.runs.create(name, settings)
        if policy:
            store.policies.add(run.id, NewPolicy(1, None, 0, "warm_start", "x", {}, promoted=True))
        return run.id

    return begin


def change(store: ReplayStore, run_id: str, **values: object) -> RunInfo:
    with store.database.write() as connection:
        connection.execute(update(Run).where(Run.id == run_id).values(**values))
    return store.runs.find(run_id)


def age(store: ReplayStore, run_id: str, seconds: float) -> RunInfo:
    return change(store, run_id, seen_at=datetime.now(UTC) - timedelta(seconds=seconds))


class Hangs(Exception):  # noqa: N818
    """An error of somebody's, with a text of several lines and an escape."""


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (KeyboardInterrupt(), "stopped", "Ctrl-C"),
        (UsageError("no such thing: take another"), "failed", "no such thing: take another"),
        (Hangs("two\nlines"), "failed", "Hangs: two lines"),
    ],
)
def test_a_run_says_why_it_stopped(store, begun, error: BaseException, state: str, reason: str) -> None:
    run_id = begun()
    with suppress(type(error)), under_way(store.runs, run_id) as begins:
        assert store.runs.find(run_id).host == socket.gethostname()
        begins("generate 3")
        raise error
    run = store.runs.find(run_id)
    assert (run.state, run.stage, run.reason) == (state, "generate 3", reason)
    assert standing(run) == state
    with under_way(store.runs, run_id):  # resumed
        assert (store.runs.find(run_id).state, store.runs.find(run_id).reason) == ("running", None)
        store.runs.finish(run_id)
    run = store.runs.find(run_id)
    assert (run.state, run.stage, run.finished) == ("finished", None, True)


def test_signs_of_life_come_by_themselves(store, begun, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    monkeypatch.setattr(life, "PULSE_S", 0.01)
    run_id = begun()
    with under_way(store.runs, run_id):
        first = store.runs.find(run_id).seen_at
        end = time.monotonic() + 10
        while store.runs.find(run_id).seen_at == first:
            assert time.monotonic() < end
        refused = StoreError("the disk is full")

        def sign(*_: object) -> None:
            raise refused

        monkeypatch.setattr(store.runs, "sign", sign)
        while "could not give a sign of life, trying again: the disk is full" not in caplog.text:
            assert time.monotonic() < end
    assert standing(store.runs.find(run_id)) == "running"  # nobody said otherwise, and it was seen just now


HOLDS = """
import os, sys, time
from pathlib import Path
from journeyman.workflows.session.life import only_one
with only_one(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_killed_run_is_interrupted_at_once_where_its_lock_is(store, begun) -> None:
    run_id = begun()
    store.runs.begin(run_id, socket.gethostname())
    folder = life.artifacts_of(store.runs.find(run_id))
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(folder)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
    )
    try:
        assert process.stdout.readline() == b"held\n"
        assert standing(age(store, run_id, 10 * SILENT_S)) == "running"  # it may hang, but it is there
        with pytest.raises(UsageError, match=r"is under way on .*, its last sign of life was 600 s ago"):
            unfinished_run(str(store.database.url), run_id)
        with (
            pytest.raises(UsageError, match="is held by another process: wait for it, or stop it first"),
            only_one(folder),
        ):
            pass
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert standing(age(store, run_id, 0)) == "interrupted"
    assert unfinished_run(str(store.database.url), None)[0].run_id == run_id


def test_another_machines_run_is_told_by_its_age(store, begun) -> None:
    run_id = begun()
    store.runs.begin(run_id, "elsewhere")
    assert standing(age(store, run_id, SILENT_S / 2)) == "running"
    assert standing(age(store, run_id, SILENT_S * 2)) == "interrupted"
    assert standing(age(store, run_id, -2 * 86400)) == "interrupted"  # the clock was set back


def test_who_only_looks_does_not_keep_the_lock_from_who_wants_it(store, begun) -> None:
    run_id = begun()
    store.runs.begin(run_id, socket.gethostname())
    folder = life.artifacts_of(store.runs.find(run_id))
    with only_one(folder):
        assert standing(store.runs.find(run_id)) == "running"
    assert standing(store.runs.find(run_id)) == "interrupted"
    with only_one(folder):
        pass


def stand(store: ReplayStore, run_id: str, state: str) -> None:
    if state == "finished":
        store.runs.finish(run_id)
    elif state == "interrupted":
        store.runs.begin(run_id, "elsewhere")
        age(store, run_id, 2 * SILENT_S)
    elif state == "running":
        store.runs.begin(run_id, "elsewhere")
    else:
        store.runs.stop(run_id, RunState(state), "why")


@pytest.mark.parametrize(
    ("states", "meant", "resumed"),
    [
        (["finished", "failed"], 0, 1),
        (["finished", "failed*"], 0, 1),
        (["finished", "interrupted"], 0, 1),
        (["finished", "interrupted*"], 1, 1),
        (["finished", "stopped*"], 1, 1),
        (["finished", "stopped"], 0, 1),
        (["finished", "running"], 1, None),
        (["failed", "running"], 1, 0),
        (["failed", "failed"], 1, 1),
        (["stopped", "finished", "finished"], 2, 0),
    ],
)
def test_which_run_a_name_means(store, begun, states: list[str], meant: int, resumed: int | None) -> None:
    """A star is a policy."""
    ids = [begun("a", policy=state.endswith("*")) for state in states]
    for run_id, state in zip(ids, states, strict=True):
        stand(store, run_id, state.removesuffix("*"))
    assert store.runs.find("a").id == ids[meant]
    assert store.runs.newest().id == ids[meant]
    assert [store.runs.find(run_id[-8:]).id for run_id in ids] == ids
    for wanted in ("a", None):
        if resumed is None:
            with pytest.raises(UsageError, match=r"nothing to resume in .* is under way on elsewhere"):
                unfinished_run(str(store.database.url), wanted)
        else:
            assert unfinished_run(str(store.database.url), wanted)[0].run_id == ids[resumed]


def test_what_cannot_be_resumed_says_why(store, begun) -> None:
    url = str(store.database.url)
    with pytest.raises(UsageError, match="every run is finished"):
        unfinished_run(url, None)
    done, imported, base, going = begun("done"), store.runs.create("copy", {}).id, begun("a.base"), begun("going")
    store.runs.finish(done)
    change(store, going, state=RunState.DROPPING)
    for run_id, why in ((done, "is finished"), (imported, "was imported"), (base, "evaluates a base model")):
        with pytest.raises(UsageError, match=why):
            unfinished_run(url, run_id)
    with pytest.raises(UsageError, match="is being deleted"):
        unfinished_run(url, "going")
    with pytest.raises(UnknownNameError, match="unknown run 'goin': did you mean 'going'"):
        unfinished_run(url, "goin")


def test_seconds_are_none_too_few_where_the_clock_was_set_back(store, begun) -> None:
    run_id = begun()
    change(store, run_id, created_at=datetime.now(UTC) + timedelta(days=2))
    assert store.runs.seconds(run_id) == 0.0
