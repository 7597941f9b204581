"""The vLLM sampler against transformers: the same tokens before and after every change of weights."""

import asyncio
import shutil
import threading
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch

from journeyman.agent.data import PolicyRef, SamplingParams
from journeyman.agent.errors import DamagedPolicyError, SamplerError
from journeyman.agent.models import load_causal_lm
from journeyman.agent.sampling.factory import installed_vllm, open_sampler
from journeyman.agent.sampling.settings import SamplerSettings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.vllm,
    pytest.mark.skipif(installed_vllm() is None, reason="vLLM is not installed"),
]

TOLERANCE = 2e-4
"""On log-probs of logits up to about 50 in float32: sums taken in another order; the largest seen here is 4e-5."""


@pytest.fixture(scope="module", params=[0, 8], ids=["plain", "lora"])
def sampler(request, policies):
    """One engine for the tests of full weights alone, then one that takes adapters too."""
    settings = SamplerSettings(lora_rank=request.param, context_tokens=512)
    sampler = open_sampler("vllm", policies[0], settings)
    sampler.takes_adapters = request.param > 0
    yield sampler
    sampler.close()


def ask(sampler, prompts, params):
    async def all_at_once():
        return await asyncio.gather(*(sampler.generate(p, q) for p, q in zip(prompts, params, strict=True)))

    return asyncio.run(all_at_once())


def greedy(steps, *stop_ids):
    return SamplingParams(steps, temperature=0.0, stop_ids=stop_ids)


def check(sampler, policy, prompts, truth):
    """Twice, so that the second time the prompts come out of the prefix cache; gives what was said last.

    Token for token, as far as the true path is decisive (most of the way).
    """
    paths = [truth(policy, prompt, 6) for prompt in prompts]
    assert sum(len(tokens) for tokens, _ in paths) > 0.8 * 6 * len(prompts)
    for _ in range(2):
        completions = ask(sampler, prompts, [greedy(6)] * len(prompts))
        for (tokens, logprobs), completion in zip(paths, completions, strict=True):
            assert completion.token_ids[: len(tokens)].tolist() == tokens
            np.testing.assert_allclose(completion.logprobs[: len(tokens)], logprobs, atol=TOLERANCE)
    return tuple(completions[-1].token_ids)


def test_greedy_equals_transformers_across_weight_updates(sampler, policies, prompts, truth):
    """The same prompts every time, some over 300 tokens: a stale block of the prefix cache would show."""
    said = []
    for policy in (policies[0], policies[1], policies[2], policies[0]):
        asyncio.run(sampler.load_policy(policy))
        said.append(check(sampler, policy, prompts, truth))
    assert len(set(said)) == 3
    assert said[0] == said[3]


def test_greedy_equals_transformers_across_adapters(sampler, policies, adapters, prompts, truth):
    if not sampler.takes_adapters:
        with pytest.raises(SamplerError, match="set lora_rank to its rank or more"):
            asyncio.run(sampler.load_policy(adapters[0]))
        asyncio.run(sampler.load_policy(policies[0]))
        return
    said = []
    for policy in (policies[0], adapters[0], adapters[1], adapters[0], policies[1]):
        asyncio.run(sampler.load_policy(policy))
        said.append(check(sampler, policy, prompts[-2:], truth))
    assert len(set(said)) == 4
    assert said[1] == said[3]


def test_logprobs_are_of_the_distribution_sampled_from(sampler, policies, prompts):
    asyncio.run(sampler.load_policy(policies[0]))
    params = [SamplingParams(8, temperature=t, seed=i) for i, t in enumerate((0.3, 0.7, 1.0, 1.5, 2.0, 0.9, 1.1))]
    model = load_causal_lm(policies[0], dtype=torch.float32, device="cpu")
    for prompt, p, completion in zip(prompts, params, ask(sampler, prompts, params), strict=True):
        ids = torch.tensor([[*prompt, *completion.token_ids.tolist()]])
        with torch.inference_mode():
            rows = (model(ids).logits[0, len(prompt) - 1 : -1] / p.temperature).log_softmax(-1)
        expected = rows.gather(1, ids[0, len(prompt) :, None])[:, 0]
        np.testing.assert_allclose(completion.logprobs, expected, atol=TOLERANCE / min(1, p.temperature))


def test_seeds_tell_the_members_of_a_group_apart(sampler, prompts):
    params = [SamplingParams(8, temperature=2.0, seed=seed) for seed in (1, 2, 3, 1)]
    said = [tuple(c.token_ids) for c in ask(sampler, [prompts[0]] * 4, params)]
    assert said[0] == said[3]
    assert len(set(said)) == 3


def test_a_stop_token_ends_a_completion_and_is_its_last(sampler, policies, prompts, truth):
    """The tokenizer's own end of text does not count: the stop tokens are the caller's alone."""
    asyncio.run(sampler.load_policy(policies[0]))
    tokens, _ = truth(policies[0], prompts[1], 4)
    first = tokens.index(tokens[2])
    cut, whole = ask(sampler, [prompts[1]] * 2, [greedy(4, 263, tokens[2]), greedy(4)])
    assert (cut.token_ids.tolist(), cut.stopped) == (tokens[: first + 1], True)
    assert len(cut.logprobs) == first + 1
    assert (whole.token_ids.tolist(), whole.stopped) == (tokens, False)


def test_more_seeded_tokens_than_one_step_holds(sampler):
    """Prompts that fill several engine steps: a prompt is never split, which seeds on CPU would not survive."""
    rng = np.random.default_rng(1)
    prompts = [rng.integers(0, 256, 300).tolist() for _ in range(60)]
    completions = ask(sampler, prompts, [SamplingParams(2, seed=i + 1) for i in range(60)])
    assert [len(c.token_ids) for c in completions] == [2] * 60


def test_weights_change_only_between_requests(sampler, policies, prompts, truth):
    """A load asked for while requests are under way waits for them; requests after it see the new weights."""

    async def interleaved():
        await sampler.load_policy(policies[0])
        before = [asyncio.ensure_future(sampler.generate(prompts[-1], greedy(40)))]
        await asyncio.sleep(0.01)
        load = asyncio.ensure_future(sampler.load_policy(policies[1]))
        await asyncio.sleep(0)
        after = [asyncio.ensure_future(sampler.generate(prompts[-1], greedy(6)))]
        await load
        return (await before[0]).token_ids.tolist(), (await after[0]).token_ids.tolist()

    before, after = asyncio.run(interleaved())
    for said, policy in ((before, policies[0]), (after, policies[1])):
        tokens, _ = truth(policy, prompts[-1], 6)
        assert len(tokens) >= 3
        assert said[: len(tokens)] == tokens


def test_bad_requests_and_policies_are_errors_and_the_engine_goes_on(sampler, policies, prompts, truth, tmp_path):
    with pytest.raises(SamplerError, match="exceed context_tokens = 512"):
        ask(sampler, [[1] * 510], [greedy(9)])
    with pytest.raises(SamplerError, match=r"vLLM refuses a request: .*temperature"):
        ask(sampler, [[1]], [SamplingParams(1, temperature=3.0)])
    with pytest.raises(SamplerError, match="vLLM cannot load the policy"):
        asyncio.run(sampler.load_policy(PolicyRef(0, str(tmp_path))))
    damaged = PolicyRef(1, shutil.copytree(policies[1].path, tmp_path / Path(policies[1].path).parent.name / "v1"))
    Path(damaged.path, "config.json").unlink()
    with pytest.raises(DamagedPolicyError, match=r"config\.json is missing"):
        asyncio.run(sampler.load_policy(damaged))
    with pytest.raises(SamplerError, match="open in this process already"):
        open_sampler("vllm", policies[0], SamplerSettings())
    asyncio.run(sampler.load_policy(policies[2]))
    check(sampler, policies[2], prompts[:1], truth)


def test_the_learner_can_still_choose_its_threads(sampler):
    before = torch.get_num_threads()
    torch.set_num_threads(before)
    assert torch.get_num_threads() == before
    assert torch.set_num_threads.__module__ != "vllm.v1.worker.cpu_worker"


def test_no_thread_of_an_idle_engine_is_left_to_slow_the_learner(sampler, prompts):
    ask(sampler, prompts[:1], [greedy(4)])
    deadline = time.monotonic() + 5
    while any(thread.name == "vllm" for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "the engine's thread goes on without work"
        time.sleep(0.001)


def test_the_installed_version_is_named():
    name, version = installed_vllm().split()
    assert metadata.version(name) == version
