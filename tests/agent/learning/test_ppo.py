"""PPO end to end: a critic's values, GAE, and the gradients of both losses, against the papers in float64."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from plain_learning import doubled, gradient, hidden, joined, logprobs, trained

from journeyman.agent.learning.advantages.attempts import Attempt
from journeyman.agent.learning.advantages.gae import GaeEstimator
from journeyman.agent.learning.learner import Learner, LearnerSettings, TrainingRow

GAMMA, LAM = 0.9, 0.8
HEAD = LearnerSettings(
    loss="dapo",
    critic="head",
    learning_rate=2e-2,
    critic_learning_rate=5e-2,
    value_clip=0.1,
    max_grad_norm=1e6,
    temperature=0.8,
    device="cpu",
)
MODEL = replace(HEAD, critic="model", critic_learning_rate=1e-2)


def opened(policy, config):
    """A learner whose critic foresees something."""
    learner = Learner(policy, config)
    with torch.no_grad():
        learner.critic.head.weight.copy_(torch.randn(1, 32, generator=torch.Generator().manual_seed(5)) / 8)
        learner.critic.head.bias.fill_(0.2)
    return learner


def mask(segment):
    return torch.from_numpy(segment.loss_mask)


def rewards_of(segments):
    return np.random.default_rng(0).normal(size=len(segments))


def paper_gae(reward, values):
    """Schulman et al. (arXiv:1506.02438), equations 11, 12 and 16, of an attempt that ended with its reward."""
    rewards = np.zeros(len(values))
    rewards[-1] = reward
    following = np.append(values[1:], 0.0)
    errors = rewards + GAMMA * following - values
    return np.array(
        [sum((GAMMA * LAM) ** k * errors[t + k] for k in range(len(errors) - t)) for t in range(len(errors))]
    )


def rows_of(learner, segments):
    """The rows that PPO's estimator makes, with the critic's values as the learner computes them."""
    values = learner.critic.values(segments, range(len(segments)))
    attempts = [
        Attempt(i, float(r), np.zeros(len(values[i]), np.intp), (0.0,), values_N=values[i].astype(np.float64))
        for i, r in enumerate(rewards_of(segments))
    ]
    made = GaeEstimator(GAMMA, LAM, normalise=False).credit(attempts)
    return [
        TrainingRow(s, c.advantages_N.astype(np.float32), value=c.returns_N.astype(np.float32), foreseen=values[i])
        for i, (s, c) in enumerate(zip(segments, made, strict=True))
    ]


def paper_losses(model, trunk, head, segments, start):
    """PPO's clipped surrogate (arXiv:1707.06347, equation 7) and value loss (arXiv:2005.12729, section 3), by token.

    `start` has each segment's log-probs and values before the update; what the sampler's arithmetic differed by is
    corrected.
    """
    policy = value = torch.zeros((), dtype=torch.float64)
    tokens = sum(int(s.loss_mask.sum()) for s in segments)
    for segment, reward, (old, old_values) in zip(segments, rewards_of(segments), start, strict=True):
        advantages = torch.from_numpy(paper_gae(reward, old_values.numpy()))
        returns = advantages + old_values
        behaviour = torch.from_numpy(segment.behaviour_logprobs.astype(np.float64))
        ratio = (logprobs(model, segment, HEAD.temperature)[mask(segment)] - old).exp()
        surrogate = torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
        policy = policy - (surrogate * (old - behaviour).exp().clamp(max=3.0)).sum() / tokens
        values = head(hidden(trunk, segment)[mask(segment)])[:, 0]
        near = old_values + (values - old_values).clamp(-HEAD.value_clip, HEAD.value_clip)
        worse = torch.maximum((values - returns).square(), (near - returns).square())
        value = value + worse.sum() / 2 / tokens
    return policy, value


@pytest.mark.parametrize("config", [HEAD, MODEL], ids=["head", "model"])
def test_gradients_are_those_of_ppos_loss(policy, segments_of, config):
    """In the second step of an update, when ratios and values have moved and the clips are at work."""
    segments = [s for s in segments_of(12, groups=4) if s.loss_mask.any()]
    learner = opened(policy, config)
    learner.model.double()
    if config is MODEL:
        learner.critic.trunk.double()

    def now():
        model = doubled(learner.model)
        return model, doubled(learner.critic.trunk) if config is MODEL else model, doubled(learner.critic.head)

    model, trunk, head = now()
    with torch.no_grad():
        start = [
            (logprobs(model, s, HEAD.temperature)[mask(s)], head(hidden(trunk, s)[mask(s)])[:, 0]) for s in segments
        ]
    steps = []

    def record(of_critic, step, weights):
        gradients = joined(torch.zeros_like(w) if w.grad is None else w.grad for w in weights)
        steps.append((of_critic, gradients, now()))
        step()

    critic_weights = [*(trained(learner.critic.trunk) if config is MODEL else ()), *learner.critic.head.parameters()]
    for one, weights in ((learner, trained(learner.model)), (learner.critic, critic_weights)):
        one.optimizer.step = partial(record, one is learner.critic, one.optimizer.step, weights)
    rows = rows_of(learner, segments)
    stats = learner.update(rows, seed=0, epochs=2).stats
    assert 0 < stats["clip_fraction"] < 1
    assert 0 < stats["value_clip_fraction"] < 1

    of_policy, of_critic = (gradients for _, gradients, _ in sorted(steps[2:], key=lambda step: step[0]))
    model, trunk, head = steps[2][2]  # before either has made its second step
    policy_loss, value_loss = paper_losses(model, trunk, head, segments, start)
    shared = policy_loss + 0.5 * value_loss if config is HEAD else policy_loss
    expected = gradient(shared, trained(model))
    assert (of_policy - expected).norm() <= 1e-5 * expected.norm()
    if config is HEAD:
        expected = 0.5 * gradient(value_loss, head.parameters())
    else:
        expected = gradient(value_loss, [*trained(trunk), *head.parameters()])
    assert (of_critic - expected).norm() <= 1e-5 * expected.norm()


def test_values_are_the_heads_at_the_positions_that_predict(policy, segments_of):
    segments = [s for s in segments_of(3) if s.loss_mask.any()]
    learner = opened(policy, HEAD)
    found = learner.critic.values(segments, range(len(segments)))
    beyond = learner.critic.final_values(segments)
    for i, segment in enumerate(segments):
        whole = replace(segment, completion_ids=np.append(segment.completion_ids, np.int32(0)))
        with torch.no_grad():
            values = learner.critic.head(hidden(learner.model, whole))[:, 0].numpy()
        np.testing.assert_allclose(found[i], values[:-1][segment.loss_mask], atol=1e-5)
        np.testing.assert_allclose(beyond[i], values[-1], atol=1e-5)


def test_a_new_critic_foresees_nothing_and_learns_without_moving_the_policy_of_another_model(policy, segments_of):
    segments = [s for s in segments_of(3) if s.loss_mask.any()]
    learner = Learner(policy, MODEL)
    values = learner.critic.values(segments, range(len(segments)))
    assert all(np.all(v == 0) for v in values.values())
    before = joined(trained(learner.model))
    rows = [TrainingRow(s, 0.0, value=np.full(len(values[i]), 0.7, np.float32)) for i, s in enumerate(segments)]
    stats = learner.update(rows, seed=0, epochs=30).stats
    assert torch.equal(joined(trained(learner.model)), before)
    assert (stats["steps"], "explained_variance" in stats) == (0.0, False)
    learned = np.concatenate(list(learner.critic.values(segments, range(len(segments))).values()))
    assert np.abs(learned - 0.7).max() < 0.2


@pytest.mark.parametrize("rank", [0, 2], ids=["full", "lora"])
@pytest.mark.parametrize("config", [HEAD, MODEL], ids=["head", "model"])
def test_a_saved_critic_goes_on_bit_for_bit(policy, segments_of, tmp_path, config, rank):
    batches = [[s for s in segments_of(seed, groups=3) if s.loss_mask.any()] for seed in range(2)]
    config = replace(config, lora_rank=rank, lora_alpha=4)

    def values_after(resumed):
        learner = Learner(policy, config)
        for number, segments in enumerate(batches):
            learner.update(rows_of(learner, segments), seed=number, minibatch_rows=5, epochs=2)
            if resumed:
                learner = Learner(learner.save(tmp_path / f"v{number}", number), config)
        weights = {n: p.detach().clone() for n, p in learner.critic.named_parameters()}
        return learner.critic.values(batches[0], range(len(batches[0]))), weights, joined(trained(learner.model))

    straight, resumed = values_after(resumed=False), values_after(resumed=True)
    assert all(np.array_equal(value, resumed[0][i]) for i, value in straight[0].items())
    assert any(np.any(value != 0) for value in straight[0].values())
    assert straight[1].keys() == resumed[1].keys()
    assert all(torch.equal(p, resumed[1][n]) for n, p in straight[1].items())
    assert torch.equal(straight[2], resumed[2])


def test_a_step_without_returns_leaves_the_critic_alone(policy, segments_of):
    """An update by another objective, say: AdamW's momentum would move what has a gradient of 0."""
    learner = Learner(policy, LearnerSettings(device="cpu", critic="head", critic_learning_rate=0.1))
    segments = [s for s in segments_of(3, groups=4) if s.loss_mask.any()]
    learner.update([TrainingRow(s, 1.0, value=np.ones(s.loss_mask.sum(), np.float32)) for s in segments], seed=0)
    before = {name: p.detach().clone() for name, p in learner.critic.named_parameters()}
    assert before["head.weight"].abs().sum() > 0
    learner.update([TrainingRow(s, nll=1.0) for s in segments], seed=0)
    assert all(torch.equal(p, before[name]) for name, p in learner.critic.named_parameters())
