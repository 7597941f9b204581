"""The objective of one optimizer step, from the rows of its micro-batches: each stream's term over its denominators.

Dimension letters: R segments of a micro-batch, T predicted tokens of the longest of them, P of one, M trained of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from journeyman.agent.learning import losses
from journeyman.agent.learning.forward.layouts import MicroBatch
from journeyman.agent.learning.rows import Denominators, Stream, TrainingRow
from journeyman.agent.learning.settings import LearnerSettings


@dataclass(frozen=True, slots=True, eq=False)
class Fixed:
    """What stays as it is during an update, (M,) each, by index of the row."""

    start: Mapping[int, NDArray[np.float32]] | None
    """Log-probs under the weights at its start (pi_prox); None where the one step's own are the same."""
    reference: Mapping[int, NDArray[np.float32]] | None
    """Under the reference policy; None without a KL term."""


def objective(
    logprobs_RT: Tensor,
    entropy_RT: Tensor,
    batch: MicroBatch,
    rows: Sequence[TrainingRow],
    fixed: Fixed,
    settings: LearnerSettings,
    counts: Denominators,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The micro-batch's part of the step's loss (scalar) without the critic's, and sums for the statistics.

    The sums carry no gradient; `entropy_RT` needs one only where there is a bonus for it.
    """
    chosen = [rows[i] for i in batch.members]
    nll_RT = _spread(batch, [row.chosen(row.weights(Stream.NLL)) for row in chosen])
    observed_RT = _spread(batch, [row.observed() for row in chosen])
    loss, sums = _compared(logprobs_RT, entropy_RT, batch, rows, fixed, settings, counts)
    nll = losses.nll_loss(logprobs_RT, nll_RT, counts[Stream.NLL].mean_tokens)
    loss = loss + nll
    current_RT, positive_RT = logprobs_RT.detach(), nll_RT > 0
    sums |= {"nll": -(current_RT * positive_RT).sum(), "nll_tokens": positive_RT.sum()}
    own_RT = _own(batch, chosen)
    sums |= {"entropy": (entropy_RT * own_RT).sum(), "tokens": own_RT.sum()}
    if counts[Stream.PREFERENCE].rows:
        slopes_RT = _spread(batch, [row.chosen(row.weights(Stream.PREFERENCE)) for row in chosen])
        loss = loss + (logprobs_RT * slopes_RT).sum()
    if counts[Stream.OBSERVATION].tokens:
        loss = loss + losses.nll_loss(logprobs_RT, observed_RT, counts[Stream.OBSERVATION].mean_tokens)
        seen_RT = observed_RT > 0
        sums |= {"observation_nll": -(current_RT * seen_RT).sum(), "observation_tokens": seen_RT.sum()}
    return loss, {name: value.detach() for name, value in (sums | {"loss": loss}).items()}


def _compared(
    logprobs_RT: Tensor,
    entropy_RT: Tensor,
    batch: MicroBatch,
    rows: Sequence[TrainingRow],
    fixed: Fixed,
    settings: LearnerSettings,
    counts: Denominators,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The terms that need ratios: policy loss, entropy bonus and KL to the reference; scalar, and sums."""
    kind, current_RT = settings.loss, logprobs_RT.detach()
    chosen = [rows[i] for i in batch.members]
    mask_RT = _mask(batch, chosen, Stream.POLICY)
    if fixed.start is None:
        old_RT = current_RT
    else:
        start = [fixed.start.get(i) for i in batch.members]
        old_RT = _spread(batch, [row.chosen(one) for row, one in zip(chosen, start, strict=True)])
    behaviour_RT = _spread(batch, [row.chosen(row.segment.behaviour_logprobs) for row in chosen])
    shaped_R1 = _column(batch, [float(row.shaped) for row in chosen]) > 0
    behaviour_RT = torch.where(shaped_R1, old_RT, behaviour_RT)
    advantages_RT = _spread(batch, [row.chosen(row.weights(Stream.POLICY)) for row in chosen])

    ratio = losses.importance_ratio(logprobs_RT, old_RT, mask_RT, kind)
    raw, correction = losses.sampler_correction(
        old_RT,
        behaviour_RT,
        mask_RT,
        level=settings.correction_level,
        mode=settings.correction_mode,
        c_max=settings.correction_max,
        c_min=settings.correction_min,
    )
    if kind == "topr":
        correction = losses.topr_weights(logprobs_RT, behaviour_RT, mask_RT, advantages_RT)
    eps_high = settings.eps if settings.eps_high is None else settings.eps_high
    loss_RT, clipped = losses.policy_loss(logprobs_RT, ratio, advantages_RT, kind, settings.eps, eps_high)
    loss_RT = loss_RT * correction
    if any(row.shaped for row in chosen):
        shaped_RT = losses.shaped_loss(logprobs_RT, advantages_RT, settings.shaping)
        loss_RT = torch.where(shaped_R1, shaped_RT, loss_RT)
        clipped = clipped & ~shaped_R1
    weights_RT = _weights(mask_RT, settings, counts, Stream.POLICY)
    loss = policy = (loss_RT * weights_RT).sum()
    sums: dict[str, Tensor] = {}
    if settings.entropy_weight:
        bonus_RT = entropy_RT * mask_RT / max(counts[Stream.POLICY].mean_tokens, 1.0)
        loss = loss - settings.entropy_weight * bonus_RT.sum()
    if fixed.reference is not None:
        found = [fixed.reference.get(i) for i in batch.members]
        near_RT = _mask(batch, chosen, Stream.REFERENCE)
        known_RT = _spread(batch, [row.chosen(one) for row, one in zip(chosen, found, strict=True)])
        reference_RT = torch.where(near_RT > 0, known_RT, current_RT)  # k3's exponential of a missing one overflows
        kl_RT = losses.reference_kl(logprobs_RT, reference_RT, ratio, settings.kl)
        told_RT = _spread(batch, [row.chosen(row.weights(Stream.REFERENCE)) for row in chosen])
        kl_weights_RT = _weights(near_RT, settings, counts, Stream.REFERENCE)
        loss = loss + (kl_RT * told_RT * kl_weights_RT).sum()
        sums |= {"kl": (kl_RT * near_RT).sum(), "kl_tokens": near_RT.sum()}
    drift_RT = current_RT - old_RT
    return loss, sums | {
        "policy_loss": policy,
        "policy_tokens": mask_RT.sum(),
        "ratio": (ratio * mask_RT).sum(),
        "raw_correction": (raw * mask_RT).sum(),
        "correction": (correction * mask_RT).sum(),
        "correction_squares": (correction.square() * mask_RT).sum(),
        "clip_fraction": (clipped * mask_RT).sum(),
        "approx_kl": ((drift_RT.exp() - 1 - drift_RT) * mask_RT).sum(),
    }


def value_objective(
    values_RT: Tensor,
    batch: MicroBatch,
    rows: Sequence[TrainingRow],
    settings: LearnerSettings,
    counts: Denominators,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The micro-batch's part of the critic's loss (scalar), over the step's tokens that have targets, and sums."""
    chosen = [rows[i] for i in batch.members]
    mask_RT = _mask(batch, chosen, Stream.VALUE)
    targets_RT = _spread(batch, [row.chosen(row.value) for row in chosen])
    known_R1 = _column(batch, [float(row.foreseen is not None) for row in chosen]) > 0
    foreseen_RT = _spread(batch, [row.chosen(row.foreseen) for row in chosen])
    old_RT = torch.where(known_R1, foreseen_RT, values_RT.detach())
    loss_RT, clipped_RT = losses.value_loss(values_RT, targets_RT, old_RT, settings.value_clip)
    loss = (loss_RT * mask_RT).sum() / max(counts[Stream.VALUE].mean_tokens, 1.0)
    sums = {
        "value_loss": (loss_RT * mask_RT).sum(),
        "value_tokens": mask_RT.sum(),
        "value_clip_fraction": (clipped_RT * mask_RT).sum(),
    }
    return loss, {name: value.detach() for name, value in sums.items()}


def _weights(mask_RT: Tensor, settings: LearnerSettings, counts: Denominators, stream: Stream) -> Tensor:
    return losses.token_weights(
        mask_RT,
        settings.loss,
        rows=counts[stream].rows,
        tokens=counts[stream].tokens,
        mean_tokens=counts[stream].mean_tokens,
        max_completion=settings.max_completion or 1,
    )


def _mask(batch: MicroBatch, chosen: Sequence[TrainingRow], stream: Stream) -> Tensor:
    """(R, T) 1.0 where a chosen token counts in the stream."""
    inside_R1 = _column(batch, [float(getattr(row, stream) is not None) for row in chosen])
    return _own(batch, chosen) * inside_R1


def _own(batch: MicroBatch, chosen: Sequence[TrainingRow]) -> Tensor:
    """(R, T) 1.0 where a token was chosen, and not observed."""
    if not any(np.any(row.observation) for row in chosen):
        return batch.mask_RT
    return _spread(batch, [row.chosen(np.ones(row.trained_tokens, np.float32)) for row in chosen])


def _column(batch: MicroBatch, values: Sequence[float]) -> Tensor:
    """(R, 1)."""
    return torch.tensor(values, dtype=torch.float32, device=batch.mask_RT.device)[:, None]


def _spread(batch: MicroBatch, values: Sequence[NDArray[np.float32]]) -> Tensor:
    """(R, T) from each segment's (P,) values."""
    flat_N = torch.from_numpy(np.concatenate(values)).to(batch.mask_RT)
    return torch.zeros_like(batch.mask_RT).flatten().index_copy(0, batch.slots_N, flat_N).view_as(batch.mask_RT)
