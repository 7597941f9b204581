"""TRPO's step (arXiv:1502.05477): the natural gradient, as long as the mean KL to the policy at its start allows.

F is the Fisher matrix of the policy at the tokens of its loss, plus damping: the mean over their positions of the whole
distribution's, J^T (diag(p) - p p^T) J with J the derivative of the logits over the temperature. It is never made: its
products with vectors are, exactly, by differentiating twice, in micro-batches and in chunks of positions.

Dimension letters: N positions of a micro-batch, H hidden size, V vocabulary, D weights that are trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from journeyman.agent.data import Segment
from journeyman.agent.errors import JourneymanError, UsageError
from journeyman.agent.learning.forward.halves import FOREIGN_ERRORS, probe_ids
from journeyman.agent.learning.forward.layouts import Row
from journeyman.agent.learning.forward.scoring import LOGIT_ELEMENTS, Scorer
from journeyman.agent.learning.settings import LearnerSettings

MOST_PARAMETERS = 50_000_000
"""Trained weights that a step is made for: it holds some eight vectors of them."""
HALVINGS = 10
"""How often a step is halved before none is made."""


class Step(NamedTuple):
    """What a step did."""

    kl: float
    """Mean KL of the policy at the start to the moved one, in nats a token; 0 where none was made."""
    gain: float
    """By how much the loss fell."""
    backtracks: int
    """How often the step was halved."""
    moved: bool


class TrustRegion:
    """Moves the weights of one model by such steps."""

    def __init__(self, score: Scorer, parameters: Sequence[nn.Parameter], settings: LearnerSettings) -> None:
        """Raises UsageError, with the model's name, where it trains too many weights or has no second derivatives."""
        self._score, self._parameters, self._settings = score.plainly(), list(parameters), settings
        name, count = type(score.model).__name__, sum(p.numel() for p in self._parameters)
        if count > MOST_PARAMETERS:
            raise UsageError(
                f"{name} has {count:,} trained weights, and a trust-region step is made for at most "
                f"{MOST_PARAMETERS:,}: train an adapter (lora_rank), or set the optimizer to 'adamw'"
            )
        ids = probe_ids(score.model, 8).cpu().numpy().astype(np.int32)
        probe = Segment(ids[:4], ids[4:], np.ones(4, np.bool_), None)
        try:
            self._fisher(torch.ones_like(self._weights()), [probe])
        except FOREIGN_ERRORS as error:
            problem = str(error).strip().partition("\n")[0]
            raise UsageError(
                f"{name} cannot take a trust-region step, since its code cannot be differentiated twice ({problem}): "
                "set the optimizer to 'adamw'"
            ) from error

    def step(self, segments: Sequence[Segment], loss: Callable[[], float]) -> Step:
        """One step down the gradient that the weights have; `loss` is of the weights as they are when it is called.

        The KL is over the trained tokens of `segments`, F over those of at most `trust_rows` of them, evenly drawn: an
        estimate of the direction will do (appendix C.1 of the paper), and the KL is held all the same. The direction x
        solves F x = -gradient by conjugate gradient; the step is sqrt(2 delta / x'Fx) x, halved until the KL is at most
        delta and the loss falls. Where it never does, and where there is no gradient, the weights stay as they are.
        """
        start_D = self._weights()
        descent_D = -self._joined(p.grad for p in self._parameters)
        some = segments[:: -(-len(segments) // self._settings.trust_rows) or 1]
        direction_D = self._solve(descent_D, some)
        curvature = float(direction_D @ self._fisher(direction_D, some))
        if not np.isfinite(curvature):
            raise JourneymanError(f"the curvature of a trust-region step is {curvature}: look at the rows' ratios")
        if curvature <= 0:
            return Step(0.0, 0.0, 0, moved=False)
        step_D, before = (2 * self._settings.trust_delta / curvature) ** 0.5 * direction_D, loss()
        kept_D, made = start_D, Step(0.0, 0.0, HALVINGS, moved=False)
        try:
            for halvings in range(HALVINGS + 1):
                moved_D = start_D + step_D / 2**halvings
                self._put(moved_D)
                gain = before - loss()
                if gain > 0 and (kl := self._mean_kl(start_D, moved_D, segments)) <= self._settings.trust_delta:
                    kept_D, made = moved_D, Step(kl, gain, halvings, moved=True)
                    break
        finally:  # where something fails, too, the weights are not left at what was only tried
            self._put(kept_D)
        return made

    def _solve(self, target_D: Tensor, segments: Sequence[Segment]) -> Tensor:
        """What F times is the target, by conjugate gradient (Hestenes and Stiefel 1952), begun at 0."""
        found_D, rest_D = torch.zeros_like(target_D), target_D.clone()
        toward_D, error = rest_D.clone(), float(target_D @ target_D)
        enough = 1e-14 * error
        for _ in range(self._settings.trust_iterations):
            if error <= enough:
                break
            image_D = self._fisher(toward_D, segments)
            rate = error / float(toward_D @ image_D)
            found_D += rate * toward_D
            rest_D -= rate * image_D
            last, error = error, float(rest_D @ rest_D)
            toward_D = rest_D + error / last * toward_D
        return found_D

    def _fisher(self, vector_D: Tensor, segments: Sequence[Segment]) -> Tensor:
        """F times the vector."""
        total_D = torch.zeros_like(vector_D)

        def multiply(rows: Sequence[Row], _weight: float) -> int:
            product_D, positions = self._product(vector_D, segments, rows)
            total_D.add_(product_D)
            return positions

        with sdpa_kernel(SDPBackend.MATH):  # the other kernels of attention have no second derivatives
            count = sum(self._score.passes(segments, range(len(segments)), multiply, total_D.zero_))
        return total_D / max(count, 1) + self._settings.trust_damping * vector_D

    def _product(self, vector_D: Tensor, segments: Sequence[Segment], rows: Sequence[Row]) -> tuple[Tensor, int]:
        """One micro-batch's J^T (diag(p) - p p^T) J vector, summed over its positions, and how many they are."""
        _, hidden_NH = self._score.hidden(segments, rows)
        pieces, total_D = self._pieces(vector_D), torch.zeros_like(vector_D)
        change_NH = _pushed(hidden_NH, self._parameters, pieces)
        pulled = []
        for part_NH, change in zip(self._chunks(hidden_NH.detach()), self._chunks(change_NH), strict=True):
            inputs = [part_NH.requires_grad_(), *self._parameters]
            logits_NV = self._score.logits(part_NH)
            change_NV = _pushed(logits_NV, inputs, [change, *pieces])
            p_NV = logits_NV.detach().softmax(-1)
            centred_NV = p_NV * (change_NV - (p_NV * change_NV).sum(-1, keepdim=True))
            first, *rest = torch.autograd.grad(logits_NV, inputs, centred_NV, allow_unused=True)
            pulled.append(first)
            total_D += self._joined(rest)
        back = torch.autograd.grad(hidden_NH, self._parameters, torch.cat(pulled), allow_unused=True)
        return total_D + self._joined(back), len(hidden_NH)

    @torch.no_grad()
    def _mean_kl(self, start_D: Tensor, moved_D: Tensor, segments: Sequence[Segment]) -> float:
        """Nats a token, over whole distributions; the weights are put to and fro, so that few logits are held."""

        def compare(rows: Sequence[Row], _weight: float) -> tuple[float, int]:
            hidden, total, count = [], 0.0, 0
            for weights_D in (start_D, moved_D):
                self._put(weights_D)
                hidden.append(self._chunks(self._score.hidden(segments, rows)[1]))
            for parts in zip(*hidden, strict=True):
                logprobs = []
                for weights_D, part_NH in zip((start_D, moved_D), parts, strict=True):
                    self._put(weights_D)
                    logprobs.append(self._score.logits(part_NH).log_softmax(-1))
                start_NV, moved_NV = logprobs
                total += float((start_NV.exp() * (start_NV - moved_NV)).sum())
                count += len(start_NV)
            return total, count

        found = self._score.passes(segments, range(len(segments)), compare)
        return sum(total for total, _ in found) / max(sum(count for _, count in found), 1)

    def _chunks(self, hidden_NH: Tensor) -> Sequence[Tensor]:
        """So few positions at once that their logits may be held."""
        return torch.split(hidden_NH, max(1, LOGIT_ELEMENTS // self._score.halves.vocabulary))

    def _weights(self) -> Tensor:
        return self._joined(p.detach() for p in self._parameters)

    @torch.no_grad()
    def _put(self, weights_D: Tensor) -> None:
        for parameter, piece in zip(self._parameters, self._pieces(weights_D), strict=True):
            parameter.copy_(piece)

    def _pieces(self, vector_D: Tensor) -> list[Tensor]:
        """The vector's part for each parameter, in its shape."""
        parts = torch.split(vector_D, [p.numel() for p in self._parameters])
        return [part.view_as(p) for part, p in zip(parts, self._parameters, strict=True)]

    def _joined(self, values: Iterable[Tensor | None]) -> Tensor:
        """(D,) from one for each parameter; 0 for what has none."""
        pairs = zip(values, self._parameters, strict=True)
        return torch.cat([(torch.zeros_like(p) if value is None else value).flatten() for value, p in pairs])


def _pushed(output: Tensor, inputs: Sequence[Tensor], changes: Sequence[Tensor]) -> Tensor:
    """How `output` changes to first order as `inputs` do: J times the changes, the derivative of J^T u in u."""
    u = torch.zeros_like(output, requires_grad=True)
    pulled = torch.autograd.grad(output, inputs, u, create_graph=True, allow_unused=True)
    along = [(one * change).sum() for one, change in zip(pulled, changes, strict=True) if one is not None]
    (found,) = torch.autograd.grad(sum(along, torch.zeros((), device=output.device)), u)
    return found
