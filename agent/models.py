"""Makes the model `tiny`, checks model names, and loads models and tokenizers from a folder or a hub name.

Models in GGUF files, `smollm2` among them, are in gguf_models.py.

`tiny` is a Llama of about a million parameters over bytes. Every byte is one token, so printable ASCII characters
and the newline are one token each, any other text is a few (its UTF-8 bytes), and all text comes back unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from journeyman.agent.base_models import in_one_line
from journeyman.agent.data import PolicyRef
from journeyman.agent.errors import SettingsError, UnknownNameError
from journeyman.agent.gguf_models import SMOLLM2, gguf_config, gguf_file, gguf_tokenizer, is_gguf
from journeyman.agent.manifests import check

if TYPE_CHECKING:
    import torch

TINY = "tiny"
"""The name that stands for a model made on the spot by `make_tiny`."""
BUILT_IN = (TINY, SMOLLM2)
"""Names that mean the same in every folder."""
TINY_CONTEXT = 2048
"""Most tokens that it holds."""

ORIGINAL = "original_max_position_embeddings"
"""The length up to which long-rope is as it was trained at first."""

BOS, PAD, END = "<|bos|>", "<|pad|>", "<|end|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")
CALL_OPEN, CALL_CLOSE = "<tool_call>", "</tool_call>"

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def make_tiny(
    folder: Path,
    seed: int,
    *,
    hidden: int = 128,
    layers: int = 4,
    heads: int = 4,
    intermediate: int = 512,
    max_positions: int = TINY_CONTEXT,
) -> Path:
    """Writes an untrained byte-level Llama (float32, 1.1 M parameters by default) with its tokenizer to `folder`.

    The weights depend on `seed` and the shape alone. transformers, peft and vLLM load the folder as they load any
    other. vLLM on CPUs needs `hidden / heads` to be 32, 64, 80, 96 or a multiple of 32 up to 256. Input and output
    embeddings are separate, so that every saved tensor has one name. Returns `folder`.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = byte_tokenizer(max_positions)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=max_positions,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
        initializer_range=0.06,  # the usual 0.02 suits wide models; at width 128 it learns slower from few examples
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = LlamaForCausalLM(config)  # type: ignore[no-untyped-call]
    _quiet()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def byte_tokenizer(max_positions: int = TINY_CONTEXT) -> Any:
    """The tokenizer of `tiny`, which is the same for all its shapes."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())  # the 256 characters that stand for bytes
    core = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in (BOS, PAD, *ROLES, END)])
    core.add_tokens([AddedToken(t, special=False, normalized=False) for t in (CALL_OPEN, CALL_CLOSE)])
    tokenizer: Any = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=core,
        bos_token=BOS,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=list(ROLES),
        model_max_length=max_positions,
        clean_up_tokenization_spaces=False,
        tool_format="positional",
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def resolve_model(name: str) -> str:
    """Checks that `name` can be loaded and returns it: a built-in, a GGUF file, a folder with config.json, a hub name.

    Raises UnknownNameError with the remedy where it cannot: a folder without config.json, or a name that is neither
    in the local hub cache nor to be had from the hub; SettingsError where its configuration or its tokenizer cannot be
    read, or a folder holds no weights.
    """
    from transformers import AutoConfig

    if name == TINY:
        return name
    if is_gguf(name):
        gguf_file(name)
        return name
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise UnknownNameError("model", name, BUILT_IN, "the folder holds no config.json: save the model into it")
    else:
        _find_on_hub(name)
    found = str(folder) if folder.is_dir() else name
    with in_one_line(found):
        AutoConfig.from_pretrained(found)
        load_tokenizer(found)
    if folder.is_dir() and not any([*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")]):
        raise SettingsError(f"model {found!r} has no weights (*.safetensors): save the model into the folder")
    return found


def _find_on_hub(name: str) -> None:
    """Has the hub's cache hold the model's configuration; raises UnknownNameError with what keeps it from that."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    remedies = (  # the first that fits: some are kinds of others
        (GatedRepoError, f"it is gated: accept its terms at https://huggingface.co/{name}, then set HF_TOKEN"),
        (RepositoryNotFoundError, "the hub has no model of that name, or it is private: then set HF_TOKEN"),
        (LocalEntryNotFoundError, "it is not in the cache, and the hub is out of reach"),
        (EntryNotFoundError, "its repository holds no config.json: take one that transformers loads"),
    )
    try:
        if not isinstance(try_to_load_from_cache(name, "config.json"), str):
            hf_hub_download(name, "config.json")
    except Exception as error:  # the hub's client raises errors of several libraries: all mean "not to be had"
        why = next((why for kind, why in remedies if isinstance(error, kind)), str(error).partition("\n")[0])
        remedy = f"there is no such folder, and the hub cannot give it ({why}); give a folder that holds config.json"
        raise UnknownNameError("model", name, BUILT_IN, remedy) from None


def is_folder(name: str) -> bool:
    """Whether a name that `resolve_model` gave stands for files of its own, in a folder or the hub's cache."""
    return name != TINY and not is_gguf(name)


def config_of(name: str) -> Any:
    """The configuration of a model by its name in the settings, `tiny` excepted; nothing is written."""
    from transformers import AutoConfig

    return gguf_config(gguf_file(name)) if is_gguf(name) else AutoConfig.from_pretrained(resolve_model(name))


def context_limit(name: str) -> int | None:
    """Most tokens that the model's positions reach, by its name in the settings; None where it does not say.

    Nor is it known of a model whose positions are stretched by a factor: engines differ in what they make of that.
    Where the factor depends on the length, it is the length up to which there is none.
    """
    if name == TINY:
        return TINY_CONTEXT
    config = config_of(name).get_text_config()
    found: int | None = getattr(config, "max_position_embeddings", None)
    by_length = length_scaling(config)
    if by_length is not None:
        return by_length.unscaled_tokens
    return None if any("factor" in rope for rope in _ropes(config)) else found


@dataclass(frozen=True, slots=True)
class LengthScaling:
    """How a model's positions are scaled where a text is longer than what it was first trained on.

    Such a model has no one distribution: transformers scales each forward pass by the length of its longest row, vLLM
    by the longest that it could be asked for, and keys of earlier tokens stay in a cache as they were.
    """

    kind: str
    """`longrope` or `dynamic`."""
    unscaled_tokens: int


def length_scaling(config: Any) -> LengthScaling | None:
    """Of a text model's configuration; None where positions do not depend on the length."""
    for rope in _ropes(config):
        kind = rope.get("rope_type", rope.get("type"))
        if kind in ("longrope", "dynamic"):
            told = [rope, vars(config)] if kind == "longrope" else []
            original = [one[ORIGINAL] for one in told if one.get(ORIGINAL)]
            return LengthScaling(kind, int([*original, config.max_position_embeddings][0]))
    return None


def check_length(name: str, tokens: int) -> None:
    """Raises SettingsError where sampler and learner would scale the model's positions differently at that length."""
    if name == TINY:
        return
    by_length = length_scaling(config_of(name).get_text_config())
    if by_length is not None and tokens > by_length.unscaled_tokens:
        raise SettingsError(
            f"sampler.max_context is {tokens}, and beyond {by_length.unscaled_tokens} tokens model {name!r} scales its "
            f"positions by the length of the text ({by_length.kind}), which sampler and learner cannot do alike: set "
            f"it to {by_length.unscaled_tokens} or lower"
        )


def _ropes(config: Any) -> list[dict[str, Any]]:
    """The settings of its rotary positions: one, or one for each kind of layer."""
    given = [getattr(config, field, None) or {} for field in ("rope_scaling", "rope_parameters")]
    return [rope for one in given for rope in (one, *one.values()) if isinstance(rope, dict)]


def tokenizer_of(name: str) -> Any:
    """The tokenizer of a model by its name in the settings; nothing is written."""
    if name == TINY:
        return byte_tokenizer()
    return gguf_tokenizer(gguf_file(name)) if is_gguf(name) else load_tokenizer(resolve_model(name))


def load_tokenizer(path: str) -> Any:
    """The tokenizer of a folder or hub name: Hugging Face's, which has the chat template.

    Beside `tekken.json` transformers would take mistral_common's, where that is installed, which has none.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    tokenizer: Any = AutoTokenizer.from_pretrained(path, mistral_format=False)
    if type(tokenizer).__name__.startswith("MistralCommon"):  # its tokenizer_config.json asks for that by name
        return PreTrainedTokenizerFast.from_pretrained(path)
    return tokenizer


def generation_stops(path: str) -> tuple[int, ...]:
    """The tokens that end what the model generates, by the generation configuration of a folder or hub name."""
    from transformers import GenerationConfig

    try:
        found: Any = GenerationConfig.from_pretrained(path).eos_token_id
    except OSError:  # it has none
        return ()
    return () if found is None else tuple(map(int, [found] if isinstance(found, int) else found))


def load_causal_lm(policy: PolicyRef, *, dtype: torch.dtype, device: str, trainable: bool = False) -> Any:
    """The policy's model (a `peft` model where it has an adapter) in evaluation mode.

    An adapter stays beside the base weights: merged into bfloat16 weights, small updates would be rounded away.
    `trainable` leaves the adapter's weights open to gradients. Raises DamagedPolicyError where its files are not those
    that were saved.
    """
    check(policy)
    _quiet()
    with in_one_line(policy.path):
        model: Any = _auto_class(policy.path).from_pretrained(policy.path, dtype=dtype)
    if policy.adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, policy.adapter, is_trainable=trainable)
    return model.to(device).eval()


def _auto_class(path: str) -> Any:
    """What loads the class that the configuration names, of images or sound too: what is saved stays of its kind."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMultimodalLM
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MULTIMODAL_LM_MAPPING

    config: Any = AutoConfig.from_pretrained(path)
    multimodal: Any = MODEL_FOR_MULTIMODAL_LM_MAPPING.get(type(config), None)
    if multimodal is None:
        return AutoModelForCausalLM
    named = multimodal.__name__ in (config.architectures or ())
    return (
        AutoModelForMultimodalLM if named or type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING else AutoModelForCausalLM
    )


def _quiet() -> None:
    """Turns off transformers' progress bars: on a terminal only our own lines are shown."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
