"""Settings of how attempts and policies are judged."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, field_validator

from journeyman.agent.data import Json
from journeyman.agent.errors import suggestion
from journeyman.verifiers.texts.rewrites import REWRITES
from journeyman.workflows.settings.section import NAME, Section, Terms


class VerificationSettings(Section):
    """What one verdict may use in a worker process; what takes more is recorded as `timeout` or `error`, never as 0."""

    seconds: float = Field(default=10.0, gt=0)
    """Wall-clock time."""
    cpu_seconds: int = Field(default=10, ge=0)
    """Time on a processor; 0 is no limit."""
    memory_mb: int = Field(default=4096, ge=0)
    """Address space of a worker; 0 is no limit."""
    workers: int = Field(default=0, ge=0)
    """Worker processes; 0 is one for each core."""


class EvaluateSettings(Section):
    """Validation after every update, test at the end."""

    attempts: int = Field(default=8, ge=1)
    """k of pass@k; pass@1 is the mean over them."""
    temperature: float = Field(default=1.0, ge=0)
    """0 is greedy."""
    margin: float = 0.0
    """A candidate is promoted where its validation pass@1 is at least its parent's plus this."""


class AuditSettings(Section):
    """What watches for reward hacking beside the rubric; it decides nothing. See [audit.md](audit.md)."""

    verifier: str | None = None
    """A held-out verifier, never trained on, that judges every iteration's validation attempts too."""
    passes_at: float = Field(default=1.0, gt=0, le=1)
    """Its least score that counts as a pass."""
    train: int = Field(default=0, ge=0)
    """Training attempts of an iteration, drawn by chance, that it judges as well."""
    rewrites: int = Field(default=0, ge=0)
    """Validation attempts of an iteration, drawn by chance, that are verified again after harmless rewrites."""
    kinds: tuple[str, ...] = tuple(REWRITES)
    """Which rewrites; leave out what is not harmless where every word of an answer counts."""

    @field_validator("kinds")
    @classmethod
    def _known_rewrites(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        for kind in kinds:
            if kind not in REWRITES:
                raise ValueError(f"unknown rewrite {kind!r}: {suggestion(kind, REWRITES)}")
        return kinds


class GuardSettings(Section):
    """Tasks of another kind; who gets worse at them than its parent is not promoted. See [audit.md](audit.md)."""

    name: str = Field(min_length=1, max_length=50, pattern=NAME)
    """Of the guard; letters, digits, ".", "_" and "-", a letter or digit first."""
    environment: Mapping[str, Json]
    """As in [environment]; its validation tasks are taken."""
    rubric: Terms = Field(default={})
    """As in [rubric]; empty takes the environment's."""
    tasks: int = Field(default=100, ge=1)
    """How many."""
    attempts: int = Field(default=4, ge=1)
    """Of each task; pass@1 is the mean over them."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Of one turn; `generate.max_tokens` without it."""
    margin: float = Field(default=0.05, ge=0)
    """How far its pass@1 may fall below the parent's."""
