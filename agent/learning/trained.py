"""The model that is trained: its weights as a learner needs them, its adapter, its optimizer."""

from __future__ import annotations

from typing import Any

import torch

from journeyman.agent.chance import keyed_seed
from journeyman.agent.data import PolicyRef
from journeyman.agent.errors import SettingsError
from journeyman.agent.learning.forward.halves import recompute_layers
from journeyman.agent.learning.reach import adapter_targets, freeze_unread
from journeyman.agent.learning.settings import LearnerSettings
from journeyman.agent.models import load_causal_lm


def trainable_model(policy: PolicyRef, settings: LearnerSettings, dtype: torch.dtype, device: str) -> Any:
    """The policy's model with float32 weights where they are trained, each in memory of its own.

    With `lora_rank` > 0 an adapter is added or continued. Raises SettingsError where adapter and rank disagree.
    """
    rank = settings.lora_rank
    if policy.adapter is not None and not rank:
        raise SettingsError(f"policy {policy.number} is a LoRA adapter, but lora_rank is 0: set it to the adapter's")
    model = load_causal_lm(policy, dtype=dtype if rank else torch.float32, device=device, trainable=True)
    if rank and policy.adapter is None:
        model = _with_adapter(model, settings)
    elif rank and (found := model.peft_config["default"].r) != rank:
        raise SettingsError(f"lora_rank is {rank}, but the adapter in {policy.adapter} has rank {found}: set that")
    if not rank:
        freeze_unread(model)
    if settings.activation_checkpointing:
        recompute_layers(model)
    _take_over(model)
    return model


def own_trunk(policy: PolicyRef, settings: LearnerSettings, device: str) -> Any:
    """A copy of the policy for a critic to train: full weights in float32, with the adapter merged in."""
    model = load_causal_lm(policy, dtype=torch.float32, device=device)
    if policy.adapter is not None:
        model = model.merge_and_unload()
    model.requires_grad_(True)
    freeze_unread(model)
    if settings.activation_checkpointing:
        recompute_layers(model)
    _take_over(model)
    return model


def _take_over(model: Any) -> None:
    """Loaded weights are views of the file; a copy frees it, and is aligned as a running learner's weights are."""
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()


def optimizer_of(model: torch.nn.Module, settings: LearnerSettings) -> torch.optim.AdamW:
    """AdamW over what has a gradient; only matrices decay."""
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    vectors = [p for p in model.parameters() if p.requires_grad and p.ndim < 2]
    decaying = {"params": matrices, "weight_decay": settings.weight_decay}
    groups = [decaying, {"params": vectors, "weight_decay": 0.0}] if vectors else [decaying]
    return torch.optim.AdamW(groups, betas=settings.betas, fused=True)


def weights_of(optimizer: torch.optim.Optimizer) -> list[torch.nn.Parameter]:
    """What it trains."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def causal(model: Any) -> Any:
    """The Hugging Face model inside a `peft` one, or the model itself."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


def _with_adapter(model: Any, settings: LearnerSettings) -> Any:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        target_modules=adapter_targets(model, settings.lora_targets),
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(keyed_seed(settings.seed, "adapter"))
        return get_peft_model(model, config).eval()
