"""The learner: a model and its optimizer, updated from rows of the replay store."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from journeyman.agent.data import PolicyRef, Segment
from journeyman.agent.errors import JourneymanError, SettingsError
from journeyman.agent.learning.checkpoint import load_critic, load_optimizer, save_policy
from journeyman.agent.learning.critic import Critic
from journeyman.agent.learning.figures import means, of_rows, peak_memory_mb
from journeyman.agent.learning.objective import Fixed, objective
from journeyman.agent.learning.probing import probe_of
from journeyman.agent.learning.reach import adapter_reach
from journeyman.agent.learning.reference import Reference
from journeyman.agent.learning.rows import Denominators, TrainingRow, denominators, minibatches, most_uncertain
from journeyman.agent.learning.scoring import Scorer
from journeyman.agent.learning.settings import LearnerSettings
from journeyman.agent.learning.trained import causal, optimizer_of, trainable_model
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
    critic: Critic | None = None
    """Where the settings ask for one."""

    def __init__(self, policy: PolicyRef, settings: LearnerSettings, reference: PolicyRef | None = None) -> None:
        """Loads `policy`, and `reference` for a KL; with `lora_rank` > 0 an adapter is added or continued.

        Raises SettingsError where the adapter and `lora_rank` disagree, and DamagedPolicyError where files are not
        those that were saved.
        """
        self.settings = settings
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
        self.optimizer = optimizer_of(self.model, self.settings)
        folder = Path(policy.adapter or policy.path)
        load_optimizer(self.model, self.optimizer, folder)
        self.critic = self._critic(policy, folder)
        self._reference: Reference | None = None
        if self._named_reference is not None:
            self._reference = Reference(self._named_reference, policy, self.model, self._score)

    def save(self, folder: Path, number: int, parent: str | None = None) -> PolicyRef:
        """Writes weights or adapter, tokenizer, optimizer state, critic, probe and manifest, all or nothing.

        A learner that loads what is returned goes on, bit for bit, as this one does. `parent` is the version it was
        trained from, for the manifest; None is the base model.
        """
        base, probe = self.policy.path, probe_of(self.model, self.tokenizer, self._dtype, self.settings.seed)
        save_policy(self.model, self.tokenizer, self.optimizer, self.critic, probe, folder, parent=parent, base=base)
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

        The statistics are over the update: `steps`, `rows`, `tokens_per_second` (prompts and completions, as if none
        were shared), `seconds` and `peak_memory_mb` (of the process so far); means over steps: `loss`, `grad_norm`;
        over trained tokens that had a gradient: `entropy`; where there are such rows, over tokens in the policy loss:
        `policy_loss` (a mean over steps), `ratio` (to pi_prox), `raw_correction` and `correction` (before and after
        truncating or masking), `effective_samples`, `clip_fraction`, `approx_kl` (to pi_prox), `advantage_mean`,
        `advantage_std` and `advantage_max`; with a reference `kl`; over positives `nll`; over observations
        `observation_nll`; with a critic `value_loss`, `value_clip_fraction` and `explained_variance`; with an adapter
        `adapter_share` (of the weights).

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
        stats = means({name: float(value) for name, value in sums.items()}, norms) | of_rows(rows)
        stats |= {"rows": float(len(rows)), "seconds": seconds, "tokens_per_second": tokens / seconds}
        stats["peak_memory_mb"] = peak_memory_mb(self._score.device)
        if self.adapter_share is not None:
            stats["adapter_share"] = self.adapter_share
        return Update(stats, _ratios(rows, fixed))

    def _begin(self, rows: Sequence[TrainingRow], *, several: bool) -> tuple[Sequence[TrainingRow], Fixed]:
        """The rows, without the advantages of tokens that are no choices, and what stays fixed during the update."""
        segments = [row.segment for row in rows]
        share = self.settings.top_entropy
        wanted = [i for i, row in enumerate(rows) if row.policy is not None and row.moves()]
        near = [i for i, row in enumerate(rows) if row.reference is not None and row.moves()]
        reference = self._the_reference().logprobs(segments, near) if near else None
        if not wanted or not (several or share < 1):
            return rows, Fixed(None, reference)
        start, entropies = self._score.logprobs_and_entropies(segments, wanted)
        compared = {i: entropies[i] for i in wanted if np.any(rows[i].policy)}
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
        segments = [row.predicted for row in rows]
        critic = self.critic
        shared = critic if critic is not None and not critic.own else None
        moved = [i for i in part if rows[i].moves(values=shared is not None)]
        self.optimizer.zero_grad()
        batches = self._score.plan(segments, moved)
        for batch_rows in batches:
            batch, hidden_NH, logprobs_RT, entropy_RT = self._score.forward(
                segments, batch_rows, entropy_moves=self.settings.entropy_weight > 0
            )
            loss, parts = objective(logprobs_RT, entropy_RT, batch, rows, fixed, self.settings, counts)
            if shared is not None:
                value_loss, value_parts = shared.loss(hidden_NH, batch, rows, counts)
                loss, parts = loss + self.settings.value_weight * value_loss, parts | value_parts
            loss.backward()  # type: ignore[no-untyped-call]
            for name, value in (parts | {"entropy": entropy_RT.sum(), "tokens": batch.mask_RT.sum()}).items():
                sums[name] += value.detach()
        if critic is not None and critic.own:
            critic.learn(rows, part, counts, sums)
        if not batches:
            return None
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, self.settings.max_grad_norm))
        if not np.isfinite(norm):
            raise JourneymanError(
                f"the gradient's norm is {norm}: lower the learning rate, or look at the rows' ratios"
            )
        self.optimizer.step()
        if shared is not None:
            shared.step()
        return norm

    def _scorer(self, model: torch.nn.Module) -> Scorer:
        return Scorer(model, self._dtype, self.settings.temperature, self.settings.micro_batch_tokens)

    def _critic(self, policy: PolicyRef, folder: Path) -> Critic | None:
        """A new critic, or the one that was saved with the policy."""
        if self.settings.critic == "none":
            return None
        own = self.settings.critic == "model"
        score = self._score
        if own:
            score = self._scorer(causal(load_causal_lm(policy, dtype=torch.float32, device=self.device)))
        critic = Critic(score, self.settings, own=own)
        load_critic(critic, folder)
        return critic


def _ratios(rows: Sequence[TrainingRow], fixed: Fixed) -> dict[int, float]:
    """Those of an update of several steps: in a single one pi_prox is the policy that moves, and is not kept."""
    found = {}
    for i, start_M in (fixed.start or {}).items():
        behaviour_M = rows[i].segment.behaviour_logprobs
        if behaviour_M is not None:
            found[i] = float(np.exp(start_M.astype(np.float64) - behaviour_M).mean())
    return found
