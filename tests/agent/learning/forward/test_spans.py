"""Spans: each token sees what it may, and attention in parts is attention under a dense mask, gradients too."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention.flex_attention import flex_attention
from torch.nn.functional import scaled_dot_product_attention

from journeyman.agent.learning.forward.in_parts import Implementation, attention, mask_of
from journeyman.agent.learning.forward.spans import SHORT, Heap, Run, Spans

CPU = torch.device("cpu")
LENGTHS = st.integers(0, 5) | st.integers(SHORT - 2, SHORT + 3)
GROUPS = st.lists(
    st.tuples(st.integers(1, 9) | st.integers(60, 70), st.lists(LENGTHS, max_size=4)), min_size=1, max_size=4
)


def spans_of(groups):
    return Spans.of([prompt for prompt, _ in groups], [lengths for _, lengths in groups], CPU)


def visible(groups):
    """(N, N) by the words of the docstring: what came before in its own span, and all of the span behind it."""
    spans = [(prompt, None) for prompt, _ in groups]
    spans += [(length, p) for p, (_, lengths) in enumerate(groups) for length in lengths]
    starts = np.cumsum([0, *(length for length, _ in spans)])
    mask = np.zeros((starts[-1], starts[-1]), dtype=bool)
    for (length, behind), start in zip(spans, starts, strict=False):
        for token in range(start, start + length):
            mask[token, start : token + 1] = True
            if behind is not None:
                mask[token, starts[behind] : starts[behind + 1]] = True
    return torch.from_numpy(mask)


@settings(deadline=None, max_examples=40)
@given(groups=GROUPS)
def test_a_token_sees_its_own_past_and_the_prompt_behind_it(groups):
    spans, expected = spans_of(groups), visible(groups)
    token = torch.arange(len(expected))
    assert torch.equal(spans.sees(token[:, None], token[None]), expected)
    once = torch.zeros(len(expected), dtype=torch.long)
    for batch in spans.alone:
        tokens = batch.index_CL[batch.real_CL] if isinstance(batch, Heap) else token[batch.start : batch.stop]
        once[tokens] += 1
    assert torch.equal(once, torch.ones_like(once))


def test_equal_spans_are_computed_together_and_where_they_lie():
    spans = spans_of([(20, [7, 7]), (20, [7, 7]), (20, [7, 7])])
    assert spans.alone == (Run(60, 6, 7), Run(0, 3, 20))
    assert spans.behind == ((Run(60, 3, 14), Run(0, 3, 20)),)
    ragged = spans_of([(20, [5, 6, 100]), (20, [])])
    assert [type(batch) for batch in ragged.alone] == [Run, Heap, Run]
    assert ragged.behind == ((Run(40, 1, 111), Run(0, 1, 20)),)


def in_parts(spans, query, key, value, scale):
    module = torch.nn.Module()
    return attention(module, query, key, value, mask_of(spans), scaling=scale, is_causal=None)[0].transpose(1, 2)


@settings(deadline=None, max_examples=40)
@given(groups=GROUPS, heads=st.sampled_from([(2, 2), (4, 2), (3, 1)]), sizes=st.sampled_from([(8, 8), (12, 8), (4, 6)]))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_attention_in_parts_is_that_under_a_dense_mask(groups, heads, sizes, dtype):
    spans, mask = spans_of(groups), visible(groups)
    chance = torch.Generator().manual_seed(len(mask))
    shapes = [(heads[0], sizes[0]), (heads[1], sizes[0]), (heads[1], sizes[1])]
    inputs = [torch.randn(1, len(mask), h, d, dtype=dtype, generator=chance) for h, d in shapes]
    weights = torch.randn(1, heads[0], len(mask), sizes[1], dtype=dtype, generator=chance)
    found = []
    for compute in (
        lambda q, k, v: in_parts(spans, q, k, v, 0.7),
        lambda q, k, v: scaled_dot_product_attention(q, k, v, mask, scale=0.7, enable_gqa=True),
    ):
        leaves = [x.clone().requires_grad_() for x in inputs]
        out = compute(*(x.transpose(1, 2) for x in leaves))
        (out * weights).sum().backward()
        found.append([out.detach(), *(x.grad for x in leaves)])
    tolerance = 1e-12 if dtype == torch.float64 else 2e-5
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@settings(deadline=None, max_examples=4)
@given(groups=GROUPS)
def test_the_block_mask_for_a_gpu_is_the_dense_one(groups):
    spans, mask = spans_of(groups), visible(groups)
    chance = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(1, 2, len(mask), 16, generator=chance) for _ in range(3))
    found = flex_attention(query, key, value, block_mask=spans.block_mask())  # not compiled: slow, and the same
    torch.testing.assert_close(found, scaled_dot_product_attention(query, key, value, mask), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"dropout": 0.1}, "without dropout or biases"),
        ({"position_bias": torch.zeros(1)}, "without dropout or biases"),
        ({"is_causal": False}, "is causal"),
        ({"attention_mask": None}, "needs their mask"),
        ({"attention_mask": torch.ones(1, 1, 5, 5, dtype=torch.bool)}, "needs their mask"),
        ({"key": torch.zeros(1, 2, 4, 8)}, "one row over itself"),
    ],
)
def test_what_it_does_not_compute_is_refused(told, message):
    x = torch.zeros(1, 2, 5, 8)
    known = {"query": x, "key": x, "value": x, "attention_mask": mask_of(spans_of([(3, [1, 1])]))}
    with pytest.raises(ValueError, match=message):
        attention(torch.nn.Module(), **(known | told))


def test_a_mask_of_spans_read_as_an_ordinary_one_makes_no_numbers():
    """So a model that computes attention by itself is found out by a probe."""
    x, mask = torch.ones(1, 1, 5, 8), mask_of(spans_of([(3, [1, 1])]))
    assert mask.shape == (1, 1, 5, 5)
    assert not torch.isfinite(torch.zeros(5, 5).masked_fill(~mask[0, 0], -torch.inf).softmax(-1) @ x[0, 0]).any()


def test_names_are_put_back_and_taken_up_again(llama):
    config = llama().config
    before = Implementation.now([config])
    other = Implementation([config], ["journeyman_spans"])
    with other:
        with before:
            assert config._attn_implementation == "sdpa"
        with other:
            assert config._attn_implementation == "journeyman_spans"
        assert config._attn_implementation == "journeyman_spans"
    assert config._attn_implementation == "sdpa"
