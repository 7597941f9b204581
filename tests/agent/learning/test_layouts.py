"""Layouts: every trained token once, least work, and the same log-probs and gradient as one segment at a time."""

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from journeyman.agent.data import Segment
from journeyman.agent.learning import scoring
from journeyman.agent.learning.layouts import WorkModel, plan, total_work
from journeyman.agent.learning.scoring import Scorer

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
    shares = any(row.shared for batch in scorer.plan(segments, range(len(segments))) for row in batch)
    assert shares == (name != "Mamba")


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


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    token=st.floats(1, 1e6),
    pair=st.floats(0, 1e4),
    budget=st.integers(1, 200),
    window=st.none() | st.integers(1, 20),
)
def test_plans_hold_each_segment_once_within_the_budget_and_never_more_work(
    segments_of, seed, token, pair, budget, window
):
    segments = segments_of(seed, groups=6)
    work = WorkModel(token, pair, shares_prompts=True, window=window)
    batches = plan(segments, range(len(segments)), work, budget)
    members = [i for rows in batches for row in rows for i in row.members]
    assert sorted(members) == [i for i, s in enumerate(segments) if s.loss_mask.any()]
    plain = plan(segments, range(len(segments)), WorkModel(token, pair, shares_prompts=False, window=None), budget)
    assert total_work(batches, work) <= total_work(plain, work)
    for rows in batches:
        assert len(rows) == 1 or len(rows) * max(row.length for row in rows) <= budget
        for row in rows:
            assert len({segments[i].prompt_ids.tobytes() for i in row.members}) == 1


def group(prompt, completion, size):
    ids = np.arange(prompt, dtype=np.int32), np.arange(completion, dtype=np.int32)
    return [Segment(*ids, np.ones(completion, dtype=bool), None) for _ in range(size)]


def test_the_layout_follows_the_work():
    work = WorkModel(token=7e6, pair=4096, shares_prompts=True, window=None)

    def sizes(prompt, completion):
        return {len(row.members) for rows in plan(group(prompt, completion, 8), range(8), work, 4096) for row in rows}

    assert sizes(512, 64) == {8}
    assert sizes(2, 400) == {1}  # attention between the completions would cost more than a second prompt


@given(
    completions=st.lists(st.integers(1, 12) | st.integers(60, 100), min_size=2, max_size=12),
    budget=st.integers(110, 400),
)
def test_completions_of_unequal_lengths_behind_one_prompt_stay_within_the_budget(completions, budget):
    prompt = np.arange(10, dtype=np.int32)
    segments = [Segment(prompt, np.arange(n, dtype=np.int32), np.ones(n, dtype=bool), None) for n in completions]
    work = WorkModel(token=1e9, pair=1.0, shares_prompts=True, window=None)
    for rows in plan(segments, range(len(segments)), work, budget):
        assert len(rows) * max(row.length for row in rows) <= budget


def test_an_empty_prompt_is_refused():
    work = WorkModel(1, 1, shares_prompts=True, window=None)
    with pytest.raises(ValueError, match="empty prompt"):
        plan(group(0, 3, 1), [0], work, 64)
