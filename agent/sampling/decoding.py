"""The cache and next-token logits of a batch that is decoded with `transformers`, and what may share one.

B rows, U distinct prompts, L prompt tokens (left-padded), V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

from journeyman.agent.errors import SamplerError

MAX_REASON_CHARS = 200
"""Longest part of an error of the model's that our one line quotes."""

Sharing: TypeAlias = Literal["any lengths", "equal lengths", "nothing"]
"""Which prompts may share a batch."""


class _RoomyLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """A cache layer with spare room, so that a decoded token is written in place and does not copy the cache."""

    ROOM = 32
    _store: Tensor | None = None  # (2, B, heads, tokens + spare, head size), keys and values

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Appends (B, heads, new tokens, head size) to both and returns the whole."""
        if not self.is_initialized or key_states.shape != value_states.shape:
            return super().update(key_states, value_states, *args, **kwargs)
        old: Any = (self.keys, self.values)
        used, end = old[0].shape[2], old[0].shape[2] + key_states.shape[2]
        if self._store is None or self._store.shape[3] < end:
            B, heads, _, size = key_states.shape
            self._store = key_states.new_empty(2, B, heads, end + self.ROOM, size)
            self._store[0, :, :, :used], self._store[1, :, :, :used] = old
        self._store[0, :, :, used:end], self._store[1, :, :, used:end] = key_states, value_states
        self.keys, self.values = keys, values = self._store[0, :, :, :end], self._store[1, :, :, :end]
        return keys, values

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Keeps, drops or repeats rows."""
        super().reorder_cache(beam_idx)  # type: ignore[arg-type]
        self._store = None


class DecodeState:
    """The model's cache and next-token logits for the rows of a batch."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], *, every_logit: bool = False) -> None:
        """Computes the prompts; `every_logit` keeps those of all their tokens as `prompt_logits_BLV`."""
        places: dict[tuple[int, ...], int] = {}
        row_of_B = torch.tensor([places.setdefault(tuple(p), len(places)) for p in prompts], device=model.device)
        ids_UL = torch.from_numpy(padded(list(places), fill=0, left=True)).to(model.device)
        lengths_U = torch.tensor([len(p) for p in places], device=model.device)
        columns_L = torch.arange(ids_UL.shape[1], device=model.device)
        self._model = model
        causal = model.get_base_model() if hasattr(model, "peft_config") else model
        self._names = inspect.signature(causal.forward).parameters  # state-space models call the cache otherwise
        self._mask: Tensor | None = (columns_L >= ids_UL.shape[1] - lengths_U[:, None]).long()
        if bool(self._mask.all()):  # nothing is padded, and attention without a mask is faster
            self._mask = None
        positions_UL = (columns_L - (ids_UL.shape[1] - lengths_U[:, None])).clamp(min=0)
        self._cache: Any = DynamicCache(config=model.config)
        roomy = (_RoomyLayer() if type(layer) is DynamicLayer else layer for layer in self._cache.layers)  # type: ignore[no-untyped-call]
        self._cache.layers = list(roomy)
        self.logits_BV: Tensor
        logits_ULV = self._forward(ids_UL, positions_UL, keep=0 if every_logit else 1)
        self.prompt_logits_BLV = logits_ULV[row_of_B] if every_logit else logits_ULV[:0]
        self._positions_B = lengths_U
        self.select(row_of_B)

    def select(self, rows: Tensor) -> None:
        """Keeps, drops or repeats rows."""
        self._cache.reorder_cache(rows)
        self._positions_B, self.logits_BV = self._positions_B[rows], self.logits_BV[rows]
        self._mask = self._mask[rows] if self._mask is not None else None

    def advance(self, tokens_B: Tensor) -> None:
        """Takes one token a row and computes the logits of the next."""
        if self._mask is not None:
            self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens_B), 1)], dim=1)
        self._forward(tokens_B[:, None], self._positions_B[:, None])
        self._positions_B = self._positions_B + 1

    def _forward(self, ids: Tensor, positions: Tensor, keep: int = 1) -> Tensor:
        """The logits of the last `keep` tokens, of all with 0."""
        taken = {"position_ids": positions, "past_key_values": self._cache, "cache_params": self._cache}
        asked = {name: value for name, value in taken.items() if name in self._names}
        output = self._model(input_ids=ids, attention_mask=self._mask, use_cache=True, logits_to_keep=keep, **asked)
        logits: Tensor = output.logits.float()
        self.logits_BV = logits[:, -1]
        return logits


def padded(rows: Sequence[Sequence[int]], *, fill: int, left: bool = False) -> NDArray[np.int64]:
    """The rows as one array, filled up to the longest (at least one column)."""
    width = max(1, *(len(row) for row in rows))
    filled = np.full((len(rows), width), fill, np.int64)
    for i, row in enumerate(rows):
        filled[i, slice(width - len(row), None) if left else slice(len(row))] = row
    return filled


@torch.inference_mode()
def teacher_forced(model: Any, sequences: Sequence[Sequence[int]], given: Sequence[int]) -> list[NDArray[np.float32]]:
    """(L - 1,) log-probs of each sequence's tokens after its first, by the passes that sampling makes.

    The first `given` of each are its prompt, padded on the left to the longest; the others are decoded one by one.
    """
    state = DecodeState(model, [ids[:n] for ids, n in zip(sequences, given, strict=True)], every_logit=True)
    found = []
    for ids, n, logits_LV in zip(sequences, given, state.prompt_logits_BLV, strict=True):
        targets = torch.tensor(ids[1:n], device=model.device, dtype=torch.long)[:, None]
        found.append(logits_LV[-n:-1].log_softmax(-1).gather(1, targets)[:, 0].tolist())
    rows = [b for b, ids in enumerate(sequences) if given[b] < len(ids)]
    state.select(torch.tensor(rows, device=model.device, dtype=torch.long))
    while rows:
        tokens = [sequences[b][len(found[b]) + 1] for b in rows]
        logprobs_BV = state.logits_BV.log_softmax(-1)
        for place, (b, token) in enumerate(zip(rows, tokens, strict=True)):
            found[b].append(float(logprobs_BV[place, token]))
        kept = [place for place, b in enumerate(rows) if len(found[b]) + 1 < len(sequences[b])]
        rows, tokens = [rows[place] for place in kept], [tokens[place] for place in kept]
        if rows:
            state.select(torch.tensor(kept, device=model.device))
            state.advance(torch.tensor(tokens, device=model.device))
    return [np.array(row, np.float32) for row in found]


@torch.inference_mode()
def sharing_of(model: Any, bound: float) -> Sharing:
    """What may share a batch; raises SamplerError where the model does not even decode alone what it should.

    Decoding with a cache is compared with plain forward passes, as a learner makes them: `bound` is for the mean
    difference of log-probs, nats. Recurrent layers may take the padding on the left for text, or keep states of their
    own where nobody can drop or repeat a row of them.
    """
    causal = model.get_base_model() if hasattr(model, "peft_config") else model
    refused = f"sampler 'transformers' cannot decode {type(causal).__name__}"
    remedy = "take the sampler 'vllm', or another model"
    vocabulary = int(causal.get_input_embeddings().weight.shape[0])
    ids_BL = torch.arange(4 * 16).reshape(4, 16) * 7919 % vocabulary
    ids_BL[1, :8] = ids_BL[0, :8]  # one prompt, two completions
    rows = [ids[:length] for ids, length in zip(ids_BL.tolist(), (16, 12, 16, 14), strict=True)]
    expected = np.concatenate([_plain(model, ids) for ids in rows])

    def agrees(found: Sequence[NDArray[np.float32]]) -> bool:
        return bool(np.abs(np.concatenate(found) - expected).mean() <= bound)

    try:
        alone = [teacher_forced(model, [ids], [8])[0] for ids in rows]
    except (ValueError, TypeError, AttributeError, RuntimeError) as error:  # a cache of the model's own kind
        said = " ".join(f"{type(error).__name__}: {error}".split())[:MAX_REASON_CHARS]
        raise SamplerError(f"{refused} with a cache ({said}): {remedy}") from error
    if not agrees(alone):
        gap = float(np.abs(np.concatenate(alone) - expected).mean())
        away = f"with a cache its log-probs are {gap:.2g} nats a token from plain forward passes"
        raise SamplerError(f"{refused}: {away}, over the bound of {bound:g}: {remedy}")
    if not agrees(teacher_forced(model, rows, [8, 8, 8, 8])):
        return "nothing"
    return "any lengths" if agrees(teacher_forced(model, rows, [3, 6, 9, 12])) else "equal lengths"


def _plain(model: Any, ids: Sequence[int]) -> NDArray[np.float32]:
    ids_L = torch.tensor(ids, device=model.device)
    logprobs_LV = model(input_ids=ids_L[None], use_cache=False).logits[0, :-1].float().log_softmax(-1)
    found: NDArray[np.float32] = logprobs_LV.gather(1, ids_L[1:, None])[:, 0].cpu().numpy()
    return found
