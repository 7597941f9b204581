"""Too little memory for a micro-batch: how that is known, and what is tried next."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch

from journeyman.agent.errors import JourneymanError, MicroBatchTooLargeError
from journeyman.agent.learning.hardware.ranks import Ranks


@dataclass(slots=True)
class TokenBudget:
    """Tokens of a forward pass at most; what shares a budget learns of less memory together."""

    tokens: int


_CPU = ("DefaultCPUAllocator", "can't allocate memory", "not enough memory")
"""What PyTorch's allocator for a CPU says, which has no error of its own."""

logger = logging.getLogger(__name__)


def ran_out(error: BaseException) -> bool:
    """Whether the error says that there is no memory left."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _CPU)


def smaller(tokens: int, device: torch.device, ranks: Ranks, *, single: bool) -> int:
    """The token budget to try after a micro-batch of so many tokens, `single` where it was one segment: half of them.

    Raises JourneymanError where it was a single segment, MicroBatchTooLargeError where there are other ranks: they wait
    for this one in the middle of a pass.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
    if single:
        raise JourneymanError(
            f"the memory does not hold an update with a single row of {tokens} tokens: shorten the context "
            "(sampler.max_context, generate.max_tokens), set learner.activation_checkpointing to true, or train an "
            "adapter (model.lora_rank)"
        )
    if ranks.count > 1:
        raise MicroBatchTooLargeError(tokens)
    logger.warning("the memory does not hold a micro-batch of %d tokens: trying half of that", tokens)
    return max(1, tokens // 2)
