"""What is not finite, out of range or too large for the memory is named or got round, and never learned from."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from journeyman.agent.data import Segment
from journeyman.agent.errors import JourneymanError, SettingsError
from journeyman.agent.learning import losses
from journeyman.agent.learning.advantages.attempts import Attempt
from journeyman.agent.learning.advantages.batch import ReinforceEstimator, ReinforcePlusPlusEstimator
from journeyman.agent.learning.advantages.gigpo import GigpoEstimator
from journeyman.agent.learning.advantages.group import group_advantages
from journeyman.agent.learning.advantages.rloo import leave_one_out_advantages
from journeyman.agent.learning.advantages.turns import TurnEstimator
from journeyman.agent.learning.figures import means, ratios
from journeyman.agent.learning.forward import halves
from journeyman.agent.learning.forward.scoring import Scorer
from journeyman.agent.learning.hardware.ranks import Ranks
from journeyman.agent.learning.learner import Learner, LearnerSettings, TrainingRow
from journeyman.agent.learning.objective import Fixed

SETTINGS = LearnerSettings(learning_rate=1e-2, device="cpu")
OUT_OF_MEMORY = "DefaultCPUAllocator: can't allocate memory"


def segment_of(prompt, tokens, behaviour=-3.0):
    logprobs = None if behaviour is None else np.full(tokens, behaviour, np.float32)
    return Segment(
        np.arange(prompt, dtype=np.int32) % 31, np.arange(tokens, dtype=np.int32) % 31, np.ones(tokens, bool), logprobs
    )


def weights(learner):
    return torch.cat([p.detach().flatten() for p in learner.model.parameters()])


def test_gradients_have_the_same_bits_on_two_threads(llama):
    """Siblings share the position that predicts their first tokens: so large that PyTorch deals it to threads."""
    model = llama(hidden_size=128)
    rng = np.random.default_rng(0)
    prompt, mask = np.arange(9, dtype=np.int32), np.ones(64, bool)
    segments = [Segment(prompt, rng.integers(0, 31, 64).astype(np.int32), mask, None) for _ in range(8)]
    scorer = Scorer(model, torch.float32, 1.0)
    hidden = torch.randn(1, 700, 128, requires_grad=True)
    scorer.halves.hidden = lambda *_: hidden
    torch.set_num_threads(2)
    (rows,) = scorer.plan(segments, range(8))
    _, hidden_NH = scorer.hidden(segments, rows)
    upstream = torch.randn(hidden_NH.shape)
    found = {
        torch.autograd.grad(hidden_NH, hidden, upstream, retain_graph=True)[0].numpy().tobytes() for _ in range(300)
    }
    assert len(found) == 1


@pytest.mark.parametrize("masked", [-np.inf, torch.finfo(torch.float32).min])
def test_a_masked_vocabulary_has_an_entropy(llama, masked, monkeypatch):
    model = llama()
    scorer = Scorer(model, torch.float32, 0.7)
    plain = scorer.halves.logits

    def ruled_out(hidden_NH):
        logits_NV = plain(hidden_NH).clone()
        logits_NV[:, 20:] = masked
        return logits_NV

    monkeypatch.setattr(scorer.halves, "logits", ruled_out)
    segment = segment_of(4, 6)
    logprobs, entropies = scorer.logprobs_and_entropies([segment], [0])
    batch, hidden_NH = scorer.hidden([segment], scorer.plan([segment], [0])[0])
    kept = (plain(hidden_NH)[:, :20] / 0.7).log_softmax(-1).detach()
    np.testing.assert_allclose(entropies[0], -(kept.exp() * kept).sum(-1), rtol=1e-5)
    np.testing.assert_allclose(logprobs[0], kept.gather(-1, batch.targets_N[:, None])[:, 0], rtol=1e-5)
    logits = torch.tensor([[1.0, masked, 2.0]])
    assert halves.close(logits, logits.clone())
    assert not halves.close(logits, torch.tensor([[1.0, masked, 4.0]]))


def test_ratios_beyond_every_number_make_finite_statistics(policy):
    rows = [TrainingRow(segment_of(4, 30, -10.0), 1.0), TrainingRow(segment_of(4, 40), 1.0)]
    stats = Learner(policy, replace(SETTINGS, correction_level="sequence")).update(rows, seed=0).stats
    assert "raw_correction" in stats
    assert all(np.isfinite(value) for value in stats.values())
    raw, weight = losses.sampler_correction(torch.zeros(1, 2), torch.full((1, 2), -1e4), torch.ones(1, 2))
    assert raw.isfinite().all()
    assert weight.tolist() == [[3.0, 3.0]]
    told = means(
        {"policy_tokens": 2.0, "ratio": float("nan"), "kl": 1.0, "loss": float("inf"), "policy_loss": 1.0}, [1.0]
    )
    assert told == {"grad_norm": 1.0, "policy_loss": 1.0, "steps": 1.0}


def test_a_row_without_chosen_tokens_has_no_ratio():
    none = TrainingRow(
        replace(segment_of(2, 3), loss_mask=np.zeros(3, bool), behaviour_logprobs=np.zeros(0, np.float32)), 1.0
    )
    rows = [none, TrainingRow(segment_of(2, 3, 0.0), 1.0), TrainingRow(segment_of(2, 3, -1e5), 1.0)]
    start = {0: np.zeros(0, np.float32), 1: np.zeros(3, np.float32), 2: np.zeros(3, np.float32)}
    assert ratios(rows, Fixed(start, None)) == {1: 1.0}


def test_a_trust_region_is_tried_again_in_smaller_pieces_and_an_error_moves_nothing(policy, monkeypatch):
    config = replace(SETTINGS, optimizer="trust_region", micro_batch_tokens=400)
    rows = [TrainingRow(segment_of(4 + i, 6), float(i % 3 - 1)) for i in range(12)]
    expected, learner = Learner(policy, config), Learner(policy, config)
    for one in (expected, learner):
        one.model.double()  # conjugate gradient makes much of rounding, which differs between micro-batches
    expected.update(rows, seed=0)
    region, product = learner._region, learner._region._product

    def limited(vector_D, segments, some):
        if len(some) > 2:
            raise RuntimeError(OUT_OF_MEMORY)
        return product(vector_D, segments, some)

    monkeypatch.setattr(region, "_product", limited)
    before = weights(learner).clone()
    with monkeypatch.context() as failing:
        failing.setattr(region, "_mean_kl", lambda *_: (_ for _ in ()).throw(RuntimeError("no")))
        with pytest.raises(RuntimeError, match="no"):
            learner.update(rows, seed=0)
    assert torch.equal(weights(learner), before)
    stats = learner.update(rows, seed=0, epochs=3).stats
    assert torch.allclose(weights(learner), weights(expected), atol=1e-7)
    assert "flops_utilisation" not in stats
    tokens = sum(len(r.segment.prompt_ids) + len(r.segment.completion_ids) for r in rows)
    assert stats["tokens_per_second"] * stats["seconds"] == pytest.approx(tokens)


def test_a_budget_that_fits_is_kept(llama):
    scorer, segments = Scorer(llama(), torch.float32, 1.0, 60).plainly(), [segment_of(4 + i, 6) for i in range(8)]
    scorer._budget.tokens = 60

    def make(rows, _):
        if sum(row.length for row in rows) > 30:
            raise MemoryError

    scorer.passes(segments, range(8), make)
    assert scorer.token_budget <= 30
    assert scorer.at(2.0).token_budget == scorer.token_budget


def test_ranks_share_groups_without_more_copies_of_a_prompt_than_there_are_ranks(llama):
    scorer = Scorer(llama(), torch.float32, 1.0, 4_000)
    if not scorer.work.shares_prompts:
        pytest.skip("this model takes no spans")
    for groups in (1, 4):
        segments = [segment_of(100 + g, 8) for g in range(groups) for _ in range(8)]
        counted = []
        for rank in (0, 1):
            scorer.ranks = Ranks(rank, 2)
            counted.append(scorer.passes(segments, range(len(segments)), lambda rows, _: sum(r.length for r in rows)))
        assert [len(found) for found in counted] == [1, 1]
        assert max(map(sum, counted)) < sum(100 + g + 56 for g in range(groups))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"behaviour_logprobs": np.full(4, np.nan, np.float32)}, "row 0: behaviour log-probs"),
        ({"loss_mask": np.ones(6, bool)}, "row 0 has 4 completion tokens, but a loss mask of 6"),
        ({"loss_mask": np.ones(3, bool)}, "row 0 has 4 completion tokens, but a loss mask of 3"),
        ({"completion_ids": np.array([1, 2, 100_000, 3], np.int32)}, "segment 0: token id 100000 of its completion"),
        ({"prompt_ids": np.array([-1, 2], np.int32)}, "segment 0: token id -1 of its prompt"),
    ],
)
def test_rows_that_cannot_be_are_named(policy, change, says):
    with pytest.raises(ValueError, match=says):
        Learner(policy, SETTINGS).update([TrainingRow(replace(segment_of(3, 4), **change), 1.0)], seed=0)


@pytest.mark.parametrize(
    "change",
    [
        {"loss": "bogus"},
        {"eps": -1.0},
        {"max_grad_norm": 0.0},
        {"max_completion": 0},
        {"entropy_weight": -1.0},
        {"value_clip": -1.0},
        {"micro_batch_tokens": -5},
        {"learning_rate": float("nan")},
        {"betas": (0.9, 1.0)},
        {"correction_min": 5.0, "correction_max": 3.0},
    ],
)
def test_settings_that_cannot_work_are_refused(change):
    with pytest.raises(SettingsError, match=next(iter(change))):
        replace(SETTINGS, **change)


@pytest.mark.parametrize("reward", [np.nan, np.inf])
def test_rewards_that_are_not_finite_are_named(reward):
    rewards, groups = [1.0, reward, None], ["a", "a", "a"]
    for scale in ("group", "batch", "none"):
        with pytest.raises(ValueError, match=f"reward 1 is {reward}"):
            group_advantages(rewards, groups, scale)
    with pytest.raises(ValueError, match="reward 1 is"):
        leave_one_out_advantages(rewards, groups)
    attempts = [Attempt("a", one, np.zeros(2, np.intp), (0.0,)) for one in rewards]
    for estimator in (ReinforceEstimator(), ReinforcePlusPlusEstimator(), TurnEstimator(), GigpoEstimator()):
        with pytest.raises(ValueError, match="1"):
            estimator.credit(attempts)


def test_estimators_credit_those_that_have_a_reward_and_hold_them_against_all():
    one, two = np.zeros(1, np.intp), np.zeros(0, np.intp)
    found = ReinforceEstimator(0.1).credit([Attempt("a", r, one, (0.0,)) for r in (1.0, None, 0.0)])
    assert [c.advantages_N.item() for c in found] == pytest.approx([0.6, 0.0, -0.4])
    silent, other = GigpoEstimator().credit([Attempt("a", 1.0, two, ()), Attempt("a", 0.0, one, (0.0,))])
    assert len(silent.advantages_N) == 0
    assert other.advantages_N.item() == pytest.approx(-0.707, abs=1e-3)
    for kind in (TurnEstimator, GigpoEstimator, ReinforcePlusPlusEstimator):
        with pytest.raises(SettingsError, match=r"estimator.discount is 5: it must be in \[0, 1\]"):
            kind(discount=5)


def test_neither_policy_nor_critic_moves_where_one_gradient_is_not_finite(policy):
    learner = Learner(policy, replace(SETTINGS, critic="head", value_weight=1e-30))
    learner.critic.head.weight.register_hook(lambda grad: grad * torch.nan)
    before = weights(learner).clone()
    row = TrainingRow(segment_of(3, 4), 1.0, value=np.ones(4, np.float32))
    with pytest.raises(JourneymanError, match="the critic's gradient is nan"):
        learner.update([row], seed=0)
    assert torch.equal(weights(learner), before)
    assert not learner.optimizer.state


def test_a_critics_own_model_computes_its_layers_anew(policy):
    learner = Learner(policy, replace(SETTINGS, critic="model", activation_checkpointing=True))
    assert any("forward" in vars(module) for module in learner.critic.trunk.modules())


def test_gradients_and_the_learner_before_are_let_go(policy, tmp_path, monkeypatch):
    import weakref

    from journeyman.agent.learning import learner as home

    learner = Learner(policy, replace(SETTINGS, activation_checkpointing=True, critic="model"))
    learner.update([TrainingRow(segment_of(3, 4), nll=1.0)], seed=0)
    saved = learner.save(tmp_path / "v1", 1)
    assert all(p.grad is None for p in learner.model.parameters())
    old, load = [weakref.ref(learner.model), weakref.ref(learner.critic)], home.trainable_model

    def loading(*told):
        assert [ref() for ref in old] == [None, None]
        return load(*told)

    monkeypatch.setattr(home, "trainable_model", loading)
    learner.restore(saved)
