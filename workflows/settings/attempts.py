"""Settings of tasks and of the attempts at them: how many, which, and what is made of those that failed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from journeyman.storage.replay.hindsight import Strategy
from journeyman.workflows.settings.section import Section


class TaskSettings(Section):
    """How many tasks of each split; they are disjoint by canonical hash."""

    train: int = Field(default=2000, ge=1)
    """Learned from."""
    validation: int = Field(default=200, ge=1)
    """Decide when the warm start stops and what is promoted."""
    test: int = Field(default=500, ge=0)
    """Reported at the end, and nothing else."""


class GenerateSettings(Section):
    """Attempts made in an iteration."""

    tasks: int = Field(default=256, ge=1)
    """Training tasks of an iteration."""
    attempts: int = Field(default=8, ge=1)
    """G, the size of a group."""
    temperature: float = Field(default=1.0, gt=0)
    """The learner learns the distribution at this temperature."""
    max_tokens: int = Field(default=64, ge=1)
    """Of one turn."""
    chunk: int = Field(default=64, ge=1)
    """Tasks whose groups are generated and stored in one piece; an interrupted piece is redone whole."""
    lease_seconds: float = Field(default=120.0, gt=0)
    """How long a worker may be silent before its piece goes to another; it renews its lease while at work."""


class CurriculumSettings(Section):
    """Which training tasks an iteration attempts."""

    strategy: Literal["passes", "ucb", "thompson"] = "passes"
    """Pass after pass over all, or those whose groups promise contrast by UCB or Thompson sampling."""
    explore: float = Field(default=0.25, ge=0)
    """Of `ucb`: weight of the bonus for being tried seldom; 1 is UCB1's own."""
    max_age: int = Field(default=8, ge=1)
    """Iterations back whose attempts tell a task's success rate; the policy has changed since older ones."""


class NoveltySettings(Section):
    """A bonus on the reward for reaching what was seldom reached: goals, or final texts where there are no goals."""

    kind: Literal["none", "counts", "rnd"] = "none"
    """`counts` is 1 / sqrt(n); `rnd` the error of predicting a random network, over its running deviation."""
    weight: float = Field(default=0.1, ge=0)
    """What the bonus is multiplied by; the rubric's weights are its measure."""
    scope: Literal["run", "task"] = "run"
    """Of `counts`: whether what was reached is counted over the whole run, or for each task apart."""
    memory: int = Field(default=10_000, ge=0)
    """Attempts of earlier iterations that are remembered, the newest ones."""


class RelabelSettings(Section):
    """Hindsight: failed attempts told anew for goals they did reach."""

    strategies: tuple[Strategy, ...] = (Strategy.FINAL,)
    """Of `final`, `future`, `episode` and `best`; empty tells no attempt alone."""
    draws: int = Field(default=2, ge=1)
    """Goals that `future` and `episode` draw each."""
    groups: int = Field(default=0, ge=0)
    """Goals for which a group that failed whole is told anew whole, so that there is contrast (hindsight groups)."""
    per_task: int = Field(default=1, ge=1)
    """Relabels kept of one relabelled task (by its hash) in an iteration; hindsight groups are counted apart."""
    per_goal: int | None = Field(default=None, ge=1)
    """Relabels kept of one goal in an iteration; hindsight groups are counted apart."""


class DaggerSettings(Section):
    """DAgger: the environment's expert goes on from states that failed attempts were in."""

    per_attempt: int = Field(default=0, ge=0)
    """States of one failed attempt that the expert goes on from; 0 switches DAgger off."""
    limit: int = Field(default=256, ge=1)
    """Demonstrations of an iteration at most; the attempts are taken in a drawn order."""
