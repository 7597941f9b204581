"""Updates that cannot be made, or have nothing to learn from: named, and nothing is half-saved."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from journeyman.agent.errors import JourneymanError, MicroBatchTooLargeError
from journeyman.agent.sampling.scripted import ScriptedSampler
from journeyman.storage.runs.policies import NewPolicy
from journeyman.workflows.stages.finetune import finetune
from journeyman.workflows.stages.generate import generate
from journeyman.workflows.stages.score import score


def attempted(watched, answer, iterations: int = 1, **finetune):
    """A session with judged attempts, of which each answers what `answer` makes of the sum and the attempt's seed."""
    session = watched.open(generate={"tasks": 2, "attempts": 2, "max_tokens": 8}, finetune=finetune)

    def reply(prompt: str, seed: int) -> str:
        a, b = prompt.split("<|user|>")[1].split("?", maxsplit=1)[0].split("+")
        return answer(int(a) + int(b), seed)

    session.sampler = lambda policy: ScriptedSampler(session.renderer, reply)
    session.base_learner().save(session.artifacts / "x", 1)
    for iteration in range(1, iterations + 1):
        generate(session.ref, iteration)
        score(session.ref, iteration)
    return session


def weights_of(session, number: int):
    path = session.store.policies.numbered(session.run.id, number).path
    return load_file(session.artifacts / path / "model.safetensors")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "none of its 4 rows has an advantage or is imitated"),
        ({"policy_weight": 0.0}, "there are no rows to learn from"),
    ],
)
def test_nothing_to_learn_from_is_said_once_and_the_weights_stay(watched, monkeypatch, settings, says) -> None:
    session, said = attempted(watched, lambda total, seed: "no idea", 2, **settings), []
    monkeypatch.setattr(session.reporter, "line", said.append)
    for iteration in (1, 2):
        assert finetune(session.ref, iteration)["steps"] == 0
        before, after = weights_of(session, 1), weights_of(session, iteration + 1)
        assert before.keys() == after.keys()
        assert all(np.array_equal(before[name], after[name]) for name in before)
    assert sum(says in line for line in said) == 1
    assert "and the weights stay as they were" in next(line for line in said if says in line)


def test_ranks_begin_anew_with_half_of_what_one_could_not_hold(watched, monkeypatch) -> None:
    session = attempted(watched, lambda total, seed: "no idea")
    budgets = []

    def learn(reporter, processes, program, arguments):
        budgets.append(json.loads(arguments[-1])["learner"]["micro_batch_tokens"])
        assert (processes, arguments[:3]) == (3, [session.ref.store_url, session.ref.run_id, "1"])
        if len(budgets) < 3:
            raise MicroBatchTooLargeError(1000 if len(budgets) == 1 else 480)
        session.store.policies.add(session.run.id, NewPolicy(2, None, 1, "finetune", "y", {"steps": 1.0}))

    several = session.settings.learner.model_copy(update={"processes": 3})
    monkeypatch.setattr(session, "settings", session.settings.model_copy(update={"learner": several}))
    monkeypatch.setattr("journeyman.workflows.stages.finetune.learn_in_ranks", learn)
    assert finetune(session.ref, 1)["steps"] == 1.0
    assert budgets == [None, 500, 240]


@pytest.mark.parametrize("kl", [{}, {"weight": 0.1, "place": "reward"}], ids=["group", "kl in the reward"])
def test_an_update_that_fails_saves_nothing_and_is_made_anew(watched, monkeypatch, kl) -> None:
    """Whatever the update asked its learner before: what it left half-moved is not gone on from."""
    session = attempted(watched, lambda total, seed: f"answer {total}" if seed % 2 else "no idea", batch=1, epochs=3)
    kl_settings = session.settings.kl.model_copy(update=kl)
    monkeypatch.setattr(session, "settings", session.settings.model_copy(update={"kl": kl_settings}))
    before = session.settings
    wild = before.finetune.model_copy(update={"learning_rate": 1e30})
    monkeypatch.setattr(session, "settings", before.model_copy(update={"finetune": wild}))
    with pytest.raises(JourneymanError, match="the gradient's norm is nan"):
        finetune(session.ref, 1)
    assert [policy.number for policy in session.store.policies.of(session.run.id)] == [1]
    assert not list(session.artifacts.glob("**/*v0002*"))
    monkeypatch.setattr(session, "settings", before)
    assert finetune(session.ref, 1)["steps"] > 0
    assert all(np.isfinite(value).all() for value in weights_of(session, 2).values())
