"""The learner: a model and its optimizer, updated from rows of the replay store."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from journeyman.agent.data import PolicyRef, Segment
from journeyman.agent.errors import JourneymanError, SettingsError
from journeyman.agent.learning.checkpoint import load_critic, load_optimizer, save_policy
from journeyman.agent.learning.critic import Critic
from journeyman.agent.learning.figures import means, of_rows, peak_flops, peak_memory_mb, ratios
from journeyman.agent.learning.forward.layouts import Row
from journeyman.agent.learning.forward.scoring import Scorer
from journeyman.agent.learning.hardware.ranks import Ranks, together
from journeyman.agent.learning.objective import Fixed, objective
from journeyman.agent.learning.probing import probe_of
from journeyman.agent.learning.reach import adapter_reach
from journeyman.agent.learning.reference import Reference
from journeyman.agent.learning.rows import Denominators, Stream, TrainingRow, denominators, minibatches, most_uncertain
from journeyman.agent.learning.settings import LearnerSettings
from journeyman.agent.learning.trained import causal, optimizer_of, own_trunk, trainable_model
from journeyman.agent.learning.trust_region import Step, TrustRegion
from journeyman.agent.manifests import check
from journeyman.agent.models import load_tokenizer

__all__ = ["Learner", "LearnerSettings", "TrainingRow", "Update"]


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """What an update did."""

    stats: dict[str, float]
    """See `Learner.update`."""
    ratios: dict[int, float]
    """By index of the row the mean over its tokens of pi_prox / behaviour, uncapped; rows in the policy loss only."""


class Learner:
    """A model, its optimizer, and the updates between them. Dropout is off: a ratio compares policies, not masks.

    In a process that has joined others (`join_ranks`) it is one learner together with theirs, which do the same.
    """

    adapter_share: float | None = None
    """Share of the weights that the LoRA adapter reaches, in (0, 1]; None where the full weights are trained."""
    reach: str = ""
    """A line that says it, and what it does not reach; empty without an adapter."""
    critic: Critic | None = None
    """Where the settings ask for one."""

    def __init__(self, policy: PolicyRef, settings: LearnerSettings, reference: PolicyRef | None = None) -> None:
        """Loads `policy`, and `reference` for a KL; with `lora_rank` > 0 an adapter is added or continued.

        Raises SettingsError where the adapter and `lora_rank` disagree, and DamagedPolicyError where files are not
        those that were saved.
        """
        self.settings = settings
        self.ranks = Ranks.joined()
        if settings.optimizer == "trust_region":  # its surrogate has no clip: the region holds instead
            self.settings = replace(settings, eps=math.inf, eps_high=math.inf)
            if self.ranks.count > 1:
                raise SettingsError("a trust-region step is made by one process: set learner.processes to 1")
        self.device = settings.device
        if settings.device == "auto":
            self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self._dtype: torch.dtype = getattr(torch, settings.dtype)
        self._named_reference = reference
        self.restore(policy)

    def restore(self, policy: PolicyRef) -> None:
        """Takes up the policy's weights, and its optimizer state where its folder has one, as they were saved.

        Raises DamagedPolicyError, and keeps what it has, where the files are not those that were saved.
        """
        check(policy)
        self.policy = policy
        self.tokenizer = load_tokenizer(policy.path)
        self.model = trainable_model(policy, self.settings, self._dtype, self.device)
        if self.settings.lora_rank:
            self.adapter_share, self.reach = adapter_reach(self.model)
        self._score = self._scorer(causal(self.model))
        self._reference: Reference | None = None
        if self._named_reference is not None:
            self._reference = Reference(self._named_reference, policy, self.model, self._score, self.ranks)
        self._score.lay_over(self.ranks)
        self.optimizer = optimizer_of(self.model, self.settings)
        folder = Path(policy.adapter or policy.path)
        load_optimizer(self.model, self.optimizer, folder)
        self._region: TrustRegion | None = None
        if self.settings.optimizer == "trust_region":
            self._region = TrustRegion(self._score, self._parameters(), self.settings)
        self.critic = self._critic(policy, folder)

    def save(self, folder: Path, number: int, parent: str | None = None) -> PolicyRef:
        """Writes weights or adapter, tokenizer, optimizer state, critic, probe and manifest, all or nothing.

        A learner that loads what is returned goes on, bit for bit, as this one does. `parent` is the version it was
        trained from, for the manifest; None is the base model.
        """
        base, probe = self.policy.path, probe_of(self._score, self.tokenizer, self.settings.seed)
        parts = (self.model, self.tokenizer, self.optimizer, self.critic, probe)
        save_policy(*parts, folder, self.ranks, parent=parent, base=base)
        if self.settings.lora_rank:
            return PolicyRef(number, base, str(folder))
        return PolicyRef(number, str(folder))

    def logprobs(self, segments: Sequence[Segment]) -> list[NDArray[np.float32]]:
        """(M,) log-probs of each segment's trained tokens under the current weights, at the learner's temperature."""
        found = self._score.logprobs(segments, range(len(segments)))
        return [found[i] for i in range(len(segments))]

    def reference_logprobs(self, segments: Sequence[Segment]) -> list[NDArray[np.float32]]:
        """The same under the reference policy; raises SettingsError where there is none."""
        found = self._the_reference().logprobs(segments, range(len(segments)))
        return [found[i] for i in range(len(segments))]

    def _the_reference(self) -> Reference:
        if self._reference is None:
            raise SettingsError("there is no reference policy for the KL: give the learner one")
        return self._reference

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
        A step's loss is the sum of its streams' terms (see `objective`), with the denominators of `losses`, and does
        not depend on its micro-batches. Where there is more than one step, the log-probs at the start of the
        update (pi_prox) are computed first: the clip is around them, and min(correction_max, pi_prox / behaviour)
        weighs rows that the sampler's arithmetic, an older policy or another prompt produced. Where `top_entropy` is
        below 1, the entropies at the start say which tokens keep their advantages (see `most_uncertain`). Rows without
        a gradient (all weights 0) cost nothing, but stay in the denominators; a step of only such rows is not made.

        By a trust region an update with rows in the policy loss makes one step on all of them, or none (see
        `TrustRegion.step`), whatever `minibatch_rows`, `epochs` and `learning_rate`, which are the critic's then. What
        falls is the whole loss, without its clip; the KL is over the tokens in the policy loss. Other updates, such as
        a warm start's, are AdamW's.

        The statistics are over the update: `steps`, `rows`, `tokens_per_second` (prompts and completions, as if none
        were shared), `seconds`, `peak_memory_mb` (of the process so far) and `flops_utilisation` (what the steps'
        forward and backward passes need, as a share of what the device makes of large products); means over steps:
        `loss`, `grad_norm`; over trained tokens that had a gradient: `entropy`; where there are such rows, over tokens
        in the policy loss: `policy_loss` (a mean over steps), `ratio` (to pi_prox), `raw_correction` and `correction`
        (before and after truncating or masking), `effective_samples`, `clip_fraction`, `approx_kl` (to pi_prox),
        `advantage_mean`, `advantage_std` and `advantage_max`; with a reference `kl`; over positives `nll`; over
        observations `observation_nll`; with a critic `value_loss`, `value_clip_fraction` and `explained_variance`; with
        an adapter `adapter_share` (of the weights); of a trust region's step `kl_step`, `surrogate_gain` (by how much
        the loss fell) and `backtracks`, while what else is said of the policy is that of its start.

        Raises ValueError for rows that cannot be learned from as they say, JourneymanError where a gradient is not
        finite (that step is not made) or where one row is more than the memory holds.
        """
        started = time.perf_counter()
        for i, row in enumerate(rows):
            row.check(i)
        steps: list[tuple[list[int], Denominators]] = []
        for epoch in range(epochs):
            parts = minibatches(rows, minibatch_rows, seed, epoch)
            steps += zip(parts, denominators(rows, parts), strict=True)
        region = self._region if any(row.policy is not None and row.trained_tokens for row in rows) else None
        rows, fixed = self._begin(rows, several=len(steps) > 1 or region is not None)
        sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=self.device))
        of_step: dict[str, float] = {}
        if region is None:
            norms = self._descend(rows, steps, fixed, sums, learning_rate)
        else:
            norms, of_step = self._trust_step(region, rows, steps, fixed, sums)
        seconds = time.perf_counter() - started
        tokens = epochs * sum(len(row.segment.prompt_ids) + len(row.segment.completion_ids) for row in rows)
        total = self.ranks.summed({name: float(value) for name, value in sums.items()})
        stats = means(total, norms) | of_rows(rows) | of_step
        stats |= {"rows": float(len(rows)), "seconds": seconds, "tokens_per_second": tokens / seconds}
        stats["peak_memory_mb"] = peak_memory_mb(self._score.device)
        stats["flops_utilisation"] = self._flops(rows, [part for part, _ in steps]) / seconds / self._peak()
        if self.adapter_share is not None:
            stats["adapter_share"] = self.adapter_share
        return Update(stats, ratios(rows, fixed))

    def _flops(self, rows: Sequence[TrainingRow], steps: Sequence[Sequence[int]]) -> float:
        """What the steps need of the model, forwards and backwards; with an adapter few weights have a gradient."""
        segments, times = [row.predicted for row in rows], 2.0 if self.settings.lora_rank else 3.0
        return times * sum(self._score.flops(segments, [i for i in step if self._moves(rows[i])]) for step in steps)

    def _peak(self) -> float:
        """Floating-point operations a second that all ranks' devices could make."""
        return self.ranks.count * peak_flops(self._score.device, self._dtype)

    def _begin(self, rows: Sequence[TrainingRow], *, several: bool) -> tuple[Sequence[TrainingRow], Fixed]:
        """The rows, without the advantages of tokens that are no choices, and what stays fixed during the update."""
        segments = [row.segment for row in rows]
        share = self.settings.top_entropy
        moved = [i for i, row in enumerate(rows) if self._moves(row)]
        near = [i for i in moved if rows[i].reference is not None]
        wanted = [i for i in moved if rows[i].policy is not None or rows[i].reference is not None]
        reference = self._the_reference().logprobs(segments, near) if near else None
        if not wanted or not (several or share < 1):
            return rows, Fixed(None, reference)
        start, entropies = self._score.logprobs_and_entropies(segments, wanted)
        compared = {i: entropies[i] for i in wanted if np.any(rows[i].weights(Stream.POLICY))}
        return most_uncertain(rows, compared, share) if share < 1 else rows, Fixed(start, reference)

    def _moves(self, row: TrainingRow) -> bool:
        """Whether it has a gradient in the policy's weights."""
        shared = self.critic is not None and not self.critic.own
        return row.moves(values=shared, entropy=self.settings.entropy_weight > 0)

    def _descend(
        self,
        rows: Sequence[TrainingRow],
        steps: Sequence[tuple[Sequence[int], Denominators]],
        fixed: Fixed,
        sums: dict[str, Tensor],
        learning_rate: float | Callable[[float], float] | None,
    ) -> list[float]:
        """AdamW's steps; the gradient's norm of each that was made."""
        rate = self.settings.learning_rate if learning_rate is None else learning_rate
        norms: list[float] = []
        for number, (part, counts) in enumerate(steps):
            for group in self.optimizer.param_groups:
                group["lr"] = rate(number / len(steps)) if callable(rate) else rate
            norm = self._gradient(rows, part, counts, fixed, sums, self.settings.max_grad_norm)
            if self.critic is not None and self.critic.own:
                self.critic.learn(rows, part, counts, sums)
            if norm is None:
                continue
            self.optimizer.step()
            if self.critic is not None and not self.critic.own:
                self.critic.step()
            norms.append(norm)
        return norms

    def _trust_step(
        self,
        region: TrustRegion,
        rows: Sequence[TrainingRow],
        steps: Sequence[tuple[Sequence[int], Denominators]],
        fixed: Fixed,
        sums: dict[str, Tensor],
    ) -> tuple[list[float], dict[str, float]]:
        """One step on all rows, and those of a critic; the gradient's norm, where there is one, and statistics."""
        every = range(len(rows))
        (counts,) = denominators(rows, [every])
        norm = self._gradient(rows, every, counts, fixed, sums, math.inf)
        made = Step(0.0, 0.0, 0, moved=False)
        if norm is not None:
            compared = [row.segment for row in rows if row.policy is not None]
            made = region.step(compared, partial(self._loss, rows, every, counts, fixed))
        if self.critic is not None:
            for part, its_counts in steps:
                self.critic.learn(rows, part, its_counts, sums)
        figures = {"kl_step": made.kl, "surrogate_gain": made.gain, "backtracks": float(made.backtracks)}
        return [] if norm is None else [norm], figures | {"steps": float(made.moved)}

    def _gradient(
        self,
        rows: Sequence[TrainingRow],
        part: Sequence[int],
        counts: Denominators,
        fixed: Fixed,
        sums: dict[str, Tensor],
        longest: float,
    ) -> float | None:
        """Leaves that of the step's loss on the rows of `part` in the weights, cut to `longest`.

        Its norm before that, None where there is none. Raises JourneymanError where it is not finite.
        """
        moved = [i for i in part if self._moves(rows[i])]
        segments = [row.predicted for row in rows]

        def begin() -> None:
            self.optimizer.zero_grad()
            if self.critic is not None and not self.critic.own:
                self.critic.optimizer.zero_grad()

        def learn(batch_rows: Sequence[Row], weight: float) -> dict[str, Tensor]:
            loss, parts = self._terms(rows, segments, batch_rows, counts, fixed)
            (weight * loss).backward()  # type: ignore[no-untyped-call]
            return parts

        for parts in self._score.passes(segments, moved, learn, begin):
            for name, value in parts.items():
                sums[name] += value
        if not moved:
            return None
        norm = float(together(torch.nn.utils.clip_grad_norm_(self._parameters(), longest)))
        if not np.isfinite(norm):
            raise JourneymanError(
                f"the gradient's norm is {norm}: lower the learning rate, or look at the rows' ratios"
            )
        return norm

    @torch.no_grad()
    def _loss(self, rows: Sequence[TrainingRow], part: Sequence[int], counts: Denominators, fixed: Fixed) -> float:
        """The step's loss under the weights as they are."""
        moved, segments = [i for i in part if self._moves(rows[i])], [row.predicted for row in rows]
        return sum(
            self._score.passes(
                segments, moved, lambda batch_rows, _: float(self._terms(rows, segments, batch_rows, counts, fixed)[0])
            )
        )

    def _terms(
        self,
        rows: Sequence[TrainingRow],
        segments: Sequence[Segment],
        batch_rows: Sequence[Row],
        counts: Denominators,
        fixed: Fixed,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """A micro-batch's part of the step's loss (scalar), and sums for the statistics; `segments` are the rows'."""
        batch, hidden_NH, logprobs_RT, entropy_RT = self._score.forward(
            segments, batch_rows, entropy_moves=self.settings.entropy_weight > 0
        )
        loss, parts = objective(logprobs_RT, entropy_RT, batch, rows, fixed, self.settings, counts)
        if self.critic is not None and not self.critic.own and counts[Stream.VALUE].tokens:
            value_loss, value_parts = self.critic.loss(hidden_NH, batch, rows, counts)
            loss, parts = loss + self.settings.value_weight * value_loss, parts | value_parts
        return loss, parts

    def _parameters(self) -> list[torch.nn.Parameter]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def _scorer(self, model: torch.nn.Module) -> Scorer:
        return Scorer(model, self._dtype, self.settings.temperature, self.settings.micro_batch_tokens)

    def _critic(self, policy: PolicyRef, folder: Path) -> Critic | None:
        """A new critic, or the one that was saved with the policy."""
        if self.settings.critic == "none":
            return None
        own = self.settings.critic == "model"
        score = self._score
        if own:
            score = self._scorer(own_trunk(policy, self.device))
            score.lay_over(self.ranks)
        critic = Critic(score, self.settings, own=own)
        load_critic(critic, folder)
        return critic
