"""Layouts: every trained token once, least work, and the same log-probs and gradient as one segment at a time."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from memory import Alive
from torch.utils.flop_counter import FlopCounterMode

from journeyman.agent.data import Segment
from journeyman.agent.learning.forward import scoring
from journeyman.agent.learning.forward.layouts import WorkModel, needed_work, plan
from journeyman.agent.learning.forward.scoring import Scorer

SHAPE = {
    "vocab_size": 31,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.3,
    "bos_token_id": 1,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
MODELS = {
    "Llama": SHAPE,
    "Qwen2": SHAPE,
    "Qwen3": SHAPE | {"head_dim": 8},
    "Mistral": SHAPE | {"sliding_window": 9},
    "Phi3": SHAPE,
    "GPT2": {
        "vocab_size": 31,
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 4,
        "initializer_range": 0.3,
        "bos_token_id": 1,
        "eos_token_id": 1,
    },
    "Mamba": {"vocab_size": 31, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4, "initializer_range": 0.3},
}


def model_of(name):
    config = getattr(transformers, f"{name}Config")(**MODELS[name])
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def one_by_one(model, segments, temperature):
    """Log-probs the plain way: a forward pass of the whole model for each segment."""
    for segment in segments:
        ids = torch.tensor(np.concatenate([segment.prompt_ids, segment.completion_ids]), dtype=torch.long)
        all_logprobs = (model(input_ids=ids[None], use_cache=False).logits[0, :-1] / temperature).log_softmax(-1)
        taken = all_logprobs.gather(-1, ids[1:, None])[len(segment.prompt_ids) - 1 :, 0]
        yield taken[torch.from_numpy(segment.loss_mask)]


@pytest.mark.parametrize("name", MODELS)
def test_log_probs_equal_those_of_each_segment_alone(name, segments_of):
    model = model_of(name)
    scorer = Scorer(model, torch.float32, temperature=0.8, token_budget=64)
    segments = segments_of(3, groups=6)
    found = scorer.logprobs(segments, range(len(segments)))
    expected = list(one_by_one(model, segments, 0.8))
    for i, logprobs in enumerate(expected):
        np.testing.assert_allclose(found[i], logprobs.detach().numpy(), atol=2e-5)
    shares = any(row.flat for batch in scorer.plan(segments, range(len(segments))) for row in batch)
    assert shares == (name != "Mamba")


def test_log_probs_in_bfloat16_are_near_those_in_float32(llama, segments_of):
    model, segments = llama(initializer_range=0.1), segments_of(5, groups=4)
    exact, rough = (Scorer(model, dtype, 1.0) for dtype in (torch.float32, torch.bfloat16))
    assert rough.work.shares_prompts
    expected, found = (scorer.logprobs(segments, range(len(segments))) for scorer in (exact, rough))
    assert max(np.abs(found[i] - expected[i]).max(initial=0) for i in found) < 0.05
    (rows,) = rough.plan(segments, range(len(segments)))
    rough.forward(segments, rows).logprobs_RT.sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("chunked", [False, True])
def test_gradient_equals_that_of_each_segment_alone(llama, segments_of, chunked, monkeypatch):
    if chunked:
        monkeypatch.setattr(scoring, "LOGIT_ELEMENTS", 5 * 31)  # five tokens at once
    model, segments = llama(), segments_of(8, groups=5)
    weights = torch.randn(sum(int(s.loss_mask.sum()) for s in segments), generator=torch.Generator().manual_seed(0))

    def gradient(logprobs):
        model.zero_grad()
        (torch.cat(list(logprobs)) * weights).sum().backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    expected = gradient(one_by_one(model, segments, 1.0))

    def packed():
        scorer, pieces = Scorer(model, torch.float32, 1.0, token_budget=40), {}
        for rows in scorer.plan(segments, range(len(segments))):
            batch, _, logprobs, _ = scorer.forward(segments, rows)
            pieces |= {i: logprobs[r][batch.mask_RT[r] > 0] for r, i in enumerate(batch.members)}
        return [pieces[i] for i in sorted(pieces)]

    found = gradient(packed())
    assert (found - expected).norm() <= 2e-6 * expected.norm()


def test_entropy_is_that_of_the_distribution(llama, segments_of):
    model, segments = llama(), segments_of(1, groups=1)
    scorer = Scorer(model, torch.float32, 1.3)
    (rows,) = scorer.plan(segments, [0])
    batch, _, _, entropy = scorer.forward(segments, rows)
    ids = torch.tensor(np.concatenate([segments[0].prompt_ids, segments[0].completion_ids]), dtype=torch.long)
    probabilities = (model(input_ids=ids[None]).logits[0] / 1.3).softmax(-1)
    all_entropies = torch.distributions.Categorical(probabilities).entropy()[len(segments[0].prompt_ids) - 1 : -1]
    expected = all_entropies[torch.from_numpy(segments[0].loss_mask)]
    torch.testing.assert_close(entropy[0][batch.mask_RT[0] > 0], expected, atol=1e-5, rtol=1e-5)


def work_model(**changes):
    return WorkModel(**({"token": 7e6, "pair": 4096.0, "logit": 1e4, "shares_prompts": True, "window": None} | changes))


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), budget=st.integers(1, 200), window=st.none() | st.integers(1, 20))
def test_plans_hold_each_segment_once_within_the_budget_and_prompts_as_seldom_as_they_can(
    segments_of, seed, budget, window
):
    segments = segments_of(seed, groups=6)
    batches = plan(segments, range(len(segments)), work_model(window=window), budget)
    members = [i for rows in batches for row in rows for i in row.members]
    assert sorted(members) == [i for i, s in enumerate(segments) if s.loss_mask.any()]
    for rows in batches:
        flat = {row.flat for row in rows}
        assert len(flat) == 1
        lengths = [row.length for row in rows]
        assert (
            len(members) == 1
            or sum(map(len, (row.members for row in rows))) == 1
            or (sum(lengths) if flat == {True} else len(rows) * max(lengths)) <= budget
        )
        for row in rows:
            assert len({segments[i].prompt_ids.tobytes() for i in row.members}) == 1
            for i in row.members:
                needed = len(segments[i].prompt_ids) + int(np.flatnonzero(segments[i].loss_mask)[-1])
                assert row.flat == (window is None or needed <= window)
                assert needed <= row.length
    if window is None and budget == 200:  # everything of one group fits into one row
        prompts = [segments[row.members[0]].prompt_ids.tobytes() for rows in batches for row in rows]
        assert len(prompts) == len(set(prompts))


def group(prompt, completion, size):
    ids = np.arange(prompt, dtype=np.int32), np.arange(completion, dtype=np.int32)
    return [Segment(*ids, np.ones(completion, dtype=bool), None) for _ in range(size)]


def test_a_group_over_the_budget_has_as_few_copies_of_its_prompt_as_fit():
    rows = [row for batch in plan(group(100, 51, 8), range(8), work_model(), 250) for row in batch]
    assert [(len(row.members), row.length) for row in rows] == [(3, 250), (3, 250), (2, 200)]
    (alone,) = plan(group(100, 51, 1), [0], work_model(), 50)  # no budget splits a segment
    assert [(row.members, row.length) for row in alone] == [((0,), 150)]


@given(
    completions=st.lists(st.integers(1, 12) | st.integers(60, 100), min_size=2, max_size=12),
    budget=st.integers(110, 400),
)
def test_completions_of_unequal_lengths_behind_one_prompt_stay_within_the_budget(completions, budget):
    prompt = np.arange(10, dtype=np.int32)
    segments = [Segment(prompt, np.arange(n, dtype=np.int32), np.ones(n, dtype=bool), None) for n in completions]
    for rows in plan(segments, range(len(segments)), work_model(), budget):
        assert sum(row.length for row in rows) <= budget


def test_what_is_needed_is_counted_without_padding_and_shared_prompts_once():
    segments = [*group(100, 11, 4), *group(50, 1, 1)]
    segments[3].loss_mask[5:] = False  # the completion is needed up to its last trained token
    work = work_model(token=10.0, pair=1.0, logit=1000.0)
    alone = 100 * 100 / 2
    behind = 3 * (10 * 100 + 10 * 10 / 2) + (4 * 100 + 4 * 4 / 2)
    expected = 10.0 * (100 + 3 * 10 + 4) + alone + behind + 10.0 * 50 + 50 * 50 / 2 + 1000.0 * (3 * 11 + 5 + 1)
    assert needed_work(segments, range(5), work) == expected
    each = sum(10.0 * n + n * n / 2 for n in (110, 110, 110, 104, 50)) + 1000.0 * (3 * 11 + 5 + 1)
    assert needed_work(segments, range(5), work_model(token=10.0, pair=1.0, logit=1000.0, shares_prompts=False)) == each
    assert needed_work(segments, range(5), work_model(token=10.0, pair=1.0, logit=1000.0, window=105)) == each


def test_an_empty_prompt_is_refused():
    with pytest.raises(ValueError, match="empty prompt"):
        plan(group(0, 3, 1), [0], work_model(), 64)


@pytest.mark.parametrize("name", ["Llama", "Qwen3"])
def test_flops_are_those_that_a_profiler_counts(name, segments_of):
    model, segments = model_of(name), segments_of(4, groups=3)
    scorer = Scorer(model, torch.float32, 1.0)
    (rows,) = scorer.plan(segments, range(len(segments)))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        scorer.forward(segments, rows)
    matrices = sum(n for kind, n in counter.get_flop_counts()["Global"].items() if "attention" not in str(kind))
    without = replace(scorer.work, pair=0.0)
    assert needed_work(segments, range(len(segments)), without) == matrices
    assert scorer.flops(segments, range(len(segments))) > matrices


def test_no_tensor_holds_the_logits_of_all_tokens(policy, segments_of, monkeypatch):
    monkeypatch.setattr(scoring, "LOGIT_ELEMENTS", 2**17)
    config = transformers.LlamaConfig(**(SHAPE | {"vocab_size": 20_000}))
    model = transformers.AutoModelForCausalLM.from_config(config)
    chance = np.random.default_rng(0)
    ids = chance.integers(0, 20_000, (4, 128)).astype(np.int32)
    segments = [Segment(ids[0, :8], row, np.ones(128, dtype=bool), None) for row in ids]
    scorer = Scorer(model, torch.float32, 1.0)
    (rows,) = scorer.plan(segments, range(4))
    with Alive() as alive:
        scorer.forward(segments, rows).logprobs_RT.sum().backward()
    weights = 20_000 * SHAPE["hidden_size"] * 4  # the embeddings' gradient has their size
    assert alive.largest <= max(2**17 * 4, weights)
    assert alive.peak <= 4 * 128 * 20_000 * 4 / 3
