"""Tiny random models of the families that people come with: two layers, every weight random, norms and biases too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.utils import logging

from journeyman.agent.manifests import seal, version_of
from journeyman.agent.models import byte_tokenizer

_SIZES = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 512,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 1,
    "initializer_range": 0.15,
}
_WINDOWS = {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]}
_EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 32}
_YARN = {
    "rope_type": "yarn",
    "rope_theta": 10_000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 128,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
}
_ALPHA = {
    "rope_type": "dynamic",
    "rope_theta": 10_000.0,
    "alpha": 1_000.0,
    "factor": 1.0,
    "beta_fast": 32,
    "beta_slow": 1,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
}

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {"tie_word_embeddings": False}),
    "llama tied": ("LlamaConfig", {"tie_word_embeddings": True}),
    "qwen2": ("Qwen2Config", {"tie_word_embeddings": False}),
    "qwen2 tied": ("Qwen2Config", {"tie_word_embeddings": True}),
    "qwen3": ("Qwen3Config", {"tie_word_embeddings": False}),
    "qwen3 tied": ("Qwen3Config", {"tie_word_embeddings": True}),
    "gemma3 tied": ("Gemma3TextConfig", {"tie_word_embeddings": True, **_WINDOWS}),
    "phi3": ("Phi3Config", {"tie_word_embeddings": False}),
    "mistral": ("MistralConfig", {"tie_word_embeddings": False, "sliding_window": None}),
    "olmo2": ("Olmo2Config", {"tie_word_embeddings": False}),
    "smollm3 tied": ("SmolLM3Config", {"tie_word_embeddings": True}),
    "olmo3": ("Olmo3Config", _WINDOWS),
    "phi": ("PhiConfig", {}),
    "pythia": ("GPTNeoXConfig", {}),
    "starcoder2": ("Starcoder2Config", {"sliding_window": None}),
    "granite tied": ("GraniteConfig", {"tie_word_embeddings": True}),
    "hunyuan tied": ("HunYuanDenseV1Config", {"tie_word_embeddings": True, "rope_parameters": _ALPHA}),
    "qwen3_moe": ("Qwen3MoeConfig", {"tie_word_embeddings": False, "num_experts": 4, **_EXPERTS}),
    "gpt_oss": (
        "GptOssConfig",
        {
            "tie_word_embeddings": False,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "intermediate_size": 64,
            "rope_parameters": _YARN,
            **_WINDOWS,
        },
    ),
}
"""Family -> its configuration class and what it has beside the sizes."""


def make_model(family: str, folder: Path, seed: int, **options: Any) -> Path:
    """Writes an untrained model of the family (float32) with the byte tokenizer to `folder`, and returns that."""
    kind, own = FAMILIES[family]
    config = getattr(transformers, kind)(**{**_SIZES, **own, **options}, dtype="float32")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = transformers.AutoModelForCausalLM.from_config(config)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.ndim == 1:
                    weight.add_(0.1 * torch.randn_like(weight))
    logging.disable_progress_bar()
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def make_version(family: str, folder: Path, seed: int, **options: Any) -> Path:
    """As `make_model`, sealed as a version of a run that the folder's name says."""
    seal(make_model(family, folder, seed, **options), version_of(folder), parent=None, base=None)
    return folder
