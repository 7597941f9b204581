"""Settings of the in-process samplers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from journeyman.agent.data import SamplingParams
from journeyman.agent.errors import SamplerError

SamplerKind: TypeAlias = Literal["auto", "vllm", "transformers"]
Dtype: TypeAlias = Literal["auto", "float32", "bfloat16"]
Device: TypeAlias = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class SamplerSettings:
    """How to run a sampler's engine; the defaults suit a small model on CPU, and a GPU shared with training."""

    device: Device = "auto"
    """`auto` is CUDA where there is one. vLLM runs on what its wheel was built for."""
    dtype: Dtype = "auto"
    """`auto` is float32 on CPU and bfloat16 on CUDA."""
    context_tokens: int = 2048
    """Longest prompt and completion together; at most the model's own limit."""
    max_batch: int = 512
    """Most sequences decoded at once."""
    batch_tokens: int = 131_072
    """Transformers: most tokens held at once, prompts and longest completions together."""
    lora_rank: int = 0
    """vLLM: largest rank of the adapters that `load_policy` will be given; 0 for none."""
    gpu_memory: float = 0.4
    """vLLM: share of the GPU's memory that the engine takes, in (0, 1)."""
    cpu_cache_gib: int = 1
    """vLLM: memory for the KV cache on CPU, GiB."""


def check_room(prompt_ids: Sequence[int], params: SamplingParams, settings: SamplerSettings) -> None:
    """Raises SamplerError where prompt and completion together could outgrow `context_tokens`."""
    if len(prompt_ids) + params.max_tokens > settings.context_tokens:
        sizes = f"a prompt of {len(prompt_ids)} and {params.max_tokens} new tokens"
        raise SamplerError(f"{sizes} exceed context_tokens = {settings.context_tokens}: raise that setting")
