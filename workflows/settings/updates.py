"""Settings of what the policy learns from, and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from journeyman.agent.errors import suggestion
from journeyman.storage.replay.pools import Kind
from journeyman.workflows.settings.objectives import Objective
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
    """One iteration's update: by default GRPO on groups plus NLL on verified positives."""

    objective: Objective | tuple[Objective, ...] = "grpo"
    """What updates are by: `grpo`, `bc` (see [imitation]) or `dpo` (see [preference]); or a list with that of the
    first, second ... iteration, of which the last one goes on."""
    begin: str = Field(default="parent", pattern=r"^(parent|base|v[1-9]\d*)$")
    """What an update's weights begin with: the newest promoted version (`parent`), the base model (`base`), as ReST-EM
    does, or a version, e.g. `v1`."""
    loss: Literal["grpo", "bnpo", "dr_grpo", "dapo", "gspo", "cispo", "sapo", "reinforce", "topr"] = "dapo"
    """How token losses are clipped, and reduced; gspo has one ratio for a whole attempt, reinforce and topr have no
    clip."""
    epsilon: float = Field(default=0.2, gt=0)
    """Lower clip: ratios below 1 - epsilon."""
    epsilon_high: float = Field(default=0.28, gt=0, validate_default=True)
    """Upper clip: ratios above 1 + epsilon_high; for cispo, which has no default, the ceiling of the ratio itself."""
    entropy_weight: float = Field(default=0.0, ge=0)
    """Of the mean entropy of the policy loss's tokens, in nats, as a bonus."""
    top_entropy: float = Field(default=1.0, gt=0, le=1)
    """Share of tokens, those where the policy is least certain, that the GRPO term moves; 1 moves all."""
    importance_mode: Literal["truncate", "mask", "none"] = "truncate"
    """What happens to tokens whose pi_prox / pi_behaviour is outside of `importance_floor` and `importance_cap`: the
    weight is truncated, or they are left out; `none` weighs all alike."""
    importance_level: Literal["token", "sequence", "geometric"] = "token"
    """Of that ratio: each token's, the attempt's, or the geometric mean over the attempt's tokens."""
    importance_cap: float = Field(default=3.0, gt=0)
    """C: ceiling of pi_prox / pi_behaviour."""
    importance_floor: float = Field(default=0.0, ge=0)
    """Its floor."""
    policy_weight: float = Field(default=1.0, ge=0)
    """Of the GRPO term; 0 leaves plain expert iteration."""
    bc_weight: float = Field(default=1.0, ge=0)
    """Of the NLL term."""
    experts: Literal["nll", "group"] = "nll"
    """Whether demonstrations are only imitated, or join the groups of attempts at their tasks too, with a ratio that is
    shaped instead of clipped (LUFFY)."""
    shaping: float = Field(default=0.1, gt=0)
    """gamma of that ratio, p / (p + gamma)."""
    hindsight_loss: Literal["nll", "grpo", "both"] = "nll"
    """What relabels teach by: the successes' NLL, the policy loss of hindsight groups, or both."""
    step_verifier: str | None = None
    """A verifier of the rubric (watched will do) whose step scores weigh the steps, e.g. `prm`; none without it."""
    step_scale_rewards: Literal["group", "batch", "none"] = "group"
    """What step scores are divided by: the standard deviation of the group's, of all, or nothing."""
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

    @field_validator("objective")
    @classmethod
    def _some(cls, objective: Objective | tuple[Objective, ...]) -> Objective | tuple[Objective, ...]:
        if not objective:
            raise ValueError("an empty list says nothing: write one objective, or one for each iteration")
        return objective

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """Of the first iterations; the last one goes on."""
        return (self.objective,) if isinstance(self.objective, str) else self.objective

    @field_validator("epsilon_high")
    @classmethod
    def _ceiling_of_cispo(cls, epsilon_high: float, info: ValidationInfo) -> float:
        if info.data.get("loss") == "cispo" and epsilon_high < 1:
            raise ValueError(f"{epsilon_high} is below 1, but loss 'cispo' takes it as the ratio's ceiling: try 5.0")
        return epsilon_high

    @field_validator("importance_floor")
    @classmethod
    def _below_the_cap(cls, floor: float, info: ValidationInfo) -> float:
        if floor > (cap := info.data.get("importance_cap", floor)):
            raise ValueError(f"{floor} is above `importance_cap`, which is {cap}: lower it, or raise the cap")
        return floor


class KlSettings(Section):
    """How close the policy is held to the run's first version."""

    weight: float = Field(default=0.0, ge=0)
    """beta, of the KL to the run's first policy, in the first iteration; 0 leaves it out."""
    place: Literal["loss", "reward"] = "loss"
    """In the loss, with a gradient, or taken from each token's reward."""
    estimator: Literal["k1", "k2", "k3", "k3_ratio"] = "k2"
    """Which estimate of KL(policy || reference) stands in the loss; in the reward it is k1."""
    schedule: Literal["constant", "linear", "adaptive"] = "constant"
    """`linear` goes from `weight` to `final` over the run's iterations; `adaptive` doubles or halves it where the KL is
    more than 1.5 times off `target`."""
    final: float = Field(default=0.0, ge=0)
    """beta of the last iteration, where the schedule is linear."""
    target: float | None = Field(default=None, gt=0)
    """Nats a token that an adaptive schedule aims at, from a `weight` that is rather too large than too small."""

    @model_validator(mode="after")
    def _target_of_adaptive(self) -> KlSettings:
        if self.schedule == "adaptive" and (self.target is None or not self.weight):
            raise ValueError("an adaptive schedule needs `kl.target` and a `kl.weight` above 0 to begin with")
        if self.schedule != "adaptive" and self.target is not None:
            raise ValueError("`kl.target` is what an adaptive schedule aims at: set `kl.schedule` to 'adaptive'")
        if self.schedule != "linear" and self.final:
            raise ValueError("`kl.final` is where a linear schedule ends: set `kl.schedule` to 'linear'")
        return self

    @property
    def asked(self) -> bool:
        """Whether any update has a KL."""
        return self.weight > 0 or self.final > 0


class CriticSettings(Section):
    """What foresees returns, for estimators that need it."""

    kind: Literal["none", "head", "model"] = "none"
    """`head` reads the policy's own hidden states, `model` those of a copy of it with an optimizer of its own."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Of the critic's own weights; constant."""
    weight: float = Field(default=0.5, ge=0)
    """Of the value loss in the policy's weights, where the critic is a head on them."""
    clip: float = Field(default=0.2, gt=0)
    """How far values may go in an update from those at its start."""
