"""Tiny process reward models of every family's shape, with random weights, and attempts for them to judge."""

import json
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from journeyman.agent.data import Message, Source, Split, StopReason, Task, Trajectory, Turn
from journeyman.agent.models import load_tokenizer, make_tiny

NEW_TOKENS = [" ки", " Yes", " No", ".\n", "\\boxed{correct}", "\\boxed{incorrect}"]


def task(problem="What is 1 + 2 * 3?"):
    return Task("dataset", None, (Message("system", "Be brief."), Message("user", problem)), Split.TEST, "0" * 32)


def said(*texts, seen=()):
    turns = [Turn(Message("assistant", text)) for text in texts]
    for i, observation in enumerate(seen):
        turns[i] = Turn(turns[i].action, (Message("tool", observation),))
    return Trajectory("0" * 32, Source.POLICY, tuple(turns), (), StopReason.TERMINATED)


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    """A byte-level tokenizer with the families' markers as single tokens, and a token that crosses a line's end."""
    folder = make_tiny(tmp_path_factory.mktemp("tiny"), seed=0, hidden=8, layers=1, heads=1, intermediate=8)
    tokenizer = load_tokenizer(str(folder))
    tokenizer.add_tokens(NEW_TOKENS)
    tokenizer.add_tokens(["<extra_0>"], special_tokens=True)
    return tokenizer


def tiny_model(kind, tokenizer, seed=0, positions=1024, hidden=32, **options):
    """A random model of the transformers class `kind`, e.g. Qwen2ForCausalLM, with logits that differ well."""
    import transformers

    config_class = getattr(transformers, kind.partition("For")[0].removesuffix("Model") + "Config")
    config = config_class(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=positions,
        initializer_range=0.3,
        tie_word_embeddings=False,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        **options,
    )
    torch.manual_seed(seed)
    return getattr(transformers, kind)(config).eval()


def save_beside(folder, tensors, architecture):
    """Adds tensors to a saved checkpoint, and names it as a model of another architecture."""
    file = folder / "model.safetensors"
    save_file(load_file(file) | tensors, file, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text()) | {"architectures": [architecture]}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory, tokenizer):
    """`model_folder("Qwen2ForCausalLM", "name", **options)`: the folder, its model and its tokenizer."""

    def make(kind, name="model", **options):
        folder = tmp_path_factory.mktemp("prm") / name
        model = tiny_model(kind, tokenizer, **options)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder, model, tokenizer

    return make


@pytest.fixture(scope="module")
def tests():
    """The functions of this file."""
    return SimpleNamespace(task=task, said=said, save_beside=save_beside)
