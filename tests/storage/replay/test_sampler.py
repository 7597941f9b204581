"""The draw of training groups: quotas, staleness, caps, priorities and their weights, and never a held-out task."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.agent.data import ScoreRecord, Source, Status, Verdict, VerifierId
from journeyman.agent.errors import StoreError
from journeyman.storage.replay import draws
from journeyman.storage.replay.pools import Kind
from journeyman.storage.replay.sampler import Mix
from journeyman.storage.runs.policies import NewPolicy
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.rows import NewTrajectory

GOAL = VerifierId("goal", "1", "00")


class Judge:
    """The goal verifier's score is the reward."""

    def reward(self, verdicts):
        return verdicts[GOAL].score if GOAL in verdicts else None

    def succeeded(self, verdicts):
        return self.reward(verdicts) == 1.0


class Filler:
    """Writes groups by scores and enters them."""

    def __init__(self, store: ReplayStore, run_id: str, task_of, trajectory_of) -> None:
        self.store, self.run_id, self.task_of, self.trajectory_of = store, run_id, task_of, trajectory_of
        for number in range(2, 6):
            store.policies.add(run_id, NewPolicy(number, None, number - 1, "finetune", f"x/v{number}", {}))
        self.versions = {p.number: p.id for p in store.policies.of(run_id)}

    def __call__(self, key, task: int, scores, *, kinds=("success", "policy"), policy=1, source=Source.POLICY) -> None:
        rows = [
            NewTrajectory(
                key,
                self.trajectory_of(self.task_of(task), source, attempt),
                policy,
                None if source is Source.EXPERT else self.versions[policy],
                scores=(ScoreRecord(GOAL, Verdict(Status.OK, score), 0.0),),
            )
            for attempt, score in enumerate(scores)
        ]
        self.store.trajectories.add(self.run_id, rows)
        for kind in kinds:
            self.store.replay.enter(self.run_id, Kind(kind), [key])


@pytest.fixture
def fill(store: ReplayStore, run_id: str, task_of, trajectory_of) -> Filler:
    return Filler(store, run_id, task_of, trajectory_of)


@pytest.fixture
def full(fill: Filler) -> ReplayStore:
    """By each of versions 1..4 attempts at ten tasks (3 of 4 succeed) and their relabels; a demonstration of each."""
    for task in range(10):
        fill(f"expert/{task}", task, [1.0], kinds=["expert"], source=Source.EXPERT)
        for policy in range(1, 5):
            fill(f"policy/{policy}/{task}", task, [0.0, 1.0, 1.0, 1.0], policy=policy)
            fill(f"hindsight/{policy}/{task}", task, [1.0], kinds=["hindsight"], policy=policy, source=Source.HINDSIGHT)
    return fill.store


def draw(store, run_id, *, policy=4, iteration=4, seed=0, judge=None, **changes):
    values = {"groups": 20, "quota": {"expert": 0.25, "success": 0.25, "hindsight": 0.5}, "max_age": 9}
    rng = np.random.default_rng(seed)
    mix = Mix(**(values | changes))
    return store.replay.sample(run_id, mix, judge or Judge(), rng, policy=policy, iteration=iteration)


def keys_of(drawn) -> list[str]:
    return [group.members[0].group for group in drawn]


def test_quota_and_whole_groups(full: ReplayStore, run_id: str) -> None:
    drawn = draw(full, run_id)
    assert Counter(group.kind for group in drawn) == {Kind.EXPERT: 5, Kind.SUCCESS: 5, Kind.HINDSIGHT: 10}
    assert len(set(keys_of(drawn))) == 20
    for group in drawn:
        assert [t.trajectory.attempt for t in group.members] == list(range(4 if group.kind is Kind.SUCCESS else 1))
        assert all(t.trajectory.segments and t.verdicts for t in group.members)
        assert group.importance_weight == 1.0


def test_the_same_key_is_the_same_draw(full: ReplayStore, run_id: str) -> None:
    assert keys_of(draw(full, run_id)) == keys_of(draw(full, run_id))
    assert keys_of(draw(full, run_id)) != keys_of(draw(full, run_id, seed=1))


def test_staleness_counts_versions_and_not_for_experts(full: ReplayStore, run_id: str) -> None:
    drawn = draw(full, run_id, groups=400, max_age=1)
    found = {kind: {g.members[0].policy_number for g in drawn if g.kind is kind} for kind in Kind}
    assert found == {Kind.EXPERT: {None}, Kind.SUCCESS: {3, 4}, Kind.HINDSIGHT: {3, 4}, Kind.POLICY: set()}


def test_old_groups_for_the_policy_loss_have_contrast_and_are_not_the_iterations_own(fill: Filler, run_id: str) -> None:
    fill("mixed", 0, [0.0, 1.0], policy=1)
    fill("all", 1, [1.0, 1.0], policy=1)
    fill("none", 2, [0.0, 0.0], policy=1)
    fill("fresh", 3, [0.0, 1.0], policy=2)
    quota = {"policy": 1.0}
    assert keys_of(draw(fill.store, run_id, quota=quota, policy=2, iteration=2)) == ["mixed"]
    assert sorted(keys_of(draw(fill.store, run_id, quota={"success": 1.0}, policy=2, iteration=2))) == [
        "all", "fresh", "mixed",
    ]  # fmt: skip


def test_caps_per_task_and_goal_and_filling_up(full: ReplayStore, run_id: str) -> None:
    drawn = draw(full, run_id, groups=1000, per_task=2)
    assert Counter(group.kind for group in drawn) == {Kind.EXPERT: 10, Kind.SUCCESS: 20, Kind.HINDSIGHT: 20}
    assert len(draw(full, run_id, groups=1000, per_goal=1)) == 3 * 10
    few = draw(full, run_id, groups=30, per_task=1, quota={"expert": 0.9, "success": 0.1})
    assert Counter(group.kind for group in few) == {Kind.EXPERT: 10, Kind.SUCCESS: 10}
    assert {g.kind for g in draw(full, run_id, groups=30, quota={"expert": 1.0, "success": 0.0})} == {Kind.EXPERT}


def test_held_out_and_pruned_and_retracted_groups_are_not_drawn(fill: Filler, run_id: str) -> None:
    fill("held out", 100, [1.0, 0.0])
    fill("old", 1, [1.0, 0.0], policy=1)
    fill("new", 2, [1.0, 0.0], policy=3)
    quota = {"success": 0.5, "policy": 0.5}
    assert sorted(keys_of(draw(fill.store, run_id, quota=quota))) == ["new", "new", "old", "old"]
    fill.store.upkeep.prune(run_id, before_iteration=2)
    assert keys_of(draw(fill.store, run_id, quota=quota)) == ["new", "new"]
    assert fill.store.upkeep.check() == []
    fill.store.verdicts.retract("goal", "1", "it was wrong")
    assert draw(fill.store, run_id, quota=quota) == []


def test_rare_surprising_and_recent_groups_come_first(fill: Filler, run_id: str) -> None:
    for task in range(8):
        fill(f"easy/{task}", task, [1.0] * 7 + [0.0], policy=1)
        fill(f"rare/{task}", task, [1.0] + [0.0] * 7, policy=1)
        fill(f"even/{task}", task, [1.0] * 4 + [0.0] * 4, policy=1)
        fill(f"late/{task}", task, [1.0] * 7 + [0.0], policy=4)

    def shares(**changes) -> Counter:
        found: Counter = Counter()
        for seed in range(30):
            drawn = draw(fill.store, run_id, groups=4, quota={"success": 1.0}, seed=seed, **changes)
            found.update(key.split("/")[0] for key in keys_of(drawn))
        return found

    uniform = shares(recency=0.0)
    assert all(15 <= uniform[name] <= 45 for name in ("easy", "rare", "even", "late"))
    assert shares(recency=0.0, rarity=3.0)["rare"] > 60
    assert shares(recency=0.0, surprise=6.0)["even"] > 90
    assert shares(recency=4.0)["late"] > 90


def test_a_prioritized_draw_carries_weights(fill: Filler, run_id: str) -> None:
    for task in range(10):
        fill(f"rare/{task}", task, [1.0, 0.0, 0.0, 0.0])
        fill(f"easy/{task}", task, [1.0, 1.0, 1.0, 0.0])
    drawn = draw(fill.store, run_id, groups=10, quota={"success": 1.0}, rarity=1.0, correction=1.0)
    weights = {
        name: {g.importance_weight for g in drawn if g.members[0].group.startswith(name)} for name in ("rare", "easy")
    }
    assert weights["easy"] == {1.0}  # the least likely weigh most
    assert max(weights["rare"]) < 1.0


def test_importance_weights_make_a_priority_sample_unbiased() -> None:
    rng = np.random.default_rng(0)
    values, payload = rng.uniform(0.05, 1.0, 200), rng.normal(size=200)
    payload += 2 * values  # so that the priorities alone would mislead
    reach = np.where(np.arange(200) % 2, 1.0, 0.5)
    means = {0.0: [], 1.0: []}
    for _ in range(2000):
        there = np.flatnonzero(rng.uniform(size=200) < reach)
        keys = draws.keys(values[there] / reach[there], rng)
        order = np.argsort(-keys)
        chosen, threshold = there[order[:60]], keys[order[60]]
        for correction, found in means.items():
            weights = draws.importance_weights(values[chosen] / reach[chosen], reach[chosen], threshold, correction)
            assert 0 < weights.min() <= weights.max() == 1.0
            found.append(np.average(payload[chosen], weights=weights))
    assert np.mean(means[1.0]) == pytest.approx(payload.mean(), abs=0.02)
    assert np.mean(means[0.0]) > payload.mean() + 0.2


def test_entering_twice_is_entering_once_and_places_are_dense(fill: Filler, run_id: str) -> None:
    for task in range(5):
        fill(f"g/{task}", task, [1.0], kinds=["success", "success"])
    drawn = draw(fill.store, run_id, groups=10, quota={"success": 1.0})
    assert sorted(keys_of(drawn)) == [f"g/{task}" for task in range(5)]
    assert fill.store.upkeep.check() == []


def test_a_group_that_is_not_there_cannot_enter(fill: Filler, run_id: str) -> None:
    with pytest.raises(StoreError, match="does not have: 'nothing'"):
        fill.store.replay.enter(run_id, Kind.SUCCESS, ["nothing"])


def test_of_a_large_pool_every_group_can_be_drawn(fill: Filler, run_id: str) -> None:
    for i in range(60):
        fill(f"g/{i}", i % 10, [1.0], kinds=["success"])
    seen = {
        key
        for seed in range(60)
        for key in keys_of(draw(fill.store, run_id, groups=5, quota={"success": 1.0}, seed=seed))
    }
    assert len(seen) == 60


def test_nothing_there_is_an_empty_draw(store: ReplayStore, run_id: str) -> None:
    assert draw(store, run_id) == []


@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from([0.0, 0.25, 1.0, 3.0])), min_size=1, max_size=6),
    st.integers(0, 80),
)
def test_allotting_gives_all_that_there_is_and_no_more(pools, count: int) -> None:
    sizes, weights = (np.array(column) for column in zip(*pools, strict=True))
    taken = draws.allot(sizes, weights, count)
    assert (taken >= 0).all()
    assert (taken <= sizes).all()
    assert taken.sum() == min(count, sizes[weights > 0].sum())
    assert not taken[weights == 0].any()
    free = (taken < sizes) & (weights > 0)
    if free.sum() > 1:  # in proportion, but for rounding
        rates = taken[free] / (sizes[free] * weights[free])
        slack = 1 / (sizes[free] * weights[free])
        assert (rates.max() - rates.min()) <= 2 * slack.max()
