"""Hindsight groups and old groups in a real small run: stored whole, with contrast, and learned from with a ratio."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest

from journeyman.agent.data import Source
from journeyman.storage.store import ReplayStore
from journeyman.workflows.console import Reporter
from journeyman.workflows.expert_iteration import expert_iteration
from journeyman.workflows.session.runs import start_run
from journeyman.workflows.settings.loading import parse_settings


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory):
    """Two iterations of bit flipping by a policy that solves little, and the run's id."""
    folder = tmp_path_factory.mktemp("run")
    settings = parse_settings(
        {
            "run": {"name": "flips", "iterations": 2, "engine": "none", "output": str(folder)},
            "store": {"url": f"sqlite:///{folder}/store.db", "artifacts": str(folder / "artifacts")},
            "environment": {"name": "bit_flipping", "bits": 4},
            "tasks": {"train": 60, "validation": 8, "test": 8},
            "model": {"hidden": 32, "layers": 2},
            "sampler": {"kind": "transformers"},
            "warm_start": {
                "demonstrations": 40,
                "max_epochs": 24,
                "check_every": 12,
                "batch": 8,
                "learning_rate": 3e-3,
            },
            "generate": {"tasks": 24, "attempts": 4, "max_tokens": 48},
            "relabel": {"strategies": ["best", "final"], "groups": 2, "per_goal": 6},
            "replay": {"groups": 60, "quota": {"hindsight": 0.5, "policy": 0.3, "expert": 0.2}, "correction": 0.5},
            "finetune": {"batch": 32, "hindsight_loss": "both"},
            "kl": {"weight": 0.01},
            "evaluate": {"attempts": 2, "margin": -1.0},
        },
        "the test",
    )
    ref = start_run(settings)
    expert_iteration(ref, Reporter(quiet=True))
    store = ReplayStore(settings.store.url)
    yield store, ref.run_id
    store.close()


def relabels(finished):
    store, run_id = finished
    return store.trajectories.of(run_id, source=Source.HINDSIGHT)


def test_a_hindsight_group_holds_the_failed_group_whole_with_contrast(finished) -> None:
    store, run_id = finished
    groups = defaultdict(list)
    for stored in relabels(finished):
        if stored.relabeller == "group/2":
            groups[stored.group].append(stored)
    assert groups
    attempts = {t.id: t for t in store.trajectories.of(run_id, source=Source.POLICY)}
    for members in groups.values():
        scores = [verdict.score for stored in members for verdict in stored.verdicts.values()]
        assert {0.0, 1.0} == set(scores)
        parents = [attempts[stored.parent_id] for stored in members]
        assert len({parent.group for parent in parents}) == 1
        assert [p.trajectory.attempt for p in parents] == [m.trajectory.attempt for m in members]
        assert all(v.score == 0.0 for parent in parents for v in parent.verdicts.values())
        assert len({stored.task.hash for stored in members}) == 1


def test_relabels_keep_the_tokens_and_log_probs_that_were_sampled(finished) -> None:
    store, run_id = finished
    attempts = {t.id: t for t in store.trajectories.of(run_id, source=Source.POLICY)}
    for stored in relabels(finished):
        (mine,), (sampled,) = stored.trajectory.segments, attempts[stored.parent_id].trajectory.segments
        count = int(mine.loss_mask.sum())
        assert not np.array_equal(mine.prompt_ids, sampled.prompt_ids)
        assert np.array_equal(mine.completion_ids[mine.loss_mask], sampled.completion_ids[sampled.loss_mask][:count])
        assert np.array_equal(mine.behaviour_logprobs, sampled.behaviour_logprobs[:count])


def test_best_is_one_attempt_of_a_failed_group_and_caps_hold(finished) -> None:
    found = relabels(finished)
    best = Counter(stored.group.rsplit("/", 5)[0] for stored in found if stored.relabeller == "best/2")
    assert best
    assert max(best.values()) == 1
    for iteration in (1, 2):
        for group in (True, False):  # counted apart: single relabels keep no group of their task out
            chosen = [s for s in found if s.iteration == iteration and (s.relabeller == "group/2") is group]
            told = {(s.group, s.task.hash, s.task.goal) for s in chosen}
            assert max(Counter(task for _, task, _ in told).values()) == 1
            assert max(Counter(goal for _, _, goal in told).values()) <= 6


def test_updates_learn_from_relabels_and_old_groups_by_a_ratio(finished) -> None:
    store, run_id = finished
    used = {
        t.id: (t, uses)
        for t in store.trajectories.of(run_id, tokens=False)
        if (uses := store.trajectories.uses_of(t.id))
    }
    told = [use for t, uses in used.values() if t.relabeller == "group/2" for _, use in uses]
    assert {use.advantage > 0 for use in told if use.advantage} == {True, False}
    assert any(use.nll_weight > 0 and use.advantage for use in told)
    assert all(use.ratio > 0 for use in told if use.advantage)
    assert any(use.ratio != pytest.approx(1.0, abs=0.02) for use in told if use.advantage)  # another prompt
    old = [
        u
        for t, uses in used.values()
        if t.trajectory.source is Source.POLICY and t.iteration == 1
        for n, u in uses
        if n == 3
    ]
    assert old
    assert all(
        store.policies.numbered(run_id, number).stats["kl"] >= 0 for number in (2, 3)
    )  # to the warm start's policy
    assert all(0 < use.importance_weight <= 1 and use.advantage is not None for use in old)
    assert all(use.reward in (0.0, 1.0) for _, uses in used.values() for _, use in uses)
    assert store.upkeep.check() == []
