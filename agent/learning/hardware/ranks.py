"""One learner on several processes (ranks): who takes which micro-batches, and how what each of them found becomes one.

Weights, gradients and optimizer state are laid over the ranks (FSDP2: Zhao et al. 2023, arXiv:2304.11277); one process
is the case of one rank, which has everything. All ranks read the same rows and do the same things in the same order:
whatever is not a micro-batch is computed by each of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

T = TypeVar("T")
K = TypeVar("K")

Inside: TypeAlias = Callable[[Callable[[], tuple[Tensor, ...]]], tuple[Tensor, ...]]
"""Runs a computation with a model's weights at hand, and gives what it gives."""


def join_ranks() -> None:
    """Makes this process one of those that `torchrun`, `accelerate launch` or a run has started, by its environment.

    They talk by NCCL where there are GPUs, of which each takes the one of its local rank, and by Gloo elsewhere.
    """
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group("cpu:gloo,cuda:nccl")
    else:
        dist.init_process_group("gloo")


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that learn together."""

    rank: int = 0
    count: int = 1

    @classmethod
    def joined(cls) -> Ranks:
        """As `join_ranks`, or whoever else opened torch's process group, has arranged it; alone where nobody has."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    @property
    def first(self) -> bool:
        """Whether this process writes what all have made."""
        return self.rank == 0

    def deal(self, batches: Sequence[T], work: Callable[[T], float]) -> list[tuple[T, float]]:
        """This rank's batches, each with what its loss is multiplied by.

        Every rank has as many, since FSDP's collectives must match, and at any time they have batches of about the same
        `work`, since all wait for the slowest. Gradients are averaged over the ranks, but each is a part of one sum:
        hence the weight `count`. A rank that has none left makes a pass of weight 0, which is not to be counted.
        """
        if self.count == 1:
            return [(batch, 1.0) for batch in batches]
        ordered = sorted(batches, key=work, reverse=True)
        dealt = [(batch, float(self.count)) for batch in ordered]
        dealt += [(batch, 0.0) for batch in ordered[-1:] * (-len(ordered) % self.count)]
        return dealt[self.rank :: self.count]

    def summed(self, sums: Mapping[str, float]) -> dict[str, float]:
        """The sums over all ranks; a name that one of them does not have counts 0 there."""
        total: dict[str, float] = {}
        for part in self._gathered(dict(sums)):
            for name, value in part.items():
                total[name] = total.get(name, 0.0) + value
        return total

    def merged(self, found: Mapping[K, T]) -> dict[K, T]:
        """What any of the ranks has found; those that have found the same have found it alike."""
        return {key: value for part in self._gathered(dict(found)) for key, value in part.items()}

    def _gathered(self, value: T) -> list[T]:
        """The value of each rank."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value)
        return values

    def lay_over(self, model: nn.Module) -> Inside:
        """Lays the model's weights over the ranks, in place: each layer's are put together only while it computes.

        From then on the model may be used, and differentiated, only by way of what is returned; its own parameters are
        parts. To be called once all weights are there, and before there is an optimizer of them.
        """
        if self.count == 1:
            return lambda compute: compute()
        device = next(model.parameters()).device.type
        mesh = init_device_mesh(device, (self.count,))
        names = set(getattr(model, "_no_split_modules", None) or ())
        layers = [module for module in model.modules() if type(module).__name__ in names]
        whole = _Whole(model)
        for module in (*reversed(layers), whole):  # what is inside another comes after it in `modules`
            fully_shard(module, mesh=mesh, reshard_after_forward=True)
        return whole

    def whole(self, named: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
        """The whole of tensors that are laid over the ranks, where there are several on the first alone, on its CPU.

        Tied ones stay tied. All ranks have to call it, with the same names.
        """
        if self.count == 1:
            return {name: tensor.detach() for name, tensor in named}
        found: dict[str, Tensor] = {}
        known: dict[int, Tensor] = {}
        for name, tensor in named:
            if id(tensor) not in known:
                full = together(tensor).detach()
                known[id(tensor)] = full.cpu() if self.first else full.new_empty(0)
            found[name] = known[id(tensor)]
        return found if self.first else {}

    def wait(self) -> None:
        """Until all ranks have come here."""
        if self.count > 1:
            dist.barrier()


class _Whole(nn.Module):
    """A model as the root of what lies over the ranks: whatever is computed with it finds its outermost weights whole.

    So the model keeps its class, and may be run in parts.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, compute: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """What `compute` gives, views copied: on it FSDP hangs the gathering of weights for the backward pass."""
        return tuple(tensor.clone() if tensor._is_view() else tensor for tensor in compute())


def together(tensor: Tensor) -> Tensor:
    """The whole tensor, on every rank, of one that is laid over them; any other as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part_like(whole: Tensor, like: Tensor) -> Tensor:
    """This rank's part of a tensor that every rank has whole, laid as `like` is; the whole where that is not laid."""
    whole = whole.to(like.device)
    if not isinstance(like, DTensor) or whole.ndim == 0:
        return whole
    return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None)
