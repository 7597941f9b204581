"""Weights and optimizer state on disk: a policy folder is whole or not there, and its manifest proves it.

A policy folder holds safetensors and a tokenizer (full weights) or a LoRA adapter, as transformers, peft and vLLM
take them, and below it `learner/optimizer.safetensors` and the learner's word on the probe sequences, in a folder of
their own because vLLM reads every safetensors file that lies beside the weights.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from journeyman.agent.data import PolicyRef
from journeyman.agent.errors import StoreError, UsageError
from journeyman.agent.learning.hardware.ranks import Ranks, part_like
from journeyman.agent.manifests import seal, sync_folder, version_of
from journeyman.agent.models import load_causal_lm, load_tokenizer
from journeyman.agent.probes import Probe, write_probe

OPTIMIZER_FILE = Path("learner") / "optimizer.safetensors"
CRITIC_FILE = Path("learner") / "critic.safetensors"
CRITIC_OPTIMIZER_FILE = Path("learner") / "critic_optimizer.safetensors"


class Trained(Protocol):
    """A module with its optimizer: the critic."""

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """What moves its weights."""

    def named_parameters(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """Its weights."""


@contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """Processes that would write the same folder take turns; a killed one holds nobody up."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.with_name(f".{folder.name}.lock"))
        lock.acquire()
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error}; make room there, or name another folder") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A hidden sibling to write into, renamed to `folder` at the end; a killed process leaves `folder` as it was.

    An earlier `folder` is replaced (a kill between the two renames leaves none: write it again, as a redone stage
    does); what a killed writer left behind is removed.
    """
    partial, old = (folder.with_name(f".{folder.name}.{state}") for state in ("partial", "old"))
    for leftover in (partial, old):
        if leftover.exists():
            shutil.rmtree(leftover)
    try:
        partial.mkdir(parents=True)
        yield partial
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise StoreError(f"{folder} cannot be written: {error}; make room there, or name another folder") from error
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    sync_folder(folder.parent)
    if old.exists():
        shutil.rmtree(old)


def save_policy(
    model: Any,
    tokenizer: Any,
    optimizer: torch.optim.Optimizer,
    critic: Trained | None,
    probe: Probe,
    folder: Path,
    ranks: Ranks,
    *,
    parent: str | None,
    base: str,
) -> None:
    """Writes weights (or the adapter, which is one of `base`), tokenizer, optimizer state, critic, probe and manifest.

    All or nothing, by the first of the ranks; the others put it together with that one, and wait until it is there.
    `parent` is the version it was trained from, for the record.
    """
    weights = ranks.whole(model.state_dict(keep_vars=True).items())
    files = {OPTIMIZER_FILE: ranks.whole(_optimizer_tensors(model, optimizer))}
    if critic is not None:
        files[CRITIC_FILE] = ranks.whole(critic.named_parameters())
        files[CRITIC_OPTIMIZER_FILE] = ranks.whole(_optimizer_tensors(critic, critic.optimizer))
    if ranks.first:
        with whole_folder(folder) as partial:
            _save_weights(model, partial, weights)
            tokenizer.save_pretrained(partial)
            write_probe(probe, partial)
            for name, tensors in files.items():
                save_file({key: value.contiguous() for key, value in tensors.items()}, partial / name)
            seal(partial, version_of(folder), parent=parent, base=base)
    ranks.wait()


def load_optimizer(model: Any, optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """Takes up the optimizer's state where `folder` has one (a base model has none: the state stays fresh)."""
    _load_optimizer(model, optimizer, folder / OPTIMIZER_FILE)


def load_critic(critic: Trained, folder: Path) -> None:
    """Takes up the critic's weights and optimizer state where `folder` has them.

    Raises UsageError where they are those of a critic of another kind.
    """
    path = folder / CRITIC_FILE
    if not path.is_file():
        return
    tensors, own = load_file(path), dict(critic.named_parameters())
    if {name: value.shape for name, value in tensors.items()} != {name: p.shape for name, p in own.items()}:
        raise UsageError(f"{path} is a critic of another kind: set critic.kind to what it was trained with")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(part_like(tensors[name], parameter))
    _load_optimizer(critic, critic.optimizer, folder / CRITIC_OPTIMIZER_FILE)


def _load_optimizer(model: Any, optimizer: torch.optim.Optimizer, path: Path) -> None:
    if not path.is_file():
        return
    tensors = load_file(path)
    trained = dict(_trained(model))
    fits = all(  # a weight that has had no gradient yet, e.g. an expert's, has no state
        (name := key.rpartition("/")[0]) in trained and value.shape in ((), trained[name].shape)
        for key, value in tensors.items()
    )
    if not fits:
        raise UsageError(f"{path} is the optimizer state of another model: delete it to start with a fresh state")
    for name, parameter in trained.items():
        state = {key.rpartition("/")[2]: value for key, value in tensors.items() if key.rpartition("/")[0] == name}
        if state:
            optimizer.state[parameter] = {key: part_like(value, parameter) for key, value in state.items()}


def export_merged(policy: PolicyRef, folder: Path, dtype: Literal["float32", "bfloat16"] = "float32") -> None:
    """Writes the policy as plain full weights with its tokenizer; a LoRA adapter is merged in, in float32.

    `AutoModelForCausalLM.from_pretrained` and `vllm serve` take the folder.
    """
    model = load_causal_lm(policy, dtype=torch.float32, device="cpu")
    if policy.adapter is not None:
        model = model.merge_and_unload()
    with whole_folder(folder) as partial:
        model = model.to(getattr(torch, dtype))
        _save_weights(model, partial, model.state_dict())
        load_tokenizer(policy.path).save_pretrained(partial)


def _save_weights(model: Any, folder: Path, weights: dict[str, torch.Tensor]) -> None:
    # peft would otherwise look the base model up to see whether its vocabulary was resized
    options: dict[str, Any] = {}
    if hasattr(model, "peft_config"):  # and the reference's adapter may lie beside the trained one
        options = {"save_embedding_layers": False, "selected_adapters": ["default"]}
    model.save_pretrained(folder, safe_serialization=True, state_dict=weights, **options)


def _trained(model: Any) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]


def _optimizer_tensors(model: Any, optimizer: torch.optim.Optimizer) -> list[tuple[str, torch.Tensor]]:
    """The state as "parameter name/state key" and tensor."""
    return [
        (f"{name}/{key}", value)
        for name, parameter in _trained(model)
        for key, value in optimizer.state.get(parameter, {}).items()
    ]
