"""Trains a model with a head of one number, the reward, to prefer what was preferred (Bradley and Terry).

Dimension letters: B pairs or texts, L tokens of the longest text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from journeyman.agent.chat.control_tokens import plain
from journeyman.agent.chat.renderer import Renderer
from journeyman.agent.data import Task, Trajectory
from journeyman.agent.learning.heads.training import Losses, autocast, pad_right
from journeyman.agent.learning.losses import bradley_terry_loss


@dataclass(frozen=True, slots=True)
class PairExample:
    """Two conversations, whole, as token ids."""

    chosen: tuple[int, ...]
    rejected: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PairScores:
    """How well a model does on pairs it was not trained on."""

    pairs: int
    accuracy: float
    """Share in which the chosen one has the higher reward; a tie counts half."""
    margin: float
    """Mean of the chosen one's reward minus the rejected one's."""


def conversation_ids(renderer: Renderer, task: Task, trajectory: Trajectory) -> tuple[int, ...]:
    """What a reward model reads: the prompt and all that followed, as a chat; no text in it has control tokens."""
    messages = [replace(m, content=plain(m.content, renderer.tokenizer)) for m in (*task.prompt, *trajectory.messages)]
    return renderer.encode(renderer.conversation(messages, answer=False))


def readable_tokens(model: Any) -> int:
    """The longest text that the model has positions for."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None) or 2**31


def read_rewards(model: Any, texts: Sequence[Sequence[int]], pad_id: int) -> Tensor:
    """(B,) float32 rewards of whole conversations: the model's one logit."""
    ids_BL, mask_BL = pad_right(texts, pad_id, model.device)
    rewards_B: Tensor = model(input_ids=ids_BL, attention_mask=mask_BL, use_cache=False).logits[:, 0]
    return rewards_B.float()


def pair_losses(pad_id: int) -> Losses[PairExample]:
    """The Bradley-Terry loss of each pair."""

    def losses(model: Any, examples: Sequence[PairExample]) -> tuple[Tensor, int]:
        return bradley_terry_loss(*_rewards(model, examples, pad_id)).sum(), len(examples)

    return losses


@torch.no_grad()
def score_pairs(model: Any, examples: Sequence[PairExample], pad_id: int, batch: int) -> PairScores:
    """The model's word on the examples, at least one, `batch` pairs' texts at a time.

    Each text is read once, whatever pairs it is in: read in two rows of a batch, or in two batches, equal texts may
    differ in their last bits, and a tie would be a win.
    """
    texts = list(dict.fromkeys(text for example in examples for text in (example.chosen, example.rejected)))
    rewards: dict[tuple[int, ...], float] = {}
    for first in range(0, len(texts), 2 * batch):
        some = texts[first : first + 2 * batch]
        with autocast(model):
            rewards |= zip(some, read_rewards(model, some, pad_id).tolist(), strict=True)
    margins_B = torch.tensor([rewards[e.chosen] - rewards[e.rejected] for e in examples], dtype=torch.float64)
    accuracy = (margins_B > 0).double().mean() + (margins_B == 0).double().mean() / 2
    return PairScores(len(examples), float(accuracy), float(margins_B.mean()))


def _rewards(model: Any, examples: Sequence[PairExample], pad_id: int) -> tuple[Tensor, Tensor]:
    """(B,) of the chosen and (B,) of the rejected ones."""
    texts = [example.chosen for example in examples] + [example.rejected for example in examples]
    chosen_B, rejected_B = read_rewards(model, texts, pad_id).chunk(2)
    return chosen_B, rejected_B
