"""Will a base model load, and is it one that speaks? Found out before a run begins, without reading its weights."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from journeyman.agent.errors import SettingsError

logger = logging.getLogger(__name__)


def check_base(name: str) -> None:
    """Raises SettingsError where the model in the folder or of the hub name is damaged or no language model.

    Its weights are compared with its configuration by their names and shapes; those of a hub name are fetched first.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    config: Any = AutoConfig.from_pretrained(name)
    kinds: list[Any] = [AutoModelForCausalLM, AutoModelForImageTextToText]
    speaks, sees = (type(config) in kind._model_mapping for kind in kinds)
    if not (speaks or sees) or getattr(config, "is_encoder_decoder", False):
        raise SettingsError(
            f"model {name!r} is a {config.model_type!r}, no language model that goes on with a text: take a causal one"
        )
    if speaks and getattr(config, "quantization_config", None) is None:
        _compare(name)


def check_vocabulary(name: str, tokenizer: Any, ids: set[int]) -> None:
    """Raises SettingsError where `ids`, which prompts and turns are made of, are more than the model has embeddings.

    Where the model has more of them than the tokenizer has tokens there is a warning.
    """
    from transformers import AutoConfig

    size: int | None = getattr(AutoConfig.from_pretrained(name).get_text_config(), "vocab_size", None)
    if size is None:
        return
    if (largest := max(ids, default=0)) >= size:
        raise SettingsError(
            f"model {name!r} has embeddings of {size} tokens, and its tokenizer writes token {largest} "
            f"({tokenizer.convert_ids_to_tokens(largest)!r}): take the tokenizer that the model was trained with"
        )
    if size > len(tokenizer):
        logger.warning(
            "model %r knows %d tokens and its tokenizer %d: the others are padding, and one that is sampled reads as "
            "nothing",
            name,
            size,
            len(tokenizer),
        )


def _compare(name: str) -> None:
    """Raises SettingsError where weights are cut, or are not those that the configuration speaks of."""
    from transformers import AutoModelForCausalLM

    with in_one_line(name), _silent():
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            name, device_map="meta", output_loading_info=True, ignore_mismatched_sizes=True
        )
    model, info = loaded
    kinds = {_kind(key) for key in model.state_dict()}
    wrong = {
        "is of another shape than config.json says": [str(key[0]) for key in info["mismatched_keys"]],
        "is missing": info["missing_keys"],
        "is one more than config.json speaks of": [key for key in info["unexpected_keys"] if _kind(key) in kinds],
    }
    for what, keys in wrong.items():
        if keys:
            more = f" (and {len(keys) - 1} more)" if len(keys) > 1 else ""
            raise SettingsError(
                f"model {name!r} is damaged: of its weights {min(keys)} {what}{more}; save it again, configuration and "
                "weights together"
            )


def _kind(key: str) -> str:
    """A weight's name without the number of its layer."""
    return re.sub(r"\d+", "N", key)


@contextmanager
def in_one_line(name: str) -> Iterator[None]:
    """What transformers raises while the model `name` is loaded becomes a SettingsError of one line."""
    try:
        yield
    except Exception as error:  # of many kinds, some of several lines
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise SettingsError(f"model {name!r} cannot be loaded ({why}): save it again, or take another one") from error


@contextmanager
def _silent() -> Iterator[None]:
    """Without transformers' bars and its report of what did not fit: we say that ourselves."""
    from transformers.utils import logging as reports

    reports.disable_progress_bar()  # type: ignore[no-untyped-call]
    before = reports.get_verbosity()
    reports.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        reports.set_verbosity(before)
