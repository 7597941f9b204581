"""A causal language model in two halves: from tokens to last hidden states, and from these to logits.

The second half is the model's own code: its `forward` is run with the first half's answer put in. So whatever a model
does to its logits (scales, soft caps, a head of several layers, a mask over the vocabulary) is done, for only as many
positions at once as are wanted.

Dimension letters: B rows, L tokens of a row, N positions, H hidden size, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from journeyman.agent.errors import SettingsError, UsageError
from journeyman.agent.learning.forward import in_parts
from journeyman.agent.learning.forward.spans import Spans

MASKED = torch.finfo(torch.float32).min / 2
"""Lower logits are of tokens that a model rules out: some write -inf, others the lowest number of their dtype."""

FOREIGN_ERRORS = (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What a model's own code raises where it is run in a way that it was not made for."""


class Halves:
    """The two halves of one Hugging Face causal language model, which stays as it is."""

    hidden_size: int
    """Of its last hidden states."""
    vocabulary: int
    """How many logits there are for each position."""

    def __init__(self, model: Any) -> None:
        """Raises UsageError, with the model's name, where it cannot be taken apart or sees what is to come."""
        self.model = model
        try:
            with torch.no_grad():
                self._trunk, self._answer = _find_trunk(model)
                self._accepts = inspect.signature(self._trunk.forward).parameters
                self._configs = in_parts.configs_of(self._trunk)
                problem = self._why_not()
            self.differentiate(self.hidden(probe_ids(model, 4)[None]))
        except FOREIGN_ERRORS as error:
            problem = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        if problem is not None:
            raise UsageError(f"{type(model).__name__} cannot be trained by the learner ({problem}): use another model")

    def hidden(self, ids_BL: Tensor, positions_BL: Tensor | None = None, spans: Spans | None = None) -> Tensor:
        """(B, L, H) last hidden states; under causal attention padding on the right needs no mask.

        `positions_BL` is what the model is told where a token stands; without it they count up. With `spans`, which say
        who sees whom in the one row that there is, attention is ours for this pass (and what it is computed anew for).
        """
        options: dict[str, Any] = {"use_cache": False} if "use_cache" in self._accepts else {}
        if positions_BL is not None:
            options["position_ids"] = positions_BL
        if spans is None:
            plain: Tensor = self._trunk(input_ids=ids_BL, **options)[0]
            return plain
        with in_parts.Implementation(self._configs, [in_parts.NAME] * len(self._configs)):
            hidden: Tensor = self._trunk(input_ids=ids_BL, attention_mask=in_parts.mask_of(spans), **options)[0]
        return hidden

    def logits(self, hidden_NH: Tensor) -> Tensor:
        """(N, V) what the model makes of last hidden states, in the dtype that it answers in."""
        ids_1N = torch.zeros((1, len(hidden_NH)), dtype=torch.long, device=hidden_NH.device)
        with _answering(self._trunk, self._with_hidden(hidden_NH[None])):
            logits_1NV: Tensor = self.model(input_ids=ids_1N, use_cache=False).logits
        return logits_1NV[0]

    def _with_hidden(self, hidden_BLH: Tensor) -> Any:
        """What the first half answers with, of its own kind."""
        if isinstance(self._answer, tuple):
            return hidden_BLH, *self._answer[1:]
        return type(self._answer)(**{next(iter(self._answer)): hidden_BLH})

    def _why_not(self) -> str | None:
        """What keeps the model from being taken apart; None where its halves make what the whole does."""
        ids_BL = probe_ids(self.model, 12)[None]
        whole_LV = self.model(input_ids=ids_BL, use_cache=False).logits[0]
        self.vocabulary = int(whole_LV.shape[-1])
        hidden_LH = self.hidden(ids_BL)[0]
        self.hidden_size = int(hidden_LH.shape[-1])
        some = torch.tensor([7, 0, 10], device=ids_BL.device)  # out of order: they may not depend on one another
        if not close(whole_LV[some], self.logits(hidden_LH[some])):
            return "its logits are not made of its last hidden states alone"
        if not close(self.hidden(ids_BL[:, :6])[0], hidden_LH[:6]):
            return "its tokens see later ones, so that it is no causal model"
        return None

    def differentiate(self, hidden: Tensor) -> None:
        """Raises what the model's code raises where its last hidden states are not to be differentiated."""
        first = next((p for p in self._trunk.parameters() if p.requires_grad), None)
        if first is not None:
            torch.autograd.grad(hidden.sum(), first, allow_unused=True)


def _find_trunk(model: Any) -> tuple[Any, Any]:
    """The outermost model inside that answers with hidden states, not logits, when `model` is run, and its answer."""
    answers: dict[Any, Any] = {}
    inner = [m for m in model.modules() if isinstance(m, PreTrainedModel) and m is not model]
    hooks = [m.register_forward_hook(lambda module, _, answer: answers.update({module: answer})) for m in inner]
    try:
        model(input_ids=probe_ids(model, 4)[None], use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    for module in inner:  # parents come before their children
        if module in answers and not hasattr(answers[module], "logits"):
            return module, answers[module]
    raise ValueError("it has no inner model that makes its hidden states")


@contextmanager
def _answering(trunk: Any, answer: Any) -> Iterator[None]:
    """Whoever calls `trunk` meanwhile gets this answer."""
    before = vars(trunk).get("forward")
    trunk.forward = lambda *_, **__: answer
    try:
        yield
    finally:
        if before is None:
            del trunk.forward
        else:
            trunk.forward = before


def recompute_layers(model: Any) -> None:
    """From now on only what goes into a layer is kept for the backward pass, and what is inside is computed anew in it.

    transformers' own switch for this needs training mode, which would turn dropout on. Raises SettingsError for a model
    without layers that say they can be computed anew.
    """
    layers = [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]
    if not layers:
        raise SettingsError(
            f"activation_checkpointing: {type(model).__name__} has no layers that can be computed anew: set it to false"
        )
    configs = in_parts.configs_of(model)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), in_parts.Implementation.now(configs)

    for layer in layers:
        layer.forward = partial(
            checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False, context_fn=contexts
        )


def probe_ids(model: Any, count: int) -> Tensor:
    """(count,) token ids, all different where the vocabulary is large enough."""
    vocabulary = int(model.get_input_embeddings().weight.shape[0])
    device: torch.device = model.device
    return torch.arange(count, device=device) * 7919 % vocabulary


def close(expected: Tensor, found: Tensor) -> bool:
    """Equal but for rounding, what is `MASKED` in both left out; a wrong mask or scale is off by far more."""
    tolerance = 3e-2 if expected.dtype == torch.bfloat16 else 1e-3
    expected, found = expected.float(), found.float()
    both = (expected < MASKED) & (found < MASKED)
    expected, found = expected.masked_fill(both, 0.0), found.masked_fill(both, 0.0)
    return bool((expected - found).norm() <= tolerance * expected.norm())
