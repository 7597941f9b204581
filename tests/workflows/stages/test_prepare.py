"""The tasks of a run, and of one that goes on from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from journeyman.agent.data import Split
from journeyman.storage.store import ReplayStore
from journeyman.workflows.session.runs import start_run
from journeyman.workflows.session.session import RunRef
from journeyman.workflows.settings.loading import parse_settings
from journeyman.workflows.stages.prepare import prepare


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ReplayStore]:
    store = ReplayStore(f"sqlite:///{tmp_path}/store.db")
    yield store
    store.close()


def prepared(folder: Path, *, seed: int = 0, test: int = 40, continues: bool = False) -> RunRef:
    """A run of bit flipping with 5 bits, which has 992 tasks."""
    settings = parse_settings(
        {
            "run": {"name": "bits", "seed": seed, "continues": continues, "output": str(folder)},
            "store": {"url": f"sqlite:///{folder}/store.db", "artifacts": str(folder / "artifacts")},
            "environment": {"name": "bit_flipping", "bits": 5},
            "tasks": {"train": 500, "validation": 40, "test": test},
        },
        "the test",
    )
    ref = start_run(settings)
    prepare(ref)
    return ref


def hashes(store: ReplayStore, ref: RunRef, split: Split) -> set[str]:
    return {task.hash for task in store.tasks.of(ref.run_id, split)}


def test_splits_are_disjoint_and_held_out_ones_the_same_for_one_seed(store: ReplayStore, tmp_path: Path) -> None:
    first, second = prepared(tmp_path), prepared(tmp_path, continues=True)
    sets = {split: hashes(store, first, split) for split in set(Split) - {Split.GUARD}}
    assert {split: len(found) for split, found in sets.items()} == {"train": 500, "validation": 40, "test": 40}
    assert len(set.union(*sets.values())) == 580
    assert all(hashes(store, second, split) == sets[split] for split in (Split.VALIDATION, Split.TEST))
    assert hashes(store, second, Split.TRAIN) != sets[Split.TRAIN]


def test_a_run_that_goes_on_holds_out_nothing_that_was_trained_on(store: ReplayStore, tmp_path: Path) -> None:
    first, fresh = prepared(tmp_path), prepared(tmp_path, seed=1)
    assert hashes(store, fresh, Split.TEST) & hashes(store, first, Split.TRAIN)  # another run may: it learned nothing
    second = prepared(tmp_path, seed=1, test=80, continues=True)
    trained = hashes(store, first, Split.TRAIN) | hashes(store, fresh, Split.TRAIN)
    assert len(hashes(store, second, Split.TEST)) == 80
    for split in (Split.VALIDATION, Split.TEST):
        assert not hashes(store, second, split) & trained


def test_a_split_of_no_tasks_is_not_asked_for(store: ReplayStore, tmp_path: Path) -> None:
    rows = "".join(json.dumps({"question": f"{i} + 1?", "answer": str(i + 1)}) + "\n" for i in range(40))
    (tmp_path / "train.jsonl").write_text(rows)
    settings = parse_settings(
        {
            "run": {"name": "rows", "engine": "none", "output": str(tmp_path)},
            "store": {"url": f"sqlite:///{tmp_path}/store.db", "artifacts": str(tmp_path / "artifacts")},
            "environment": {"name": "dataset", "train": str(tmp_path / "train.jsonl"), "validation_fraction": 0.3},
            "tasks": {"train": 4, "validation": 2, "test": 0},
        },
        "the test",
    )
    ref = start_run(settings)
    assert prepare(ref) == {"train": 4, "validation": 2, "test": 0, "guard": 0}
    assert len(hashes(store, ref, Split.TRAIN)) == 4
    assert hashes(store, ref, Split.TEST) == set()
