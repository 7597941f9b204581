"""The numbers that a person needs of an update: sums over micro-batches as means, and what rows say of themselves."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch

from journeyman.agent.learning.objective import Fixed
from journeyman.agent.learning.rows import TrainingRow

OF_THE_MACHINE = frozenset({"seconds", "tokens_per_second", "peak_memory_mb", "flops_utilisation"})
"""Statistics that the same update on the same rows need not have again."""
_PER_TOKEN = {
    "policy_tokens": ("ratio", "raw_correction", "correction", "clip_fraction", "approx_kl"),
    "kl_tokens": ("kl",),
    "nll_tokens": ("nll",),
    "observation_tokens": ("observation_nll",),
    "value_tokens": ("value_loss", "value_clip_fraction"),
    "tokens": ("entropy",),
}
"""Sums by the count of tokens that they are divided by."""


def means(sums: Mapping[str, float], norms: Sequence[float]) -> dict[str, float]:
    """The statistics from their sums over an update of so many steps.

    Those whose denominator is 0 are left out, and those that are not finite: no database takes them.

    `effective_samples` is the share of the policy loss's tokens that the importance weights w leave,
    (sum w)^2 / (n sum w^2) (Kish 1965), in (0, 1].
    """
    found = {
        name: sums[name] / sums[count]
        for count, names in _PER_TOKEN.items()
        for name in names
        if name in sums and sums.get(count)
    }
    steps = len(norms)
    if steps:
        found |= {"loss": sums["loss"] / steps, "grad_norm": sum(norms) / steps}
        found |= {"policy_loss": sums["policy_loss"] / steps} if sums.get("policy_tokens") else {}
    squares = sums.get("correction_squares", 0.0)
    if squares:
        found["effective_samples"] = sums["correction"] ** 2 / (sums["policy_tokens"] * squares)
    found["steps"] = float(steps)
    return {name: value for name, value in found.items() if math.isfinite(value)}


def of_rows(rows: Sequence[TrainingRow]) -> dict[str, float]:
    """Mean, spread and largest size of the advantages by token, and how much of the returns the critic explains.

    `explained_variance` is 1 - Var(returns - values) / Var(returns); it is left out where returns do not differ.
    """
    found: dict[str, float] = {}
    compared = [row.per_token(row.policy) for row in rows if row.policy is not None and row.trained_tokens]
    if compared:
        advantages = np.concatenate(compared).astype(np.float64)
        found["advantage_mean"], found["advantage_std"] = float(advantages.mean()), float(advantages.std())
        found["advantage_max"] = float(np.abs(advantages).max())
    told = [(row.value, row.foreseen) for row in rows if row.value is not None and row.foreseen is not None]
    if told:
        returns, values = (np.concatenate(one).astype(np.float64) for one in zip(*told, strict=True))
        if len(returns) and (spread := float(returns.var())):
            found["explained_variance"] = 1 - float((returns - values).var()) / spread
    return found


@lru_cache
def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second that the device makes in products of large matrices, measured once."""
    size = 4096 if device.type == "cuda" else 1024
    one, product = torch.ones(size, size, device=device, dtype=dtype), 2.0 * size**3
    fastest = float("inf")
    for _ in range(4):  # the first one warms up
        started = time.perf_counter()
        float((one @ one)[0, 0])
        fastest = min(fastest, time.perf_counter() - started)
    return product / fastest


def ratios(rows: Sequence[TrainingRow], fixed: Fixed) -> dict[int, float]:
    """By index of the row the mean over its tokens of pi_prox / behaviour, uncapped; rows in the policy loss only.

    Rows without a chosen token are left out, as are those whose ratio no number holds. Empty for an update of one
    step: there pi_prox is the policy that moves, and is not kept.
    """
    found = {}
    for i, start_M in (fixed.start or {}).items():
        behaviour_M = rows[i].segment.behaviour_logprobs
        if behaviour_M is not None and rows[i].policy is not None and len(start_M):
            with np.errstate(over="ignore"):
                found[i] = float(np.exp(start_M.astype(np.float64) - behaviour_M).mean())
    return {i: ratio for i, ratio in found.items() if math.isfinite(ratio)}


def peak_memory_mb(device: torch.device) -> float:
    """Most memory held so far, in MiB: of the GPU, or of the process where there is none."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
