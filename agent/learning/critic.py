"""The critic: what return is to be expected from before each chosen token on. PPO's values (arXiv:1707.06347).

Dimension letters: R segments of a micro-batch, T predicted tokens of the longest of them, N of all, M trained of one, H
hidden size.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from journeyman.agent.data import Segment
from journeyman.agent.errors import JourneymanError
from journeyman.agent.learning.forward.layouts import MicroBatch, Row
from journeyman.agent.learning.forward.scoring import Scorer, by_segment
from journeyman.agent.learning.hardware.ranks import together
from journeyman.agent.learning.objective import value_objective
from journeyman.agent.learning.rows import Denominators, TrainingRow
from journeyman.agent.learning.settings import LearnerSettings
from journeyman.agent.learning.trained import weights_of


class Critic(nn.Module):
    """A linear head on last hidden states: the policy's (`own` false), or those of a model of the critic's own.

    Its weights have an optimizer of their own. A value stands at the position that predicts a token, so it is that of
    the state before the token; a new head foresees 0 everywhere.
    """

    def __init__(self, score: Scorer, settings: LearnerSettings, *, own: bool) -> None:
        super().__init__()
        self.own, self._settings = own, settings
        self._score = score
        self.trunk = score.model if own else None
        self.head = nn.Linear(score.halves.hidden_size, 1).to(score.device)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self._at_hand = score.ranks.lay_over(self.head)
        trained = [p for p in self.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            trained, lr=settings.critic_learning_rate, betas=settings.betas, weight_decay=0.0, fused=True
        )

    def of(self, hidden_NH: Tensor, batch: MicroBatch) -> Tensor:
        """(R, T) values at the positions that predict tokens; 0 in entries that hold none."""
        (values_N,) = self._at_hand(lambda: (self.head(hidden_NH.float())[:, 0],))
        empty = batch.mask_RT.new_zeros(batch.mask_RT.numel())
        return empty.index_copy(0, batch.slots_N, values_N).view_as(batch.mask_RT)

    def values(self, segments: Sequence[Segment], wanted: Iterable[int]) -> dict[int, NDArray[np.float32]]:
        """(M,) values before each trained token of the wanted segments, by index; no gradient."""
        wanted = list(wanted)

        def foresee(rows: Sequence[Row], _weight: float) -> dict[int, NDArray[np.float32]]:
            batch, hidden_NH = self._score.hidden(segments, rows)
            return by_segment(batch, self.of(hidden_NH, batch))

        with torch.no_grad():
            return self._score.gathered(wanted, self._score.passes(segments, wanted, foresee))

    def final_values(self, segments: Sequence[Segment]) -> NDArray[np.float32]:
        """The value after the last token of each segment: what a truncated attempt would still have been worth."""
        ended = [
            replace(
                segment,
                completion_ids=np.append(segment.completion_ids, segment.prompt_ids[-1]),  # any token: it is not read
                loss_mask=np.append(np.zeros_like(segment.loss_mask), True),
                behaviour_logprobs=None,
            )
            for segment in segments
        ]
        found = self.values(ended, range(len(ended)))
        return np.array([found[i][0] for i in range(len(ended))], np.float32)

    def loss(
        self, hidden_NH: Tensor, batch: MicroBatch, rows: Sequence[TrainingRow], counts: Denominators
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The micro-batch's part of the step's value loss (scalar), and sums for the statistics."""
        return value_objective(self.of(hidden_NH, batch), batch, rows, self._settings, counts)

    def learn(
        self, rows: Sequence[TrainingRow], part: Sequence[int], counts: Denominators, sums: dict[str, Tensor]
    ) -> None:
        """One optimizer step of a critic with a model of its own, on the step's rows."""
        segments = [row.predicted for row in rows]

        def learn(batch_rows: Sequence[Row], weight: float) -> dict[str, Tensor]:
            batch, hidden_NH = self._score.hidden(segments, batch_rows)
            loss, parts = self.loss(hidden_NH, batch, rows, counts)
            (weight * loss).backward()  # type: ignore[no-untyped-call]
            return parts

        told = [i for i in part if rows[i].value is not None]
        for parts in self._score.passes(segments, told, learn, self.optimizer.zero_grad):
            for name, value in parts.items():
                sums[name] += value
        self.clip()
        self.step()

    def clip(self) -> None:
        """Cuts the gradient that the critic's weights have; raises JourneymanError where it is not finite."""
        norm = float(together(nn.utils.clip_grad_norm_(weights_of(self.optimizer), self._settings.max_grad_norm)))
        if not np.isfinite(norm):
            raise JourneymanError(f"the norm of the critic's gradient is {norm}: lower critic_learning_rate")

    def step(self) -> None:
        """Moves the critic's weights by that gradient."""
        self.optimizer.step()
        self.optimizer.zero_grad()
