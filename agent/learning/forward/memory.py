"""Too little memory for a micro-batch: how that is known, and what is tried next."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch

from journeyman.agent.errors import JourneymanError
from journeyman.agent.learning.forward.layouts import Row
from journeyman.agent.learning.forward.ranks import Ranks

_CPU = ("DefaultCPUAllocator", "can't allocate memory", "not enough memory")
"""What PyTorch's allocator for a CPU says, which has no error of its own."""

logger = logging.getLogger(__name__)


def ran_out(error: BaseException) -> bool:
    """Whether the error says that there is no memory left."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _CPU)


def smaller(rows: Sequence[Row], device: torch.device, ranks: Ranks) -> int:
    """The token budget to try after these rows of one micro-batch were too much: half of what they have.

    Raises JourneymanError where they are a single segment, or where other ranks, which have not run out of it, wait for
    this one in the middle of a pass.
    """
    tokens = sum(row.length for row in rows)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    if len(rows) == 1 and len(rows[0].members) == 1:
        raise JourneymanError(
            f"the memory does not hold an update with a single row of {tokens} tokens: lower sampler.max_context or "
            "generate.max_tokens, recompute activations (model.activation_checkpointing), or train an adapter "
            "(model.lora_rank)"
        )
    if ranks.count > 1:
        raise JourneymanError(
            f"the memory does not hold a micro-batch of {tokens} tokens on rank {ranks.rank} of {ranks.count}: set "
            f"learner.micro_batch_tokens to {max(1, tokens // 2)} or less"
        )
    logger.warning("the memory does not hold a micro-batch of %d tokens: trying half of that", tokens)
    return max(1, tokens // 2)
