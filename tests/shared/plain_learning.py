"""Learning the slow way, in float64: one forward pass of the whole model for each segment, and no layout.

Dimension letters: C tokens of a segment's completion, V vocabulary, H hidden size, D weights that are trained.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from journeyman.agent.data import Segment


def doubled(model: Any) -> Any:
    """A copy in float64."""
    return copy.deepcopy(model).double()


def _ids(segment: Segment) -> Tensor:
    return torch.from_numpy(np.concatenate([segment.prompt_ids, segment.completion_ids]).astype(np.int64))


def logits(model: Any, segment: Segment, temperature: float = 1.0) -> Tensor:
    """(C, V) over the temperature, at the positions that predict each token of the completion."""
    found: Tensor = model(input_ids=_ids(segment)[None], use_cache=False).logits[0] / temperature
    return found[len(segment.prompt_ids) - 1 : -1]


def logprobs(model: Any, segment: Segment, temperature: float = 1.0) -> Tensor:
    """(C,) of each token of the completion."""
    chosen = torch.from_numpy(segment.completion_ids.astype(np.int64))
    return logits(model, segment, temperature).log_softmax(-1).gather(-1, chosen[:, None])[:, 0]


def hidden(model: Any, segment: Segment) -> Tensor:
    """(C, H) last hidden states at the positions that predict each token of the completion."""
    found: Tensor = model(input_ids=_ids(segment)[None], use_cache=False, output_hidden_states=True).hidden_states[-1][
        0
    ]
    return found[len(segment.prompt_ids) - 1 : -1]


def trained(model: Any) -> list[torch.nn.Parameter]:
    """What has a gradient."""
    return [p for p in model.parameters() if p.requires_grad]


def joined(values: Iterable[Tensor]) -> Tensor:
    """(D,) in float64, without a gradient."""
    return torch.cat([value.detach().double().flatten() for value in values])


def gradient(loss: Tensor, parameters: Iterable[torch.nn.Parameter]) -> Tensor:
    """(D,) 0 where a weight has no part in the loss."""
    wanted = list(parameters)
    found = torch.autograd.grad(loss, wanted, retain_graph=True, allow_unused=True)
    return joined(torch.zeros_like(p) if g is None else g for g, p in zip(found, wanted, strict=True))
