"""The learner: a model and its optimizer, updated from rows of the replay store.

Dimension letters: R segments of a micro-batch, T trained tokens of the longest of them, M trained tokens of one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from journeyman.agent.chance import keyed_rng, keyed_seed
from journeyman.agent.data import PolicyRef, Segment
from journeyman.agent.errors import JourneymanError, SettingsError
from journeyman.agent.learning import losses
from journeyman.agent.learning.checkpoint import load_optimizer, save_policy
from journeyman.agent.learning.packing import MicroBatch, Row, collate, count_work, plan, token_logprobs
from journeyman.agent.models import load_causal_lm, load_tokenizer

Plan: TypeAlias = list[list[Row]]


@dataclass(frozen=True, slots=True)
class LearnerSettings:
    """How to learn. Rates and betas are AdamW's; the rest is named as in `losses`."""

    learning_rate: float = 1e-5
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    """Of matrices only; biases and norms do not decay."""
    max_grad_norm: float = 1.0
    loss: losses.LossName = "grpo"
    ratio_level: losses.Level = "token"
    eps: float = 0.2
    eps_high: float | None = None
    """None is `eps`; cispo needs it, as the ceiling of the ratio."""
    max_completion: int | None = None
    """Longest completion allowed, in tokens; the denominator of dr_grpo, which needs it."""
    beta: float = 0.0
    """Weight of the KL to the reference policy."""
    kl: losses.KlEstimator = "k2"
    correction_level: losses.Level = "token"
    correction_mode: losses.CorrectionMode = "truncate"
    correction_max: float = 3.0
    temperature: float = 1.0
    """Of the distribution that is learned: the one that was sampled at."""
    micro_batch_tokens: int | None = None
    """Padded tokens of one forward pass; None is 2,048 on a CPU (its caches are small), 32,768 on a GPU."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the matrix products and of weights that are not trained; trained weights are float32 always."""
    device: str = "auto"
    lora_rank: int = 0
    """0 trains the full weights."""
    lora_alpha: float = 32.0
    lora_targets: tuple[str, ...] = ()
    """Names of the modules that get an adapter; empty for every linear layer but the output's."""
    seed: int = 0
    """Of a new adapter's weights."""

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise SettingsError(f"the learner's temperature is {self.temperature}: it must be above 0")
        if self.loss == "cispo" and self.eps_high is None:
            raise SettingsError("loss 'cispo' needs eps_high, the ceiling of the ratio: set it, e.g. to 5.0")
        if self.loss == "dr_grpo" and self.max_completion is None:
            raise SettingsError("loss 'dr_grpo' divides by max_completion: set it to the longest completion allowed")


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRow:
    """One segment to learn from, and how."""

    segment: Segment
    advantage: float | NDArray[np.float32] = 0.0
    """One for the segment, or (M,) one for each trained token; 0 where the verifier failed."""
    in_policy_loss: bool = True
    """Whether it counts in the policy loss (its denominators too); it then needs behaviour log-probs."""
    nll_weight: float = 0.0
    """Weight of its negative log-likelihood; 0 where it is no verified positive."""


@dataclass(frozen=True, slots=True)
class _Step:
    """One optimizer step: its micro-batches, and what its losses are divided by."""

    batches: Plan
    policy_rows: int
    policy_tokens: int
    mean_policy_tokens: float
    mean_nll_tokens: float


class Learner:
    """A model, its optimizer, and the updates between them. Dropout is off: a ratio compares policies, not masks."""

    def __init__(self, policy: PolicyRef, settings: LearnerSettings, reference: PolicyRef | None = None) -> None:
        """Loads `policy`, and `reference` for the KL term; with `lora_rank` > 0 an adapter is added or continued.

        Raises SettingsError where beta > 0 has no reference, or the adapter and `lora_rank` disagree.
        """
        if settings.beta > 0 and reference is None:
            raise SettingsError(f"beta is {settings.beta}, but there is no reference policy: give one, or set beta 0")
        self.settings = settings
        device = settings.device if settings.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)
        self._budget = settings.micro_batch_tokens or (32_768 if self.device.type == "cuda" else 2_048)
        self._reference = None if settings.beta == 0 or reference is None else self._frozen(reference)
        self.restore(policy)

    def restore(self, policy: PolicyRef) -> None:
        """Takes up the policy's weights, and its optimizer state where its folder has one, as it was saved."""
        self.policy = policy
        self.tokenizer = load_tokenizer(policy.path)
        self.model = _trainable(policy, self.settings, self.device)
        self._causal = self.model.get_base_model() if self.settings.lora_rank else self.model
        self._work = count_work(self._causal)
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        matrices, others = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim < 2]
        decay = [{"params": matrices, "weight_decay": self.settings.weight_decay}, {"params": others}]
        rate, betas = self.settings.learning_rate, self.settings.betas
        self.optimizer = torch.optim.AdamW(decay, lr=rate, betas=betas, weight_decay=0.0, fused=True)
        load_optimizer(self.model, self.optimizer, Path(policy.adapter or policy.path))

    def save(self, folder: Path, number: int) -> PolicyRef:
        """Writes weights or adapter, tokenizer and optimizer state, all or nothing; returns the new policy's name.

        A learner that loads it goes on exactly, bit for bit, as this one would.
        """
        save_policy(self.model, self.tokenizer, self.optimizer, folder)
        if self.settings.lora_rank:
            return PolicyRef(number, self.policy.path, str(folder))
        return PolicyRef(number, str(folder))

    def logprobs(self, segments: Sequence[Segment]) -> list[NDArray[np.float32]]:
        """(M,) log-probs of each segment's trained tokens under the current weights."""
        batches = plan(segments, range(len(segments)), self._work, self._budget)
        return self._logprobs(self._causal, segments, batches)

    def evaluate_nll(self, segments: Sequence[Segment]) -> float:
        """Mean negative log-likelihood of a trained token, in nats."""
        return -float(np.concatenate(self.logprobs(segments)).mean(dtype=np.float64))

    def update(
        self,
        rows: Sequence[TrainingRow],
        *,
        seed: int,
        minibatch_rows: int | None = None,
        epochs: int = 1,
        learning_rate: float | None = None,
    ) -> dict[str, float]:
        """Learns from `rows` in steps of about `minibatch_rows` each (None: all in one), `epochs` times over.

        Rows with equal prompts stay in one step, so that the prompt can be shared; their order is drawn from `seed`.
        The loss of a step is the policy loss + `beta` x KL + the weighted NLL, with denominators as in `losses`.
        Where there is more than one step, the log-probs at the start of the update are computed first (pi_prox):
        the clip is around them, and the weight min(correction_max, pi_prox / pi_behaviour) corrects for rows that
        the sampler, an older policy or another prompt produced. Rows that cannot move the weights (advantage and NLL
        weight 0, no KL) cost nothing but stay in the denominators; a step of only such rows is not made.

        Returns means over the update: loss, grad_norm, policy_loss, nll (weighted, as in the loss), kl, ratio (to
        pi_prox), raw_correction and correction (before and after truncating or masking), clip_fraction, approx_kl
        (to pi_prox), entropy; and steps, rows, tokens (trained, over all epochs), tokens_per_second (prompts and
        completions, as if no prompt were shared). Raises ValueError for a row in the policy loss without behaviour
        log-probs, JourneymanError where the loss or its gradient is not finite (the weights are then unchanged by
        that step).
        """
        started = time.perf_counter()
        self._check(rows)
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate if learning_rate is None else learning_rate
        steps = [s for epoch in range(epochs) for s in self._steps(rows, minibatch_rows, seed, epoch)]
        segments = [row.segment for row in rows]
        fixed = self._fixed_logprobs(segments, rows, steps)
        totals: dict[str, Tensor] = {}
        norms = [self._step(rows, segments, step, fixed, totals) for step in steps]
        sums = {name: float(value) for name, value in totals.items()}
        seconds = time.perf_counter() - started
        return _statistics(sums, norms) | {
            "rows": float(len(rows)),
            "tokens_per_second": epochs * sum(len(s.prompt_ids) + len(s.completion_ids) for s in segments) / seconds,
        }
