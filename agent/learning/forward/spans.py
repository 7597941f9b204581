"""Who sees whom in a flat row: spans of tokens side by side, some of which go on from another, without padding.

A span is a prompt, or a completion behind one. All prompts come first, then all completions, those of one prompt side
by side. A token sees what came before it in its own span, and all of the span behind it. Attention in such a row is
computed in parts: each span causally by itself, and the completions of each prompt over that prompt.

Dimension letters: N tokens of the row, C spans of a batch of them, L tokens of its longest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

SHORT = 64
"""Spans up to this length are computed several at once, though their lengths differ; longer ones are worth a call."""


@dataclass(frozen=True, slots=True)
class Run:
    """`count` spans of `length` tokens each, side by side from token `start` on."""

    start: int
    count: int
    length: int

    @property
    def stop(self) -> int:
        """The token after them."""
        return self.start + self.count * self.length


@dataclass(frozen=True, slots=True, eq=False)
class Heap:
    """Spans from anywhere in the row, of about one length."""

    index_CL: Tensor
    """Their tokens; a shorter one's last token stands for those that it has not."""
    real_CL: Tensor
    """False for these."""


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """The spans of a flat row of N tokens, as one forward pass needs them."""

    alone: tuple[Run | Heap, ...]
    """Every span once: what is computed causally by itself."""
    behind: tuple[tuple[Run, Run], ...]
    """Queries and keys of what is computed in full: as many runs of completions as there are prompts behind them."""
    span_N: Tensor
    """Each token's span, by number."""
    before_N: Tensor
    """The span behind it; its own for a prompt's tokens."""

    @staticmethod
    def of(prompts: Sequence[int], completions: Sequence[Sequence[int]], device: torch.device) -> Spans:
        """From the lengths of the prompts, and of the completions behind each."""
        lengths = np.array([*prompts, *(length for group in completions for length in group)])
        starts = np.cumsum(lengths) - lengths
        before = [*range(len(prompts)), *(p for p, group in enumerate(completions) for _ in group)]
        sizes = [sum(group) for group in completions]
        firsts = sum(prompts) + np.cumsum([0, *sizes])
        return Spans(
            _together(zip(starts.tolist(), lengths.tolist(), strict=True), device),
            _crossing(starts[: len(prompts)].tolist(), prompts, firsts[:-1].tolist(), sizes),
            torch.from_numpy(np.repeat(np.arange(len(lengths)), lengths)).to(device),
            torch.from_numpy(np.repeat(before, lengths)).to(device),
        )

    def sees(self, query: Tensor, key: Tensor) -> Tensor:
        """Whether tokens of these numbers see tokens of those, for tensors of numbers that go together."""
        near = (self.span_N[key] == self.span_N[query]) | (self.span_N[key] == self.before_N[query])
        return near & (key <= query)

    def block_mask(self) -> BlockMask:
        """The same for FlexAttention."""
        count, device = len(self.span_N), self.span_N.device

        def sees(_: Tensor, __: Tensor, query: Tensor, key: Tensor) -> Tensor:
            return self.sees(query, key)

        return create_block_mask(sees, None, None, count, count, device=device, _compile=device.type == "cuda")


def _together(spans: Iterable[tuple[int, int]], device: torch.device) -> tuple[Run | Heap, ...]:
    """Spans (start, length) in batches: neighbours of one length as they are, short ones of many lengths moved."""
    runs = [
        Run(same[0][0], len(same), length)
        for length, found in groupby(spans, key=lambda span: span[1])
        if length and (same := list(found))
    ]
    batches: list[Run | Heap] = [run for run in runs if run.length > SHORT]
    short = sorted((run for run in runs if run.length <= SHORT), key=_size)
    for _, alike in groupby(short, key=_size):
        found = list(alike)
        batches.append(found[0] if len(found) == 1 else _heap(found, device))
    return tuple(batches)


def _size(run: Run) -> int:
    """Lengths of one size differ by less than twice."""
    return (run.length - 1).bit_length()


def _heap(runs: Sequence[Run], device: torch.device) -> Heap:
    starts_C = np.concatenate([np.arange(run.start, run.stop, run.length) for run in runs])
    lengths_C = np.repeat([run.length for run in runs], [run.count for run in runs])
    place_L: NDArray[np.int64] = np.arange(lengths_C.max())
    index_CL = starts_C[:, None] + np.minimum(place_L, lengths_C[:, None] - 1)
    real_CL = place_L < lengths_C[:, None]
    return Heap(torch.from_numpy(index_CL).to(device), torch.from_numpy(real_CL).to(device))


def _crossing(
    starts: Sequence[int], prompts: Sequence[int], firsts: Sequence[int], sizes: Sequence[int]
) -> tuple[tuple[Run, Run], ...]:
    """Completions and the prompts behind them; neighbours of equal lengths are taken together."""
    pairs: list[tuple[Run, Run]] = []
    for start, prompt, first, size in zip(starts, prompts, firsts, sizes, strict=True):
        if not size:
            continue
        queries, keys = Run(first, 1, size), Run(start, 1, prompt)
        if pairs:
            before, behind = pairs[-1]
            if (before.length, before.stop, behind.length, behind.stop) == (size, first, prompt, start):
                queries = Run(before.start, before.count + 1, size)
                keys = Run(behind.start, behind.count + 1, prompt)
                pairs.pop()
        pairs.append((queries, keys))
    return tuple(pairs)
