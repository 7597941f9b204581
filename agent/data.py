"""The data that passes between rooms: frozen, slotted, and free of any heavy import.

Dimension letters: P prompt tokens, C completion tokens, M trained tokens (`loss_mask_C.sum()`).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Json: TypeAlias = Any
"""A value that `json.dumps` takes: None, bool, int, float, str, list or dict of such."""

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]


class Split(StrEnum):
    """What a task may be used for: only `train` is learned from, `test` decides nothing.

    `guard` tasks are of other kinds: a policy that gets worse at them is not promoted. No task set is asked for them:
    they are drawn from its validation tasks.
    """

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"
    GUARD = "guard"


class Source(StrEnum):
    """Where a trajectory came from."""

    EXPERT = "expert"
    POLICY = "policy"
    HINDSIGHT = "hindsight"


class StopReason(StrEnum):
    """Why an episode ended."""

    TERMINATED = "terminated"  # the environment said so
    TRUNCATED = "truncated"  # the limit of turns was reached
    LENGTH = "length"  # the limit of tokens was reached
    ERROR = "error"  # the environment broke (an outage): no reward; Trajectory.error says how


class Status(StrEnum):
    """How a verifier's run ended; only `ok` carries numbers."""

    OK = "ok"
    ABSTAIN = "abstain"
    ERROR = "error"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the agent may call, e.g. `Tool("move", "Go one cell.", {"type": "object", ...})`."""

    name: str
    description: str
    parameters: Mapping[str, Json]
    """JSON schema of the arguments; the order of its `properties` is the order of positional arguments."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call, e.g. `ToolCall("move", {"direction": "up"})`."""

    name: str
    arguments: Mapping[str, Json]
    id: str = field(default="", compare=False)
    """What names it to its result, where the model or a file gave it one: two calls that ask the same are equal."""

    def to_json(self) -> dict[str, Json]:
        """The call as chat JSON, `id` only where it has one."""
        row: dict[str, Json] = {"name": self.name, "arguments": dict(self.arguments)}
        return {**row, "id": self.id} if self.id else row


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message, e.g. `Message("user", "reach 24 from 3, 8, 9")`."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    """The calls found in an assistant's `content` (which still holds their text as written)."""
    thought: str = ""
    """What an assistant thought before it said `content`, or between; no call in it is made."""
    call_id: str = ""
    """Of a tool's result: the `id` of the call that it answers; without one results answer the calls in their order."""
    thought_tokens: int = field(default=0, compare=False)
    """How many sampled tokens the thought took, its marks included."""

    def to_json(self) -> dict[str, Json]:
        """The message as chat JSON; what it has none of is left out, but for role and content."""
        row: dict[str, Json] = {"role": self.role, "content": self.content}
        if self.tool_calls:
            row["tool_calls"] = [call.to_json() for call in self.tool_calls]
        more = {"reasoning_content": self.thought, "tool_call_id": self.call_id, "thought_tokens": self.thought_tokens}
        return row | {name: value for name, value in more.items() if value}

    @classmethod
    def from_json(cls, row: Mapping[str, Json]) -> Message:
        """The inverse of `to_json`."""
        calls = tuple(ToolCall(c["name"], c["arguments"], c.get("id", "")) for c in row.get("tool_calls", ()))
        thought, call_id = row.get("reasoning_content", ""), row.get("tool_call_id", "")
        return cls(row["role"], row["content"], calls, thought, call_id, row.get("thought_tokens", 0))


@dataclass(frozen=True, slots=True)
class Task:
    """One problem, e.g. goal 24, payload {"numbers": [3, 8, 9]}, prompt "reach 24 from 3, 8, 9"."""

    environment: str
    """Name of the environment plugin that acts it out."""
    goal: Json
    """What counts as success, in the environment's own terms; None where a verifier needs none."""
    prompt: tuple[Message, ...]
    """What the agent is shown first."""
    split: Split
    hash: str
    """Of the canonical form (`canonical_hash`): equal tasks, however written, have equal hashes."""
    payload: Mapping[str, Json] = field(default_factory=dict)
    """What the environment needs beside the goal to act the task out."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What the environment shows the agent, as messages (role `user` or `tool`)."""

    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """The environment's answer to one action."""

    observation: Observation
    reward: float | None
    """The environment's own reward, where it has one; verifiers decide what is learned."""
    terminated: bool
    truncated: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """One model call and what the environment answered."""

    action: Message
    observation: tuple[Message, ...] = ()
    reward: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """One unbroken token history; compare with `same_as`."""

    prompt_ids: NDArray[np.int32]
    """(P,) what the model was given; never trained on."""
    completion_ids: NDArray[np.int32]
    """(C,) sampled tokens, and between them the observations of later turns."""
    loss_mask: NDArray[np.bool_]
    """(C,) true exactly where the policy (or the expert) chose the token; in a demonstration by DAgger the policy's
    own turns before the expert's are context, and false."""
    behaviour_logprobs: NDArray[np.float32] | None
    """(M,) of the distribution really sampled from, one for each trained token in order; None for experts.

    A relabel's are its parent's: taken under the parent's prompt, not under `prompt_ids`.
    """

    def runs(self) -> list[tuple[int, int]]:
        """First and end, in `completion_ids`, of each unbroken run of trained tokens; a turn's tokens are one."""
        edges = np.flatnonzero(np.diff(self.loss_mask, prepend=False, append=False)).tolist()
        return list(zip(edges[::2], edges[1::2], strict=True))

    def same_as(self, other: Segment) -> bool:
        """Whether both hold the same tokens, mask and log-probs, bit for bit."""
        mine, theirs = self.behaviour_logprobs, other.behaviour_logprobs
        if (mine is None) != (theirs is None):
            return False
        return (
            np.array_equal(self.prompt_ids, other.prompt_ids)
            and np.array_equal(self.completion_ids, other.completion_ids)
            and np.array_equal(self.loss_mask, other.loss_mask)
            and (mine is None or theirs is None or np.array_equal(mine, theirs))
        )


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """One attempt at one task."""

    task_hash: str
    source: Source
    turns: tuple[Turn, ...]
    segments: tuple[Segment, ...]
    stop_reason: StopReason
    attempt: int = 0
    """Number of the attempt in its group, from 0."""
    error: str | None = None
    """How the environment broke, where `stop_reason` is `error`, e.g. `step: no answer within 60 s`."""
    seconds: float | None = None
    """Wall time of the attempt, from its first request to the last answer; None where it was not taken (experts)."""
    sampled_tokens: int | None = None
    """How many tokens the policy chose, where `segments` are left out."""

    @property
    def broken(self) -> bool:
        """Whether an outage ended it: it has no reward, whatever a verifier would say of it."""
        return self.stop_reason is StopReason.ERROR

    @property
    def acted_out(self) -> tuple[Turn, ...]:
        """The turns that the environment took: not a last one that was cut off, or on which the environment broke."""
        cut_off = self.broken or self.stop_reason is StopReason.LENGTH
        return self.turns[:-1] if cut_off and self.turns and not self.turns[-1].observation else self.turns

    @property
    def final_text(self) -> str:
        """The last thing the agent said, without what it thought; empty where it said nothing."""
        return self.turns[-1].action.content if self.turns else ""

    @property
    def thought_tokens(self) -> int:
        """How many of the sampled tokens are thoughts."""
        return sum(turn.action.thought_tokens for turn in self.turns)

    @property
    def messages(self) -> tuple[Message, ...]:
        """What came after the prompt, as a chat; the last observation, which nobody answered, is left out."""
        found = [m for turn in self.turns for m in (turn.action, *turn.observation)]
        last = len(self.turns[-1].observation) if self.turns else 0
        return tuple(found[: len(found) - last])


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verifier's answer. `score` is in [0, 1]; numbers are there exactly when `status` is `ok`."""

    status: Status
    score: float | None = None
    raw: float | None = None
    """The verifier's own unbounded number, if it has one."""
    step_scores: tuple[float, ...] | None = None
    """A process reward model's score of each step, each in [0, 1]."""
    extracted: str | None = None
    """What it read out of the trajectory."""
    expected: str | None = None
    explanation: str | None = None

    @classmethod
    def passed(cls, ok: bool, *, extracted: object = None, expected: object = None, why: str | None = None) -> Verdict:
        """A yes-or-no verdict: score 1 or 0."""
        return cls.scored(float(ok), extracted=extracted, expected=expected, why=why)

    @classmethod
    def scored(
        cls,
        score: float,
        *,
        raw: float | None = None,
        steps: Sequence[float] | None = None,
        extracted: object = None,
        expected: object = None,
        why: str | None = None,
    ) -> Verdict:
        """A partial score in [0, 1], e.g. `Verdict.scored(0.5, why="2 of 4 tests")`; `steps` are step scores.

        Raises ValueError for a score, of a step too, that is not in [0, 1], and for a raw number that is not finite.
        """
        scores = [float(one) for one in (score, *(steps or ()))]
        if outside := [one for one in scores if not 0 <= one <= 1]:
            raise ValueError(f"score {outside[0]} is not in [0, 1]: divide by the most that there is")
        if raw is not None and not math.isfinite(raw):
            raise ValueError(f"raw {raw} is not finite")
        return cls(
            Status.OK,
            scores[0],
            None if raw is None else float(raw),
            None if steps is None else tuple(scores[1:]),
            None if extracted is None else str(extracted),
            None if expected is None else str(expected),
            why,
        )

    @classmethod
    def abstain(cls, why: str) -> Verdict:
        """No opinion, for a reason."""
        return cls(Status.ABSTAIN, explanation=why)


@dataclass(frozen=True, slots=True)
class VerifierId:
    """What makes two scores comparable, e.g. `VerifierId("goal", "1", "44136fa3")`."""

    name: str
    version: str
    config_hash: str


@dataclass(frozen=True, slots=True)
class ScoreRecord:
    """One verdict with who gave it and how long that took."""

    verifier: VerifierId
    verdict: Verdict
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Achieved:
    """A goal that a trajectory did reach, and the index of the turn that reached it first."""

    goal: Json
    turn: int


@dataclass(frozen=True, slots=True)
class Episode:
    """A past attempt told anew for another goal: the task, and its turns with every message re-rendered."""

    task: Task
    turns: tuple[Turn, ...]
    start_turn: int
    """Index in the parent of the first turn kept."""


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to sample. Temperature 0 is greedy; the ratio of a loss is only true at top-p 1 (so there is none here)."""

    max_tokens: int
    temperature: float = 1.0
    seed: int = 0
    """Key of this request's random numbers: the same prompt, weights and seed give the same tokens."""
    stop_ids: tuple[int, ...] = ()
    """Token ids that end a completion (and are its last token)."""


@dataclass(frozen=True, slots=True, eq=False)
class Completion:
    """What a sampler returns for one request."""

    token_ids: NDArray[np.int32]
    """(C,) the stop token included."""
    logprobs: NDArray[np.float32]
    """(C,) of each sampled token after temperature (at temperature 0: of the unscaled distribution)."""
    stopped: bool
    """True where a stop token ended it, False where `max_tokens` did."""


@dataclass(frozen=True, slots=True)
class PolicyRef:
    """One set of weights to load."""

    number: int
    """Version number within its run, from 1; a base model that no run made is 0."""
    path: str
    """Folder of the full weights with tokenizer, or a model name."""
    adapter: str | None = None
    """Folder of a LoRA adapter on top of `path`, if the policy is one."""


def canonical_hash(environment: str, canonical: Json) -> str:
    """32 hex digits that name a task by its canonical form (sort what has no order before calling)."""
    text = json.dumps([environment, canonical], sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def said(messages: Sequence[Message]) -> list[Json]:
    """The canonical form of a conversation: role and text, white space made alike. Equal ones ask the same."""
    return [[message.role, " ".join(message.content.split())] for message in messages]


def as_messages(rows: Sequence[Mapping[str, Json]]) -> tuple[Message, ...]:
    """Chat JSON rows as messages."""
    return tuple(Message.from_json(row) for row in rows)
