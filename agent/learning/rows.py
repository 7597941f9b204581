"""What an update learns from: rows, each a segment with streams of weights over its tokens.

A stream says what one term of the objective does with each token; the learner executes streams and knows no algorithm.
Each stream has denominators of its own, counted over a whole optimizer step, whatever its micro-batches.

Dimension letters: C tokens of one segment's completion, M of them that the policy (or the expert) chose, O that it was
answered with, P that are predicted: those that were chosen, and observations that have a weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from journeyman.agent.chance import keyed_rng
from journeyman.agent.data import Segment

Weights: TypeAlias = float | NDArray[np.float32]
"""One for the segment, or one for each of the stream's tokens."""

_TIE = 1e-5
"""Entropies, in nats, that differ by less are equal: siblings' first tokens have one context, but not one rounding."""


class Stream(StrEnum):
    """The terms of the objective that a row may take part in."""

    POLICY = "policy"
    NLL = "nll"
    OBSERVATION = "observation"
    VALUE = "value"
    REFERENCE = "reference"
    PREFERENCE = "preference"


@dataclass(frozen=True, eq=False)
class TrainingRow:
    """One segment to learn from, and how: e.g. `TrainingRow(segment, policy=1.5)`, `TrainingRow(segment, nll=1.0)`."""

    segment: Segment
    policy: Weights | None = None
    """Advantages, (M,) or one; 0 where the verifier failed, which leaves it in the denominators. None keeps the row out
    of the policy loss; with one it needs behaviour log-probs."""
    nll: Weights = 0.0
    """Of the negative log-likelihood of what was chosen, (M,) or one, at least 0; 0 for no verified positive."""
    observation: Weights = 0.0
    """Of the negative log-likelihood of what the environment answered, (O,) or one, at least 0."""
    value: NDArray[np.float32] | None = None
    """(M,) the returns that the critic should foresee before each chosen token; None teaches it nothing."""
    foreseen: NDArray[np.float32] | None = None
    """(M,) what the critic foresaw at the start of the update, which its clip is around; None for no clip."""
    reference: Weights | None = None
    """Of the KL to the reference policy (beta), (M,) or one, at least 0; None keeps the row out of the denominators."""
    shaped: bool = False
    """An expert's row in the policy loss: it has no behaviour log-probs, and its ratio is shaped instead of clipped."""
    preference: Weights | None = None
    """What a loss of whole attempts changes by with the log-prob of each chosen token, (M,) or one, signed: its
    gradient at the beginning of the step, denominators included (see `preferences`)."""

    @cached_property
    def trained_tokens(self) -> int:
        """M."""
        return int(np.count_nonzero(self.segment.loss_mask))

    @cached_property
    def predicted(self) -> Segment:
        """The segment with a mask of all tokens that a stream predicts; its own where no observation is."""
        if not np.any(self.observation):
            return self.segment
        mask_C = self.segment.loss_mask.copy()
        mask_C[~self.segment.loss_mask] = self.per_observation(self.observation) != 0
        return replace(self.segment, loss_mask=mask_C, behaviour_logprobs=None)

    def tokens(self, stream: Stream) -> int:
        """How many tokens count in the stream's denominators."""
        if stream is Stream.NLL:
            return int(np.count_nonzero(self.per_token(self.nll)))
        if stream is Stream.OBSERVATION:
            return int(np.count_nonzero(self.per_observation(self.observation)))
        return 0 if getattr(self, stream) is None else self.trained_tokens

    def weights(self, stream: Stream) -> NDArray[np.float32]:
        """(M,) the stream's weights of the chosen tokens; 0 where the row has no such stream."""
        value = getattr(self, stream)
        return self.per_token(0.0 if value is None else value)

    def per_token(self, value: Weights) -> NDArray[np.float32]:
        """(M,) from one number for the segment or one for each chosen token."""
        return np.broadcast_to(np.float32(value), self.trained_tokens)

    def per_observation(self, value: Weights) -> NDArray[np.float32]:
        """(O,) the same for the tokens of observations."""
        return np.broadcast_to(np.float32(value), len(self.segment.loss_mask) - self.trained_tokens)

    def chosen(self, value_M: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """(P,) what is known of the chosen tokens, among all that are predicted; 0 elsewhere, and where it is None."""
        mask_C = self.predicted.loss_mask
        if value_M is not None and mask_C is self.segment.loss_mask:
            return value_M
        spread_C = np.zeros(len(mask_C), np.float32)
        spread_C[self.segment.loss_mask] = 0.0 if value_M is None else value_M
        return spread_C[mask_C]

    def observed(self) -> NDArray[np.float32]:
        """(P,) the weights of observations, among all tokens that are predicted."""
        mask_C = self.predicted.loss_mask
        spread_C = np.zeros(len(mask_C), np.float32)
        spread_C[~self.segment.loss_mask] = self.per_observation(self.observation)
        return spread_C[mask_C]

    def moves(self, *, values: bool = False, entropy: bool = False) -> bool:
        """Whether the row has a gradient in the policy's weights at all.

        `values` where a critic shares them, `entropy` where there is a bonus for that of the policy loss's tokens.
        """
        told = (values and self.value is not None) or (entropy and self.policy is not None)
        weighed = (Stream.NLL, Stream.POLICY, Stream.REFERENCE, Stream.PREFERENCE)
        told = told or any(np.any(self.weights(stream)) for stream in weighed)
        return (told and self.trained_tokens > 0) or self.tokens(Stream.OBSERVATION) > 0

    def check(self, index: int) -> None:
        """Raises ValueError, naming the row by `index`, where it cannot be learned from as it says."""
        self._check_segment(index)
        trained = self.trained_tokens
        observed = len(self.segment.loss_mask) - trained
        for stream, most in ((s, observed if s is Stream.OBSERVATION else trained) for s in Stream):
            value = getattr(self, stream)
            if value is None:
                continue
            if (shape := np.shape(value)) not in ((), (most,)):
                raise ValueError(f"row {index} has {most} tokens for its {stream} stream, but weights of shape {shape}")
            signed = stream in (Stream.POLICY, Stream.VALUE, Stream.PREFERENCE)
            if not np.all(np.isfinite(value)) or not (signed or np.all(np.asarray(value) >= 0)):
                raise ValueError(f"row {index}: {stream} weight {value} is not usable")
        self._check_values(index)

    def _check_segment(self, index: int) -> None:
        trained, logprobs = self.trained_tokens, self.segment.behaviour_logprobs
        if (masked := len(self.segment.loss_mask)) != (tokens := len(self.segment.completion_ids)):
            raise ValueError(
                f"row {index} has {tokens} completion tokens, but a loss mask of {masked}: give one of each"
            )
        if self.policy is not None and logprobs is None and not self.shaped:
            raise ValueError(f"row {index} has no behaviour log-probs, so no ratio: leave its policy stream out")
        if logprobs is not None and logprobs.shape != (trained,):
            raise ValueError(f"row {index} has {trained} trained tokens, but log-probs of shape {logprobs.shape}")
        if logprobs is not None and not np.all(np.isfinite(logprobs)):
            raise ValueError(f"row {index}: behaviour log-probs {logprobs} are not usable")

    def _check_values(self, index: int) -> None:
        trained = self.trained_tokens
        for name, values in (("value", self.value), ("foreseen", self.foreseen)):
            if values is not None and np.shape(values) != (trained,):
                raise ValueError(f"row {index} has {trained} trained tokens, but {name} of shape {np.shape(values)}")
            if values is not None and not np.all(np.isfinite(values)):
                raise ValueError(f"row {index}: {name} {values} is not usable")


@dataclass(frozen=True, slots=True)
class Counts:
    """What one stream's loss is divided by in one optimizer step."""

    rows: int
    tokens: int
    mean_tokens: float
    """Over the steps of the update."""


Denominators: TypeAlias = Mapping[Stream, Counts]
"""Of one optimizer step."""


def denominators(rows: Sequence[TrainingRow], steps: Sequence[Sequence[int]]) -> list[Denominators]:
    """Those of each step of one epoch."""
    found: list[dict[Stream, Counts]] = [{} for _ in steps]
    for stream in Stream:
        tokens = [[rows[i].tokens(stream) for i in step] for step in steps]
        mean = sum(map(sum, tokens)) / max(len(steps), 1)
        for one, step, counts in zip(found, steps, tokens, strict=True):
            inside = sum(getattr(rows[i], stream) is not None for i in step)
            one[stream] = Counts(inside, sum(counts), mean)
    return list(found)


def minibatches(rows: Sequence[TrainingRow], size: int | None, seed: int, epoch: int) -> list[list[int]]:
    """Indices of the rows of each step: about `size` each (None: all), shuffled.

    Rows with equal prompts stay together where they are no more than `size`; more of them are shuffled too and laid
    over as many steps as they fill, or tasks that all share a prompt would be learned from in one step.
    """
    groups: dict[bytes, list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(row.segment.prompt_ids.tobytes(), []).append(i)
    count = 1 if size is None else -(-len(rows) // size)
    steps: list[list[int]] = [[] for _ in range(count)]
    members = list(groups.values())
    rng = keyed_rng(seed, "minibatches", epoch)
    taken = 0
    for g in rng.permutation(len(members)):
        whole = size is None or len(members[g]) <= size
        for place, i in enumerate(members[g] if whole else rng.permutation(members[g]).tolist(), start=taken):
            steps[(taken if whole else place) * count // len(rows)].append(i)
        taken += len(members[g])
    return [step for step in steps if step]


def most_uncertain(
    rows: Sequence[TrainingRow], entropies: Mapping[int, NDArray[np.float32]], share: float
) -> list[TrainingRow]:
    """The rows with advantages for that share of the tokens only, in (0, 1], whose entropies are highest, else 0.

    Of reasoning's tokens few are choices, and those teach most (Wang et al. 2025, arXiv:2506.01939). `entropies` are
    (M,), by index of the rows that they are counted over; the other rows stay as they are, and so do all denominators.
    """
    if not entropies:
        return list(rows)
    least = np.quantile(np.concatenate(list(entropies.values())), 1 - share) - _TIE
    return [
        replace(row, policy=np.where(entropies[i] >= least, row.weights(Stream.POLICY), np.float32(0)))
        if i in entropies
        else row
        for i, row in enumerate(rows)
    ]
