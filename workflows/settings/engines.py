"""Settings of what computes: the model, the sampler and the optimizer."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from journeyman.agent.chat.tool_calls import ToolFormat
from journeyman.agent.errors import suggestion
from journeyman.workflows.settings.section import Section


class ModelSettings(Section):
    """The model to begin with."""

    name: str = "tiny"
    """`tiny`, `smollm2` (SmolLM2-135M-Instruct), a folder, a GGUF file, or a Hugging Face name."""
    hidden: int = Field(default=128, ge=16)
    """Width of `tiny`: an even number below 64, or a multiple of 32."""
    layers: int = Field(default=4, ge=1)
    """Depth of `tiny`."""
    tool_format: str = "auto"
    """How tool calls are written and read: `auto`, what the model's tokenizer says, else what its chat template writes,
    else hermes; or one of the names in [tool_formats.md](tool_formats.md)."""
    template_arguments: dict[str, Any] = Field(default_factory=dict)
    """Settings that the model's chat template reads, e.g. `{ enable_thinking = false }` or
    `{ reasoning_effort = "low" }`."""
    lora_rank: int = Field(default=0, ge=0)
    """0 trains the full weights."""
    lora_alpha: int = Field(default=32, ge=1)
    """Scale of the adapter, over its rank."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of weights and activations; `auto` is bfloat16 on a GPU, else float32."""

    @field_validator("tool_format")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name != "auto" and name not in list(ToolFormat):
            near = suggestion(name, ["auto", *(known.value for known in ToolFormat)])
            raise ValueError(f"there is no tool format {name!r}: {near}")
        return name

    @field_validator("hidden")
    @classmethod
    def _has_heads(cls, hidden: int) -> int:
        if hidden % 32 and (hidden > 64 or hidden % 2):
            raise ValueError("attention heads are 32 wide: write an even number below 64, or a multiple of 32")
        return hidden


class SamplerSettings(Section):
    """The engine that generates."""

    kind: Literal["auto", "vllm", "transformers"] = "auto"
    """`auto` is vLLM where it is installed."""
    batch: int = Field(default=256, ge=1)
    """Completions under way at once."""
    max_context: int = Field(default=1024, ge=16)
    """Tokens of prompt and completion together."""
    gpu_memory: float = Field(default=0.4, gt=0, le=1)
    """Share of a GPU's memory that vLLM takes; the learner needs the rest."""


class LearningSettings(Section):
    """The engine that learns."""

    processes: int = Field(default=1, ge=1)
    """That make an update together, each on a GPU of its own where there are some; weights, gradients and the
    optimizer's state are laid over them (FSDP2). The warm start is made by one."""
    micro_batch_tokens: int | None = Field(default=None, ge=1)
    """Padded tokens of one forward pass; without it 2,048 on a CPU, 32,768 on a GPU. Where the memory does not hold it,
    half of that is tried."""
    activation_checkpointing: bool = False
    """Keeps what goes into each layer, and computes the rest anew in the backward pass: less memory, more time."""


class OptimizerSettings(Section):
    """AdamW, for the warm start and for every update, or TRPO's trust region for updates."""

    kind: Literal["adamw", "trust_region"] = "adamw"
    """`trust_region` makes one step of an update, on all its rows, or none: the natural gradient of the whole loss
    without its clip, for models of at most 50 million trained weights. `finetune.learning_rate` says nothing then, and
    `finetune.batch` and `finetune.epochs` are a critic's. What only imitates, as the warm start, is AdamW's."""
    trust_delta: float = Field(default=0.01, gt=0)
    """Nats a token: the mean KL over the tokens of the policy loss that such a step may move the policy by."""
    trust_damping: float = Field(default=0.1, gt=0)
    """Added to the diagonal of the Fisher matrix; more makes shorter steps."""
    trust_iterations: int = Field(default=10, ge=1)
    """Of conjugate gradient at most; each takes about twice as long as a gradient of its rows."""
    trust_rows: int = Field(default=256, ge=1)
    """Rows, drawn evenly from all, that the Fisher matrix is estimated on at most; the KL is over all rows."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Decay of the gradient's mean."""
    beta2: float = Field(default=0.999, ge=0, lt=1)
    """Decay of its square's mean."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Of matrices only."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Longer gradients are cut to this."""
