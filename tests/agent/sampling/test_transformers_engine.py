"""The transformers sampler against full forward passes, and its keyed randomness."""

import asyncio

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from journeyman.agent.data import SamplingParams
from journeyman.agent.errors import SamplerError
from journeyman.agent.models import load_causal_lm
from journeyman.agent.sampling.settings import SamplerSettings
from journeyman.agent.sampling.transformers_engine import TransformersSampler, draw

TOLERANCE = 2e-4
"""On log-probs of logits up to about 50 in float32: sums taken in another order; the largest seen here is 2e-5."""


@pytest.fixture
def sampler(policies):
    sampler = TransformersSampler(policies[0], SamplerSettings(device="cpu"))
    yield sampler
    sampler.close()


def ask(sampler, prompts, params):
    async def all_at_once():
        return await asyncio.gather(*(sampler.generate(p, q) for p, q in zip(prompts, params, strict=True)))

    return asyncio.run(all_at_once())


def greedy(steps, *stop_ids):
    return SamplingParams(steps, temperature=0.0, stop_ids=stop_ids)


def check(completions, paths):
    """Token for token, as far as the paths are decisive (most of the way)."""
    for completion, (tokens, logprobs) in zip(completions, paths, strict=True):
        assert completion.token_ids[: len(tokens)].tolist() == tokens
        np.testing.assert_allclose(completion.logprobs[: len(tokens)], logprobs, atol=TOLERANCE)
    assert sum(len(tokens) for tokens, _ in paths) > 0.8 * sum(len(c.token_ids) for c in completions)


def test_greedy_equals_full_forward_passes(sampler, policies, prompts, truth):
    completions = ask(sampler, prompts, [greedy(6)] * len(prompts))
    check(completions, [truth(policies[0], prompt, 6) for prompt in prompts])
    assert [(len(c.token_ids), c.stopped) for c in completions] == [(6, False)] * len(prompts)


def test_new_weights_are_used(sampler, policies, adapters, prompts, truth):
    said = set()
    for policy in (policies[1], adapters[0], adapters[1], policies[0]):
        asyncio.run(sampler.load_policy(policy))
        completions = ask(sampler, prompts[-2:], [greedy(6)] * 2)
        check(completions, [truth(policy, prompt, 6) for prompt in prompts[-2:]])
        said.add(tuple(completions[-1].token_ids))
    assert len(said) == 4


def test_logprobs_are_of_the_distribution_sampled_from(sampler, policies, prompts):
    params = [SamplingParams(8, temperature=t, seed=i) for i, t in enumerate((0.3, 0.7, 1.0, 1.5, 3.0, 0.9, 1.1))]
    model = load_causal_lm(policies[0], dtype=torch.float32, device="cpu")
    for prompt, p, completion in zip(prompts, params, ask(sampler, prompts, params), strict=True):
        ids = torch.tensor([[*prompt, *completion.token_ids.tolist()]])
        with torch.inference_mode():
            rows = (model(ids).logits[0, len(prompt) - 1 : -1] / p.temperature).log_softmax(-1)
        expected = rows.gather(1, ids[0, len(prompt) :, None])[:, 0]
        np.testing.assert_allclose(completion.logprobs, expected, atol=TOLERANCE / p.temperature)


def test_a_request_depends_on_its_seed_and_not_on_its_neighbours(sampler, prompts):
    params = [SamplingParams(4 + 3 * i, seed=100 + i) for i in range(len(prompts))]  # rows end at different steps
    together = ask(sampler, prompts, params)
    alone = [ask(sampler, [p], [q])[0] for p, q in zip(prompts, params, strict=True)]
    for one, other in zip(together, alone, strict=True):
        assert one.token_ids.tolist() == other.token_ids.tolist()
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=TOLERANCE)
    assert [len(c.token_ids) for c in together] == [p.max_tokens for p in params]


def test_the_same_batch_gives_the_same_bits(sampler, prompts):
    params = [SamplingParams(8, seed=i) for i in range(len(prompts))]
    first, second = ask(sampler, prompts, params), ask(sampler, prompts, params)
    assert all(np.array_equal(a.logprobs, b.logprobs) for a, b in zip(first, second, strict=True))
    assert all(np.array_equal(a.token_ids, b.token_ids) for a, b in zip(first, second, strict=True))


def test_seeds_tell_the_members_of_a_group_apart(sampler, prompts):
    params = [SamplingParams(8, seed=seed) for seed in (1, 2, 3, 1)]
    said = [tuple(c.token_ids) for c in ask(sampler, [prompts[0]] * 4, params)]
    assert said[0] == said[3]
    assert len(set(said)) == 3


def test_a_stop_token_ends_a_completion_and_is_its_last(sampler, policies, prompts, truth):
    tokens, _ = truth(policies[0], prompts[1], 4)
    first = tokens.index(tokens[2])
    cut, whole = ask(sampler, [prompts[1]] * 2, [greedy(4, 263, tokens[2]), greedy(4)])
    assert (cut.token_ids.tolist(), cut.stopped) == (tokens[: first + 1], True)
    assert len(cut.logprobs) == first + 1
    assert (whole.token_ids.tolist(), whole.stopped) == (tokens, False)


def test_batches_of_any_size_give_the_same(policies, prompts):
    params = [SamplingParams(6, seed=i) for i in range(len(prompts) * 3)]
    said = []
    for settings in (SamplerSettings(device="cpu"), SamplerSettings(device="cpu", max_batch=4, batch_tokens=800)):
        sampler = TransformersSampler(policies[0], settings)
        said.append([c.token_ids.tolist() for c in ask(sampler, prompts * 3, params)])
        sampler.close()
    assert said[0] == said[1]


def test_too_long_a_request_is_refused(sampler):
    with pytest.raises(SamplerError, match="a prompt of 2040 and 9 new tokens exceed context_tokens = 2048"):
        ask(sampler, [[1] * 2040], [greedy(9)])


@given(st.lists(st.floats(-8, 8), min_size=2, max_size=12), st.floats(0.2, 4))
def test_drawing_inverts_the_distribution(logits, temperature):
    """At n evenly spread numbers, each token is drawn n p times, to within rounding at its two edges."""
    n = 2000
    rows = torch.tensor(logits).expand(n, -1)
    uniforms = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    tokens, logprobs = draw(rows, torch.full((n,), temperature), uniforms)
    probabilities = (torch.tensor(logits, dtype=torch.float64) / temperature).softmax(-1)
    counts = torch.bincount(tokens, minlength=len(logits))
    assert (counts - n * probabilities).abs().max() <= 1.01
    assert torch.allclose(logprobs.double(), probabilities.log()[tokens], atol=1e-4)


def test_greedy_and_random_rows_share_a_batch():
    rows = torch.tensor([[0.0, 2.0, 1.0]] * 2)
    tokens, logprobs = draw(rows, torch.tensor([0.0, 2.0]), torch.tensor([0.99, 0.99], dtype=torch.float64))
    assert tokens.tolist() == [1, 2]
    expected = [float(rows[0].log_softmax(-1)[1]), float((rows[1] / 2).log_softmax(-1)[2])]
    assert logprobs.tolist() == pytest.approx(expected)
