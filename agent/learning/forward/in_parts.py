"""Attention over flat rows of spans (see `spans`), in the place of a model's own.

transformers' models look their attention function up by a name in their configuration, and hand a mask of four
dimensions to it as it is. So the name is set for a forward pass, and the mask is one that says what the spans are.

On a CPU the parts are computed by PyTorch's flash kernel, which skips what causal attention does not see, and put
together by their log-sum-exps: softmax(s)v over two sets of keys is the mean of that over each, weighed by the sums of
their exponentials. Its gradient needs no new kernel: with the sum over both sets in the place of its own, each part's
backward pass gives that part's share of the whole gradient. On a GPU it is FlexAttention.

Dimension letters: H heads, G of them of keys and values, N tokens of the row, D head size, C spans, L tokens of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask
from torch.nn.functional import pad
from transformers import AttentionInterface
from transformers.integrations.flex_attention import flex_attention_forward

from journeyman.agent.learning.forward.spans import Heap, Run, Spans

NAME = "journeyman_spans"

_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


class SpanMask(Tensor):
    """What a model hands to its attention: of the shape of a mask, (1, 1, N, N), but without memory of its own.

    All false: code that takes it for an ordinary mask makes no numbers, so that a probe finds it out.
    """

    spans: Spans


def mask_of(spans: Spans) -> SpanMask | BlockMask:
    """The attention mask that makes `NAME` compute these spans, on their device."""
    device, count = spans.span_N.device, len(spans.span_N)
    if device.type == "cuda":
        return spans.block_mask()
    mask = torch.zeros((), dtype=torch.bool, device=device).expand(1, 1, count, count).as_subclass(SpanMask)
    mask.spans = spans
    return mask


def configs_of(model: torch.nn.Module) -> list[Any]:
    """The configurations in which the parts of a model look their attention function up."""
    found = {id(m.config): m.config for m in model.modules() if hasattr(m, "config")}
    return [config for config in found.values() if hasattr(config, "_attn_implementation_internal")]


class Implementation:
    """A context in which configurations name other attention functions; it may be entered again and again."""

    def __init__(self, configs: Sequence[Any], names: Sequence[str]) -> None:
        self._configs, self._names = configs, names
        self._before: list[Implementation] = []

    @staticmethod
    def now(configs: Sequence[Any]) -> Implementation:
        """As they are at this moment, for what is computed anew later."""
        return Implementation(configs, [config._attn_implementation_internal for config in configs])

    def __enter__(self) -> None:
        self._before.append(Implementation.now(self._configs))
        self._set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._before.pop()._set()

    def _set(self) -> None:
        for config, name in zip(self._configs, self._names, strict=True):
            config._attn_implementation_internal = name


def attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any,
    dropout: float = 0.0,
    scaling: float | None = None,
    **told: Any,
) -> tuple[Tensor, None]:
    """Transformers' form of an attention function: (1, H, N, D), (1, G, N, D) twice to (1, N, H, D).

    What SDPA would not heed (soft caps, sinks) is not heeded either: the measure is the model as it was loaded. Raises
    ValueError for what it does not compute.
    """
    if dropout or told.get("position_bias") is not None or told.get("is_causal") is False:
        raise ValueError("attention over spans is causal, without dropout or biases")
    if isinstance(attention_mask, BlockMask):
        return flex_attention_forward(module, query, key, value, attention_mask, scaling=scaling)[0], None
    if not isinstance(attention_mask, SpanMask) or not hasattr(attention_mask, "spans"):
        raise ValueError("attention over spans needs their mask")
    if not query.shape[2] == key.shape[2] == attention_mask.shape[2] or len(query) != 1:
        raise ValueError("attention over spans is that of one row over itself")
    if torch.is_autocast_enabled(query.device.type):
        dtype = torch.get_autocast_dtype(query.device.type)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    size, width = value.shape[-1], max(query.shape[-1], value.shape[-1])
    query, key, value = (x if x.shape[-1] == width else pad(x, (0, width - x.shape[-1])) for x in (query, key, value))
    out_HND: Tensor = _SpanAttention.apply(query[0], key[0], value[0], attention_mask.spans, scale)  # type: ignore[no-untyped-call]
    return out_HND[..., :size].transpose(0, 1)[None].contiguous(), None


AttentionInterface.register(NAME, attention)


class _SpanAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query_HND: Tensor, key_GND: Tensor, value_GND: Tensor, spans: Spans, scale: float) -> Tensor:
        key_HND, value_HND = _for_each_query(query_HND, key_GND, value_GND)
        out_HND = _empty(query_HND)
        sums = torch.float64 if query_HND.dtype == torch.float64 else torch.float32
        lse_HN = query_HND.new_empty(query_HND.shape[1::-1], dtype=sums).T
        for batch in spans.alone:
            out, lse = _forward(*(_take(x, batch) for x in (query_HND, key_HND, value_HND)), 0.0, True, scale=scale)
            _put(out_HND, batch, out)
            _put(lse_HN, batch, lse)
        for queries, keys in spans.behind:
            query = _take(query_HND, queries)
            out, lse = _forward(query, _take(key_HND, keys), _take(value_HND, keys), 0.0, False, scale=scale)
            own_out, own_lse = _take(out_HND, queries), _take(lse_HN, queries)
            both = torch.logaddexp(own_lse, lse)
            own_out.mul_((own_lse - both).exp()[..., None]).add_(out * (lse - both).exp()[..., None])
            own_lse.copy_(both)
        ctx.save_for_backward(query_HND, key_GND, value_GND, out_HND, lse_HN)
        ctx.spans, ctx.scale = spans, scale
        return out_HND

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        query_HND, key_GND, value_GND, out_HND, lse_HN = ctx.saved_tensors
        key_HND, value_HND = _for_each_query(query_HND, key_GND, value_GND)
        found = [_empty(query_HND) for _ in range(3)]
        for batch in ctx.spans.alone:
            grad, query, key, value, out, lse = (
                _take(x, batch) for x in (*grads, query_HND, key_HND, value_HND, out_HND, lse_HN)
            )
            if isinstance(batch, Heap):
                grad = grad * batch.real_CL[:, None, :, None]
            parts = _backward(grad, query, key, value, out, lse, 0.0, True, scale=ctx.scale)
            for whole, part in zip(found, parts, strict=True):
                _put(whole, batch, part)
        for queries, keys in ctx.spans.behind:
            grad, query, out, lse = (_take(x, queries) for x in (*grads, query_HND, out_HND, lse_HN))
            key, value = _take(key_HND, keys), _take(value_HND, keys)
            parts = _backward(grad, query, key, value, out, lse, 0.0, False, scale=ctx.scale)
            for whole, run, part in zip(found, (queries, keys, keys), parts, strict=True):
                _take(whole, run).add_(part)
        grad_HND, *others = found
        summed = [x.view(len(key_GND), -1, *x.shape[1:]).sum(1) for x in others]
        return grad_HND, *summed, None, None


def _for_each_query(query_HND: Tensor, *shared_GND: Tensor) -> list[Tensor]:
    """(H, N, D): heads of keys and values, once for each head of queries that they serve."""
    times = len(query_HND) // len(shared_GND[0])
    return [x if times == 1 else x.repeat_interleave(times, dim=0) for x in shared_GND]


def _empty(like_HND: Tensor) -> Tensor:
    """(H, N, D), with a token's heads side by side, as the layers around it have them."""
    heads, count, size = like_HND.shape
    return like_HND.new_empty(count, heads, size).transpose(0, 1)


def _take(x_HN: Tensor, batch: Run | Heap) -> Tensor:
    """(C, H, L, ...): the tokens of a batch of spans; for a run it is a view."""
    if isinstance(batch, Run):
        part = x_HN[:, batch.start : batch.stop]
        return part.view(len(x_HN), batch.count, batch.length, *x_HN.shape[2:]).transpose(0, 1)
    return x_HN[:, batch.index_CL].transpose(0, 1)


def _put(x_HN: Tensor, batch: Run | Heap, part_CHL: Tensor) -> None:
    """Writes (C, H, L, ...) where `_take` has it from."""
    if isinstance(batch, Run):
        _take(x_HN, batch).copy_(part_CHL)
    else:
        x_HN[:, batch.index_CL[batch.real_CL]] = part_CHL.transpose(0, 1)[:, batch.real_CL]
