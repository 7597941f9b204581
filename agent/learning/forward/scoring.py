"""Log-probs of trained tokens under a causal language model: projected only where trained, in chunks.

Dimension letters: B rows of a micro-batch, L tokens of its longest row, R segments, T trained tokens of the longest
segment, N of all segments, M of one; V vocabulary, H hidden size.
"""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from journeyman.agent.data import Segment
from journeyman.agent.errors import UsageError
from journeyman.agent.learning.forward.halves import FOREIGN_ERRORS, MASKED, Halves, close, probe_ids
from journeyman.agent.learning.forward.layouts import MicroBatch, Row, WorkModel, collate, fed_tokens, needed_work, plan
from journeyman.agent.learning.hardware.memory import TokenBudget, ran_out, smaller
from journeyman.agent.learning.hardware.ranks import Inside, Ranks
from journeyman.agent.models import length_scaling

LOGIT_ELEMENTS = 2**25
"""Logits held at once, in elements; above it the projection is done in chunks, recomputed in the backward pass."""

REACHES = (
    "sliding_window",
    "attention_chunk_size",
    "attention_window_size",
    "sliding_window_size",
    "local_attention",
    "window_size",
    "index_topk",
)
"""What configurations call the number of tokens that some layers see at most."""

T = TypeVar("T")

EXPERTS = re.compile(r"(^|\.)experts?(\.|$)")
"""Names of weights that only some tokens are multiplied by."""

logger = logging.getLogger(__name__)


class Forward(NamedTuple):
    """What one forward pass of the learner gives."""

    batch: MicroBatch
    hidden_NH: Tensor
    """Last hidden states at the positions that predict trained tokens."""
    logprobs_RT: Tensor
    entropy_RT: Tensor
    """In nats; both are float32, and 0 in entries that hold no trained token."""


class Scorer:
    """Computes log-probs with one Hugging Face causal language model."""

    def __init__(self, model: Any, dtype: torch.dtype, temperature: float, token_budget: int | None = None) -> None:
        """`model` stays where it is; `token_budget` bounds a forward pass (None: 2,048 on a CPU, 32,768 on a GPU).

        Probes find out whether the model's halves make what the whole does (UsageError where not), and whether it
        computes flat micro-batches rightly (where not, none are made).
        """
        self.model = model
        self.device: torch.device = model.device
        self._budget = TokenBudget(token_budget or (2_048 if self.device.type == "cpu" else 32_768))
        self.dtype = dtype
        self._by_length = length_scaling(model.config.get_text_config())
        self.temperature = temperature
        self.halves = Halves(model)
        self._known_ids = int(model.get_input_embeddings().weight.shape[0])
        self.work = _count_work(self.halves)
        self.ranks = Ranks()
        self._inside: Inside = lambda compute: compute()

    def lay_over(self, ranks: Ranks) -> None:
        """From now on the model is laid over the ranks, and so are micro-batches; see `Ranks.lay_over`."""
        self.ranks, self._inside = ranks, ranks.lay_over(self.model)

    @property
    def token_budget(self) -> int:
        """Tokens of a forward pass at most: what it was made with, or what has been found to fit the memory since."""
        return self._budget.tokens

    def at(self, temperature: float) -> Scorer:
        """The same at another temperature."""
        other = copy.copy(self)
        other.temperature = temperature
        return other

    def plainly(self) -> Scorer:
        """The same without flat micro-batches, whose attention has no second derivatives, and with smaller ones.

        Attention that has them holds its whole matrix, and what is differentiated twice is held about twice.
        """
        other = copy.copy(self)
        other.work = replace(self.work, shares_prompts=False)
        other._budget = TokenBudget(max(1, self.token_budget // 4))
        return other

    def plan(
        self, segments: Sequence[Segment], wanted: Iterable[int], token_budget: int | None = None
    ) -> list[list[Row]]:
        """Micro-batches of the `wanted` segments, without padding and with shared prompts where the model allows it.

        `token_budget` bounds their tokens, the scorer's own without it.

        Raises UsageError for one so long that the model would scale its positions otherwise, and its neighbours' too,
        and ValueError for one with ids that are none of the model's.
        """
        wanted = list(wanted)
        self._check_ids(segments, wanted)
        if self._by_length is not None:
            longest, most = max((fed_tokens(segments[i]) for i in wanted), default=0), self._by_length.unscaled_tokens
            if longest > most:
                raise UsageError(
                    f"an attempt or demonstration has {longest} tokens to be read, and beyond {most} the model scales "
                    f"its positions by the length of the text ({self._by_length.kind}): leave it out, or shorten it"
                )
        return plan(segments, wanted, self.work, token_budget or self.token_budget)

    def _check_ids(self, segments: Sequence[Segment], wanted: Sequence[int]) -> None:
        """On the CPU, and before any pass: a GPU stops at such an id without a word of which it was."""
        read, predicted = self._known_ids, min(self._known_ids, self.halves.vocabulary)
        for i in wanted:
            parts = ("prompt", segments[i].prompt_ids, read), ("completion", segments[i].completion_ids, predicted)
            for part, ids, known in parts:
                if len(ids) and not (ids.min() >= 0 and ids.max() < known):
                    stray = ids[(ids < 0) | (ids >= known)][0]
                    raise ValueError(f"segment {i}: token id {stray} of its {part} is not in the vocabulary of {known}")

    def flops(self, segments: Sequence[Segment], wanted: Iterable[int]) -> float:
        """What a forward pass over the `wanted` segments needs, in floating-point operations (see `needed_work`).

        Over seconds and the machine's peak, three times as many for each step are its model-FLOPs utilisation.
        """
        return needed_work(segments, wanted, self.work)

    def passes(
        self,
        segments: Sequence[Segment],
        wanted: Iterable[int],
        make: Callable[[Sequence[Row], float], T],
        begin: Callable[[], object] = lambda: None,
    ) -> list[T]:
        """What `make` makes of this rank's micro-batches of the `wanted` segments; those of weight 0 are left out.

        `make` is called with a micro-batch and what its loss is to be multiplied by (see `Ranks.deal`). Where it runs
        out of memory all is begun again with micro-batches of half the size, `begin` first, down to single rows; the
        size that fits is that of later passes too. Raises JourneymanError where a single row is too long.
        """
        wanted = list(wanted)
        budget = self._share_of_budget(segments, wanted)
        while True:
            begin()
            found, failed = [], None
            for rows, weight in self.ranks.deal(self.plan(segments, wanted, budget), _tokens):
                try:
                    made = make(rows, weight)
                except (RuntimeError, MemoryError) as error:
                    if not ran_out(error):
                        raise
                    failed = rows
                    break
                found += [made] if weight else []
            if failed is None:
                if self.ranks.count == 1:  # several do not try it again, and a rank's share is not the budget
                    self._budget.tokens = budget
                return found
            single = len(failed) == 1 and len(failed[0].members) == 1
            budget = smaller(_tokens(failed), self.device, self.ranks, single=single)  # the error holds nothing now

    def _share_of_budget(self, segments: Sequence[Segment], wanted: Sequence[int]) -> int:
        """So small that there is something for each rank, if there are several, where there are several segments.

        But no smaller than a prompt with a rank's share of its completions: they would be laid behind more copies of it
        than there are ranks.
        """
        count = self.ranks.count
        if count == 1:
            return self.token_budget
        rows = [row for batch in self.plan(segments, wanted) for row in batch]
        least = [-(-sum(row.length for row in rows) // count), 1]
        for row in rows:
            if len(row.members) > 1:
                prompt = len(segments[row.members[0]].prompt_ids)
                longest = max(fed_tokens(segments[i]) for i in row.members)
                least.append(longest + -(-(row.length - prompt) // count))
        return min(self.token_budget, max(least))

    def hidden(self, segments: Sequence[Segment], rows: Sequence[Row]) -> tuple[MicroBatch, Tensor]:
        """One micro-batch, and the (N, H) last hidden states that predict its trained tokens."""
        batch = collate(segments, rows, self.device)
        (hidden_NH,) = self._inside(lambda: (self._hidden(batch),))
        return batch, hidden_NH

    def forward(self, segments: Sequence[Segment], rows: Sequence[Row], *, entropy_moves: bool = False) -> Forward:
        """One micro-batch with its log-probs and its entropies, which have a gradient where `entropy_moves`."""
        batch = collate(segments, rows, self.device)

        def compute() -> tuple[Tensor, Tensor, Tensor]:
            hidden_NH = self._hidden(batch)
            with self._casting():
                scored = token_logprobs(self.halves, hidden_NH, batch, self.temperature, entropy_moves=entropy_moves)
            return hidden_NH, *scored

        return Forward(batch, *self._inside(compute))

    def _hidden(self, batch: MicroBatch) -> Tensor:
        with self._casting():
            hidden_BLH = self.halves.hidden(batch.ids_BL, batch.positions_BL, batch.spans)
        # siblings' first tokens have one position: a table's gradient is summed in one order by any number of threads
        return functional.embedding(batch.predict_N, hidden_BLH.reshape(-1, hidden_BLH.shape[-1]))

    def logits(self, hidden_NH: Tensor) -> Tensor:
        """(N, V) float32 logits over the temperature, of last hidden states."""
        with self._casting():
            return _over_temperature(self.halves.logits(hidden_NH), self.temperature)

    def _casting(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def logprobs(self, segments: Sequence[Segment], wanted: Iterable[int]) -> dict[int, NDArray[np.float32]]:
        """(M,) log-probs of each wanted segment's trained tokens, by index; no gradient."""
        return self.logprobs_and_entropies(segments, wanted)[0]

    def logprobs_and_entropies(
        self, segments: Sequence[Segment], wanted: Iterable[int]
    ) -> tuple[dict[int, NDArray[np.float32]], dict[int, NDArray[np.float32]]]:
        """(M,) of each for every wanted segment's trained tokens, by index; no gradient."""
        wanted = list(wanted)

        def score(rows: Sequence[Row], _weight: float) -> list[dict[int, NDArray[np.float32]]]:
            batch, _, *values = self.forward(segments, rows)
            return [by_segment(batch, value_RT) for value_RT in values]

        with torch.no_grad():
            found = self.passes(segments, wanted, score)
        logprobs, entropies = ([one[k] for one in found] for k in range(2))
        return self.gathered(wanted, logprobs), self.gathered(wanted, entropies)

    def gathered(
        self, wanted: Iterable[int], found: Sequence[dict[int, NDArray[np.float32]]]
    ) -> dict[int, NDArray[np.float32]]:
        """What all ranks have found of the wanted segments, by index; (0,) for those without a trained token."""
        own = {i: values_M for one in found for i, values_M in one.items()}
        return dict.fromkeys(wanted, np.zeros(0, dtype=np.float32)) | self.ranks.merged(own)


def by_segment(batch: MicroBatch, values_RT: Tensor) -> dict[int, NDArray[np.float32]]:
    """(M,) of each segment of a micro-batch, by index."""
    flat_N = values_RT.flatten()[batch.slots_N].cpu().numpy()
    ends = batch.mask_RT.sum(-1).cumsum(0).long().tolist()
    return dict(zip(batch.members, np.split(flat_N, ends[:-1]), strict=True))


def _tokens(rows: Sequence[Row]) -> int:
    return sum(row.length for row in rows)


def token_logprobs(
    halves: Halves, hidden_NH: Tensor, batch: MicroBatch, temperature: float, *, entropy_moves: bool
) -> tuple[Tensor, Tensor]:
    """Log-probs of the trained tokens under softmax(logits / temperature), and entropies: (R, T) float32 each.

    Entries that hold no trained token are 0. Entropies are in nats and carry a gradient only where `entropy_moves`.
    """

    def project(chunk_NH: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
        all_NV = _over_temperature(halves.logits(chunk_NH), temperature).log_softmax(-1)
        with torch.set_grad_enabled(entropy_moves and torch.is_grad_enabled()):
            entropy_N = -(all_NV.exp() * all_NV).sum(-1)
        return all_NV.gather(-1, targets_N[:, None])[:, 0], entropy_N

    size = max(1, LOGIT_ELEMENTS // halves.vocabulary)
    if len(hidden_NH) <= size:
        logprobs_N, entropy_N = project(hidden_NH, batch.targets_N)
    else:
        chunks = zip(torch.split(hidden_NH, size), torch.split(batch.targets_N, size), strict=True)
        parts = [checkpoint(project, *chunk, use_reentrant=False) for chunk in chunks]
        logprobs_N, entropy_N = (torch.cat(part) for part in zip(*parts, strict=True))
    empty = batch.mask_RT.new_zeros(batch.mask_RT.numel())
    logprobs_RT, entropy_RT = (empty.index_copy(0, batch.slots_N, v) for v in (logprobs_N, entropy_N))
    return logprobs_RT.view_as(batch.mask_RT), entropy_RT.view_as(batch.mask_RT)


def _over_temperature(logits_NV: Tensor, temperature: float) -> Tensor:
    """In float32, and finite where a model masks its vocabulary: 0 times the logarithm of 0 would be no entropy."""
    over_NV = logits_NV.float() / temperature
    with torch.no_grad():  # in place, and nothing is kept for the backward pass
        return over_NV.clamp_(min=MASKED)


def _count_work(halves: Halves) -> WorkModel:
    """Costs from the model's shape: two FLOPs for a weight and token, four for a query, key and head dimension.

    Of experts those count that a token is sent to, and of a multi-modal model the text's half.
    """
    model = halves.model
    config = model.config.get_text_config()
    tables = {id(m.weight) for m in (model.get_input_embeddings(), model.get_output_embeddings()) if m is not None}
    half = (model.get_decoder() or model).named_parameters()
    named = [(name, p.numel()) for name, p in half if p.ndim > 1 and id(p) not in tables]
    experts = sum(count for name, count in named if EXPERTS.search(name))
    weights = sum(count for _, count in named) - experts * (1 - _share_of_experts(config))
    heads, head_dim = _stated(config, "num_attention_heads"), _stated(config, "head_dim")
    width = heads * head_dim if heads and head_dim else halves.hidden_size
    shares = _probe_spans(halves)
    if not shares:
        logger.info("%s takes no spans: prompts are computed once for each completion", type(model).__name__)
    return WorkModel(
        token=2.0 * weights,
        pair=4.0 * (_stated(config, "num_hidden_layers") or 0) * width,
        logit=2.0 * halves.vocabulary * halves.hidden_size,
        shares_prompts=shares,
        window=min(filter(None, (_stated(config, name) for name in REACHES)), default=None),
    )


def _share_of_experts(config: Any) -> float:
    """How many of a layer's experts a token is sent to, in (0, 1]; 1 where there are none."""
    total = next(
        filter(None, (_stated(config, n) for n in ("num_experts", "num_local_experts", "n_routed_experts"))), 1
    )
    return min(1.0, (_stated(config, "num_experts_per_tok") or total) / total)


def _stated(config: Any, name: str) -> int | None:
    """A number of the configuration, read as it stands: where layers differ, `getattr` would refuse to give it."""
    found: int | None = vars(config).get(config.attribute_map.get(name, name))
    return found


def _probe_spans(halves: Halves) -> bool:
    """Whether completions behind their prompts, two groups side by side, get the hidden states that each gets alone."""
    model = halves.model
    if getattr(model.config, "_attn_implementation", None) != "sdpa":
        return False
    ids = probe_ids(model, 12).cpu().numpy().astype(np.int32)
    trained = np.ones(5, dtype=bool)
    segments = [Segment(ids[a : a + 4], ids[b : b + 5], trained, None) for a, b in ((0, 4), (0, 7), (3, 2), (3, 6))]
    flat = collate(segments, [Row((0, 1), 12, flat=True), Row((2, 3), 12, flat=True)], model.device)
    plain = collate(segments, [Row((i,), 8, flat=False) for i in range(4)], model.device)
    try:
        together = halves.hidden(flat.ids_BL, flat.positions_BL, flat.spans)
        halves.differentiate(together)
    except FOREIGN_ERRORS as error:  # its attention is its own, or it was not made for such positions
        logger.debug("spans fail: %s", error)
        return False
    with torch.no_grad():
        return close(halves.hidden(plain.ids_BL).flatten(0, 1)[plain.predict_N], together[0, flat.predict_N])
