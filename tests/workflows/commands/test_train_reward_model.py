"""An outcome reward model from a run's preferences: which pairs there are, and that it learns what they say."""

from __future__ import annotations

import json
import string
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from journeyman.agent.data import (
    Message,
    ScoreRecord,
    Source,
    Split,
    Status,
    StopReason,
    Task,
    Trajectory,
    Turn,
    Verdict,
    canonical_hash,
)
from journeyman.agent.errors import UsageError
from journeyman.storage.runs.policies import NewPolicy
from journeyman.storage.trajectories.labels import NewLabel
from journeyman.storage.trajectories.rows import NewTrajectory
from journeyman.verifiers.models.reward_model import RewardModel
from journeyman.workflows.cli import main
from journeyman.workflows.commands.heads.train_reward_model import RewardModelOptions, make_reward_model
from journeyman.workflows.commands.heads.training_heads import part_of
from journeyman.workflows.console import Reporter
from journeyman.workflows.session.runs import start_run
from journeyman.workflows.session.session import RunRef, lend
from journeyman.workflows.settings.loading import parse_settings
from journeyman.workflows.updates.pairs import choose_pairs

GROUPS = 160
RULE = "z"
"""An attempt is better where this letter is in it."""


def begin(folder: Path, groups: int) -> RunRef:
    """A run with four attempts in each group, of which some hold to the rule; the rubric knows which."""
    settings = parse_settings(
        {
            "run": {"name": "letters", "engine": "none", "output": str(folder)},
            "store": {"url": f"sqlite:///{folder}/store.db", "artifacts": str(folder / "artifacts")},
            "rubric": {"pattern": 1.0},
            "verifiers": {"pattern": {"pattern": RULE}},
            "model": {"hidden": 32, "layers": 1},
            "warm_start": {"learning_rate": 1e-2, "batch": 16},
        },
        "the test",
    )
    ref = start_run(settings)
    chance = np.random.default_rng(0)
    with lend(ref, Reporter(quiet=True)) as session:
        session.store.policies.add(ref.run_id, NewPolicy(1, None, 0, "base", session.base_model, {}, promoted=True))
        tasks = [letters_task(number) for number in range(groups)]
        session.store.tasks.add(ref.run_id, tasks, origin="generated")
        rows = [
            attempt(
                session.rubric.criteria[0].id, task, number, "".join(chance.choice(list(string.ascii_lowercase), 5))
            )
            for task in tasks
            for number in range(4)
        ]
        session.store.trajectories.add(ref.run_id, rows)
    return ref


def letters_task(number: int) -> Task:
    prompt = (Message("user", f"five letters, {number}"),)
    return Task("countdown", None, prompt, Split.TRAIN, canonical_hash("letters", number))


def attempt(verifier, task: Task, number: int, text: str) -> NewTrajectory:
    text = text if number % 2 else text[:2] + RULE + text[3:]
    made = Trajectory(
        task.hash, Source.POLICY, (Turn(Message("assistant", text)),), (), StopReason.TERMINATED, attempt=number
    )
    verdict = Verdict(Status.OK, float(RULE in text))
    return NewTrajectory(f"g{task.hash}", made, 1, None, scores=(ScoreRecord(verifier, verdict, 0.0),))


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> RunRef:
    return begin(tmp_path_factory.mktemp("letters"), GROUPS)


@pytest.fixture
def few(tmp_path: Path) -> RunRef:
    return begin(tmp_path, 40)


def test_pairs_are_of_labels_and_of_rewards_each_once(few: RunRef) -> None:
    with lend(few, Reporter(quiet=True)) as session:
        stored = {t.key: t.id for t in session.store.trajectories.of(few.run_id)}
        first, second, third, _ = (stored[f"g{letters_task(0).hash}/{n}"] for n in range(4))
        session.store.labels.add(NewLabel(second, first, 1.0, "ann"))  # against the rule
        session.store.labels.add(NewLabel(first, third, 0.5, "ann"))
        by = {}
        for says in ("all", "labels", "rewards"):
            found = choose_pairs(session, says, per_group=2)
            by[says] = Counter(pair.by for pair in found)
            if says == "labels":
                assert [(p.better.id, p.worse.id) for p in found] == [(second, first)]
            for pair in found:
                assert pair.by == "label" or RULE in pair.better.trajectory.final_text
                assert pair.better.task.hash == pair.worse.task.hash
        assert by["labels"] == {"label": 1}
        assert by["all"] == by["labels"] + by["rewards"]
        one = choose_pairs(session, "rewards", per_group=1)
        assert len(one) <= 40 < by["rewards"].total() <= 80


@pytest.mark.slow
@pytest.mark.parametrize("lora_rank", [0, 8])
def test_it_learns_the_rule_behind_the_preferences(letters: RunRef, tmp_path: Path, lora_rank: int) -> None:
    options = RewardModelOptions(per_group=2, held_out=0.3, epochs=12, lora_rank=lora_rank)
    with lend(letters, Reporter(quiet=True)) as session:
        report = make_reward_model(session, options, tmp_path / "made")
        pairs = choose_pairs(session, "all", per_group=2)
    held_out = [p for p in pairs if part_of(p.better.task.hash, 0.3) == "score"]
    assert report["pairs"] == len(held_out) >= 30
    assert report["trained_pairs"] == sum(part_of(p.better.task.hash, 0.3) == "train" for p in pairs)
    assert report["accuracy"] >= 0.9
    told = json.loads((tmp_path / "made" / "training.json").read_text())
    assert told["told_by"] == {"reward": len(pairs)}
    verdicts = RewardModel(str(tmp_path / "made")).verify_all(
        [(s.task, s.trajectory) for p in held_out for s in (p.better, p.worse)]
    )
    right = [better.raw > worse.raw for better, worse in zip(verdicts[::2], verdicts[1::2], strict=True)]
    assert sum(right) / len(right) == pytest.approx(report["accuracy"], abs=0.02)


def test_the_command_writes_a_folder_and_reports(few: RunRef, tmp_path: Path, capsys) -> None:
    arguments = ["train-reward-model", few.run_id, "--store", few.store_url, "--output", str(tmp_path / "made")]
    more = ["--epochs", "1", "--held-out", "0.6", "--json"]
    assert main([*arguments, *more]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["epochs"] == 1
    assert 0 <= report["accuracy"] <= 1
    assert (tmp_path / "made" / "config.json").is_file()
    assert main([*arguments, *more]) == 2
    assert "exists already" in capsys.readouterr().err
    arguments[-1] = str(tmp_path / "again")
    assert main([*arguments, *more, "--model", str(tmp_path / "made"), "--pairs", "labels"]) == 2
    assert "too few pairs (0 to train, 0 to stop, 0 to score; 0 in all)" in capsys.readouterr().err
    assert main([*arguments, *more, "--model", str(tmp_path / "made")]) == 0  # an earlier one is gone on with


def test_options_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="--per-group must be at least 1"):
        RewardModelOptions(per_group=0)
    with pytest.raises(UsageError, match="give one of them"):
        RewardModelOptions(model="a", policy="v1")
    with pytest.raises(UsageError, match="not between 0 and 1"):
        RewardModelOptions(held_out=0.0)
