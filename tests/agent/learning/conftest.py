"""A tiny Llama with a tokenizer, saved as transformers saves them, and random segments for it."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from journeyman.agent.data import PolicyRef, Segment

VOCABULARY = 31


def tiny_llama(seed=0, **changes):
    """Weights large enough that positions and masks matter to the result."""
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48, "num_attention_heads": 4}
    torch.manual_seed(seed)
    more = {"num_key_value_heads": 2, "initializer_range": 0.3, "vocab_size": VOCABULARY, "tie_word_embeddings": True}
    return LlamaForCausalLM(LlamaConfig(**(shape | more | changes))).eval()


def tiny_tokenizer():
    vocabulary = {f"w{i}": i for i in range(VOCABULARY)}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="w0"))
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="w1", pad_token="w2", unk_token="w0")


@pytest.fixture(scope="session")
def policy_of(tmp_path_factory):
    """Saves a `tiny_llama` of the shape that a test asks for."""

    def save(**changes) -> PolicyRef:
        folder = tmp_path_factory.mktemp("models") / "tiny"
        tiny_llama(**changes).save_pretrained(folder)
        tiny_tokenizer().save_pretrained(folder)
        return PolicyRef(0, str(folder))

    return save


@pytest.fixture(scope="session")
def policy(policy_of) -> PolicyRef:
    return policy_of()


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random_segments(seed, groups=3, longest_prompt=9, longest=7, logprobs=True) -> list[Segment]:
    """Groups of unequal sizes, with masks that have holes (and sometimes leave nothing to train on)."""
    chance = np.random.default_rng(seed)
    segments = []
    for _ in range(groups):
        prompt = chance.integers(0, VOCABULARY, chance.integers(1, longest_prompt + 1)).astype(np.int32)
        for _ in range(chance.integers(1, 5)):
            ids = chance.integers(0, VOCABULARY, chance.integers(1, longest + 1)).astype(np.int32)
            mask = chance.random(len(ids)) < 0.7
            mask[0] |= not segments  # at least one token of all is trained
            behaviour = -chance.gamma(2.0, 1.5, mask.sum()).astype(np.float32) if logprobs else None
            segments.append(Segment(prompt, ids, mask, behaviour))
    return segments


@pytest.fixture(scope="session")
def llama():
    """`tiny_llama`, for tests to call."""
    return tiny_llama


@pytest.fixture(scope="session")
def segments_of():
    """`random_segments`, for tests to call."""
    return random_segments
