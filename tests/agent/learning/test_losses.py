"""The loss functions on numbers worked out by hand, and what the KL estimators really estimate."""

import math

import pytest
import torch

from journeyman.agent.learning import losses


def row(*values):
    return torch.tensor([values], dtype=torch.float64)


def test_token_and_sequence_ratio():
    logprobs, old, mask = row(-1.0, -2.0, -9.0), row(-1.5, -2.0, -1.0), row(1, 1, 0)
    token = losses.importance_ratio(logprobs, old, mask, "grpo")
    assert token[0, :2].tolist() == pytest.approx([math.exp(0.5), 1.0])
    sequence = losses.importance_ratio(logprobs, old, mask, "gspo")
    assert sequence.shape == (1, 1)
    assert sequence.item() == pytest.approx(math.exp(0.25))


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "clipped"),
    [
        (1.1, 2.0, -2.2, False),
        (1.5, 2.0, -2.6, True),
        (0.5, 2.0, -1.0, False),
        (0.5, -1.0, 0.8, True),
        (3.0, -1.0, 3.0, False),
    ],
)
def test_clipped_surrogate(ratio, advantage, loss, clipped):
    found, cut = losses.policy_loss(row(-1.0), row(ratio), row(advantage), "grpo", 0.2, 0.3)
    assert (found.item(), cut.item()) == (pytest.approx(loss), clipped)


def test_cispo_weighs_the_log_prob_by_a_stopped_capped_ratio():
    logprobs = row(-0.5, -0.7).requires_grad_()
    ratio = row(2.0, 9.0) * (logprobs - logprobs.detach()).exp()
    loss, cut = losses.policy_loss(logprobs, ratio, row(3.0, 3.0), "cispo", 0.2, 5.0)
    assert loss.tolist() == [pytest.approx([2 * 3 * 0.5, 5 * 3 * 0.7])]
    assert cut.tolist() == [[False, True]]
    (gradient,) = torch.autograd.grad(loss.sum(), logprobs)
    assert gradient.tolist() == [pytest.approx([-6.0, -15.0])]


@pytest.mark.parametrize(
    ("level", "mode", "raw", "corrected"),
    [
        ("token", "truncate", [2.0, 4.0], [2.0, 3.0]),
        ("token", "mask", [2.0, 4.0], [2.0, 0.0]),
        ("sequence", "truncate", [8.0], [3.0]),
        ("sequence", "mask", [8.0], [0.0]),
        ("geometric", "truncate", [math.sqrt(8)], [math.sqrt(8)]),
        ("geometric", "mask", [math.sqrt(8)], [math.sqrt(8)]),
        ("token", "none", [2.0, 4.0], [1.0, 1.0]),
        ("sequence", "none", [8.0], [1.0]),
        ("geometric", "none", [math.sqrt(8)], [1.0]),
    ],
)
def test_sampler_correction(level, mode, raw, corrected):
    old, behaviour, mask = row(math.log(0.8), math.log(0.4), 0.0), row(math.log(0.4), math.log(0.1), -7.0), row(1, 1, 0)
    found = losses.sampler_correction(old, behaviour, mask, level=level, mode=mode)
    assert [f[0, :2].tolist() for f in found] == [pytest.approx(raw), pytest.approx(corrected)]


@pytest.mark.parametrize(
    ("mode", "corrected"), [("truncate", [0.5, 0.5, 2.0]), ("mask", [0.0, 0.5, 0.0]), ("none", [1.0, 1.0, 1.0])]
)
def test_sampler_correction_between_a_floor_and_a_ceiling(mode, corrected):
    """What lies on a bound is inside, and none of it has a gradient."""
    old = row(*(math.log(x) for x in (0.1, 0.5, 2.5))).requires_grad_()
    raw, found = losses.sampler_correction(old, row(0, 0, 0), row(1, 1, 1), mode=mode, c_min=0.5, c_max=2.0)
    assert raw.tolist() == [pytest.approx([0.1, 0.5, 2.5])]
    assert found.tolist() == [pytest.approx(corrected)]
    assert not found.requires_grad


def test_a_row_whose_mean_ratio_is_outside_is_dropped():
    """Whole rows: one is off by much at one token, one by little at each; one without tokens is left as it is."""
    old = torch.tensor([[0.9, 0.0, -9.0], [0.5, 0.5, 0.5], [7.0, 7.0, 7.0]])
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    raw, found = losses.sampler_correction(
        old, torch.zeros(3, 3), mask, level="geometric", mode="mask", c_min=0.6, c_max=1.6
    )
    assert raw[:, 0].tolist() == pytest.approx([math.exp(0.45), math.exp(0.5), 1.0])
    assert found[:, 0].tolist() == pytest.approx([math.exp(0.45), 0.0, 1.0])


def test_topr_weighs_failures_by_what_the_policy_would_still_do():
    """clip(pi / mu, 0, 1) of the whole completion where the advantage is below 0, else 1; no gradient."""
    logprobs = torch.tensor([[-1.0, -2.0, -5.0]] * 4, dtype=torch.float64, requires_grad=True)
    behaviour = torch.tensor([[-0.5, -1.0, 9.0], [-2.0, -4.0, 9.0], [-0.5, -1.0, 9.0], [-0.5, -1.0, 9.0]])
    mask = torch.tensor([[1.0, 1.0, 0.0]] * 4)
    advantages = torch.tensor([[-1.0, -1.0, 0.0], [-1.0, -1.0, 0.0], [1.0, 1.0, -9.0], [0.0, 0.0, 0.0]])
    found = losses.topr_weights(logprobs, behaviour, mask, advantages)
    assert found[:, 0].tolist() == pytest.approx([math.exp(-1.5), 1.0, 1.0, 1.0])
    assert not found.requires_grad


def test_plain_reinforce_weighs_log_probs_and_cuts_nothing():
    for kind in ("reinforce", "topr"):
        loss, cut = losses.policy_loss(row(-1.0, -2.0), row(9.0, 0.1), row(2.0, -3.0), kind, 0.2, 0.2)
        assert (loss.tolist(), cut.tolist()) == ([[2.0, -6.0]], [[False, False]])


@pytest.mark.parametrize("p", [0.9, 0.1, 1e-3])
def test_shaping_lifts_the_gradient_of_unlikely_tokens(p):
    """d/dlogp of p / (p + gamma) is gamma p / (p + gamma)^2; in p alone it is largest where p is 0."""
    logprobs = row(math.log(p)).requires_grad_()
    loss = losses.shaped_loss(logprobs, row(3.0), 0.1)
    (gradient,) = torch.autograd.grad(loss.sum(), logprobs)
    assert loss.item() == pytest.approx(-3 * p / (p + 0.1))
    assert gradient.item() == pytest.approx(-3 * 0.1 * p / (p + 0.1) ** 2)
    assert -gradient.item() / p == pytest.approx(3 * 0.1 / (p + 0.1) ** 2)


@pytest.mark.parametrize(
    ("value", "loss", "cut", "slope"),
    [
        (0.5, 0.125, False, -0.5),  # not moved: half the squared error
        (0.65, 0.06125, False, -0.35),  # moved towards the target, within the clip
        (0.9, 0.045, True, 0.0),  # further than the clip: the error at the clip counts, and has no gradient
        (0.2, 0.32, False, -0.8),  # further away than the clip, and wrong: its own error is the larger one
        (1.5, 0.125, False, 0.5),  # past the target: the larger error is its own
    ],
)
def test_value_loss_is_clipped_around_what_was_foreseen(value, loss, cut, slope):
    """Target 1, foreseen 0.5, clip 0.2: the larger of both halved squared errors (arXiv:2005.12729, section 3)."""
    values = row(value).requires_grad_()
    found, clipped = losses.value_loss(values, row(1.0), row(0.5), 0.2)
    (gradient,) = torch.autograd.grad(found.sum(), values)
    assert (found.item(), clipped.item()) == (pytest.approx(loss), cut)
    assert gradient.item() == pytest.approx(slope)
    plain, none_cut = losses.value_loss(values, row(1.0), row(0.5), None)
    assert (plain.item(), none_cut.item()) == (pytest.approx((value - 1) ** 2 / 2), False)


def test_token_weights_of_each_kind():
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])

    def weights(kind):
        found = losses.token_weights(mask, kind, rows=4, tokens=10, mean_tokens=8.0, max_completion=5)
        assert torch.equal(found == 0, mask == 0)
        return found[0, 0].item(), found[1, 0].item()

    assert weights("grpo") == pytest.approx((1 / 8, 1 / 12))
    assert weights("bnpo") == pytest.approx((1 / 10, 1 / 10))
    assert weights("dr_grpo") == pytest.approx((1 / 20, 1 / 20))
    assert weights("gspo") == weights("sapo") == weights("grpo")
    assert weights("dapo") == weights("cispo") == pytest.approx((1 / 8, 1 / 8))
    assert weights("reinforce") == weights("topr") == weights("dapo")


def test_nll_weighs_tokens():
    logprobs, weights = torch.tensor([[-1.0, -2.0], [-4.0, -8.0]]), torch.tensor([[1.0, 1.0], [0.5, 0.0]])
    assert losses.nll_loss(logprobs, weights, 2.5).item() == pytest.approx((3 + 2) / 2.5)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3", "k3_ratio"])
def test_what_the_kl_estimators_estimate(estimator):
    """Over all tokens of one distribution: the expected value, and the gradient that on-policy training follows."""
    logits = torch.tensor([0.3, -1.0, 0.8, 0.1], dtype=torch.float64, requires_grad=True)
    policy, reference = logits.log_softmax(-1), torch.tensor([1.0, 0.2, -0.5, 0.0], dtype=torch.float64).log_softmax(-1)
    ratio = (policy - policy.detach()).exp()
    estimates = losses.reference_kl(policy, reference, ratio, estimator)
    sampled = (policy.detach().exp() * estimates).sum()  # the sampler's probabilities carry no gradient
    (gradient,) = torch.autograd.grad(sampled, logits, retain_graph=True)

    reverse = (policy.exp() * (policy - reference)).sum()
    forward = (reference.exp() * (reference - policy)).sum()
    followed = {"k1": 0 * reverse, "k2": reverse, "k3": forward, "k3_ratio": reverse}[estimator]
    (expected,) = torch.autograd.grad(followed, logits)
    assert torch.allclose(gradient, expected, atol=1e-12)
    if estimator != "k2":  # k2's value is biased, its gradient is not
        assert sampled.item() == pytest.approx(reverse.item())
