"""Direct preference optimisation and its kin: of two attempts at one task the better one is to become the likelier.

The loss of a pair is one of whole attempts' log-probs, and needs both of its attempts. So each optimizer step first
scores its attempts without a gradient; from these numbers follow the loss, and by how much it changes with each
attempt's log-prob. Those slopes are the weights of a stream, and the learner executes it in any number of micro-batches
as it does all others: the gradient is exactly the loss's, at the cost of one forward pass.

Dimension letters: B pairs of a step, N of all steps, R distinct segments, C tokens of a completion.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from journeyman.agent.data import Segment
from journeyman.agent.learning.learner import Learner
from journeyman.agent.learning.losses import PreferenceName, preference_loss
from journeyman.agent.learning.rows import TrainingRow, minibatches

Placed: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]
"""A pair, chosen and rejected, by the places of its segments among all distinct ones."""


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Two attempts at one task, by their segments."""

    chosen: tuple[Segment, ...]
    """Of the better one."""
    rejected: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class PairLoss:
    """What is made small: see `losses.preference_loss`."""

    name: PreferenceName = "dpo"
    beta: float = 0.1
    nll_weight: float = 0.0
    """Of the mean negative log-likelihood of the chosen attempts' tokens, which margins alone let grow
    (arXiv:2404.19733)."""


def prefer(
    learner: Learner,
    pairs: Sequence[Pair],
    loss: PairLoss,
    *,
    seed: int,
    batch: int | None = None,
    epochs: int = 1,
    learning_rate: float | Callable[[float], float] | None = None,
) -> dict[str, float]:
    """Learns from the pairs in steps of about `batch` of them (None: all in one), `epochs` times over.

    A step's loss is the mean over its pairs, against the learner's reference policy. Pairs of one prompt stay in one
    step where they are not more than a step holds; an attempt that is in several pairs of a step is computed once. What
    two attempts have in common counts for both or for neither (see `apart`). `learning_rate` is as in `Learner.update`.

    The statistics: `steps`, `pairs`, `rows` (distinct segments), `seconds`, `tokens_per_second`, `peak_memory_mb`,
    `flops_utilisation` (while steps are made); means over steps of `grad_norm` and `entropy`; means over pairs, each at
    the beginning of its step, of `loss`, `accuracy` (is the chosen one's log-ratio to the reference the larger one),
    `margin` (by how much, in nats), `chosen_log_ratio`, `rejected_log_ratio` and `chosen_nll` (of its step's tokens);
    with an adapter `adapter_share`.

    Raises ValueError where there are no pairs, SettingsError where the learner has no reference, and what
    `Learner.update` raises.
    """
    if not pairs:
        raise ValueError("there are no pairs to learn from")
    started = time.perf_counter()
    segments, placed = _distinct([apart(pair) for pair in pairs])
    reference_R = _sums(learner.reference_logprobs(segments))
    steps = list(_steps(pairs, batch, seed, epochs))
    rate = learner.settings.learning_rate if learning_rate is None else learning_rate
    of_pairs: list[NDArray[np.float64]] = []
    of_steps: list[dict[str, float]] = []
    tokens = 0
    for number, step in enumerate(steps):
        places = sorted({place for i in step for side in placed[i] for place in side})
        own = [segments[place] for place in places]
        ratios = dict(zip(places, _sums(learner.logprobs(own)) - reference_R[places], strict=True))
        slopes, figures_5B = _slopes([placed[i] for i in step], segments, ratios, reference_R, loss)
        rows = [TrainingRow(segments[place], preference=slopes[place]) for place in places]
        now = rate(number / len(steps)) if callable(rate) else rate
        of_steps.append(learner.update(rows, seed=seed, learning_rate=now).stats)
        of_pairs.append(figures_5B)
        tokens += sum(len(segment.prompt_ids) + len(segment.completion_ids) for segment in own)
    seconds = time.perf_counter() - started
    counted = {"pairs": len(pairs), "rows": len(segments), "seconds": seconds, "tokens_per_second": tokens / seconds}
    return _statistics(of_steps, np.concatenate(of_pairs, axis=1)) | {n: float(v) for n, v in counted.items()}


def apart(pair: Pair) -> Pair:
    """The pair with masks that agree where the histories of both attempts do.

    A common beginning has the same log-probs in both, so it says nothing about which is better. It cancels where both
    count it; where only one does (a revision of the last turn, a demonstration that goes on from an attempt), counting
    it would move what both share.
    """
    shared = min(len(pair.chosen), len(pair.rejected))
    both = [_agreeing(*two) for two in zip(pair.chosen[:shared], pair.rejected[:shared], strict=True)]
    chosen, rejected = (tuple(two[side] for two in both) for side in (0, 1))
    return Pair((*chosen, *pair.chosen[shared:]), (*rejected, *pair.rejected[shared:]))


def _agreeing(one: Segment, other: Segment) -> tuple[Segment, Segment]:
    """Both, trained on common first tokens only where both are."""
    if not np.array_equal(one.prompt_ids, other.prompt_ids):
        return one, other
    length = min(len(one.completion_ids), len(other.completion_ids))
    differs = np.append(one.completion_ids[:length] != other.completion_ids[:length], True)
    common = int(differs.argmax())
    agreed = one.loss_mask[:common] & other.loss_mask[:common]
    return _trained_on(one, agreed), _trained_on(other, agreed)


def _trained_on(segment: Segment, first: NDArray[np.bool_]) -> Segment:
    """The segment with another mask of its first tokens."""
    mask_C = np.concatenate([first, segment.loss_mask[len(first) :]])
    return replace(segment, loss_mask=mask_C, behaviour_logprobs=None)


def _distinct(pairs: Sequence[Pair]) -> tuple[list[Segment], list[Placed]]:
    """The segments of all pairs, each once, and the pairs by their places among them."""
    places: dict[tuple[bytes, bytes, bytes], int] = {}
    segments: list[Segment] = []

    def place(segment: Segment) -> int:
        key = segment.prompt_ids.tobytes(), segment.completion_ids.tobytes(), segment.loss_mask.tobytes()
        if key not in places:
            places[key] = len(segments)
            segments.append(segment)
        return places[key]

    placed = [(tuple(map(place, pair.chosen)), tuple(map(place, pair.rejected))) for pair in pairs]
    return segments, placed


def _steps(pairs: Sequence[Pair], batch: int | None, seed: int, epochs: int) -> Iterator[list[int]]:
    """The pairs of each step: laid out by the prompts of the chosen attempts, as rows are."""
    prompts = [TrainingRow(pair.chosen[0]) for pair in pairs]
    for epoch in range(epochs):
        yield from minibatches(prompts, batch, seed, epoch)


def _sums(logprobs: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """(R,) of whole segments."""
    return np.array([values.sum(dtype=np.float64) for values in logprobs])


def _slopes(
    pairs: Sequence[Placed],
    segments: Sequence[Segment],
    ratios: Mapping[int, float],
    reference_R: NDArray[np.float64],
    loss: PairLoss,
) -> tuple[dict[int, float], NDArray[np.float64]]:
    """By place of a segment the derivative of the step's loss by its log-prob; (5, B) figures for the statistics."""
    leaves = {place: torch.tensor(ratio, dtype=torch.float64, requires_grad=True) for place, ratio in ratios.items()}
    sides = list(zip(*pairs, strict=True))
    chosen_B, rejected_B = (
        torch.stack([torch.stack([leaves[place] for place in attempt]).sum() for attempt in side]) for side in sides
    )
    chosen_tokens_B, rejected_tokens_B = (
        torch.tensor([sum(int(segments[place].loss_mask.sum()) for place in attempt) for attempt in side])
        for side in sides
    )
    losses_B = preference_loss(chosen_B, rejected_B, chosen_tokens_B, rejected_tokens_B, loss.name, loss.beta)
    known = float(sum(reference_R[place] for chosen, _ in pairs for place in chosen))
    nll = -(chosen_B.sum() + known) / chosen_tokens_B.sum().clamp(min=1)
    losses_B = losses_B + loss.nll_weight * nll
    gradients = torch.autograd.grad(losses_B.mean(), list(leaves.values()))
    figures = (losses_B, chosen_B, rejected_B, nll.expand_as(losses_B), chosen_B - rejected_B)
    return dict(zip(leaves, map(float, gradients), strict=True)), torch.stack(figures).detach().numpy()


def _statistics(of_steps: Sequence[dict[str, float]], figures_5N: NDArray[np.float64]) -> dict[str, float]:
    names = ("loss", "chosen_log_ratio", "rejected_log_ratio", "chosen_nll", "margin")
    found = dict(zip(names, figures_5N.mean(axis=1).tolist(), strict=True))
    found |= {"accuracy": float((figures_5N[-1] > 0).mean()), "steps": sum(one["steps"] for one in of_steps)}
    found["peak_memory_mb"] = of_steps[-1]["peak_memory_mb"]
    seconds = sum(one["seconds"] for one in of_steps)
    found["flops_utilisation"] = sum(one["flops_utilisation"] * one["seconds"] for one in of_steps) / seconds
    for name in ("grad_norm", "entropy", "adapter_share"):
        values = [one[name] for one in of_steps if name in one]
        found |= {name: sum(values) / len(values)} if values else {}
    return found
