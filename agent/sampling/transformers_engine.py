"""Sampler on `transformers` alone: an own batched decode loop over a causal language model.

B rows, U distinct prompts, L prompt tokens (left-padded), T sampled tokens, S stop tokens, V vocabulary.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from journeyman.agent.data import Completion, PolicyRef, SamplingParams
from journeyman.agent.manifests import check
from journeyman.agent.models import load_causal_lm
from journeyman.agent.probes import BOUNDS
from journeyman.agent.sampling.batching import Batcher, Request
from journeyman.agent.sampling.decoding import DecodeState, Sharing, padded, sharing_of, teacher_forced
from journeyman.agent.sampling.settings import SamplerSettings, check_room
from journeyman.agent.sampling.worker import EngineThread

PATIENCE_S = 1.0
"""How long a batch waits for environments' answers, so that the same episodes make the same batches."""
DECODED = 8
"""Most tokens of a scored sequence that are decoded; those before them are a prompt."""
COMPACT_BELOW = 0.75
"""Finished rows are dropped once fewer than this share of a batch's rows goes on."""


class TransformersSampler:
    """Samples with a model in this process, on CPU or CUDA.

    A request's random numbers are keyed by its seed alone. All that its neighbours in a batch can change is the last
    bits of a sum: the same requests sent together give the same completions bit for bit (on one thread).
    """

    def __init__(self, policy: PolicyRef, settings: SamplerSettings) -> None:
        """Loads the policy. Raises SamplerError for a model that does not decode what plain forward passes give."""
        self._settings = settings
        cuda = torch.cuda.is_available() if settings.device == "auto" else settings.device == "cuda"
        self._device = "cuda" if cuda else "cpu"
        self._dtype = (
            torch.bfloat16 if settings.dtype == "bfloat16" or (settings.dtype == "auto" and cuda) else torch.float32
        )
        self._model: Any = load_causal_lm(policy, dtype=self._dtype, device=self._device)
        self._sharing = sharing_of(self._model, BOUNDS[str(self._dtype).removeprefix("torch.")])
        self._thread = EngineThread("sampler")  # environments go on while it computes
        self._batcher = Batcher(self._take, patience=PATIENCE_S)

    async def generate(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
        """One completion. Raises SamplerError where it could outgrow `context_tokens`."""
        check_room(prompt_ids, params, self._settings)
        return await self._batcher.submit(prompt_ids, params)

    async def score(self, sequences: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        """(L - 1,) log-probs of each sequence's tokens after the first; the last few are decoded, one after another."""
        return await asyncio.wrap_future(self._thread.submit(lambda: self._score(sequences)))

    async def load_policy(self, policy: PolicyRef) -> None:
        """Loads the policy's weights in place of the present ones; no cache outlives a batch.

        Raises DamagedPolicyError, and keeps the present ones, where its files are not those that were saved.
        """
        await asyncio.wrap_future(self._thread.submit(lambda: self._load(policy)))

    def close(self) -> None:
        """Lets go of the model, once nothing is under way."""
        self._thread.submit(self._forget).result()

    def _forget(self) -> None:
        self._model = None

    def _decode(self, batch: list[Request]) -> list[Completion]:
        return decode_batch(self._model, batch)

    def _load(self, policy: PolicyRef) -> None:
        check(policy)
        self._model = None  # never two models in memory
        self._model = load_causal_lm(policy, dtype=self._dtype, device=self._device)

    def _score(self, sequences: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        rows = [list(map(int, ids)) for ids in sequences]
        given = [max(1, len(ids) - DECODED) for ids in rows]
        if self._sharing == "any lengths":
            return teacher_forced(self._model, rows, given)
        return [teacher_forced(self._model, [ids], [n])[0] for ids, n in zip(rows, given, strict=True)]

    async def _take(self, requests: list[Request]) -> None:
        for rows in _batches(requests, self._settings, self._sharing):
            batch = [requests[i] for i in rows]
            completions = await asyncio.wrap_future(self._thread.submit(partial(self._decode, batch)))
            for request, completion in zip(batch, completions, strict=True):
                request.succeed(completion)


def _batches(requests: Sequence[Request], settings: SamplerSettings, sharing: Sharing) -> Iterator[list[int]]:
    """Indices of the requests in batches of like lengths, equal prompts side by side, in whatever order they came.

    Only what may share a batch does.
    """

    def place(i: int) -> tuple[int, list[int], int]:
        prompt_ids = list(requests[i].prompt_ids)
        return len(prompt_ids), prompt_ids, requests[i].params.seed

    def may_join(i: int) -> bool:
        alike = len(requests[batch[0]].prompt_ids) == len(requests[i].prompt_ids)
        return sharing == "any lengths" or (sharing == "equal lengths" and alike)

    order = sorted(range(len(requests)), key=place)
    batch: list[int] = []
    for i in order:
        width = len(requests[i].prompt_ids) + max(requests[j].params.max_tokens for j in (*batch, i))
        full = len(batch) == settings.max_batch or width * (len(batch) + 1) > settings.batch_tokens
        if batch and (full or not may_join(i)):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


@torch.inference_mode()
def decode_batch(model: Any, requests: Sequence[Request]) -> list[Completion]:
    """Decodes all requests together until each has met a stop token or its limit; results in their order.

    Equal prompts are computed once. Finished rows are dropped now and then, so that the last long ones run alone.
    """
    limits_B = np.array([r.params.max_tokens for r in requests])
    stops_BS = padded([r.params.stop_ids for r in requests], fill=-1)
    temperatures_B = torch.tensor([r.params.temperature for r in requests], device=model.device)
    uniforms_BT = _uniforms(requests, int(limits_B.max()))
    tokens_BT = np.zeros(uniforms_BT.shape, np.int32)
    logprobs_BT = np.zeros(uniforms_BT.shape, np.float32)
    lengths_B, stopped_B = limits_B.copy(), np.zeros(len(requests), np.bool_)
    alive_B = np.ones(len(requests), np.bool_)

    rows = np.arange(len(requests))  # the requests still computed
    state = DecodeState(model, [r.prompt_ids for r in requests])
    for t in range(int(limits_B.max())):
        uniforms = torch.from_numpy(uniforms_BT[rows, t]).to(model.device)
        tokens, logprobs = draw(state.logits_BV, temperatures_B, uniforms)
        chosen = tokens.cpu().numpy()
        tokens_BT[rows, t], logprobs_BT[rows, t] = chosen, logprobs.cpu().numpy()
        stopped = (chosen[:, None] == stops_BS[rows]).any(1)
        ended = alive_B[rows] & (stopped | (t + 1 >= limits_B[rows]))
        alive_B[rows[ended]], lengths_B[rows[ended]], stopped_B[rows[ended]] = False, t + 1, stopped[ended]
        kept = np.flatnonzero(alive_B[rows])
        if not len(kept):
            break
        if len(kept) < COMPACT_BELOW * len(rows):
            picked = torch.from_numpy(kept).to(model.device)
            state.select(picked)
            rows, tokens, temperatures_B = rows[kept], tokens[picked], temperatures_B[picked]
        state.advance(tokens)
    return [
        Completion(tokens_BT[b, :n].copy(), logprobs_BT[b, :n].copy(), bool(stopped_B[b]))
        for b, n in enumerate(lengths_B)
    ]


def draw(logits_BV: Tensor, temperatures_B: Tensor, uniforms_B: Tensor) -> tuple[Tensor, Tensor]:
    """One token a row and its log-probability, by inverting the distribution function at `uniforms_B` in [0, 1).

    Temperature 0 takes the likeliest token, with its log-probability at temperature 1. The sums are in float64, so
    that a vocabulary of any size keeps each token's share to about 1e-12.
    """
    greedy_B = temperatures_B == 0
    logprobs_BV = (logits_BV / torch.where(greedy_B, 1.0, temperatures_B)[:, None]).log_softmax(-1)
    if bool(greedy_B.all()):
        tokens_B = logprobs_BV.argmax(-1)
    else:
        cumulative_BV = logprobs_BV.exp().cumsum(-1, dtype=torch.float64)
        targets_B = uniforms_B * cumulative_BV[:, -1]
        drawn_B = torch.searchsorted(cumulative_BV, targets_B[:, None], right=True)[:, 0]
        drawn_B = drawn_B.clamp(max=logprobs_BV.shape[1] - 1)
        tokens_B = torch.where(greedy_B, logprobs_BV.argmax(-1), drawn_B) if bool(greedy_B.any()) else drawn_B
    return tokens_B, logprobs_BV.gather(-1, tokens_B[:, None])[:, 0]


def _uniforms(requests: Sequence[Request], steps: int) -> NDArray[np.float64]:
    """(B, T) uniform numbers in [0, 1), each row from its request's seed alone."""
    streams = (np.random.Generator(np.random.Philox(key=r.params.seed)) for r in requests)
    return np.stack([stream.random(steps) for stream in streams])
