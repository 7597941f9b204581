"""The learner: a model and its optimizer, updated from rows of the replay store."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from journeyman.agent.chance import keyed_seed
from journeyman.agent.data import PolicyRef, Segment
from journeyman.agent.errors import JourneymanError, SettingsError
from journeyman.agent.learning.checkpoint import load_optimizer, save_policy
from journeyman.agent.learning.halves import recompute_layers
from journeyman.agent.learning.objective import (
    Denominators,
    Fixed,
    TrainingRow,
    denominators,
    minibatches,
    most_uncertain,
    moves_weights,
    objective,
)
from journeyman.agent.learning.probing import probe_of
from journeyman.agent.learning.reach import adapter_reach, adapter_targets, freeze_unread
from journeyman.agent.learning.scoring import Scorer
from journeyman.agent.learning.settings import LearnerSettings
from journeyman.agent.manifests import check
from journeyman.agent.models import load_causal_lm, load_tokenizer

__all__ = ["Learner", "LearnerSettings", "TrainingRow", "Update"]


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """What an update did."""

    stats: dict[str, float]
    """See `Learner.update`."""
    ratios: dict[int, float]
    """By index of the row the mean over its tokens of pi_prox / behaviour, uncapped; rows in the policy loss only."""


class Learner:
    """A model, its optimizer, and the updates between them. Dropout is off: a ratio compares policies, not masks."""

    adapter_share: float | None = None
    """Share of the weights that the LoRA adapter reaches, in (0, 1]; None where the full weights are trained."""
    reach: str = ""
    """A line that says it, and what it does not reach; empty without an adapter."""

    def __init__(self, policy: PolicyRef, settings: LearnerSettings, reference: PolicyRef | None = None) -> None:
        """Loads `policy`, and `reference` for the KL term; with `lora_rank` > 0 an adapter is added or continued.

        Raises SettingsError where beta > 0 has no reference, or where the adapter and `lora_rank` disagree, and
        DamagedPolicyError where files are not those that were saved.
        """
        if settings.beta > 0 and reference is None:
            raise SettingsError(f"beta is {settings.beta}, but there is no reference policy: give one, or set beta 0")
        self.settings = settings
        self.device = settings.device
        if settings.device == "auto":
            self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self._dtype: torch.dtype = getattr(torch, settings.dtype)
        self._reference: Scorer | None = None
        if settings.beta > 0 and reference is not None:
            frozen = load_causal_lm(reference, dtype=self._dtype, device=self.device)
            self._reference = self._scorer(frozen)
        self.restore(policy)

    def restore(self, policy: PolicyRef) -> None:
        """Takes up the policy's weights, and its optimizer state where its folder has one, as they were saved.

        Raises DamagedPolicyError, and keeps what it has, where the files are not those that were saved.
        """
        check(policy)
        self.policy = policy
        self.tokenizer = load_tokenizer(policy.path)
        self.model = self._trainable(policy)
        self._score = self._scorer(self.model)
        matrices = [p for p in self.model.parameters() if p.requires_grad and p.ndim > 1]
        vectors = [p for p in self.model.parameters() if p.requires_grad and p.ndim < 2]
        decaying = {"params": matrices, "weight_decay": self.settings.weight_decay}
        groups = [decaying, {"params": vectors, "weight_decay": 0.0}] if vectors else [decaying]
        self.optimizer = torch.optim.AdamW(groups, betas=self.settings.betas, fused=True)
        load_optimizer(self.model, self.optimizer, Path(policy.adapter or policy.path))

    def save(self, folder: Path, number: int, parent: str | None = None) -> PolicyRef:
        """Writes weights or adapter, tokenizer, optimizer state, probe and manifest, all or nothing; returns its name.

        A learner that loads it goes on, bit for bit, as this one does. `parent` is the version it was trained from, for
        the manifest; None is the base model.
        """
        base, probe = self.policy.path, probe_of(self.model, self.tokenizer, self._dtype, self.settings.seed)
        save_policy(self.model, self.tokenizer, self.optimizer, probe, folder, parent=parent, base=base)
        if self.settings.lora_rank:
            return PolicyRef(number, base, str(folder))
        return PolicyRef(number, str(folder))

    def logprobs(self, segments: Sequence[Segment]) -> list[NDArray[np.float32]]:
        """(M,) log-probs of each segment's trained tokens under the current weights, at the learner's temperature."""
        found = self._score.logprobs(segments, range(len(segments)))
        return [found[i] for i in range(len(segments))]

    def update(
        self,
        rows: Sequence[TrainingRow],
        *,
        seed: int,
        minibatch_rows: int | None = None,
        epochs: int = 1,
        learning_rate: float | Callable[[float], float] | None = None,
    ) -> Update:
        """Learns from `rows` in steps of about `minibatch_rows` each (None: all in one), `epochs` times over.

        `learning_rate` is one rate, or a function from the share of steps done, in [0, 1), to the rate.
        Rows with equal prompts stay in one step, so that the prompt can be shared, where they are not more than a step
        holds; their order is drawn from `seed`.
        A step's loss is the policy loss + `beta` x KL + the weighted NLL, with the denominators of `losses`, and
        does not depend on its micro-batches. Where there is more than one step, the log-probs at the start of the
        update (pi_prox) are computed first: the clip is around them, and min(correction_max, pi_prox / behaviour)
        weighs rows that the sampler's arithmetic, an older policy or another prompt produced. Where `top_entropy` is
        below 1, the entropies at the start say which tokens keep their advantages (see `most_uncertain`). Rows without
        a gradient (advantage and NLL weight 0, no KL) cost nothing, but stay in the denominators; a step of only such
        rows is not made.

        The statistics are over the update: `steps`, `rows`, `tokens_per_second` (prompts and completions, as if none
        were shared) and `seconds`; means over steps: `loss`, `grad_norm`; over trained tokens that had a gradient:
        `entropy`; where there are such rows, over tokens in the policy loss: `policy_loss` (a mean over steps),
        `ratio` (to pi_prox), `raw_correction` and `correction` (before and after truncating or masking),
        `clip_fraction`, `approx_kl` (to pi_prox) and, with a reference, `kl`; over positives: `nll`; with an adapter:
        `adapter_share` (of the weights).

        Raises ValueError for rows that cannot be learned from as they say, JourneymanError where a gradient is not
        finite (that step is not made).
        """
        started = time.perf_counter()
        for i, row in enumerate(rows):
            row.check(i)
        steps: list[tuple[list[int], Denominators]] = []
        for epoch in range(epochs):
            parts = minibatches(rows, minibatch_rows, seed, epoch)
            steps += zip(parts, denominators(rows, parts), strict=True)
        rows, fixed = self._begin(rows, several=len(steps) > 1)
        sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=self.device))
        rate = self.settings.learning_rate if learning_rate is None else learning_rate
        norms: list[float] = []
        for number, (part, counts) in enumerate(steps):
            for group in self.optimizer.param_groups:
                group["lr"] = rate(number / len(steps)) if callable(rate) else rate
            norm = self._step(rows, part, counts, fixed, sums)
            norms += [] if norm is None else [norm]
        seconds = time.perf_counter() - started
        tokens = epochs * sum(len(row.segment.prompt_ids) + len(row.segment.completion_ids) for row in rows)
        stats = _means({name: float(value) for name, value in sums.items()}, norms) | {
            "rows": float(len(rows)),
            "seconds": seconds,
            "tokens_per_second": tokens / seconds,
        }
        if self.adapter_share is not None:
            stats["adapter_share"] = self.adapter_share
        return Update(stats, _ratios(rows, fixed))

    def _begin(self, rows: Sequence[TrainingRow], *, several: bool) -> tuple[Sequence[TrainingRow], Fixed]:
        """The rows, without the advantages of tokens that are no choices, and what stays fixed during the update."""
        segments = [row.segment for row in rows]
        beta, share = self.settings.beta, self.settings.top_entropy
        wanted = [i for i, row in enumerate(rows) if row.in_policy_loss and moves_weights(row, beta)]
        reference = self._reference.logprobs(segments, wanted) if self._reference else None
        if not wanted or not (several or share < 1):
            return rows, Fixed(None, reference)
        start, entropies = self._score.logprobs_and_entropies(segments, wanted)
        compared = {i: entropies[i] for i in wanted if np.any(rows[i].advantage)}
        return most_uncertain(rows, compared, share) if share < 1 else rows, Fixed(start, reference)

    def _step(
        self,
        rows: Sequence[TrainingRow],
        part: Sequence[int],
        counts: Denominators,
        fixed: Fixed,
        sums: dict[str, Tensor],
    ) -> float | None:
        """One optimizer step on the rows of `part`; its gradient's norm before clipping, None where it has none."""
        segments = [row.segment for row in rows]
        batches = self._score.plan(segments, [i for i in part if moves_weights(rows[i], self.settings.beta)])
        if not batches:
            return None
        self.optimizer.zero_grad()
        for batch_rows in batches:
            batch, logprobs_RT, entropy_RT = self._score.forward(segments, batch_rows)
            loss, parts = objective(logprobs_RT, batch, rows, fixed, self.settings, counts)
            loss.backward()  # type: ignore[no-untyped-call]
            for name, value in (parts | {"entropy": entropy_RT.sum(), "tokens": batch.mask_RT.sum()}).items():
                sums[name] += value
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, self.settings.max_grad_norm))
        if not np.isfinite(norm):
            raise JourneymanError(
                f"the gradient's norm is {norm}: lower the learning rate, or look at the rows' ratios"
            )
        self.optimizer.step()
        return norm

    def _scorer(self, model: Any) -> Scorer:
        causal = model.get_base_model() if hasattr(model, "peft_config") else model
        return Scorer(causal, self._dtype, self.settings.temperature, self.settings.micro_batch_tokens)

    def _trainable(self, policy: PolicyRef) -> Any:
        """The policy's model with float32 weights where they are trained, each in memory of its own."""
        rank = self.settings.lora_rank
        if policy.adapter is not None and not rank:
            raise SettingsError(
                f"policy {policy.number} is a LoRA adapter, but lora_rank is 0: set it to the adapter's"
            )
        dtype = self._dtype if rank else torch.float32
        model = load_causal_lm(policy, dtype=dtype, device=self.device, trainable=True)
        if rank and policy.adapter is None:
            model = self._with_adapter(model)
        elif rank and (found := model.peft_config["default"].r) != rank:
            raise SettingsError(f"lora_rank is {rank}, but the adapter in {policy.adapter} has rank {found}: set that")
        if rank:
            self.adapter_share, self.reach = adapter_reach(model)
        else:
            freeze_unread(model)
        if self.settings.activation_checkpointing:
            recompute_layers(model)
        for parameter in model.parameters():
            # loaded weights are views of the file; a copy frees it, and is aligned as a running learner's weights are
            parameter.data = parameter.data.clone()
        return model

    def _with_adapter(self, model: Any) -> Any:
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(
            r=self.settings.lora_rank,
            lora_alpha=self.settings.lora_alpha,
            target_modules=adapter_targets(model, self.settings.lora_targets),
            task_type="CAUSAL_LM",
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(keyed_seed(self.settings.seed, "adapter"))
            return get_peft_model(model, config).eval()


def _ratios(rows: Sequence[TrainingRow], fixed: Fixed) -> dict[int, float]:
    """Those of an update of several steps: in a single one pi_prox is the policy that moves, and is not kept."""
    found = {}
    for i, start_M in (fixed.start or {}).items():
        behaviour_M = rows[i].segment.behaviour_logprobs
        if behaviour_M is not None:
            found[i] = float(np.exp(start_M.astype(np.float64) - behaviour_M).mean())
    return found


def _means(sums: dict[str, float], norms: Sequence[float]) -> dict[str, float]:
    """The statistics from their sums; those whose denominator is 0 are left out."""
    steps = len(norms)
    policy = ("ratio", "raw_correction", "correction", "clip_fraction", "approx_kl", "kl")
    below = dict.fromkeys(policy, "policy_tokens") | {"nll": "nll_tokens", "entropy": "tokens"}
    means = {name: sums[name] / sums[count] for name, count in below.items() if name in sums and sums[count]}
    if steps:
        means |= {"loss": sums["loss"] / steps, "grad_norm": sum(norms) / steps}
    if sums.get("policy_tokens"):
        means["policy_loss"] = sums["policy_loss"] / steps
    return means | {"steps": float(steps)}
