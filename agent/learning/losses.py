"""The losses, as pure functions of tensors: GRPO and its kin, KL to a reference, sampler mismatch, NLL, preferences.

Dimension letters: B rows, T trained tokens of the longest row (a mask says which entries are real).
Every reduction is a sum over `token_weights`, whose denominators are those of one whole optimizer step, so a step
may be computed in any number of micro-batches and gives the same gradient.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

LossName: TypeAlias = Literal["grpo", "bnpo", "dr_grpo", "dapo", "gspo", "cispo", "sapo", "reinforce", "topr"]
KlEstimator: TypeAlias = Literal["k1", "k2", "k3", "k3_ratio"]
PreferenceName: TypeAlias = Literal["dpo", "ipo", "apo_zero"]
CorrectionLevel: TypeAlias = Literal["token", "sequence", "geometric"]
CorrectionMode: TypeAlias = Literal["truncate", "mask", "none"]

MOST_NATS = 40.0
"""Of a logarithm of a ratio: its exponential is beyond every bound, and a float32 holds the squares of thousands."""
SAPO_TEMPERATURES = (1.0, 1.05)
"""Of the soft gate for advantages above 0, and for the others (arXiv:2511.20347)."""


def importance_ratio(logprobs_BT: Tensor, old_BT: Tensor, mask_BT: Tensor, kind: LossName) -> Tensor:
    """The ratio of the current policy to the one at the start of the update.

    (B, T) exp(logp - old); for gspo (B, 1), exp of the mean of the same over the row's trained tokens (GSPO,
    arXiv:2507.18071, equation 7).
    """
    difference_BT = logprobs_BT - old_BT
    if kind != "gspo":
        return difference_BT.exp()
    mean_B1 = (difference_BT * mask_BT).sum(-1, keepdim=True) / mask_BT.sum(-1, keepdim=True).clamp(min=1.0)
    return mean_B1.exp()


def sampler_correction(
    old_BT: Tensor,
    behaviour_BT: Tensor,
    mask_BT: Tensor,
    *,
    level: CorrectionLevel = "token",
    mode: CorrectionMode = "truncate",
    c_max: float = 3.0,
    c_min: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """The weight for what the sampler's distribution differs from the learner's: (raw, corrected), no gradient.

    raw = exp(old - behaviour), for each token (B, T), or of the sum over the row's trained tokens (B, 1), or of their
    mean (B, 1; "geometric"). `truncate` clamps it into [c_min, c_max] (truncated importance sampling, arXiv:2510.18855
    among others); `mask` sets what is outside to 0; `none` weighs all alike. The same weight serves rows of older
    policies and relabels, whose `behaviour` is further away. Beyond exp(`MOST_NATS`) raw does not grow.
    """
    difference_BT = ((old_BT - behaviour_BT) * mask_BT).detach()
    if level != "token":
        difference_BT = difference_BT.sum(-1, keepdim=True)
    if level == "geometric":
        difference_BT = difference_BT / mask_BT.sum(-1, keepdim=True).clamp(min=1.0)
    raw = difference_BT.clamp(max=MOST_NATS).exp()
    if mode == "none":
        return raw, torch.ones_like(raw)
    if mode == "truncate":
        return raw, raw.clamp(c_min, c_max)
    return raw, raw.masked_fill((raw < c_min) | (raw > c_max), 0.0)


def policy_loss(
    logprobs_BT: Tensor, ratio: Tensor, advantages: Tensor, kind: LossName, eps: float, eps_high: float
) -> tuple[Tensor, Tensor]:
    """Loss of each token, and where the clip cut its gradient: ((B, T) or (B, 1), (B, T) or (B, 1) bool).

    `ratio` is (B, T) or (B, 1), `advantages` (B, 1) or (B, T). grpo, bnpo, dr_grpo, dapo and gspo share PPO's clipped
    surrogate -min(w A, clip(w, 1 - eps, 1 + eps_high) A) (arXiv:1707.06347, equation 7; the two epsilons: DAPO,
    arXiv:2503.14476). cispo is -sg(min(w, eps_high)) A logp (MiniMax-M1, arXiv:2506.13585): there `eps_high` is the
    ceiling of the ratio itself and `eps` is unused. sapo replaces the clip by a soft gate, -4/t sigmoid(t (w - 1)) A
    (arXiv:2511.20347). reinforce and topr are -A logp; what weighs their tokens is `topr_weights`, or a correction.
    """
    if kind in ("reinforce", "topr"):
        return -advantages * logprobs_BT, torch.zeros_like(logprobs_BT, dtype=torch.bool)
    if kind == "cispo":
        loss = -ratio.clamp(max=eps_high).detach() * advantages * logprobs_BT
        return loss, (ratio > eps_high) & (advantages > 0)
    if kind == "sapo":
        above, others = SAPO_TEMPERATURES
        heat = torch.where(advantages > 0, above, others)
        return -torch.sigmoid(heat * (ratio - 1)) * 4 / heat * advantages, torch.zeros_like(ratio, dtype=torch.bool)
    clipped = ratio.clamp(1 - eps, 1 + eps_high)
    loss = -torch.min(ratio * advantages, clipped * advantages)
    low = (ratio < 1 - eps) & (advantages < 0)
    high = (ratio > 1 + eps_high) & (advantages > 0)
    return loss, low | high


def topr_weights(logprobs_BT: Tensor, behaviour_BT: Tensor, mask_BT: Tensor, advantages_BT: Tensor) -> Tensor:
    """(B, 1) weights of whole completions, no gradient: 1 where the advantage is not below 0, else min(pi / mu, 1).

    What went well is learned wherever it came from; what went badly only as far as the policy would still do it, so
    that nothing is pushed down without end (TOPR, arXiv:2503.14286, with its defaults).
    """
    log_ratio_B1 = ((logprobs_BT - behaviour_BT) * mask_BT).sum(-1, keepdim=True).detach()
    failed_B1 = (advantages_BT * mask_BT).sum(-1, keepdim=True) < 0
    return torch.where(failed_B1, log_ratio_B1.clamp(max=0.0).exp(), 1.0)


def shaped_loss(logprobs_BT: Tensor, advantages_BT: Tensor, gamma: float) -> Tensor:
    """(B, T) -p / (p + gamma) A of an expert's tokens, p the policy's own probability of each, with gradient.

    Who has no behaviour log-probs has no ratio. The shaping lifts the gradient of unlikely tokens, which carry what the
    policy does not know yet, and there is no clip (LUFFY, arXiv:2504.14945, section 3.2).
    """
    p_BT = logprobs_BT.exp()
    return -p_BT / (p_BT + gamma) * advantages_BT


def reference_kl(logprobs_BT: Tensor, reference_BT: Tensor, ratio: Tensor, estimator: KlEstimator) -> Tensor:
    """(B, T) estimate of the reverse KL, KL(policy || reference), to be added to the loss with a weight.

    With r = reference - logp (Schulman, "Approximating KL divergence"): k1 = -r, k2 = r^2 / 2, k3 = exp(r) - r - 1,
    k3_ratio = ratio * k3. As loss terms they differ in their gradients, on policy: k2 and k3_ratio give that of
    KL(policy || reference), plain k3 that of KL(reference || policy), and k1's has expectation zero.
    """
    r_BT = reference_BT - logprobs_BT
    if estimator == "k1":
        return -r_BT
    if estimator == "k2":
        return r_BT.square() / 2
    k3_BT = r_BT.exp() - r_BT - 1
    return ratio * k3_BT if estimator == "k3_ratio" else k3_BT


def token_weights(
    mask_BT: Tensor, kind: LossName, *, rows: int, tokens: int, mean_tokens: float, max_completion: int
) -> Tensor:
    """(B, T) what each token's loss is multiplied by before everything is summed over a whole optimizer step.

    `rows` and `tokens` count the step's policy rows (those with advantage 0 too) and their trained tokens;
    `mean_tokens` is the mean of `tokens` over the steps of the update; `max_completion` is the longest completion
    allowed. grpo, gspo and sapo: the mean over rows of each row's token mean. bnpo: 1 / `tokens`. dr_grpo:
    1 / (`rows` x `max_completion`), arXiv:2503.20783. The others: 1 / `mean_tokens`.
    """
    if kind in ("grpo", "gspo", "sapo"):
        return mask_BT / mask_BT.sum(-1, keepdim=True).clamp(min=1.0) / max(rows, 1)
    if kind == "bnpo":
        return mask_BT / max(tokens, 1)
    if kind == "dr_grpo":
        return mask_BT / (max(rows, 1) * max_completion)
    return mask_BT / max(mean_tokens, 1.0)


def nll_loss(logprobs_BT: Tensor, weights_BT: Tensor, mean_tokens: float) -> Tensor:
    """Scalar: each token's negative log-likelihood times its weight (0 for what is not trained on) over `mean_tokens`.

    `mean_tokens` counts the tokens with a weight above 0, averaged over the steps of the update: every such token
    weighs the same in whichever step it falls.
    """
    return -(logprobs_BT * weights_BT).sum() / max(mean_tokens, 1.0)


def value_loss(values_BT: Tensor, targets_BT: Tensor, old_BT: Tensor, clip: float | None) -> tuple[Tensor, Tensor]:
    """(B, T) half the squared error of a critic, and where the clip cut its gradient.

    Without the gradient of values that went further than `clip` from those at the start of the update and further than
    that would be right: the larger of both errors counts (PPO's implementation, arXiv:2005.12729, section 3).
    """
    error_BT = (values_BT - targets_BT).square()
    if clip is None:
        return error_BT / 2, torch.zeros_like(error_BT, dtype=torch.bool)
    drift_BT = values_BT - old_BT
    clipped_BT = (old_BT + drift_BT.clamp(-clip, clip) - targets_BT).square()
    return torch.max(error_BT, clipped_BT) / 2, (drift_BT.abs() > clip) & (clipped_BT > error_BT)


def bradley_terry_loss(chosen_B: Tensor, rejected_B: Tensor) -> Tensor:
    """(B,) -log sigmoid(r_c - r_r): the surprise that the one of the higher reward was not preferred.

    The model of Bradley and Terry (1952), as reward models are trained by it (arXiv:2203.02155, equation 1).
    """
    return -torch.nn.functional.logsigmoid(chosen_B - rejected_B)


def preference_loss(
    chosen_B: Tensor,
    rejected_B: Tensor,
    chosen_tokens_B: Tensor,
    rejected_tokens_B: Tensor,
    kind: PreferenceName,
    beta: float,
) -> Tensor:
    """(B,) the loss of each pair, from log pi - log pi_ref of both attempts, summed over so many trained tokens.

    dpo is -log sigmoid(beta (chosen - rejected)) (arXiv:2305.18290, equation 7). ipo is (chosen - rejected -
    1 / (2 beta))^2 of log-ratios divided by their tokens (arXiv:2310.12036, equation 17; its authors compute means).
    apo_zero is 1 - sigmoid(beta chosen) + sigmoid(beta rejected): each attempt is held against the reference by itself,
    as KTO holds it against the KL, which is 0 here (arXiv:2408.06266, equation 7; KTO: arXiv:2402.01306).
    """
    if kind == "ipo":
        margins_B = chosen_B / chosen_tokens_B.clamp(min=1) - rejected_B / rejected_tokens_B.clamp(min=1)
        return (margins_B - 1 / (2 * beta)).square()
    if kind == "apo_zero":
        return 1 - torch.sigmoid(beta * chosen_B) + torch.sigmoid(beta * rejected_B)
    return -torch.nn.functional.logsigmoid(beta * (chosen_B - rejected_B))
