"""RLHF in its small form (examples/rlhf): labels, a reward model, PPO with a critic and the KL in the reward."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from journeyman.agent.data import Split
from journeyman.storage.store import ReplayStore

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "rlhf"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory):
    """The table of the example's second run, and its folder."""
    folder = tmp_path_factory.mktemp("rlhf")
    before = list(sys.path)
    sys.path.insert(0, str(EXAMPLE))
    try:
        from rlhf import rlhf

        small = (
            "model.hidden=64",
            "generate.tasks=16",
            "tasks.validation=16",
            "tasks.test=4",
            "verification.workers=1",
        )
        yield rlhf(str(folder), 80, 2, 0.02, small), folder
    finally:
        sys.path[:] = before


def test_the_reward_model_agrees_with_people(made) -> None:
    _, folder = made
    told = json.loads((folder / "reward" / "training.json").read_text())
    assert set(told["told_by"]) == {"label"}
    assert 40 <= told["told_by"]["label"] <= 80  # pairs that say the same are taken once
    assert told["accuracy"] >= 0.7


def test_the_reward_rises_and_the_kl_is_steered(made) -> None:
    rows, _ = made
    assert [row["version"] for row in rows] == [1, 2, 3]
    assert rows[-1]["reward"] > rows[0]["reward"]
    assert rows[1]["kl"] == pytest.approx(0.0, abs=1e-5)  # measured before the update, which begins at the reference
    assert rows[2]["kl"] > 0
    assert [row["kl_weight"] for row in rows] == [0.0, 0.4, 0.2]  # half of the first, since its KL is below the target


def test_the_watch_sees_what_the_reward_does_not_say(made) -> None:
    """The hidden rule's word is stored for every version, and no update saw it."""
    rows, folder = made
    store = ReplayStore(f"sqlite:///{folder}/runs.db")
    run = max(store.runs.all(), key=lambda r: r.ordinal)
    watched = {a.policy_number: a.value for a in store.evaluations.audits(run.id) if a.metric == "rubric_only"}
    assert all(row["liked"] <= 1 - watched[n] for n, row in zip((1, 2, 3), rows, strict=True))  # equal if all speak
    assert 0 < rows[-1]["liked"] < 1
    assert {e.split for e in store.evaluations.of(run.id)} == {Split.VALIDATION, Split.TEST}
    store.close()
