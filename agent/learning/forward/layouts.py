"""Layouts of micro-batches: without padding, and with the prompt of a group computed once, where the model allows it.

A flat micro-batch is one row of tokens: prompts, then the completions behind them (see `spans`), positions going on
from the prompt for each completion. What a model computes for a token alone is so computed for no token twice, and
attention in parts. A plain one has a row for each prompt with its completion, padded on the right, under ordinary
causal attention.

Dimension letters: R segments of a micro-batch, B rows of it, L tokens of its longest row, N trained tokens of all its
segments, T of its longest segment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from journeyman.agent.data import Segment
from journeyman.agent.learning.forward.spans import Spans


@dataclass(frozen=True, slots=True)
class WorkModel:
    """What a forward pass costs: `WorkModel(token=2e6, pair=2e3, logit=6e4, shares_prompts=True, window=None)`, say."""

    token: float
    """FLOPs of one token's matrix products."""
    pair: float
    """FLOPs of attention for one query and one key."""
    logit: float
    """FLOPs of one trained token's logits."""
    shares_prompts: bool
    """Whether the model computes flat micro-batches rightly (`scoring` finds out)."""
    window: int | None
    """Longest prompt plus completion that is laid flat: the reach of sliding attention, if there is any."""

    def of(self, prompt: int, completions: Iterable[int] = ()) -> float:
        """FLOPs of a prompt of that many tokens and of completions of those lengths, each of which sees it."""
        lengths = list(completions)
        pairs = prompt * prompt / 2 + sum(length * (prompt + length / 2) for length in lengths)
        return (prompt + sum(lengths)) * self.token + pairs * self.pair


@dataclass(frozen=True, slots=True)
class Row:
    """Segments (by index) behind one prompt."""

    members: tuple[int, ...]
    length: int
    """Tokens of the prompt and of all that is needed of the completions."""
    flat: bool
    """Whether it is laid side by side with others of its micro-batch, not below them."""


@dataclass(frozen=True, slots=True, eq=False)
class MicroBatch:
    """Tensors of one forward pass."""

    members: tuple[int, ...]
    """Indices of its R segments, in the order of the rows of log-probs."""
    ids_BL: Tensor
    positions_BL: Tensor | None
    """None where they just count up."""
    spans: Spans | None
    """Who sees whom in the one row of a flat micro-batch; None for ordinary causal attention."""
    predict_N: Tensor
    """Flat positions (row x L + column) whose outputs predict a trained token."""
    targets_N: Tensor
    slots_N: Tensor
    """Where each trained token's log-prob goes in the flattened (R, T) result."""
    mask_RT: Tensor
    """1.0 where the result holds a trained token, else 0.0."""


def plan(segments: Sequence[Segment], wanted: Iterable[int], work: WorkModel, token_budget: int) -> list[list[Row]]:
    """Micro-batches that hold the `wanted` segments once each, flat where the model computes these rightly.

    `token_budget` bounds the tokens of a micro-batch, padding included; a single segment above it gets one of its own.
    Segments without a trained token are left out. Raises ValueError for an empty prompt or a mask that does not fit.
    """
    flat: list[Row] = []
    plain: list[Row] = []
    for members, reach in _groups(segments, wanted):
        prompt = len(segments[members[0]].prompt_ids)
        near = [i for i in members if work.shares_prompts and prompt + reach[i] <= (work.window or np.inf)]
        flat += _split(prompt, near, reach, token_budget)
        plain += [Row((i,), prompt + reach[i], flat=False) for i in members if i not in near]
    return _filled(flat, token_budget) + _padded(plain, token_budget)


def needed_work(segments: Sequence[Segment], wanted: Iterable[int], work: WorkModel) -> float:
    """FLOPs of a forward pass over the `wanted` segments, without padding and whatever their micro-batches.

    A prompt that the model can share is counted once. A step of an optimizer needs three times as many, since a
    backward pass has two products for each of the forward pass (only one for weights that are not trained: with an
    adapter some two times as many); what is computed anew to save memory is not needed.
    """
    total = 0.0
    for members, reach in _groups(segments, wanted):
        prompt = len(segments[members[0]].prompt_ids)
        lengths = [reach[i] for i in members]
        shared = work.shares_prompts and prompt + max(lengths) <= (work.window or np.inf)
        total += work.of(prompt, lengths) if shared else sum(work.of(prompt + length) for length in lengths)
        total += work.logit * sum(int(np.count_nonzero(segments[i].loss_mask)) for i in members)
    return total


def _groups(segments: Sequence[Segment], wanted: Iterable[int]) -> list[tuple[list[int], dict[int, int]]]:
    """Segments of equal prompts that train a token, and how much of each one's completion is needed."""
    groups: dict[bytes, dict[int, int]] = {}
    for i in wanted:
        if (reach := _reach(segments[i])) >= 0:
            groups.setdefault(segments[i].prompt_ids.tobytes(), {})[i] = reach
    return [(list(group), group) for group in groups.values()]


def fed_tokens(segment: Segment) -> int:
    """How many of its tokens a model is given: prompt, and what is needed of the completion; 0 if none is trained."""
    return 0 if (reach := _reach(segment)) < 0 else len(segment.prompt_ids) + reach


def _reach(segment: Segment) -> int:
    """How many completion tokens are needed as input: those before the last trained one; -1 if none is trained."""
    if len(segment.prompt_ids) == 0:
        raise ValueError("a segment has an empty prompt: there is nothing to predict its first token from")
    if len(segment.loss_mask) != len(segment.completion_ids):
        sizes = f"{len(segment.loss_mask)} entries for {len(segment.completion_ids)} tokens"
        raise ValueError(f"a segment's loss mask has {sizes} of its completion: give one for each")
    trained = np.flatnonzero(segment.loss_mask)
    return int(trained[-1]) if len(trained) else -1


def _split(prompt: int, members: list[int], reach: dict[int, int], token_budget: int) -> list[Row]:
    """Flat rows of one group: as few copies of its prompt as the budget allows."""
    if not members:
        return []
    members = sorted(members, key=lambda i: reach[i])
    least = -(-sum(reach[i] for i in members) // max(1, token_budget - prompt))
    for count in range(min(max(1, least), len(members)), len(members) + 1):
        chunks = [tuple(members[k::count]) for k in range(count)]  # sorted and dealt out: rows of about equal length
        rows = [Row(chunk, prompt + sum(reach[i] for i in chunk), flat=True) for chunk in chunks]
        if max(row.length for row in rows) <= token_budget:
            break
    return rows


def _filled(rows: list[Row], token_budget: int) -> list[list[Row]]:
    """Flat micro-batches: each row goes into the first that has room."""
    batches: list[list[Row]] = []
    room: list[int] = []
    for row in sorted(rows, key=lambda r: -r.length):
        place = next((k for k, left in enumerate(room) if row.length <= left), len(room))
        if place == len(room):
            batches.append([])
            room.append(token_budget)
        batches[place].append(row)
        room[place] -= row.length
    return batches


def _padded(rows: list[Row], token_budget: int) -> list[list[Row]]:
    """Plain micro-batches of rows of about one length."""
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
    trained = [np.flatnonzero(segments[i].loss_mask) for i in members]
    width = max(len(t) for t in trained)
    laid = _flat(segments, rows) if rows[0].flat else _plain(segments, rows)
    predict = [
        np.where(columns == 0, last, start + columns - 1)
        for columns, last, start in zip(trained, laid.last_R, laid.start_R, strict=True)
    ]
    slots = [r * width + np.arange(len(t)) for r, t in enumerate(trained)]
    mask_RT = np.arange(width) < np.array([len(t) for t in trained])[:, None]
    targets = [segments[i].completion_ids[t] for i, t in zip(members, trained, strict=True)]
    return MicroBatch(
        members,
        torch.from_numpy(laid.ids_BL).to(device),
        None if laid.positions_BL is None else torch.from_numpy(laid.positions_BL).to(device),
        None if laid.lengths is None else Spans.of(*laid.lengths, device),
        torch.from_numpy(np.concatenate(predict)).to(device),
        torch.from_numpy(np.concatenate(targets).astype(np.int64)).to(device),
        torch.from_numpy(np.concatenate(slots)).to(device),
        torch.from_numpy(mask_RT.astype(np.float32)).to(device),
    )


@dataclass(slots=True, eq=False)
class _Laid:
    """Where the tokens of a micro-batch lie."""

    ids_BL: NDArray[np.int64]
    positions_BL: NDArray[np.int64] | None
    lengths: tuple[list[int], list[list[int]]] | None
    """Of the prompts, and of the completions behind each, in a flat one."""
    last_R: list[int]
    """Flat position of the last token of each segment's prompt."""
    start_R: list[int]
    """That of the first token of its completion."""


def _plain(segments: Sequence[Segment], rows: Sequence[Row]) -> _Laid:
    """A row for each segment, padded with token 0."""
    length = max(row.length for row in rows)
    ids_BL = np.zeros((len(rows), length), dtype=np.int64)
    last = []
    for b, row in enumerate(rows):
        segment = segments[row.members[0]]
        ids_BL[b, : row.length] = np.concatenate([segment.prompt_ids, segment.completion_ids])[: row.length]
        last.append(b * length + len(segment.prompt_ids) - 1)
    return _Laid(ids_BL, None, None, last, [place + 1 for place in last])


def _flat(segments: Sequence[Segment], rows: Sequence[Row]) -> _Laid:
    """All prompts, then all completions; one without siblings is part of its prompt."""
    heads: list[NDArray[np.int32]] = []
    tails: list[list[NDArray[np.int32]]] = []
    for row in rows:
        prompt_ids = segments[row.members[0]].prompt_ids
        needed = [segments[i].completion_ids[: _reach(segments[i])] for i in row.members]
        alone = len(needed) == 1
        heads.append(np.concatenate([prompt_ids, *needed]) if alone else prompt_ids)
        tails.append([] if alone else needed)
    lengths = [len(head) for head in heads], [[len(ids) for ids in group] for group in tails]
    last: list[int] = []
    start: list[int] = []
    places = [np.arange(length) for length in lengths[0]]
    first, after = 0, sum(lengths[0])
    for row, head, group in zip(rows, *lengths, strict=True):
        prompt = len(segments[row.members[0]].prompt_ids)
        last += [first + prompt - 1] * len(row.members)
        start += (after + np.cumsum([0, *group[:-1]])).tolist() if group else [first + prompt]
        places += [np.arange(prompt, prompt + length) for length in group]
        first, after = first + head, after + sum(group)
    ids = np.concatenate([*heads, *(ids for group in tails for ids in group)]).astype(np.int64)
    return _Laid(ids[None], np.concatenate(places)[None], lengths, last, start)
