"""The one schema of an exported row, strict: what a file may say of an attempt, field by field.

Nothing is converted (a whole number may stand for a fraction, and that is all), nothing further is taken, and every
number is finite and fits its column. What rows say together is looked at in `checking`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from datetime import UTC, datetime
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from journeyman.agent.data import (
    Message,
    Role,
    ScoreRecord,
    Segment,
    Source,
    Split,
    Status,
    StopReason,
    Task,
    ToolCall,
    Trajectory,
    Turn,
    Verdict,
    VerifierId,
)
from journeyman.storage.files.field_kinds import (
    Attempt,
    Count,
    Id,
    Key,
    LogProb,
    Name,
    Number,
    Positive,
    Said,
    Share,
    Table,
    Text,
    Tokens,
    Value,
)

FORMAT = 4
"""Number of the rows' layout; files of another one are refused."""


def _once(what: str, keys: Iterable[Hashable]) -> None:
    seen = set()
    for key in keys:
        if key in seen:
            raise ValueError(f"{what} {key} is there twice")
        seen.add(key)


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class CallPart(_Part):
    """A tool call of a message."""

    name: Said
    arguments: Table
    id: Said = ""


class MessagePart(_Part):
    """A chat message."""

    role: Role
    content: Said
    tool_calls: list[CallPart] = []
    reasoning_content: Said = ""
    tool_call_id: Said = ""
    thought_tokens: Count = 0

    def message(self) -> Message:
        """As data."""
        calls = tuple(ToolCall(c.name, c.arguments, c.id) for c in self.tool_calls)
        return Message(self.role, self.content, calls, self.reasoning_content, self.tool_call_id, self.thought_tokens)


class ActionPart(MessagePart):
    """What the agent said."""

    role: Literal["assistant"]


class TaskPart(_Part):
    """The task, with every attempt at it anew."""

    environment: Name
    split: Annotated[Split, Field(strict=False)]
    hash: Key
    goal: Value
    payload: Table
    prompt: list[MessagePart] = Field(min_length=1)

    def task(self) -> Task:
        """As data."""
        prompt = tuple(part.message() for part in self.prompt)
        return Task(self.environment, self.goal, prompt, self.split, self.hash, self.payload)


class TurnPart(_Part):
    """A turn."""

    action: ActionPart
    observation: list[MessagePart]
    reward: float | None

    def turn(self) -> Turn:
        """As data."""
        return Turn(self.action.message(), tuple(part.message() for part in self.observation), self.reward)


class SegmentPart(_Part):
    """A token history."""

    prompt_ids: Tokens
    completion_ids: Tokens
    loss_mask: list[bool]
    behaviour_logprobs: list[LogProb] | None

    @model_validator(mode="after")
    def _lengths_agree(self) -> Self:
        if len(self.loss_mask) != len(self.completion_ids):
            raise ValueError(f"{len(self.loss_mask)} in loss_mask for {len(self.completion_ids)} completion_ids")
        trained, logprobs = sum(self.loss_mask), self.behaviour_logprobs
        if logprobs is not None and len(logprobs) != trained:
            raise ValueError(f"{len(logprobs)} behaviour_logprobs for {trained} tokens that loss_mask says are trained")
        return self

    def segment(self) -> Segment:
        """As data."""
        logprobs = self.behaviour_logprobs
        return Segment(
            np.array(self.prompt_ids, np.int32),
            np.array(self.completion_ids, np.int32),
            np.array(self.loss_mask, np.bool_),
            None if logprobs is None else np.array(logprobs, np.float32),
        )


class ScorePart(_Part):
    """A verdict, and why it counts no more where it was retracted."""

    verifier: Name
    version: Name
    config_hash: Name
    attempt: Count
    status: Annotated[Status, Field(strict=False)]
    score: Share | None
    raw: float | None
    step_scores: list[Share] | None
    extracted: Text | None
    expected: Text | None
    explanation: Text | None
    latency_ms: Positive
    retracted: Text | None

    @model_validator(mode="after")
    def _only_ok_has_numbers(self) -> Self:
        if (self.score is not None) != (self.status is Status.OK):
            raise ValueError(f"score {self.score} with status {self.status}: `ok` has one, nothing else has")
        if self.status is not Status.OK and (self.raw is not None or self.step_scores is not None):
            raise ValueError(f"numbers with status {self.status}: only `ok` carries them")
        return self

    @property
    def by(self) -> VerifierId:
        """Whose verdict it is."""
        return VerifierId(self.verifier, self.version, self.config_hash)

    def record(self) -> ScoreRecord:
        """As data."""
        steps = None if self.step_scores is None else tuple(self.step_scores)
        verdict = Verdict(self.status, self.score, self.raw, steps, self.extracted, self.expected, self.explanation)
        return ScoreRecord(self.by, verdict, self.latency_ms)


class UsePart(_Part):
    """What the update that made the version `policy` used of the attempt."""

    policy: Number
    reward: float | None
    rubric_hash: Name
    advantage: float | None
    nll_weight: Positive
    ratio: Positive | None
    importance_weight: Annotated[float, Field(gt=0, le=1)]


class LabelPart(_Part):
    """What a person says, or a judge."""

    other: Attempt | None
    value: Share
    person: Text
    comment: Text | None
    created_at: str

    @model_validator(mode="after")
    def _says_when(self) -> Self:
        self.at()
        return self

    def at(self) -> datetime:
        """When it was said; raises ValueError where that is no time, or one without a zone."""
        try:
            said = datetime.fromisoformat(self.created_at)
            if said.tzinfo is not None:
                return said.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        raise ValueError("created_at is no time with its zone, e.g. 2026-01-31T12:00:00+00:00")


class ExportedRow(_Part):
    """One attempt with all that belongs to it."""

    format: Literal[4]
    id: Id
    group: Key
    attempt: Count
    source: Annotated[Source, Field(strict=False)]
    iteration: Count
    policy: Number | None
    parent: Attempt | None
    relabeller: Name | None
    stop_reason: Annotated[StopReason, Field(strict=False)]
    error: Text | None
    seconds: Positive | None
    task: TaskPart
    turns: list[TurnPart]
    segments: list[SegmentPart]
    scores: list[ScorePart]
    labels: list[LabelPart]
    uses: list[UsePart]

    @property
    def key(self) -> tuple[str, int]:
        """The attempt's name within its run."""
        return self.group, self.attempt

    @model_validator(mode="after")
    def _lineage_fits_the_source(self) -> Self:
        if (self.parent is None) != (self.relabeller is None):
            raise ValueError("a row names a parent and what made it of that (relabeller), or neither")
        if self.source is not Source.EXPERT and (self.parent is None) != (self.source is Source.POLICY):
            raise ValueError(f"source {self.source}: a relabel has a parent, an attempt of the policy has none")
        if self.source is Source.EXPERT and self.policy is not None:
            raise ValueError(f"policy {self.policy} with source expert, which no version sampled")
        if self.source is Source.EXPERT and any(part.behaviour_logprobs for part in self.segments):
            raise ValueError("behaviour_logprobs with source expert, which has none")
        if self.task.split is not Split.TRAIN and (self.source is not Source.POLICY or self.uses):
            raise ValueError(f"a task of split {self.task.split} is held out: nothing shows it or is trained on it")
        return self

    @model_validator(mode="after")
    def _versions_are_in_order(self) -> Self:
        """Iteration i makes version i + 1."""
        if self.policy is not None and self.policy > self.iteration + 1:
            raise ValueError(f"policy {self.policy} in iteration {self.iteration}, which makes {self.iteration + 1}")
        for use in self.uses:
            if use.policy <= max(self.iteration, self.policy or 0):
                raise ValueError(f"a use by policy {use.policy}, which was there before the attempt")
        return self

    @model_validator(mode="after")
    def _nothing_is_said_twice(self) -> Self:
        _once("the use by policy", (use.policy for use in self.uses))
        _once("the verdict", ((s.verifier, s.version, s.config_hash, s.attempt) for s in self.scores))
        if any(label.other == self.key for label in self.labels):
            raise ValueError("a label compares the attempt with itself")
        return self

    def trajectory(self) -> Trajectory:
        """As data."""
        return Trajectory(
            self.task.hash,
            self.source,
            tuple(part.turn() for part in self.turns),
            tuple(part.segment() for part in self.segments),
            self.stop_reason,
            self.attempt,
            self.error,
            self.seconds,
        )
