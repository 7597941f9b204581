"""TRPO's step is that of the paper, with the whole Fisher matrix made and solved in float64; it stays in its region."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from plain_learning import doubled, gradient, joined, logits, logprobs, trained

from journeyman.agent.errors import SettingsError, UsageError
from journeyman.agent.learning import trust_region
from journeyman.agent.learning.forward import scoring
from journeyman.agent.learning.learner import Learner, LearnerSettings, TrainingRow
from journeyman.agent.learning.rows import minibatches
from journeyman.agent.learning.trust_region import TrustRegion

SETTINGS = LearnerSettings(
    optimizer="trust_region", trust_iterations=200, temperature=0.8, learning_rate=1e-2, device="cpu"
)


@pytest.fixture(scope="module")
def small(policy_of):
    """Few enough weights that their Fisher matrix can be written down."""
    return policy_of(hidden_size=8, num_hidden_layers=1, intermediate_size=12, num_attention_heads=2)


def rows_of(segments, seed=0):
    """Advantages of rows and of tokens, rows that no verifier could score, and imitated ones."""
    chance = np.random.default_rng(seed)
    rows = [TrainingRow(replace(segments[0], behaviour_logprobs=None), nll=0.3)]
    for i, segment in enumerate(segments):
        trained_tokens = int(segment.loss_mask.sum())
        of_tokens = chance.normal(size=trained_tokens).astype(np.float32)
        rows.append(TrainingRow(segment, [float(chance.normal()), of_tokens, 0.0][i % 3], nll=0.2 * (i % 2)))
    return rows


class Paper:
    """The step as the paper (arXiv:1502.05477, section 6 and appendix C) has it, of one model in float64."""

    def __init__(self, model, rows, settings):
        self.model, self.rows, self.settings = model, rows, settings
        self.measured = [row for row in rows if row.policy is not None]
        self.start = [self.of(row, logprobs).detach() for row in rows]
        self.before = self.distributions().detach()

    def of(self, row, function):
        return function(self.model, row.segment, self.settings.temperature)[torch.from_numpy(row.segment.loss_mask)]

    def distributions(self):
        """(N, V) at all tokens of the policy loss."""
        return torch.cat([self.of(row, logits) for row in self.rows if row.policy is not None]).log_softmax(-1)

    def loss(self):
        """Mean over rows of the mean over tokens of -ratio x advantage x correction, and the NLL's mean over tokens."""
        policy = [row for row in self.rows if row.policy is not None]
        told = sum(np.count_nonzero(row.per_token(row.nll)) for row in self.rows)
        total = torch.zeros((), dtype=torch.float64)
        for row, start in zip(self.rows, self.start, strict=True):
            now = self.of(row, logprobs)
            total -= (now * torch.tensor(row.per_token(row.nll).astype(np.float64))).sum() / max(told, 1)
            if row.policy is not None and row.trained_tokens:
                behaviour = torch.tensor(row.segment.behaviour_logprobs.astype(np.float64))
                correction = (start - behaviour).exp().clamp(max=self.settings.correction_max)
                advantages = torch.tensor(row.per_token(row.policy).astype(np.float64))
                total -= ((now - start).exp() * advantages * correction).mean() / len(policy)
        return total

    def fisher(self):
        """(D, D) the mean of J^T (diag(p) - p p^T) J, without damping."""
        at = torch.cat([self.of(row, logits) for row in self.measured])
        total = 0.0
        for position in at:
            jacobian_VD = torch.stack([gradient(logit, trained(self.model)) for logit in position])
            p = position.detach().softmax(-1)
            total = total + jacobian_VD.T @ (torch.diag(p) - torch.outer(p, p)) @ jacobian_VD
        return total / len(at)

    def step(self):
        """(the change of the weights, its KL, by how much the loss fell, halvings)."""
        weights, loss = trained(self.model), self.loss()
        damped = self.fisher()
        damped += self.settings.trust_damping * torch.eye(len(damped), dtype=torch.float64)
        x = torch.linalg.solve(damped, -gradient(loss, weights))
        full = (2 * self.settings.trust_delta / (x @ damped @ x)).sqrt() * x
        for halvings in range(11):
            self.move(full / 2**halvings)
            gain = (loss - self.loss()).item()
            kl = (self.before.exp() * (self.before - self.distributions())).sum(-1).mean().item()
            if gain > 0 and kl <= self.settings.trust_delta:
                return full / 2**halvings, kl, gain, halvings
            self.move(-full / 2**halvings)
        raise AssertionError("the gradient is no way down")

    @torch.no_grad()
    def move(self, change):
        weights = trained(self.model)
        for weight, part in zip(weights, change.split([w.numel() for w in weights]), strict=True):
            weight.add_(part.view_as(weight))


def region_step(learner, rows):
    """(the change of the weights, the statistics) of an update in float64, so that what could differ are formulas."""
    learner.model.double()
    before = joined(trained(learner.model))
    stats = learner.update(rows, seed=0, minibatch_rows=3, epochs=4).stats
    return joined(trained(learner.model)) - before, stats


@pytest.mark.parametrize(("delta", "damping", "halved"), [(0.01, 0.1, 0), (0.3, 0.03, 1), (0.3, 0.01, 2)])
def test_the_step_is_the_papers(small, segments_of, delta, damping, halved):
    config = replace(SETTINGS, trust_delta=delta, trust_damping=damping)
    learner, rows = Learner(small, config), rows_of(segments_of(8, groups=1))
    change, kl, gain, halvings = Paper(doubled(learner.model), rows, config).step()
    found, stats = region_step(learner, rows)
    assert (found - change).norm() <= 1e-5 * change.norm()
    assert stats["kl_step"] == pytest.approx(kl, rel=1e-3)
    assert stats["surrogate_gain"] == pytest.approx(gain, rel=1e-3)
    assert (stats["backtracks"], stats["steps"]) == (halvings, 1.0) == (halved, 1.0)


def test_the_fisher_matrix_may_be_that_of_some_rows_and_the_kl_is_of_all(small, segments_of):
    config = replace(SETTINGS, trust_rows=2, trust_delta=0.05)
    learner, rows = Learner(small, config), rows_of(segments_of(8, groups=1))
    paper = Paper(doubled(learner.model), rows, config)
    assert len(paper.measured) == 3
    paper.measured = paper.measured[::2]  # two of three, evenly
    change, kl, _, halvings = paper.step()
    found, stats = region_step(learner, rows)
    assert (found - change).norm() <= 1e-5 * change.norm()
    assert (stats["kl_step"], stats["backtracks"]) == (pytest.approx(kl, rel=1e-3), halvings)
    assert stats["kl_step"] <= 0.05


def test_an_adapters_step_is_the_papers_in_the_adapters_weights(small, segments_of):
    config = replace(SETTINGS, lora_rank=1, lora_alpha=4)
    learner, rows = Learner(small, config), rows_of(segments_of(8, groups=1))
    learner.update([TrainingRow(row.segment, nll=1.0) for row in rows], seed=0, epochs=3)  # AdamW: B is no longer 0
    frozen = {n: p.clone() for n, p in learner.model.named_parameters() if not p.requires_grad}
    change, kl, _, halvings = Paper(doubled(learner.model), rows, config).step()
    found, stats = region_step(learner, rows)
    assert (found - change).norm() <= 1e-5 * change.norm()
    assert (stats["kl_step"], stats["backtracks"]) == (pytest.approx(kl, rel=1e-3), halvings)
    assert all(torch.equal(p, frozen[n].double()) for n, p in learner.model.named_parameters() if n in frozen)


@pytest.mark.parametrize("loss", ["bnpo", "dr_grpo", "dapo", "gspo"])
def test_it_stays_in_its_region_and_improves_by_every_surrogate(policy, segments_of, loss):
    config = replace(SETTINGS, loss=loss, max_completion=7, trust_iterations=10, trust_delta=0.02)
    rows = rows_of(segments_of(7, groups=4))
    learner = Learner(policy, config)
    start = Paper(doubled(learner.model), rows, config)
    stats = learner.update(rows, seed=0).stats
    moved = Paper(doubled(learner.model), rows, config)
    kl = (start.before.exp() * (start.before - moved.before)).sum(-1).mean().item()
    assert 0 < kl <= 0.02 * (1 + 1e-4)
    assert stats["kl_step"] == pytest.approx(kl, rel=1e-2)
    assert stats["surrogate_gain"] > 0
    assert stats["clip_fraction"] == 0.0


def test_layouts_micro_batches_and_chunks_do_not_matter(small, segments_of, monkeypatch):
    """Of the solution: before it is reached, conjugate gradient makes much of every rounding."""
    rows, found = rows_of(segments_of(11, groups=2)), []
    for tokens, held in ((100_000, 2**25), (1, 5 * 31), (40, 2**25)):
        monkeypatch.setattr(scoring, "LOGIT_ELEMENTS", held)
        monkeypatch.setattr(trust_region, "LOGIT_ELEMENTS", held)
        learner = Learner(small, replace(SETTINGS, micro_batch_tokens=tokens))
        found.append(region_step(learner, rows)[0])
    for other in found[1:]:
        assert (other - found[0]).norm() <= 1e-5 * found[0].norm()


def test_where_nothing_can_improve_no_step_is_made(small, segments_of):
    segments = segments_of(4)
    learner = Learner(small, SETTINGS)
    before = joined(trained(learner.model))
    stats = learner.update([TrainingRow(s, 0.0) for s in segments], seed=0).stats
    assert torch.equal(joined(trained(learner.model)), before)
    assert (stats["steps"], stats["kl_step"], stats["surrogate_gain"], stats["backtracks"]) == (0.0, 0.0, 0.0, 0.0)

    scorer = scoring.Scorer(learner.model, torch.float32, 1.0)
    weights = trained(learner.model)
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    made = TrustRegion(scorer, weights, SETTINGS).step([s for s in segments if s.loss_mask.any()], lambda: 1.0)
    assert made == (0.0, 0.0, 10, False)
    assert torch.equal(joined(weights), before)


def test_the_critic_learns_in_its_own_steps(small, segments_of):
    """An update is one step of the policy, and as many of the critic as its epochs and minibatches are."""
    rows = [
        replace(row, value=np.full(row.trained_tokens, 1.0, np.float32))
        for row in rows_of(segments_of(7, groups=4))
        if row.policy is not None
    ]
    learner = Learner(small, replace(SETTINGS, critic="model", critic_learning_rate=1e-2))
    steps, step = [], learner.critic.optimizer.step
    learner.critic.optimizer.step = lambda: (steps.append(1), step())
    stats = learner.update(rows, seed=0, minibatch_rows=4, epochs=6).stats
    assert len(steps) == sum(len(minibatches(rows, 4, seed=0, epoch=epoch)) for epoch in range(6))
    assert 0 < stats["value_loss"] < 0.5  # half the squared error of a new critic, less and less
    values = learner.critic.values([row.segment for row in rows], range(len(rows)))
    assert np.abs(np.concatenate(list(values.values())) - 1.0).mean() < 0.5


def test_an_update_that_only_imitates_is_adamws(small, segments_of):
    rows = [TrainingRow(s, nll=1.0) for s in segments_of(6, groups=3, logprobs=False)]
    found = []
    for config in (SETTINGS, replace(SETTINGS, optimizer="adamw")):
        learner = Learner(small, config)
        stats = learner.update(rows, seed=0, minibatch_rows=4, epochs=2).stats
        found.append(joined(trained(learner.model)))
        assert "kl_step" not in stats
    assert torch.equal(*found)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "cispo", "eps_high": 5.0}, "'cispo' is not ratio x advantage, which a trust region improves"),
        ({"loss": "reinforce"}, "set it to one of grpo, bnpo, dr_grpo, dapo, gspo, or the optimizer to 'adamw'"),
        ({"critic": "head"}, "a critic of kind 'head' learns through the policy's weights"),
        ({"trust_delta": 0.0}, "trust_delta is 0.0: it must be above 0"),
        ({"trust_damping": -0.1}, "trust_damping is -0.1: it must be above 0"),
        ({"trust_iterations": 0}, "trust_iterations is 0: it must be at least 1"),
        ({"trust_rows": 0}, "trust_rows is 0: it must be at least 1"),
    ],
)
def test_refuses_what_it_cannot_do(changes, message):
    with pytest.raises(SettingsError, match=message):
        replace(SETTINGS, **changes)


def test_refuses_a_model_that_is_too_large_by_name(small, monkeypatch):
    monkeypatch.setattr(trust_region, "MOST_PARAMETERS", 100)
    with pytest.raises(UsageError, match=r"LlamaForCausalLM has \d+ trained weights, .* at most 100: train an adapter"):
        Learner(small, SETTINGS)


def test_refuses_a_model_without_second_derivatives_by_name(small, monkeypatch):
    def once_only(*_):
        raise RuntimeError("derivative for aten::attention_backward is not implemented\nand more")

    monkeypatch.setattr(TrustRegion, "_product", once_only)
    says = r"LlamaForCausalLM cannot take a trust-region step, .* \(derivative for aten::attention_backward is not"
    with pytest.raises(UsageError, match=says):
        Learner(small, SETTINGS)
