"""Which models may be padded on the left or share batches at all, and that the others are sampled right without."""

import asyncio

import numpy as np
import pytest
import torch
import transformers
from tiny_models import make_model

from journeyman.agent.data import PolicyRef, SamplingParams
from journeyman.agent.errors import SamplerError
from journeyman.agent.models import byte_tokenizer, load_causal_lm
from journeyman.agent.sampling.decoding import sharing_of, teacher_forced
from journeyman.agent.sampling.settings import SamplerSettings
from journeyman.agent.sampling.transformers_engine import TransformersSampler

BOUND = 2e-4
SIZES = {"vocab_size": 320, "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 2}
STATES = {"vocab_size": 320, "hidden_size": 64, "num_hidden_layers": 2, "state_size": 16}
RECURRENT = {
    "falcon_mamba": transformers.FalconMambaConfig(**STATES),
    "recurrent_gemma": transformers.RecurrentGemmaConfig(**SIZES, num_hidden_layers=3, lru_width=64),
}


def random_model(config):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config).eval()
        with torch.no_grad():
            for weight in model.parameters():
                if weight.ndim == 2:
                    weight.mul_(5)
    return model


@pytest.mark.parametrize("family", ["llama", "gemma3 tied", "gpt_oss"])
def test_attention_sharing_of(family, tmp_path):
    model = load_causal_lm(PolicyRef(0, str(make_model(family, tmp_path, 0))), dtype=torch.float32, device="cpu")
    assert sharing_of(model, BOUND) == "any lengths"


@pytest.mark.parametrize(("kind", "sharing"), [("falcon_mamba", "equal lengths"), ("recurrent_gemma", "nothing")])
def test_recurrent_models_are_sampled_without_padding(kind, sharing, tmp_path):
    model = random_model(RECURRENT[kind])
    assert sharing_of(model, BOUND) == sharing
    model.save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    sampler = TransformersSampler(PolicyRef(0, str(tmp_path)), SamplerSettings(device="cpu", dtype="float32"))
    prompts = [list(range(3, 3 + n)) for n in (5, 9, 9, 14)]

    async def ask():
        params = [SamplingParams(6, 1.0, seed=i) for i in range(len(prompts))]
        return await asyncio.gather(*(sampler.generate(p, q) for p, q in zip(prompts, params, strict=True)))

    completions = asyncio.run(ask())
    sequences = [prompt + c.token_ids.tolist() for prompt, c in zip(prompts, completions, strict=True)]
    scored = asyncio.run(sampler.score(sequences))
    sampler.close()
    for prompt, completion, ids, score in zip(prompts, completions, sequences, scored, strict=True):
        with torch.inference_mode():
            plain = model(torch.tensor([ids]), use_cache=False).logits[0, :-1].log_softmax(-1)
        expected = plain.gather(1, torch.tensor(ids[1:])[:, None])[:, 0].numpy()
        np.testing.assert_allclose(score, expected, atol=1e-4)
        np.testing.assert_allclose(completion.logprobs, expected[len(prompt) - 1 :], atol=1e-4)


def test_a_cache_of_another_kind_is_refused_by_name(tmp_path):
    shape = {"num_hidden_layers": 2, "num_key_value_heads": 2, "head_dim": 32, "num_local_experts": 2}
    model = random_model(transformers.MiniMaxConfig(**SIZES, **shape))
    says = r"sampler 'transformers' cannot decode MiniMaxForCausalLM with a cache \(ValueError: .*\): take the sampler"
    with pytest.raises(SamplerError, match=says):
        sharing_of(model, BOUND)


def test_a_cache_that_is_not_looked_at_is_refused_by_name():
    model = random_model(transformers.GPT2Config(vocab_size=320, n_embd=64, n_layer=2, n_head=2))
    forward = model.forward

    def forgetful(input_ids=None, past_key_values=None, **others):
        return forward(input_ids, **others)

    model.forward = forgetful
    with pytest.raises(
        SamplerError, match=r"GPT2LMHeadModel: with a cache its log-probs are .* over the bound of 0.0002"
    ):
        sharing_of(model, BOUND)


def test_scores_are_those_of_unequal_sequences_each_alone(tmp_path):
    model = random_model(transformers.GPT2Config(vocab_size=320, n_embd=64, n_layer=2, n_head=2))
    sequences = [list(range(5, 5 + n)) for n in (2, 7, 12)]
    together = teacher_forced(model, sequences, [1, 7, 4])
    for ids, found in zip(sequences, together, strict=True):
        with torch.inference_mode():
            plain = model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
        np.testing.assert_allclose(found, plain.gather(1, torch.tensor(ids[1:])[:, None])[:, 0], atol=2e-5)
