"""The model `tiny` and the names of models."""

import json
import shutil
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from journeyman.agent.data import PolicyRef
from journeyman.agent.errors import UnknownNameError, UsageError
from journeyman.agent.models import (
    LengthScaling,
    length_scaling,
    load_causal_lm,
    load_tokenizer,
    make_tiny,
    resolve_model,
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("models") / "tiny", 0)


@pytest.fixture(scope="module")
def tokenizer(tiny):
    return load_tokenizer(str(tiny))


def test_about_a_million_float32_parameters(tiny):
    model = load_causal_lm(PolicyRef(0, str(tiny)), dtype=torch.float32, device="cpu")
    assert 0.9e6 < sum(p.numel() for p in model.parameters()) < 1.3e6
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert json.loads((tiny / "config.json").read_text())["architectures"] == ["LlamaForCausalLM"]


@pytest.mark.parametrize(
    ("rope", "expected"),
    [
        ({"rope_type": "default"}, None),
        ({"rope_type": "yarn", "factor": 4.0}, None),
        ({"rope_type": "dynamic", "factor": 4.0}, LengthScaling("dynamic", 4096)),
        ({"rope_type": "longrope", "original_max_position_embeddings": 512}, LengthScaling("longrope", 512)),
        ({"type": "longrope"}, LengthScaling("longrope", 1024)),
        ({"sliding": {"rope_type": "default"}, "full": {"rope_type": "dynamic"}}, LengthScaling("dynamic", 4096)),
    ],
)
def test_positions_that_depend_on_the_length_are_found(rope, expected):
    original = {"original_max_position_embeddings": 1024} if "type" in rope else {}
    config = SimpleNamespace(max_position_embeddings=4096, rope_parameters=rope, **original)
    assert length_scaling(config) == expected


def test_weights_depend_on_the_seed_alone(tiny, tmp_path):
    torch.manual_seed(123)  # the caller's own random state neither matters nor changes
    before = torch.random.get_rng_state()
    again, other = make_tiny(tmp_path / "again", 0), make_tiny(tmp_path / "other", 1)
    assert torch.equal(torch.random.get_rng_state(), before)
    weights = [(folder / "model.safetensors").read_bytes() for folder in (tiny, again, other)]
    assert weights[0] == weights[1] != weights[2]


def test_printable_ascii_and_newline_are_one_token_each(tokenizer):
    text = "\n" + "".join(map(chr, range(32, 127)))
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert len(ids) == len(set(ids)) == 96


def test_markers_are_one_token_each(tokenizer):
    text = "<|bos|><|system|><|user|><|assistant|><|tool|><|end|><|pad|><tool_call></tool_call>"
    assert len(tokenizer(text, add_special_tokens=False).input_ids) == 9


@given(st.text())
def test_every_text_comes_back(tokenizer, text):
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text


def test_a_chat_costs_three_tokens_a_message(tokenizer):
    chat = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]
    text = tokenizer.apply_chat_template(chat, tokenize=False)
    assert text == "<|bos|><|user|>hi<|end|><|assistant|>yo<|end|>"


def has_mistral_common():
    return bool(list(metadata.distributions(name="mistral-common")))


@pytest.mark.skipif(not has_mistral_common(), reason="mistral_common is not installed")
@pytest.mark.parametrize("named", [None, "LlamaTokenizerFast", "TokenizersBackend", "MistralCommonBackend"])
@pytest.mark.parametrize("model_type", ["mistral", "mistral3", "ministral", "mixtral"])
def test_beside_tekken_json_the_tokenizer_is_hugging_faces(tiny, tokenizer, tmp_path, model_type, named):
    """Mistral's own, which transformers takes where it is installed, has no chat template."""
    import mistral_common

    folder = Path(shutil.copytree(tiny, tmp_path / "model"))
    shutil.copy(Path(mistral_common.__file__).parent / "data" / "tekken_240911.json", folder / "tekken.json")
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    told = json.loads((folder / "tokenizer_config.json").read_text()) | {"tokenizer_class": named}
    (folder / "tokenizer_config.json").write_text(json.dumps({k: v for k, v in told.items() if v is not None}))
    found = load_tokenizer(str(folder))
    assert found.chat_template == tokenizer.chat_template
    ids = [of("<|user|>hi<|end|>", add_special_tokens=False).input_ids for of in (found, tokenizer)]
    assert ids[0] == ids[1]


def test_resolve_takes_tiny_and_folders(tiny):
    assert resolve_model("tiny") == "tiny"
    assert resolve_model(str(tiny)) == str(tiny)


def test_resolve_names_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UnknownNameError, match="unknown model 'tinny': did you mean 'tiny'"):
        resolve_model("tinny")
    with pytest.raises(UnknownNameError, match=r"holds no config\.json: save the model into it"):
        resolve_model(str(tmp_path))
    with pytest.raises(UsageError, match=r"give a folder that holds config\.json") as caught:
        resolve_model(str(tmp_path / "missing"))
    assert "\n" not in str(caught.value)
