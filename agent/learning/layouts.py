"""Padding-free layouts: the prompt of a group is computed once where that is less work.

A shared row is [prompt | completion 1 | ... | completion G]: positions restart after the prompt for each completion,
and a block mask hides the completions from one another. A plain row is a prompt with one completion, under ordinary
causal attention. Rows are sorted by length and padded on the right into micro-batches.

Dimension letters: R segments of a micro-batch, B rows of it, L tokens of its longest row, N trained tokens of all its
segments, T of its longest segment, K choices of how many completions share a prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from journeyman.agent.data import Segment


@dataclass(frozen=True, slots=True)
class WorkModel:
    """What a forward pass costs, e.g. `WorkModel(token=2e6, pair=2048, shares_prompts=True, window=None)`."""

    token: float
    """FLOPs of one token's matrix products."""
    pair: float
    """FLOPs of attention for one query and one key."""
    shares_prompts: bool
    """Whether the model computes shared rows rightly (`scoring` finds out)."""
    window: int | None
    """Longest prompt plus completion that a shared row may hold: the reach of sliding attention, if there is any."""

    def of(self, rows: int, length: int, *, shared: bool) -> float:
        """FLOPs of `rows` rows padded to `length`; causal attention skips the upper half, a block mask does not."""
        return rows * length * (self.token + self.pair * length * (1.0 if shared else 0.5))


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a micro-batch: segments (by index) behind one prompt."""

    members: tuple[int, ...]
    length: int

    @property
    def shared(self) -> bool:
        """Whether it needs a block mask."""
        return len(self.members) > 1


@dataclass(frozen=True, slots=True, eq=False)
class MicroBatch:
    """Tensors of one forward pass."""

    members: tuple[int, ...]
    """Indices of its R segments, in the order of the rows of log-probs."""
    ids_BL: Tensor
    positions_BL: Tensor | None
    """None where they just count up."""
    attend_B1LL: Tensor | None
    """True where a query (third axis) sees a key (fourth); None for ordinary causal attention."""
    predict_N: Tensor
    """Flat positions (row x L + column) whose outputs predict a trained token."""
    targets_N: Tensor
    slots_N: Tensor
    """Where each trained token's log-prob goes in the flattened (R, T) result."""
    mask_RT: Tensor
    """1.0 where the result holds a trained token, else 0.0."""


def plan(segments: Sequence[Segment], wanted: Iterable[int], work: WorkModel, token_budget: int) -> list[list[Row]]:
    """Micro-batches that hold the `wanted` segments once each, in the layout that needs the least work.

    `token_budget` bounds rows x longest row of a micro-batch; a single segment above it gets one of its own.
    Segments without a trained token are left out. Raises ValueError for an empty prompt.
    """
    reach = {i: _reach(segments[i]) for i in wanted}
    groups: dict[bytes, list[int]] = {}
    for i, tokens in reach.items():
        if tokens >= 0:
            groups.setdefault(segments[i].prompt_ids.tobytes(), []).append(i)
    plain = [Row((i,), len(segments[i].prompt_ids) + reach[i]) for members in groups.values() for i in members]
    layouts = [_batched(plain, token_budget)]
    if work.shares_prompts and len(groups) < len(plain):
        shared: list[Row] = []
        for members in groups.values():
            shared += _split(len(segments[members[0]].prompt_ids), members, reach, work, token_budget)
        layouts.append(_batched([r for r in shared if r.shared], token_budget))
        layouts[-1] += _batched([r for r in shared if not r.shared], token_budget)
    return min(layouts, key=lambda batches: total_work(batches, work))


def total_work(batches: Sequence[Sequence[Row]], work: WorkModel) -> float:
    """FLOPs of a forward pass over the micro-batches, padding included."""
    return sum(work.of(len(rows), max(r.length for r in rows), shared=rows[0].shared) for rows in batches)


def _reach(segment: Segment) -> int:
    """How many completion tokens are needed as input: those before the last trained one; -1 if none is trained."""
    if len(segment.prompt_ids) == 0:
        raise ValueError("a segment has an empty prompt: there is nothing to predict its first token from")
    trained = np.flatnonzero(segment.loss_mask)
    return int(trained[-1]) if len(trained) else -1


def _split(prompt: int, members: list[int], reach: dict[int, int], work: WorkModel, token_budget: int) -> list[Row]:
    """Rows of one group: as many completions behind each copy of the prompt as makes the least work."""
    members = sorted(members, key=lambda i: reach[i])
    mean = sum(reach[i] for i in members) / len(members)
    if work.window is not None and prompt + reach[members[-1]] > work.window:
        return [Row((i,), prompt + reach[i]) for i in members]
    size_K = np.arange(1, len(members) + 1)
    size_K = size_K[: max(1, np.count_nonzero(prompt + size_K * mean <= token_budget))]
    length_K = prompt + size_K * mean
    attention_K = work.pair * length_K * np.where(size_K > 1, 1.0, 0.5)
    size = int(size_K[np.argmin(np.ceil(len(members) / size_K) * length_K * (work.token + attention_K))])
    for count in range(-(-len(members) // size), len(members) + 1):
        chunks = [tuple(members[k::count]) for k in range(count)]  # sorted and dealt out: rows of about equal length
        rows = [Row(chunk, prompt + sum(reach[i] for i in chunk)) for chunk in chunks]
        if max(row.length for row in rows) <= token_budget:
            break
    return rows


def _batched(rows: list[Row], token_budget: int) -> list[list[Row]]:
    batches: list[list[Row]] = []
    for row in sorted(rows, key=lambda r: -r.length):
        if batches and (len(batches[-1]) + 1) * batches[-1][0].length <= token_budget:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def collate(segments: Sequence[Segment], rows: Sequence[Row], device: torch.device) -> MicroBatch:
    """The tensors of one micro-batch of `plan`."""
    members = tuple(i for row in rows for i in row.members)
    length = max(row.length for row in rows)
    trained = [np.flatnonzero(segments[i].loss_mask) for i in members]
    width = max(len(t) for t in trained)
    ids_BL = np.zeros((len(rows), length), dtype=np.int64)
    positions_BL = np.zeros((len(rows), length), dtype=np.int64)
    span_BL = np.full((len(rows), length), -1, dtype=np.int64)  # 0 the prompt, 1.. the completions, -1 padding
    predict: list[NDArray[np.intp]] = []
    slot = 0
    for b, row in enumerate(rows):
        prompt_ids = segments[row.members[0]].prompt_ids
        start = prompt = len(prompt_ids)
        ids_BL[b, :prompt] = prompt_ids
        positions_BL[b, :prompt] = np.arange(prompt)
        span_BL[b, :prompt] = 0
        for number, i in enumerate(row.members, start=1):
            columns = trained[slot]
            stop = start + int(columns[-1])
            ids_BL[b, start:stop] = segments[i].completion_ids[: columns[-1]]
            positions_BL[b, start:stop] = np.arange(prompt, prompt + int(columns[-1]))
            span_BL[b, start:stop] = number
            predict.append(b * length + np.where(columns == 0, prompt - 1, start + columns - 1))
            start, slot = stop, slot + 1
    shared = any(row.shared for row in rows)
    slots = [r * width + np.arange(len(t)) for r, t in enumerate(trained)]
    mask_RT = np.arange(width) < np.array([len(t) for t in trained])[:, None]
    targets = [segments[i].completion_ids[t] for i, t in zip(members, trained, strict=True)]
    return MicroBatch(
        members,
        torch.from_numpy(ids_BL).to(device),
        torch.from_numpy(positions_BL).to(device) if shared else None,
        _block_mask(torch.from_numpy(span_BL).to(device)) if shared else None,
        torch.from_numpy(np.concatenate(predict)).to(device),
        torch.from_numpy(np.concatenate(targets).astype(np.int64)).to(device),
        torch.from_numpy(np.concatenate(slots)).to(device),
        torch.from_numpy(mask_RT.astype(np.float32)).to(device),
    )


def _block_mask(span_BL: Tensor) -> Tensor:
    """(B, 1, L, L): a token sees what came before it in the prompt and in its own completion."""
    keys_B1L, queries_BL1 = span_BL[:, None, :], span_BL[:, :, None]
    visible_BLL = (keys_B1L == 0) | (keys_B1L == queries_BL1)
    return visible_BLL.tril()[:, None]
