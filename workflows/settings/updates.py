"""Settings of what the policy learns from, and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from journeyman.agent.errors import suggestion
from journeyman.storage.replay.pools import Kind
from journeyman.workflows.settings.section import Section


class WarmStartSettings(Section):
    """Behavioural cloning of demonstrations, stopped early by validation."""

    demonstrations: int = Field(default=500, ge=0)
    """At most so many; 0 begins with the base model."""
    file: str | None = None
    """JSONL of chats to learn from, instead of the environment's expert: `messages` (OpenAI's, Hugging Face's),
    `prompt` with `completion`, or `conversations` (ShareGPT's); `tools` where the row has its own."""
    max_epochs: int = Field(default=60, ge=1)
    """Passes over the demonstrations."""
    check_every: int = Field(default=2, ge=1)
    """Epochs between two looks at the share of validation tasks solved."""
    patience: int = Field(default=5, ge=1)
    """Looks without a better share before it stops."""
    batch: int = Field(default=64, ge=1)
    """Demonstrations of one optimizer step."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """At its highest; it decays to 0 at `max_epochs`."""
    warmup: float = Field(default=0.05, gt=0, lt=1)
    """Share of the steps of `max_epochs`."""


class ReplaySettings(Section):
    """What is drawn from the store for an update, beside the iteration's own attempts."""

    groups: int = Field(default=2048, ge=0)
    """How many; an expert's demonstration and a relabel are groups of one, of a success one attempt is imitated."""
    quota: Mapping[str, float] = {"expert": 0.1, "success": 0.4, "hindsight": 0.5}
    """Shares of `expert`, `success` (own attempts), `hindsight`, and `policy` (older groups for the policy loss)."""

    @field_validator("quota")
    @classmethod
    def _known_kinds(cls, quota: Mapping[str, float]) -> Mapping[str, float]:
        for kind, share in quota.items():
            if kind not in set(Kind):
                raise ValueError(f"unknown kind {kind!r}: {suggestion(kind, [str(k) for k in Kind])}")
            if share < 0:
                raise ValueError(f"the share of {kind!r} is below 0")
        if not any(quota.values()):
            raise ValueError("no kind has a share above 0: set replay.groups to 0 to draw nothing")
        return quota

    max_age: int = Field(default=8, ge=0)
    """Staleness limit: most policy versions since the one that sampled a group; experts never age."""
    per_task: int | None = Field(default=2, ge=1)
    """Most groups of one task and kind."""
    per_goal: int | None = Field(default=None, ge=1)
    """Most groups of one goal and kind."""
    rarity: float = Field(default=0.0, ge=0)
    """Exponent of the rarity of success in a group's priority."""
    surprise: float = Field(default=0.0, ge=0)
    """Exponent of the spread of its rewards."""
    recency: float = Field(default=1.0, ge=0)
    """Exponent of 1 / (1 + age)."""
    correction: float = Field(default=0.0, ge=0, le=1)
    """How far importance weights make up for the priorities."""


class FinetuneSettings(Section):
    """One iteration's update: GRPO on groups plus NLL on verified positives."""

    loss: Literal["grpo", "bnpo", "dr_grpo", "dapo", "cispo"] = "dapo"
    """How token losses are reduced, and clipped."""
    ratio: Literal["token", "sequence"] = "token"
    """Of the clip; `sequence` is GSPO."""
    scale_rewards: Literal["group", "batch", "none"] = "group"
    """What advantages are divided by: the standard deviation of the group, of all, or nothing."""
    epsilon: float = Field(default=0.2, gt=0)
    """Lower clip: ratios below 1 - epsilon."""
    epsilon_high: float = Field(default=0.28, gt=0, validate_default=True)
    """Upper clip: ratios above 1 + epsilon_high; for cispo, which has no default, the ceiling of the ratio itself."""
    kl_weight: float = Field(default=0.0, ge=0)
    """Of the KL to the run's first policy."""
    kl_estimator: Literal["k1", "k2", "k3", "k3_ratio"] = "k2"
    """Which estimate of KL(policy || reference) stands in the loss."""
    top_entropy: float = Field(default=1.0, gt=0, le=1)
    """Share of tokens, those where the policy is least certain, that the GRPO term moves; 1 moves all."""
    importance_cap: float = Field(default=3.0, gt=0)
    """C: ceiling of pi_prox / pi_behaviour."""
    policy_weight: float = Field(default=1.0, ge=0)
    """Of the GRPO term; 0 leaves plain expert iteration."""
    bc_weight: float = Field(default=1.0, ge=0)
    """Of the NLL term."""
    hindsight_loss: Literal["nll", "grpo", "both"] = "nll"
    """What relabels teach by: the successes' NLL, the policy loss of hindsight groups, or both."""
    step_verifier: str | None = None
    """A verifier of the rubric (watched will do) whose step scores weigh the steps, e.g. `prm`; none without it."""
    step_weight: float = Field(default=1.0, ge=0)
    """What the step-level advantage is multiplied by before it is added to the attempt's."""
    step_discount: float = Field(default=1.0, ge=0, le=1)
    """What a step answers for of the steps after it: 1 all, as in DeepSeekMath; 0 for itself alone."""
    epochs: int = Field(default=1, ge=1)
    """Passes over the update's rows."""
    batch: int = Field(default=512, ge=1)
    """Rows of one optimizer step."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """At its highest; every update begins with a warm-up and decays to 0."""
    warmup: float = Field(default=0.07, gt=0, lt=1)
    """Share of an update's steps; where that is less than one step there is none."""

    @field_validator("epsilon_high")
    @classmethod
    def _ceiling_of_cispo(cls, epsilon_high: float, info: ValidationInfo) -> float:
        if info.data.get("loss") == "cispo" and epsilon_high < 1:
            raise ValueError(f"{epsilon_high} is below 1, but loss 'cispo' takes it as the ratio's ceiling: try 5.0")
        return epsilon_high
