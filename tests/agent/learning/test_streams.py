"""Each stream's term and its gradient equal a plain forward pass in float64, with denominators of its own."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from plain_learning import doubled, gradient, joined, logits, logprobs, trained

from journeyman.agent.learning.learner import Learner, LearnerSettings, TrainingRow
from journeyman.agent.learning.rows import Stream, denominators, minibatches

SETTINGS = LearnerSettings(loss="dapo", max_grad_norm=1e9, temperature=0.8, learning_rate=1e-4, device="cpu")


def mask(segment):
    return torch.from_numpy(segment.loss_mask)


def exact(values):
    return torch.from_numpy(np.asarray(values, np.float64))


def one_step(policy, rows, config, reference=None):
    """(a float64 copy of the model at the start, the gradient that one step followed, the statistics)."""
    learner = Learner(policy, config, reference)
    learner.model.double()
    start = doubled(learner.model)
    stats = learner.update(rows, seed=0).stats
    return start, joined(torch.zeros_like(p) if p.grad is None else p.grad for p in trained(learner.model)), stats


def corrected(model, row):
    """Of on-policy rows: log-probs of the chosen tokens, and -A x logp x min(pi / behaviour, 3) of each."""
    now = logprobs(model, row.segment, SETTINGS.temperature)[mask(row.segment)]
    correction = (now.detach() - exact(row.segment.behaviour_logprobs)).exp().clamp(max=3.0)
    return now, -exact(row.weights(Stream.POLICY)) * correction * (now - now.detach()).exp()


def assert_equal(found, expected, relative=1e-5):
    assert (found - expected).norm() <= relative * expected.norm()


def rows_with_observations(segments):
    """Answers of the environment are predicted beside actions, alone, in part, and not at all."""
    chance = np.random.default_rng(1)
    rows = []
    for i, segment in enumerate(segments):
        observed = len(segment.loss_mask) - int(segment.loss_mask.sum())
        of_tokens = (chance.random(observed) * (chance.random(observed) < 0.6)).astype(np.float32)
        advantage = float(chance.normal())
        unsampled = replace(segment, behaviour_logprobs=None)
        rows.append(
            [
                TrainingRow(segment, advantage, observation=0.1),
                TrainingRow(unsampled, observation=of_tokens),
                TrainingRow(segment, advantage, nll=0.3, observation=of_tokens),
                TrainingRow(segment, advantage),
                TrainingRow(unsampled, nll=0.5),
            ][i % 5]
        )
    return rows


def test_observations_are_predicted_beside_actions(policy, segments_of):
    rows = rows_with_observations(segments_of(21, groups=6))
    model, found, stats = one_step(policy, rows, SETTINGS)
    compared = [row for row in rows if row.policy is not None]
    tokens = sum(row.trained_tokens for row in compared)
    told = sum(int(np.count_nonzero(row.per_token(row.nll))) for row in rows)
    seen = sum(int(np.count_nonzero(row.per_observation(row.observation))) for row in rows)
    policy_loss = sum(corrected(model, row)[1].sum() for row in compared) / tokens
    nll = observed = surprise = 0.0
    for row in rows:
        every = logprobs(model, row.segment, SETTINGS.temperature)
        weights = exact(row.per_observation(row.observation))
        nll -= (every[mask(row.segment)] * exact(row.per_token(row.nll))).sum() / told
        observed -= (every[~mask(row.segment)] * weights).sum() / seen
        surprise -= every[~mask(row.segment)][weights > 0].sum().item() / seen
    assert_equal(found, gradient(policy_loss + nll + observed, trained(model)))
    assert stats["loss"] == pytest.approx((policy_loss + nll + observed).item(), rel=1e-5)
    assert stats["policy_loss"] == pytest.approx(policy_loss.item(), rel=1e-5)
    assert stats["observation_nll"] == pytest.approx(surprise, rel=1e-5)


def test_observations_change_nothing_about_the_policys_own_tokens(policy, segments_of):
    """Ratios, corrections and log-probs stay on what was chosen, in updates of several steps too."""
    segments = [s for s in segments_of(21, groups=4) if s.loss_mask.any()]
    rows = [TrainingRow(s, 1.0) for s in segments]
    with_them = [replace(row, observation=1e-9) for row in rows]
    assert [row.predicted is row.segment for row in rows] == [True] * len(rows)
    assert all(row.predicted.behaviour_logprobs is None for row in with_them if not row.segment.loss_mask.all())
    found = [Learner(policy, SETTINGS).update(r, seed=0, minibatch_rows=4, epochs=2) for r in (rows, with_them)]
    assert found[0].ratios == pytest.approx(found[1].ratios, rel=1e-5)
    for name in ("policy_loss", "ratio", "correction", "raw_correction", "clip_fraction", "approx_kl", "entropy"):
        assert found[1].stats[name] == pytest.approx(found[0].stats[name], rel=1e-4, abs=1e-7), name


def test_denominators_count_each_streams_own_rows_and_tokens(segments_of):
    rows = rows_with_observations(segments_of(21, groups=6))
    rows[3] = replace(rows[3], reference=0.0, value=np.zeros(rows[3].trained_tokens, np.float32))
    steps = minibatches(rows, 6, seed=0, epoch=0)
    found = denominators(rows, steps)
    assert len(found) == len(steps) > 1
    tokens = {
        Stream.POLICY: lambda row: row.trained_tokens if row.policy is not None else 0,
        Stream.NLL: lambda row: int(np.count_nonzero(row.per_token(row.nll))),
        Stream.OBSERVATION: lambda row: int(np.count_nonzero(row.per_observation(row.observation))),
        Stream.REFERENCE: lambda row: row.trained_tokens if row is rows[3] else 0,
        Stream.VALUE: lambda row: row.trained_tokens if row is rows[3] else 0,
    }
    for stream, count in tokens.items():
        mean = sum(map(count, rows)) / len(steps)
        for one, step in zip(found, steps, strict=True):
            assert (one[stream].tokens, one[stream].mean_tokens) == (sum(count(rows[i]) for i in step), mean)
    assert [one[Stream.POLICY].rows for one in found] == [
        sum(rows[i].policy is not None for i in step) for step in steps
    ]


def test_the_entropy_bonus_is_of_all_tokens_of_the_policy_loss(policy, segments_of):
    """Those without an advantage too: a bonus that left them out would be one for being right or wrong."""
    segments = segments_of(22, groups=4)
    rows = [TrainingRow(s, [0.0, 1.3, -0.4][i % 3]) for i, s in enumerate(segments)]
    rows.append(TrainingRow(replace(segments[0], behaviour_logprobs=None), nll=1.0))
    model, found, _ = one_step(policy, rows, replace(SETTINGS, entropy_weight=0.7))
    tokens = sum(row.trained_tokens for row in rows[:-1])
    loss = -logprobs(model, segments[0], SETTINGS.temperature)[mask(segments[0])].mean()
    for row in rows[:-1]:
        loss = loss + corrected(model, row)[1].sum() / tokens
        all_logprobs = logits(model, row.segment, SETTINGS.temperature)[mask(row.segment)].log_softmax(-1)
        loss = loss + 0.7 * (all_logprobs.exp() * all_logprobs).sum() / tokens
    assert_equal(found, gradient(loss, trained(model)))


def test_an_experts_tokens_in_the_policy_loss_are_shaped(policy, segments_of):
    """LUFFY (arXiv:2504.14945): -p / (p + 0.1) A with its whole gradient, beside clipped rows of the policy's own."""
    segments = [s for s in segments_of(23, groups=4) if s.loss_mask.any()]
    rows = [
        TrainingRow(replace(s, behaviour_logprobs=None), 1.5, shaped=True) if i % 2 else TrainingRow(s, -0.5)
        for i, s in enumerate(segments)
    ]
    model, found, stats = one_step(policy, rows, SETTINGS)
    tokens, loss = sum(row.trained_tokens for row in rows), 0.0
    for row in rows:
        if row.shaped:
            p = logprobs(model, row.segment, SETTINGS.temperature)[mask(row.segment)].exp()
            loss = loss - 1.5 * (p / (p + 0.1)).sum() / tokens
        else:
            loss = loss + corrected(model, row)[1].sum() / tokens
    assert_equal(found, gradient(loss, trained(model)))
    assert stats["policy_loss"] == pytest.approx(loss.item(), rel=1e-5)


def test_topr_weighs_whole_completions_by_how_they_ended(policy, segments_of):
    """arXiv:2503.14286: successes fully, failures by clip(pi / mu, 0, 1), and no gradient through the weight."""
    segments = [s for s in segments_of(24, groups=4) if s.loss_mask.any()]
    rows = [TrainingRow(s, 1.0 if i % 2 else -1.0) for i, s in enumerate(segments)]
    model, found, _ = one_step(policy, rows, replace(SETTINGS, loss="topr"))
    tokens, loss, weights = sum(row.trained_tokens for row in rows), 0.0, []
    for row in rows:
        now = logprobs(model, row.segment, SETTINGS.temperature)[mask(row.segment)]
        apart = (now.detach() - exact(row.segment.behaviour_logprobs)).sum()
        weights.append(1.0 if row.policy > 0 else min(apart.exp().item(), 1.0))
        loss = loss - row.policy * weights[-1] * now.sum() / tokens
    assert any(0 < weight < 1 for weight in weights)
    assert_equal(found, gradient(loss, trained(model)))


@pytest.mark.parametrize("kind", ["k2", "k3", "k3_ratio"])
def test_the_kl_of_rows_that_are_compared_with_nobody(policy, policy_of, segments_of, kind):
    """A row may be held close without being in the policy loss; in later steps its ratio is to the start as well."""
    other = policy_of(seed=4)
    segments = [s for s in segments_of(25, groups=3) if s.loss_mask.any()]
    rows = [TrainingRow(segments[0], 1.0), *(TrainingRow(s, reference=0.4) for s in segments[1:])]
    config = replace(SETTINGS, kl=kind)
    learner, far = Learner(policy, config, other), doubled(Learner(other, config).model)
    learner.model.double()
    start, later = doubled(learner.model), []
    step = learner.optimizer.step
    learner.optimizer.step = lambda: (
        later.append((doubled(learner.model), joined(p.grad for p in trained(learner.model)))),
        step(),
    )
    learner.update(rows, seed=0, epochs=2, learning_rate=1e-2)
    (model, found), tokens = later[1], sum(row.trained_tokens for row in rows[1:])

    def at(which, row):
        return logprobs(which, row.segment, SETTINGS.temperature)[mask(row.segment)]

    now, old = at(model, rows[0]), at(start, rows[0]).detach()
    correction = (old - exact(rows[0].segment.behaviour_logprobs)).exp().clamp(max=3.0)
    ratio = (now - old).exp()
    loss = -(torch.minimum(ratio, ratio.clamp(0.8, 1.2)) * correction).sum() / rows[0].trained_tokens
    for row in rows[1:]:
        now = at(model, row)
        r = at(far, row).detach() - now
        k3 = r.exp() - r - 1
        moved = (now - at(start, row).detach()).exp()
        loss = loss + 0.4 * {"k2": r.square() / 2, "k3": k3, "k3_ratio": moved * k3}[kind].sum() / tokens
    assert_equal(found, gradient(loss, trained(model)))
