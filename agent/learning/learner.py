"""The learner: a model and its optimizer, updated from rows of the replay store."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from journeyman.agent.data import PolicyRef, Segment
from journeyman.agent.errors import SettingsError
from journeyman.agent.learning.checkpoint import load_critic, load_optimizer, save_policy
from journeyman.agent.learning.critic import Critic
from journeyman.agent.learning.forward.scoring import Scorer
from journeyman.agent.learning.hardware.ranks import Ranks
from journeyman.agent.learning.probing import probe_of
from journeyman.agent.learning.reach import adapter_reach
from journeyman.agent.learning.reference import Reference, known
from journeyman.agent.learning.rows import TrainingRow
from journeyman.agent.learning.settings import LearnerSettings
from journeyman.agent.learning.trained import causal, optimizer_of, own_trunk, trainable_model, weights_of
from journeyman.agent.learning.trust_region import TrustRegion
from journeyman.agent.learning.update import Parts, Update, update
from journeyman.agent.manifests import check
from journeyman.agent.models import load_tokenizer

__all__ = ["Learner", "LearnerSettings", "TrainingRow", "Update"]


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

        Raises DamagedPolicyError, and keeps what it has, where the files are not those that were saved. What it has is
        let go before anything is loaded: there is never memory for two.
        """
        for named in (policy, self._named_reference):
            if named is not None:
                check(named)
        self._let_go()
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
            self._region = TrustRegion(self._score, weights_of(self.optimizer), self.settings)
        self.critic = self._critic(policy, folder)

    def _let_go(self) -> None:
        """Of everything that holds weights, gradients or optimizer state."""
        for name in ("model", "optimizer", "critic", "_score", "_reference", "_region"):
            vars(self).pop(name, None)
        gc.collect()  # modules and their hooks hold one another

    def save(self, folder: Path, number: int, parent: str | None = None) -> PolicyRef:
        """Writes weights or adapter, tokenizer, optimizer state, critic, probe and manifest, all or nothing.

        A learner that loads what is returned goes on, bit for bit, as this one does. `parent` is the version it was
        trained from, for the manifest; None is the base model. Gradients are let go: they have done their work.
        """
        self.optimizer.zero_grad()
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
        found = known(self._reference).logprobs(segments, range(len(segments)))
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
        forward and backward passes need, as a share of what the device makes of large products; not of a trust region,
        whose products are not counted, and whose tokens are those of one pass); means over steps:
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
        parts = Parts(
            self.settings, self._score, self.optimizer, self.ranks, self._reference, self.critic, self._region
        )
        rate = self.settings.learning_rate if learning_rate is None else learning_rate
        made = update(parts, rows, seed=seed, minibatch_rows=minibatch_rows, epochs=epochs, learning_rate=rate)
        if self.adapter_share is not None:
            made.stats["adapter_share"] = self.adapter_share
        return made

    def _scorer(self, model: torch.nn.Module) -> Scorer:
        return Scorer(model, self._dtype, self.settings.temperature, self.settings.micro_batch_tokens)

    def _critic(self, policy: PolicyRef, folder: Path) -> Critic | None:
        """A new critic, or the one that was saved with the policy."""
        if self.settings.critic == "none":
            return None
        own = self.settings.critic == "model"
        score = self._score
        if own:
            score = self._scorer(own_trunk(policy, self.settings, self.device))
            score.lay_over(self.ranks)
        critic = Critic(score, self.settings, own=own)
        load_critic(critic, folder)
        return critic
