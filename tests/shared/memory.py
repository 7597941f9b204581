"""Memory of tensors, counted as they are made and let go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Alive(TorchDispatchMode):
    """Counts what is made in its context, in forward and backward passes; views of what was there count nothing."""

    largest = 0
    """Bytes of the largest tensor that was made."""
    peak = 0
    """Bytes of all that were alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        known = {_address(x) for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
        made = func(*args, **kwargs)
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor) and _address(tensor) not in known:
                storage = tensor.untyped_storage()
                self._alive[_address(tensor)] = (StorageWeakRef(storage), storage.nbytes())
                self.largest = max(self.largest, storage.nbytes())
        self._alive = {address: found for address, found in self._alive.items() if not found[0].expired()}
        self.peak = max(self.peak, sum(count for _, count in self._alive.values()))
        return made


def _address(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata
