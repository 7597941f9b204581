"""One update of a learner: AdamW's steps on its rows, or the one step of a trust region, and what is told of it."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from journeyman.agent.errors import JourneymanError
from journeyman.agent.learning.critic import Critic
from journeyman.agent.learning.figures import means, of_rows, peak_flops, peak_memory_mb, ratios
from journeyman.agent.learning.forward.layouts import Row
from journeyman.agent.learning.forward.scoring import Scorer
from journeyman.agent.learning.hardware.ranks import Ranks, together
from journeyman.agent.learning.objective import Fixed, objective
from journeyman.agent.learning.reference import Reference, known
from journeyman.agent.learning.rows import Denominators, Stream, TrainingRow, denominators, minibatches, most_uncertain
from journeyman.agent.learning.settings import LearnerSettings
from journeyman.agent.learning.trained import weights_of
from journeyman.agent.learning.trust_region import Step, TrustRegion

Rate: TypeAlias = float | Callable[[float], float]
"""A learning rate, or a function from the share of steps done, in [0, 1), to it."""
Steps: TypeAlias = Sequence[tuple[Sequence[int], Denominators]]
"""By step the indices of its rows, and their denominators."""


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """What an update did."""

    stats: dict[str, float]
    """See `Learner.update`."""
    ratios: dict[int, float]
    """By index of the row the mean over its tokens of pi_prox / behaviour, uncapped; rows in the policy loss only."""


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Those of a learner that an update asks and moves."""

    settings: LearnerSettings
    score: Scorer
    optimizer: torch.optim.Optimizer
    ranks: Ranks
    reference: Reference | None
    critic: Critic | None
    region: TrustRegion | None

    def moves(self, row: TrainingRow) -> bool:
        """Whether it has a gradient in the policy's weights."""
        return row.moves(values=self.shared_critic is not None, entropy=self.settings.entropy_weight > 0)

    @property
    def shared_critic(self) -> Critic | None:
        """The critic where it is a head on the policy's own trunk: one backward pass is for both."""
        return None if self.critic is None or self.critic.own else self.critic

    @property
    def own_critic(self) -> Critic | None:
        """The critic where it is a model of its own, which learns beside the policy."""
        return self.critic if self.critic is not None and self.critic.own else None


def update(
    parts: Parts,
    rows: Sequence[TrainingRow],
    *,
    seed: int,
    minibatch_rows: int | None,
    epochs: int,
    learning_rate: Rate,
) -> Update:
    """See `Learner.update`."""
    started = time.perf_counter()
    for i, row in enumerate(rows):
        row.check(i)
    steps: list[tuple[list[int], Denominators]] = []
    for epoch in range(epochs):
        drawn = minibatches(rows, minibatch_rows, seed, epoch)
        steps += zip(drawn, denominators(rows, drawn), strict=True)
    region = parts.region if any(row.policy is not None and row.trained_tokens for row in rows) else None
    under_way = _UnderWay(parts, *_begin(parts, rows, several=len(steps) > 1 or region is not None))
    of_step: dict[str, float] = {}
    if region is None:
        norms = under_way.descend(steps, learning_rate)
    else:
        norms, of_step = under_way.step_in(region, steps)
    seconds = time.perf_counter() - started
    passes = epochs if region is None else 1
    tokens = passes * sum(len(row.segment.prompt_ids) + len(row.segment.completion_ids) for row in rows)
    stats = means(under_way.totals(), norms) | of_rows(under_way.rows) | of_step
    stats |= {"rows": float(len(rows)), "seconds": seconds, "tokens_per_second": tokens / seconds}
    stats["peak_memory_mb"] = peak_memory_mb(parts.score.device)
    if region is None:  # a trust region's products are counted nowhere
        stats["flops_utilisation"] = under_way.flops([step for step, _ in steps]) / seconds / _peak(parts)
    return Update(stats, ratios(under_way.rows, under_way.fixed))


def _begin(parts: Parts, rows: Sequence[TrainingRow], *, several: bool) -> tuple[Sequence[TrainingRow], Fixed]:
    """The rows, without the advantages of tokens that are no choices, and what stays fixed during the update."""
    segments = [row.segment for row in rows]
    share = parts.settings.top_entropy
    moved = [i for i, row in enumerate(rows) if parts.moves(row)]
    near = [i for i in moved if rows[i].reference is not None]
    wanted = [i for i in moved if rows[i].policy is not None or rows[i].reference is not None]
    reference = known(parts.reference).logprobs(segments, near) if near else None
    if not wanted or not (several or share < 1):
        return rows, Fixed(None, reference)
    start, entropies = parts.score.logprobs_and_entropies(segments, wanted)
    compared = {i: entropies[i] for i in wanted if np.any(rows[i].weights(Stream.POLICY))}
    return most_uncertain(rows, compared, share) if share < 1 else rows, Fixed(start, reference)


def _peak(parts: Parts) -> float:
    """Floating-point operations a second that all ranks' devices could make."""
    return parts.ranks.count * peak_flops(parts.score.device, parts.score.dtype)


class _UnderWay:
    """An update that has begun: its rows as they are learned from, and sums for what is told of it."""

    def __init__(self, parts: Parts, rows: Sequence[TrainingRow], fixed: Fixed) -> None:
        self.rows, self.fixed = rows, fixed
        self._parts, self._segments = parts, [row.predicted for row in rows]
        self._moving = [parts.moves(row) for row in rows]
        self._sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=parts.score.device))

    def descend(self, steps: Steps, learning_rate: Rate) -> list[float]:
        """AdamW's steps; the gradient's norm of each that was made."""
        parts, norms = self._parts, []
        for number, (step, counts) in enumerate(steps):
            for group in parts.optimizer.param_groups:
                group["lr"] = learning_rate(number / len(steps)) if callable(learning_rate) else learning_rate
            norm = self._gradient(step, counts, parts.settings.max_grad_norm)
            if parts.own_critic is not None:
                parts.own_critic.learn(self.rows, step, counts, self._sums)
            if norm is None:
                continue
            parts.optimizer.step()
            if parts.shared_critic is not None:
                parts.shared_critic.step()
            norms.append(norm)
        return norms

    def step_in(self, region: TrustRegion, steps: Steps) -> tuple[list[float], dict[str, float]]:
        """One step on all rows, and those of a critic; the gradient's norm, where there is one, and statistics."""
        every = range(len(self.rows))
        (counts,) = denominators(self.rows, [every])
        norm = self._gradient(every, counts, math.inf)
        made = Step(0.0, 0.0, 0, moved=False)
        if norm is not None:
            compared = [row.segment for row in self.rows if row.policy is not None]
            made = region.step(compared, partial(self._loss, every, counts))
        if self._parts.critic is not None:
            for step, its_counts in steps:
                self._parts.critic.learn(self.rows, step, its_counts, self._sums)
        figures = {"kl_step": made.kl, "surrogate_gain": made.gain, "backtracks": float(made.backtracks)}
        return [] if norm is None else [norm], figures | {"steps": float(made.moved)}

    def totals(self) -> dict[str, float]:
        """The sums over all ranks."""
        return self._parts.ranks.summed({name: float(value) for name, value in self._sums.items()})

    def flops(self, steps: Sequence[Sequence[int]]) -> float:
        """What the steps need of the model, forwards and backwards; with an adapter few weights have a gradient."""
        times = 2.0 if self._parts.settings.lora_rank else 3.0
        return times * sum(self._parts.score.flops(self._segments, self._moved(step)) for step in steps)

    def _moved(self, step: Sequence[int]) -> list[int]:
        return [i for i in step if self._moving[i]]

    def _gradient(self, step: Sequence[int], counts: Denominators, longest: float) -> float | None:
        """Leaves that of the step's loss in the weights, cut to `longest`; a shared critic's in its own, cut too.

        Its norm before that, None where there is none. Raises JourneymanError where one of them is not finite.
        """
        parts, moved = self._parts, self._moved(step)

        def begin() -> None:
            parts.optimizer.zero_grad()
            if parts.shared_critic is not None:
                parts.shared_critic.optimizer.zero_grad()

        def learn(batch_rows: Sequence[Row], weight: float) -> dict[str, Tensor]:
            loss, told = self._terms(batch_rows, counts)
            (weight * loss).backward()  # type: ignore[no-untyped-call]
            return told

        for told in parts.score.passes(self._segments, moved, learn, begin):
            for name, value in told.items():
                self._sums[name] += value
        if not moved:
            return None
        norm = float(together(torch.nn.utils.clip_grad_norm_(weights_of(parts.optimizer), longest)))
        if not np.isfinite(norm):
            raise JourneymanError(
                f"the gradient's norm is {norm}: lower the learning rate, or look at the rows' ratios"
            )
        if parts.shared_critic is not None:
            parts.shared_critic.clip()
        return norm

    @torch.no_grad()
    def _loss(self, step: Sequence[int], counts: Denominators) -> float:
        """The step's loss under the weights as they are."""
        return sum(
            self._parts.score.passes(
                self._segments, self._moved(step), lambda batch_rows, _: float(self._terms(batch_rows, counts)[0])
            )
        )

    def _terms(self, batch_rows: Sequence[Row], counts: Denominators) -> tuple[Tensor, dict[str, Tensor]]:
        """A micro-batch's part of the step's loss (scalar), and sums for the statistics."""
        parts = self._parts
        batch, hidden_NH, logprobs_RT, entropy_RT = parts.score.forward(
            self._segments, batch_rows, entropy_moves=parts.settings.entropy_weight > 0
        )
        loss, told = objective(logprobs_RT, entropy_RT, batch, self.rows, self.fixed, parts.settings, counts)
        if parts.shared_critic is not None and counts[Stream.VALUE].tokens:
            value_loss, value_told = parts.shared_critic.loss(hidden_NH, batch, self.rows, counts)
            loss, told = loss + parts.settings.value_weight * value_loss, told | value_told
        return loss, told
