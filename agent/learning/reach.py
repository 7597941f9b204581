"""What of a model an update can reach: the text half of a multi-modal class, and the layers that get a LoRA adapter."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from journeyman.agent.errors import SettingsError
from journeyman.agent.learning.forward.halves import probe_ids

_ROUTERS = re.compile(r"(^|\.)([a-z_]*router|gate|shared_expert_gate)(\.|$)")
_EXPERTS = re.compile(r"(^|\.)experts?(\.|$)")
_NO_OUT_PROJ = {"falcon_h1", "falcon_mamba", "mamba", "mamba2", "nemotron_h"}
"""Model types whose `out_proj` peft refuses: a fused kernel takes its matrix, and an adapter beside it is not seen."""


def freeze_unread(model: Any) -> None:
    """Closes to gradients what a text never passes through, e.g. a vision tower, so that it stays as it was loaded."""
    read = _read(model)
    for parameter in model.parameters():
        if id(parameter) not in read:
            parameter.requires_grad_(False)


def adapter_targets(model: Any, wanted: Iterable[str]) -> list[str]:
    """Names of the linear layers that get an adapter: those that a text's logits have a gradient to.

    Their last names, where no other module has one of these, else their full ones.

    The output layer gets none, nor do routers (a small change of a router's is a large one of the model's), matrices
    that several layers share (merged into them there would be several adapters), and experts that are held as one
    tensor, which are no layers; see `adapter_reach`. `wanted` narrows it down to layers of these last names. Raises
    SettingsError where a wanted name is no such layer's, or there is none at all.
    """
    head = model.get_output_embeddings()
    linear = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
        and type(module).forward in (nn.Linear.forward, Conv1D.forward)  # others compute what an adapter does not
        and module is not head
    }
    owners = Counter(id(module.weight) for module in linear.values())
    no_out_proj = model.config.model_type in _NO_OUT_PROJ
    linear = {
        name: module
        for name, module in linear.items()
        if owners[id(module.weight)] == 1
        and not _ROUTERS.search(name)
        and not (no_out_proj and name.endswith("out_proj"))
    }
    moved = _moved(model, set(linear.values()))
    kinds = {_kind(name) for name, module in linear.items() if module in moved}  # a probe may leave an expert out
    names = [name for name in linear if _kind(name) in kinds]
    known = sorted({name.rpartition(".")[2] for name in names})
    if missing := sorted(set(wanted) - set(known)):
        raise SettingsError(
            f"lora_targets: {type(model).__name__} has no layer {', '.join(missing)} that takes an adapter; "
            f"it has {', '.join(known) or 'none'}"
        )
    if not names:
        raise SettingsError(f"{type(model).__name__} has no layer that takes a LoRA adapter: set lora_rank to 0")
    last = set(wanted) or set(known)
    chosen = [name for name in names if name.rpartition(".")[2] in last]
    alike = [name for name, _ in model.named_modules() if name.rpartition(".")[2] in last]
    return sorted(last) if alike == chosen else chosen


def adapter_reach(model: Any) -> tuple[float, str]:
    """Share of the weights that have an adapter, in [0, 1], and a line that says it, and what has none.

    Weights that a text never passes through (a vision tower's) are not counted.
    """
    adapted = {id(p) for m in model.modules() if hasattr(m, "base_layer") for p in m.base_layer.parameters()}
    causal = model.get_base_model()
    read = _read(causal)
    tables = {id(m.weight) for m in (causal.get_input_embeddings(), causal.get_output_embeddings()) if m is not None}
    counts = dict.fromkeys(("adapted", "experts", "embeddings", "others"), 0)
    for name, parameter in model.named_parameters():
        if "lora_" in name or id(parameter) not in read:
            continue
        if id(parameter) in adapted:
            kind = "adapted"
        elif id(parameter) in tables:
            kind = "embeddings"
        else:
            kind = "experts" if _EXPERTS.search(name) else "others"
        counts[kind] += parameter.numel()
    total = sum(counts.values())
    share = {kind: count / total for kind, count in counts.items()}
    beside = [f"{kind} {share[kind]:.1%}" for kind in ("experts", "embeddings", "others") if share[kind] >= 5e-4]
    line = f"LoRA reaches {share['adapted']:.1%} of the model's {total:,} weights"
    return share["adapted"], f"{line}; without an adapter: {', '.join(beside)}" if beside else line


def _read(model: Any) -> set[int]:
    """Ids of the weights of the text's half: those of the decoder, and of what is run beside it for a text."""
    called: set[nn.Module] = set()
    with torch.no_grad(), _listening(model.modules(), lambda module, _: called.add(module)):
        model(input_ids=probe_ids(model, 12)[None], use_cache=False)
    half = model.get_decoder() or model
    return {id(p) for module in (*called, *half.modules()) for p in module.parameters(recurse=False)}


def _moved(model: Any, layers: set[nn.Module]) -> set[nn.Module]:
    """Those of the layers whose output the logits of a text have a gradient to."""
    outputs: list[tuple[nn.Module, Tensor]] = []
    with torch.enable_grad(), _listening(layers, lambda module, output: outputs.append((module, output))):
        logits = model(input_ids=probe_ids(model, 12)[None], use_cache=False).logits
    tracked = [(module, output) for module, output in outputs if output.requires_grad]
    gradients = torch.autograd.grad(logits.sum(), [output for _, output in tracked], allow_unused=True)
    return {module for (module, _), gradient in zip(tracked, gradients, strict=True) if gradient is not None}


@contextmanager
def _listening(modules: Iterable[nn.Module], hear: Callable[[nn.Module, Any], object]) -> Iterator[None]:
    """Calls `hear` with each of the modules that is run meanwhile, and its output."""

    def hook(module: nn.Module, _: Any, output: Any) -> None:  # what a hook returns would take the output's place
        hear(module, output)

    hooks = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


def _kind(name: str) -> str:
    """A layer's name without its numbers."""
    return re.sub(r"\d+", "N", name)
