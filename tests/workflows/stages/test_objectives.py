"""A schedule of objectives: each iteration's version is by its own, from what there is in the store by then."""

from __future__ import annotations

from collections import Counter

import pytest

from journeyman.agent.data import Source, Split
from journeyman.agent.errors import SettingsError
from journeyman.agent.sampling.scripted import ScriptedSampler
from journeyman.storage.runs.policies import PolicyInfo
from journeyman.workflows.session.session import Session
from journeyman.workflows.stages.finetune import finetune, objective_of
from journeyman.workflows.stages.generate import generate
from journeyman.workflows.stages.score import score
from journeyman.workflows.updates.imitation import successes

SAID = ("answer 1", "hm", "so it is", "answer 2")


def begin(watched, said=SAID, lora_rank=0, **tune) -> Session:
    """With weights for v1, and attempts that say these things in turn."""
    session: Session = watched.open(
        generate={"tasks": 2, "attempts": 4, "max_tokens": 12},
        finetune={"batch": 4, "objective": ["bc", "dpo", "grpo"]} | tune,
        preference={"batch": 2, "learning_rate": 1e-3},
        model={"hidden": 32, "layers": 1, "lora_rank": lora_rank},
    )
    session.base_learner().save(session.artifacts / "x", 1)
    asked: Counter[str] = Counter()

    def reply(prompt: str, seed: int) -> str:
        asked[prompt] += 1
        return said[asked[prompt] % len(said)]

    session.sampler = lambda policy: ScriptedSampler(session.renderer, reply)
    return session


def go(session: Session, iteration: int, *, promoted: bool = True) -> PolicyInfo:
    generate(session.ref, iteration)
    score(session.ref, iteration)
    first = finetune(session.ref, iteration)
    assert finetune(session.ref, iteration) == first  # a resumed run makes it once
    session.store.policies.set_promoted(session.run.id, iteration + 1, promoted=promoted)
    return session.store.policies.numbered(session.run.id, iteration + 1)


def uses(session: Session, number: int) -> list[tuple[int, str, float | None, float]]:
    """Iteration and words of the attempts that the version learned from, and how."""
    stored = session.store.trajectories.of(session.run.id, source=Source.POLICY, split=Split.TRAIN)
    return [
        (t.iteration, t.trajectory.final_text.split()[0], use.advantage, use.nll_weight)
        for t in stored
        for version, use in session.store.trajectories.uses_of(t.id)
        if version == number
    ]


def test_imitation_then_preferences_then_groups(watched) -> None:
    session = begin(watched)
    made = [go(session, iteration) for iteration in (1, 2, 3, 4)]
    assert [p.kind for p in made] == ["bc", "dpo", "grpo", "grpo"]
    assert [p.parent_id for p in made[1:]] == [p.id for p in made[:-1]]
    assert {(said, *how) for _, said, *how in uses(session, 2)} == {("answer", None, 1.0)}
    by_pairs = uses(session, 3)
    assert {iteration for iteration, *_ in by_pairs} == {1, 2}  # all that is not too old
    assert {(said, advantage) for _, said, advantage, _ in by_pairs} == {("answer", 1.0), ("hm", -1.0), ("so", -1.0)}
    assert made[1].stats["pairs"] == 8
    assert {iteration for iteration, _, advantage, _ in uses(session, 4) if advantage} == {3}
    assert session.store.upkeep.check() == []


def test_attempts_too_old_are_no_pairs(watched) -> None:
    """With adapters, where the reference lies beside the one that is trained."""
    session = begin(watched, lora_rank=2, objective=["grpo", "dpo"])
    session.settings = session.settings.model_copy(
        update={"replay": session.settings.replay.model_copy(update={"max_age": 0})}
    )
    go(session, 1)
    made = go(session, 2)
    assert {iteration for iteration, *_ in uses(session, made.number)} == {2}
    assert made.stats["adapter_share"] > 0


def test_an_iteration_without_contrast_makes_its_parent_again(watched) -> None:
    session = begin(watched, said=("answer 1",), objective="dpo")
    made = go(session, 1)
    assert (made.stats["steps"], made.stats["pairs"], uses(session, 2)) == (0.0, 0.0, [])


def test_what_was_said_twice_is_imitated_once_and_the_newest_comes_first(watched) -> None:
    session = begin(watched, said=("answer 1", "answer 2", "answer 1", "hm"), objective="bc")
    go(session, 1)
    assert Counter(said for _, said, *_ in uses(session, 2)) == {"answer": 4}  # two of each of the two tasks
    one = session.settings.imitation.model_copy(update={"per_task": 1, "sources": ("policy",)})
    session.settings = session.settings.model_copy(update={"imitation": one})
    for iteration in (2, 3):
        generate(session.ref, iteration)
        score(session.ref, iteration)
    attempts = session.store.trajectories.of(session.run.id, source=Source.POLICY, split=Split.TRAIN)
    newest = {stored.task.hash: stored.iteration for stored in attempts}
    assert {stored.task.hash: stored.iteration for stored in successes(session)} == newest
    assert len(successes(session)) == len(newest)


def test_every_update_may_begin_with_the_base_model(watched) -> None:
    """As ReST-EM's: what is promoted samples, and the base model is taught."""
    session = begin(watched, objective="bc", begin="base")
    first = go(session, 1)
    second = go(session, 2)
    assert (first.parent_id, second.parent_id) == (None, None)
    assert {iteration for iteration, *_ in uses(session, 3)} == {1, 2}
    held = session.learner(None)
    assert held.policy.number == 0
    fresh = session.learner(second)
    assert fresh.policy.path.endswith("v0003")


def test_settings_that_cannot_be(watched) -> None:
    for tune, says in (
        ({"objective": []}, "an empty list says nothing"),
        ({"objective": ["bc", "ppo"]}, "finetune.objective"),
        ({"begin": "best"}, "finetune.begin"),
    ):
        with pytest.raises(SettingsError, match=says):
            watched.settings(finetune=tune)
    session = begin(watched)
    assert [objective_of(session, iteration) for iteration in (1, 2, 3, 9)] == ["bc", "dpo", "grpo", "grpo"]
