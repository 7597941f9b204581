"""Makes the model `tiny`, checks model names, and loads models and tokenizers from a folder or a hub name.

Models in GGUF files, `smollm2` among them, are in gguf_models.py.

`tiny` is a Llama of about a million parameters over bytes. Every byte is one token, so printable ASCII characters
and the newline are one token each, any other text is a few (its UTF-8 bytes), and all text comes back unchanged.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from journeyman.agent.data import PolicyRef
from journeyman.agent.errors import SettingsError, UnknownNameError
from journeyman.agent.gguf_models import SMOLLM2, gguf_config, gguf_file, gguf_tokenizer, is_gguf

if TYPE_CHECKING:
    import torch

TINY = "tiny"
"""The name that stands for a model made on the spot by `make_tiny`."""
BUILT_IN = (TINY, SMOLLM2)
"""Names that mean the same in every folder."""
TINY_CONTEXT = 2048
"""Most tokens that it holds."""

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
    in the local hub cache nor to be had from the hub; SettingsError for what is there and cannot be read.
    """
    if name == TINY:
        return name
    if is_gguf(name):
        gguf_file(name)
        return name
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise UnknownNameError("model", name, BUILT_IN, "the folder holds no config.json: save the model into it")
        _check_folder(folder)
        return str(folder)
    from huggingface_hub import HfApi, try_to_load_from_cache

    try:
        if not isinstance(try_to_load_from_cache(name, "config.json"), str):
            HfApi().model_info(name, timeout=10)
    except Exception as error:  # the hub's client raises errors of several libraries: all mean "not to be had"
        why = str(error).splitlines()[0]
        remedy = f"there is no such folder, and the hub cannot give it ({why}); give a folder that holds config.json"
        raise UnknownNameError("model", name, BUILT_IN, remedy) from None
    return name


def _check_folder(folder: Path) -> None:
    """Raises SettingsError where the folder's configuration or tokenizer cannot be read, or weights are missing."""
    from transformers import AutoConfig

    try:
        AutoConfig.from_pretrained(folder)
        load_tokenizer(str(folder))
    except Exception as error:  # transformers raises errors of many kinds, some of several lines
        why = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        raise SettingsError(f"model {str(folder)!r} cannot be loaded ({why}): save it and its tokenizer") from None
    if not any([*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")]):
        raise SettingsError(f"model {str(folder)!r} has no weights (*.safetensors): save the model into the folder")


def context_limit(name: str) -> int | None:
    """Most tokens that the model's positions reach, by its name in the settings; None where it does not say.

    Nor is it known of a model whose positions are stretched by a factor: engines differ in what they make of that.
    """
    if name == TINY:
        return TINY_CONTEXT
    from transformers import AutoConfig

    whole: Any = gguf_config(gguf_file(name)) if is_gguf(name) else AutoConfig.from_pretrained(resolve_model(name))
    config = whole.get_text_config()
    stretched = [getattr(config, field, None) or {} for field in ("rope_scaling", "rope_parameters")]
    if any("factor" in rope for rope in stretched):
        return None
    found: int | None = getattr(config, "max_position_embeddings", None)
    return found


def tokenizer_of(name: str) -> Any:
    """The tokenizer of a model by its name in the settings; nothing is written."""
    if name == TINY:
        return byte_tokenizer()
    return gguf_tokenizer(gguf_file(name)) if is_gguf(name) else load_tokenizer(resolve_model(name))


def load_tokenizer(path: str) -> Any:
    """The tokenizer of a folder or hub name."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(path)


def load_causal_lm(policy: PolicyRef, *, dtype: torch.dtype, device: str, trainable: bool = False) -> Any:
    """The policy's model (a `peft` model where it has an adapter) in evaluation mode.

    An adapter stays beside the base weights: merged into bfloat16 weights, small updates would be rounded away.
    `trainable` leaves the adapter's weights open to gradients.
    """
    from transformers import AutoModelForCausalLM

    _quiet()
    model: Any = AutoModelForCausalLM.from_pretrained(policy.path, dtype=dtype)
    if policy.adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, policy.adapter, is_trainable=trainable)
    return model.to(device).eval()


def _quiet() -> None:
    """Turns off transformers' progress bars: on a terminal only our own lines are shown."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
