"""The objective of one optimizer step, from the rows of its micro-batches.

Dimension letters: R segments of a micro-batch, T trained tokens of the longest of them, M trained tokens of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from journeyman.agent.chance import keyed_rng
from journeyman.agent.data import Segment
from journeyman.agent.learning import losses
from journeyman.agent.learning.layouts import MicroBatch
from journeyman.agent.learning.settings import LearnerSettings

_TIE = 1e-5
"""Entropies, in nats, that differ by less are equal: siblings' first tokens have one context, but not one rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRow:
    """One segment to learn from, and how."""

    segment: Segment
    advantage: float | NDArray[np.float32] = 0.0
    """One for the segment, or (M,) one for each trained token; 0 where the verifier failed."""
    in_policy_loss: bool = True
    """Whether it counts in the policy loss (in its denominators too); it then needs behaviour log-probs."""
    nll_weight: float | NDArray[np.float32] = 0.0
    """Of its negative log-likelihood, at least 0: one for the segment, or (M,) one for each trained token; 0 where it
    is no verified positive."""

    @property
    def trained_tokens(self) -> int:
        """M."""
        return int(np.count_nonzero(self.segment.loss_mask))

    def check(self, index: int) -> None:
        """Raises ValueError, naming the row by `index`, where it cannot be learned from as it says."""
        trained, logprobs = self.trained_tokens, self.segment.behaviour_logprobs
        if self.in_policy_loss and logprobs is None:
            raise ValueError(f"row {index} has no behaviour log-probs, so no ratio: set in_policy_loss=False")
        if logprobs is not None and logprobs.shape != (trained,):
            raise ValueError(f"row {index} has {trained} trained tokens, but log-probs of shape {logprobs.shape}")
        for name, value in (("advantages", self.advantage), ("NLL weights", self.nll_weight)):
            if (shape := np.shape(value)) not in ((), (trained,)):
                raise ValueError(f"row {index} has {trained} trained tokens, but {name} of shape {shape}")
        weight = np.asarray(self.nll_weight)
        if not np.all(np.isfinite(self.advantage)) or not np.all((weight >= 0) & np.isfinite(weight)):
            raise ValueError(f"row {index}: advantage {self.advantage} or NLL weight {self.nll_weight} is not usable")

    def per_token(self, value: float | NDArray[np.float32]) -> NDArray[np.float32]:
        """(M,) from one number for the segment or one for each trained token."""
        return np.broadcast_to(np.float32(value), self.trained_tokens)


@dataclass(frozen=True, slots=True)
class Denominators:
    """What a step's losses are divided by: counts over the whole step, whatever its micro-batches."""

    policy_rows: int
    policy_tokens: int
    mean_policy_tokens: float
    """Over the steps of the update."""
    mean_nll_tokens: float
    """Over the steps of the update."""


@dataclass(frozen=True, slots=True, eq=False)
class Fixed:
    """Log-probs that stay as they are during an update, (M,) each, by index of the row."""

    start: Mapping[int, NDArray[np.float32]] | None
    """Under the weights at its start (pi_prox); None where the one step's own are the same."""
    reference: Mapping[int, NDArray[np.float32]] | None
    """Under the reference policy; None without a KL term."""


def minibatches(rows: Sequence[TrainingRow], size: int | None, seed: int, epoch: int) -> list[list[int]]:
    """Indices of the rows of each step: about `size` each (None: all), shuffled.

    Rows with equal prompts stay together where they are no more than `size`; more of them are shuffled too and laid
    over as many steps as they fill, or tasks that all share a prompt would be learned from in one step.
    """
    groups: dict[bytes, list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(row.segment.prompt_ids.tobytes(), []).append(i)
    count = 1 if size is None else -(-len(rows) // size)
    steps: list[list[int]] = [[] for _ in range(count)]
    members = list(groups.values())
    rng = keyed_rng(seed, "minibatches", epoch)
    taken = 0
    for g in rng.permutation(len(members)):
        whole = size is None or len(members[g]) <= size
        for place, i in enumerate(members[g] if whole else rng.permutation(members[g]).tolist(), start=taken):
            steps[(taken if whole else place) * count // len(rows)].append(i)
        taken += len(members[g])
    return [step for step in steps if step]


def denominators(rows: Sequence[TrainingRow], steps: Sequence[Sequence[int]]) -> list[Denominators]:
    """Those of each step of one epoch."""
    policy_tokens = [[rows[i].trained_tokens for i in step if rows[i].in_policy_loss] for step in steps]
    mean_policy = sum(map(sum, policy_tokens)) / max(len(steps), 1)
    mean_nll = sum(np.count_nonzero(r.per_token(r.nll_weight)) for r in rows) / max(len(steps), 1)
    return [Denominators(len(tokens), sum(tokens), mean_policy, mean_nll) for tokens in policy_tokens]


def moves_weights(row: TrainingRow, beta: float) -> bool:
    """Whether the row has a gradient at all."""
    in_policy = row.in_policy_loss and (beta > 0 or bool(np.any(row.advantage)))
    return row.trained_tokens > 0 and (in_policy or bool(np.any(row.nll_weight)))


def most_uncertain(
    rows: Sequence[TrainingRow], entropies: Mapping[int, NDArray[np.float32]], share: float
) -> list[TrainingRow]:
    """The rows with advantages for that share of the tokens only, in (0, 1], whose entropies are highest, else 0.

    Of reasoning's tokens few are choices, and those teach most (Wang et al. 2025, arXiv:2506.01939). `entropies` are
    (M,), by index of the rows that they are counted over; the other rows stay as they are, and so do all denominators.
    """
    if not entropies:
        return list(rows)
    least = np.quantile(np.concatenate(list(entropies.values())), 1 - share) - _TIE
    return [
        replace(row, advantage=np.where(entropies[i] >= least, row.per_token(row.advantage), np.float32(0)))
        if i in entropies
        else row
        for i, row in enumerate(rows)
    ]


def objective(
    logprobs_RT: Tensor,
    batch: MicroBatch,
    rows: Sequence[TrainingRow],
    fixed: Fixed,
    settings: LearnerSettings,
    counts: Denominators,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The micro-batch's part of the step's loss (scalar), and sums for the statistics (no gradient)."""
    chosen = [rows[i] for i in batch.members]
    policy_R1 = _column(batch, [float(row.in_policy_loss) for row in chosen])
    mask_RT = batch.mask_RT * policy_R1
    current_RT = logprobs_RT.detach()
    old_RT = current_RT if fixed.start is None else _spread(batch, [fixed.start.get(i) for i in batch.members])
    behaviour_RT = _spread(batch, [row.segment.behaviour_logprobs for row in chosen])
    advantages_RT = _spread(batch, [row.per_token(row.advantage) for row in chosen])
    nll_RT = _spread(batch, [row.per_token(row.nll_weight) for row in chosen])

    ratio = losses.importance_ratio(logprobs_RT, old_RT, mask_RT, settings.ratio_level)
    raw, correction = losses.sampler_correction(
        old_RT,
        behaviour_RT,
        mask_RT,
        level=settings.correction_level,
        mode=settings.correction_mode,
        c_max=settings.correction_max,
    )
    eps_high = settings.eps if settings.eps_high is None else settings.eps_high
    loss_RT, clipped = losses.policy_loss(logprobs_RT, ratio, advantages_RT, settings.loss, settings.eps, eps_high)
    loss_RT = loss_RT * correction
    sums: dict[str, Tensor] = {}
    if fixed.reference is not None:
        known_RT = _spread(batch, [fixed.reference.get(i) for i in batch.members])
        reference_RT = torch.where(mask_RT > 0, known_RT, current_RT)  # k3's exponential of a missing one overflows
        kl_RT = losses.reference_kl(logprobs_RT, reference_RT, ratio, settings.kl)
        loss_RT = loss_RT + settings.beta * kl_RT
        sums["kl"] = (kl_RT * mask_RT).sum()
    weights_RT = losses.token_weights(
        mask_RT,
        settings.loss,
        rows=counts.policy_rows,
        tokens=counts.policy_tokens,
        mean_tokens=counts.mean_policy_tokens,
        max_completion=settings.max_completion or 1,
    )
    policy = (loss_RT * weights_RT).sum()
    nll = losses.nll_loss(logprobs_RT, nll_RT, counts.mean_nll_tokens)
    loss = policy + nll
    positive_RT = nll_RT > 0
    drift_RT = current_RT - old_RT
    sums |= {
        "loss": loss,
        "policy_loss": policy,
        "policy_tokens": mask_RT.sum(),
        "nll": -(current_RT * positive_RT).sum(),
        "nll_tokens": positive_RT.sum(),
        "ratio": (ratio * mask_RT).sum(),
        "raw_correction": (raw * mask_RT).sum(),
        "correction": (correction * mask_RT).sum(),
        "clip_fraction": (clipped * mask_RT).sum(),
        "approx_kl": ((drift_RT.exp() - 1 - drift_RT) * mask_RT).sum(),
    }
    return loss, {name: value.detach() for name, value in sums.items()}


def _column(batch: MicroBatch, values: Sequence[float]) -> Tensor:
    """(R, 1)."""
    return torch.tensor(values, dtype=torch.float32, device=batch.mask_RT.device)[:, None]


def _spread(batch: MicroBatch, values: Sequence[NDArray[np.float32] | None]) -> Tensor:
    """(R, T) from each segment's (M,) values; 0 where there are none."""
    counts = batch.mask_RT.sum(-1).long().tolist()
    filled = [np.zeros(m, dtype=np.float32) if v is None else v for v, m in zip(values, counts, strict=True)]
    flat_N = torch.from_numpy(np.concatenate(filled)).to(batch.mask_RT)
    return torch.zeros_like(batch.mask_RT).flatten().index_copy(0, batch.slots_N, flat_N).view_as(batch.mask_RT)
