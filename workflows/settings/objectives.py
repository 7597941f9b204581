"""Settings of the objectives beside GRPO: imitation alone, and preferences."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from pydantic import Field, field_validator

from journeyman.workflows.settings.section import Section

Objective: TypeAlias = Literal["grpo", "bc", "dpo"]
"""What an update is by: attempts compared in groups and positives imitated, all successes imitated, or pairs."""
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)
Says: TypeAlias = Literal["all", "labels", "rewards"]
"""Who says which of two attempts is better: labels (revisions are labelled), the rubric's rewards, or both."""


class ImitationSettings(Section):
    """What an update by the objective `bc` imitates: verified successes of all iterations, at most so many a task."""

    sources: tuple[Literal["expert", "policy", "hindsight"], ...] = ("expert", "policy")
    """Whose: demonstrations, own attempts, relabels."""
    per_task: int = Field(default=10, ge=1)
    """Most different successes of one task, the newest first."""

    @field_validator("sources")
    @classmethod
    def _some(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        if not sources:
            raise ValueError("no source leaves nothing to imitate")
        return sources


class PreferenceSettings(Section):
    """An update by the objective `dpo`: of two attempts at one task the better one is to become the likelier."""

    loss: Literal["dpo", "ipo", "apo_zero"] = "dpo"
    """DPO; IPO, which aims at a margin; or each attempt held against the reference by itself, as KTO does."""
    beta: float = Field(default=0.1, gt=0)
    """How much a nat of log-ratio to the run's first version counts."""
    nll_weight: float = Field(default=0.0, ge=0)
    """Of the mean negative log-likelihood of the better attempts' tokens, which a loss of margins alone lets grow."""
    pairs: Says = "all"
    """By labels (revisions are labelled), by rewards within a group, or both."""
    per_group: int = Field(default=4, ge=1)
    """Most pairs by reward of one group."""
    margin: float = Field(default=0.0, ge=0)
    """Least difference of rewards: pairs of which it is no more are left out."""
    limit: int = Field(default=2048, ge=1)
    """Most pairs of an update, drawn from all there are; by reward those within `replay.max_age`."""
    batch: int = Field(default=64, ge=1)
    """Pairs of one optimizer step; `finetune.epochs` says how often all are seen."""
    learning_rate: float = Field(default=1e-4, gt=0)
    """At its highest; it warms up and decays as `finetune.learning_rate` does."""
