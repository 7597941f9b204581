"""Credit in real small runs: what estimators need is measured, what they make is learned, and all of it is stored."""

from __future__ import annotations

import numpy as np
import pytest

from journeyman.agent.data import Source
from journeyman.agent.errors import UsageError
from journeyman.agent.learning.advantages.group import group_advantages
from journeyman.workflows.attempts.attempts import attempts_of
from journeyman.workflows.attempts.versions import start_of
from journeyman.workflows.console import Reporter
from journeyman.workflows.expert_iteration import expert_iteration
from journeyman.workflows.session.checking import check
from journeyman.workflows.session.engines import open_estimator
from journeyman.workflows.session.runs import start_run
from journeyman.workflows.session.session import lend
from journeyman.workflows.settings.loading import load_settings, parse_settings
from journeyman.workflows.updates.closeness import kl_weight
from journeyman.workflows.updates.credit import credited
from journeyman.workflows.updates.lessons import lessons

PPO = ["estimator.name=gae", "critic.kind=head"]
SMALL = {
    "environment": {"name": "bit_flipping", "bits": 3},
    "tasks": {"train": 30, "validation": 6, "test": 4},
    "model": {"hidden": 32, "layers": 2},
    "sampler": {"kind": "transformers"},
    "warm_start": {"demonstrations": 24, "max_epochs": 40, "check_every": 40, "batch": 4, "learning_rate": 3e-3},
    "generate": {"tasks": 8, "attempts": 6, "max_tokens": 48},
    "relabel": {"strategies": []},
    "replay": {"groups": 0},
    "finetune": {"batch": 24, "epochs": 2},
    "evaluate": {"attempts": 2, "margin": -1.0},
    "estimator": {"name": "gae", "discount": 0.9, "lam": 0.9},
    "critic": {"kind": "head"},
    "kl": {"weight": 0.01, "place": "reward", "schedule": "adaptive", "target": 1e-6},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Two iterations of PPO with the KL in the reward."""
    folder = tmp_path_factory.mktemp("ppo")
    places = {
        "run": {"name": "ppo", "iterations": 2, "engine": "none", "output": str(folder)},
        "store": {"url": f"sqlite:///{folder}/store.db", "artifacts": str(folder / "artifacts")},
    }
    ref = start_run(parse_settings(places | SMALL, "the test"))
    expert_iteration(ref, Reporter(quiet=True))
    with lend(ref, Reporter(quiet=True)) as session:
        yield session


def learner_of(session):
    """With the weights that the first iteration begins with."""
    return session.learner(start_of(session, 1))


def test_ppo_trains_its_critic_and_saves_it(finished) -> None:
    policies = finished.store.policies.of(finished.run.id)
    first, second = policies[1].stats, policies[2].stats
    assert first["explained_variance"] == pytest.approx(0.0, abs=1e-6)  # a new head foresees 0 everywhere
    assert second["explained_variance"] != 0.0
    assert first["value_loss"] > 0
    folder = finished.artifacts / policies[2].path
    assert {"critic.safetensors", "critic_optimizer.safetensors"} <= {p.name for p in (folder / "learner").iterdir()}


def test_the_kl_of_the_reward_is_measured_and_moves_its_weight(finished) -> None:
    policies = finished.store.policies.of(finished.run.id)
    assert policies[1].stats["kl"] == pytest.approx(0.0, abs=1e-6)  # the first update begins at the reference
    assert policies[1].stats["kl_weight"] == 0.01
    moved = policies[2].stats["kl"]  # what the first update did, known before the second
    assert moved > 1.5e-6
    assert policies[2].stats["kl_weight"] == 0.02  # far above its target: doubled at once
    assert kl_weight(finished, 2, moved) == 0.02
    assert kl_weight(finished, 2, 1.2e-6) == 0.01
    assert kl_weight(finished, 2, 0.5e-6) == 0.005
    assert kl_weight(finished, 3) == 0.04  # where nothing is measured, by the parent's


def test_credit_is_of_every_token_and_ends_where_the_reward_is(finished) -> None:
    chosen = [t for t in attempts_of(finished, 1) if len(t.trajectory.turns) > 1][:4]
    rewards = [finished.rubric.reward(t.verdicts) for t in chosen]
    found = credited(finished, 1, learner_of(finished), chosen, rewards, [t.group_id for t in chosen])
    for stored, (attempt, credit) in zip(chosen, found, strict=True):
        tokens = sum(int(s.loss_mask.sum()) for s in stored.trajectory.segments)
        assert credit.advantages_N.shape == attempt.values_N.shape == (tokens,)
        if not attempt.truncated:
            last = attempt.penalties()[-1] + attempt.reward
            assert credit.returns_N[-1] == pytest.approx(last, abs=1e-9)


def test_an_attempt_without_a_reward_is_masked(finished) -> None:
    chosen = attempts_of(finished, 1)[:3]
    found = credited(finished, 1, learner_of(finished), chosen, [1.0, None, 0.0], ["g"] * 3)
    assert not found[1].credit.advantages_N.any()
    assert found[1].credit.returns_N is None
    assert found[0].credit.returns_N is not None


def test_demonstrations_join_their_tasks_groups(finished, monkeypatch) -> None:
    """LUFFY: with the mean of the group they are compared in, a shaped ratio, and no log-probs of their own."""
    tune = finished.settings.finetune.model_copy(update={"experts": "group"})
    settings = finished.settings.model_copy(
        update={"finetune": tune, "estimator": {"name": "group"}, "kl": type(finished.settings.kl)()}
    )
    monkeypatch.setattr(finished, "settings", settings)
    monkeypatch.setitem(vars(finished), "estimator", open_estimator(settings))
    fresh = attempts_of(finished, 1)
    found = lessons(finished, 1, learner_of(finished), fresh, [])
    shown = [one for one in found if one.stored.trajectory.source is Source.EXPERT]
    assert shown
    groups = [one.attempt.group for one in found]
    expected = group_advantages([one.reward for one in found], groups)
    np.testing.assert_allclose([one.mean_advantage for one in found], expected)
    rows = [row for one in shown for row in one.rows(1.0)]
    assert all(row.shaped and row.segment.behaviour_logprobs is None and row.policy is not None for row in rows)
    assert not any(row.shaped for one in found if one not in shown for row in one.rows(1.0))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["estimator.name=gae"], "estimator 'gae' needs a critic: set critic.kind"),
        (["estimator.name=gea"], "unknown estimator 'gea': did you mean 'gae'"),
        (["estimator.scale=none"], "estimator 'group' has no option 'scale'"),
        (["kl.schedule=adaptive"], "an adaptive schedule needs `kl.target`"),
        (["kl.weight=0.1", "kl.target=0.1"], "set `kl.schedule` to 'adaptive'"),
        (["kl.weight=0.1", "kl.final=0.1"], "set `kl.schedule` to 'linear'"),
        (["kl.weight=0.1", "finetune.policy_weight=0"], "kl.weight: no update has a policy loss"),
        (["finetune.objective=bc", *PPO, "kl.weight=1"], "kl.weight and critic.kind: no update has a policy loss"),
        (["critic.kind=head"], "critic.kind: estimator 'group' asks no critic"),
        (["finetune.hindsight_loss=grpo"], "single relabels have no siblings"),
        (["finetune.begin=v2"], "finetune.begin is 'v2', which a run does not have"),
        (
            ["finetune.begin=v1", "kl.schedule=adaptive", "kl.target=0.1", "kl.weight=0.1"],
            "an adaptive kl.schedule steers from update to update",
        ),
    ],
)
def test_what_cannot_work_is_said_before_a_run_begins(small, overrides, message) -> None:
    with pytest.raises(UsageError, match=message):
        check(load_settings(small, overrides))


def test_a_linear_schedule_may_begin_without_a_kl(watched) -> None:
    session = watched.open(
        run={"name": "watched", "engine": "none", "output": str(watched.folder), "iterations": 3},
        kl={"weight": 0.0, "schedule": "linear", "final": 0.2, "place": "reward"},
    )
    assert session.settings.kl.asked
    assert [kl_weight(session, i) for i in range(1, 4)] == pytest.approx([0.0, 0.1, 0.2])


def test_only_the_policys_own_attempts_say_how_far_it_is(finished) -> None:
    own = [t for t in attempts_of(finished, 2) if t.trajectory.segments][:3]
    older = [t for t in attempts_of(finished, 1) if t.trajectory.segments][:3]
    learner = finished.learner(start_of(finished, 2))
    rewards = [0.0] * 3
    alone = credited(finished, 2, learner, own, rewards, ["g"] * 3)
    both = credited(finished, 2, learner, own + older, rewards * 2, ["g"] * 3 + ["h"] * 3)
    stale = credited(finished, 2, learner, older, rewards, ["h"] * 3)
    assert {a.kl_weight for a, _ in alone} == {a.kl_weight for a, _ in both}
    assert {a.kl_weight for a, _ in stale} == {kl_weight(finished, 2)}  # by the parent's word: nothing fresh is there


def test_a_linear_schedule_ends_at_its_final_weight(watched) -> None:
    session = watched.open(
        run={"name": "watched", "engine": "none", "output": str(watched.folder), "iterations": 5},
        kl={"weight": 0.4, "schedule": "linear", "final": 0.0},
    )
    assert [kl_weight(session, i) for i in range(1, 6)] == pytest.approx([0.4, 0.3, 0.2, 0.1, 0.0])
