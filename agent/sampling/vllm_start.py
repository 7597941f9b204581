"""Starts a vLLM engine in this process: its environment variables and its arguments."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from journeyman.agent.data import PolicyRef
from journeyman.agent.errors import SamplerError
from journeyman.agent.models import length_scaling
from journeyman.agent.probes import LENGTHS
from journeyman.agent.sampling.settings import SamplerSettings

LORA_RANKS = (8, 16, 32, 64, 128, 256)
"""What vLLM takes as its largest adapter rank."""
BATCHED_TOKENS = 8192
"""Most tokens of one engine step."""


def start_engine(policy: PolicyRef, settings: SamplerSettings) -> Any:
    """An `LLMEngine` with the full weights of `policy.path`; float32 and eager on CPU.

    Raises what vLLM raises, and SamplerError where it would have to apply adapters to experts.
    """
    import torch

    _set_environment(settings)
    set_threads = torch.set_num_threads  # vLLM puts a warning in its place
    arguments = _arguments(policy.path, settings, cpu=not torch.cuda.is_available())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it walks through deprecated names of torch
        from vllm import EngineArgs
        from vllm.v1.engine.llm_engine import LLMEngine

        model = EngineArgs(**arguments).create_model_config()
        if settings.lora_rank and model.is_moe:
            raise SamplerError(
                f"sampler 'vllm' cannot take LoRA adapters on the experts of {policy.path!r}: take the sampler "
                "'transformers', or set model.lora_rank to 0"
            )
        if model.using_transformers_backend():
            arguments["enforce_eager"] = True
        with _class_of_model_unchanged(policy.path):
            engine = LLMEngine.from_engine_args(EngineArgs(**arguments))
    torch.set_num_threads = set_threads
    return engine


def _arguments(path: str, settings: SamplerSettings, *, cpu: bool) -> dict[str, Any]:
    """What the engine is told; raises ValueError for a rank that vLLM does not take."""
    arguments: dict[str, Any] = {
        "model": path,
        "dtype": ("float32" if cpu else "bfloat16") if settings.dtype == "auto" else settings.dtype,
        "max_model_len": max(settings.context_tokens, LENGTHS[-1] + 1),  # probe sequences, and one token behind them
        "max_num_seqs": settings.max_batch,
        "max_num_batched_tokens": max(BATCHED_TOKENS, settings.context_tokens),
        "logprobs_mode": "processed_logprobs",
        "enable_prefix_caching": True,
        "enable_chunked_prefill": False,  # on CPU vLLM cannot rewind a seeded request that samples at a chunk's end
        "use_tqdm_on_load": False,
        "enforce_eager": cpu,
        "skip_tokenizer_init": True,
        "generation_config": "vllm",
        "disable_log_stats": True,
    }
    if cpu:
        arguments["block_size"] = 32  # its default of 128 tokens leaves short prompts and turns out of the prefix cache
    else:
        arguments["gpu_memory_utilization"] = settings.gpu_memory
    if scales := _without_scaling(path):
        arguments["hf_overrides"] = scales
    if settings.lora_rank:
        rank = next((r for r in LORA_RANKS if r >= settings.lora_rank), None)
        if rank is None:
            raise ValueError(f"lora_rank {settings.lora_rank} is over {LORA_RANKS[-1]}, the most that vLLM takes")
        arguments |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": rank}
    return arguments


def _without_scaling(path: str) -> dict[str, Any]:
    """Overrides that keep vLLM from scaling `dynamic` positions, as it does at every length.

    The learner does so beyond the model's own context alone, which no text here exceeds (see `check_length`). Where the
    positions are stretched by an `alpha` both do the same at every length.
    """
    from transformers import AutoConfig

    config: Any = AutoConfig.from_pretrained(path).get_text_config()
    scaling = length_scaling(config)
    if scaling is None or scaling.kind != "dynamic" or config.rope_parameters.get("alpha"):
        return {}
    plain = {k: v for k, v in config.rope_parameters.items() if k in ("rope_theta", "partial_rotary_factor")}
    return {"rope_parameters": plain | {"rope_type": "default"}}


@contextmanager
def _class_of_model_unchanged(path: str) -> Iterator[None]:
    """Puts transformers' own class of the model back as it was.

    Where vLLM has no model of its own it runs that class, which it decorates for torch.compile: from then on nobody
    else, the learner for one, can make or call an object of it. An eager engine has no use for the decoration.
    """
    from transformers import MODEL_MAPPING, AutoConfig

    kind = type(AutoConfig.from_pretrained(path).get_text_config())
    if kind not in MODEL_MAPPING:  # vLLM has a model of its own for it
        yield
        return
    model_class: Any = MODEL_MAPPING[kind]
    bases, members = model_class.__bases__, dict(vars(model_class))
    try:
        yield
    finally:
        if model_class.__bases__ != bases:
            model_class.__bases__ = bases
            for name in set(vars(model_class)) - set(members):
                delattr(model_class, name)
            for name, value in members.items():
                if vars(model_class)[name] is not value:
                    setattr(model_class, name, value)


def _set_environment(settings: SamplerSettings) -> None:
    """What vLLM reads from the environment. What a user has set stands, except what this module relies on."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    defaults = {
        "VLLM_LOGGING_LEVEL": "CRITICAL",  # its errors are raised too
        "VLLM_LOGGING_STREAM": "ext://sys.stderr",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": str(settings.cpu_cache_gib),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # the learner needs the cores too
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    logging.getLogger("vllm").setLevel(os.environ["VLLM_LOGGING_LEVEL"])  # for what it logs before it reads that
