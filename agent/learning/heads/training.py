"""Trains a language model with a head of numbers (a reward model), by any loss, stopped early on held-out examples.

Dimension letters: B rows, L tokens of the longest row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import torch
from torch import Tensor

from journeyman.agent.chance import keyed_rng, keyed_seed
from journeyman.agent.errors import JourneymanError, SettingsError
from journeyman.agent.learning.checkpoint import whole_folder
from journeyman.agent.learning.schedule import warmup_then_decay
from journeyman.agent.models import load_tokenizer

Example = TypeVar("Example")

Losses: TypeAlias = Callable[[Any, Sequence[Example]], tuple[Tensor, int]]
"""(model, examples) -> the sum of their losses (scalar), and how many items (pairs, steps, ...) it is over."""


@dataclass(frozen=True, slots=True)
class HeadSettings:
    """How a head is trained: AdamW, with one warm-up and one decay over `max_epochs`."""

    learning_rate: float = 1e-4
    """At its highest."""
    warmup: float = 0.1
    """Share of the steps of `max_epochs`."""
    batch: int = 16
    """Examples of one optimizer step."""
    micro_batch: int = 8
    """Examples of one forward pass; the gradient does not depend on it."""
    max_epochs: int = 10
    """Passes over the training examples."""
    patience: int = 2
    """Epochs without a lower held-out loss before it stops."""
    weight_decay: float = 0.0
    """Of matrices only."""
    max_grad_norm: float = 1.0
    """Longer gradients are cut to this."""
    lora_rank: int = 0
    """0 trains all weights; else an adapter and the head, merged on saving."""
    lora_alpha: int = 32
    seed: int = 0
    """Of the head's first weights, the adapter's, and the order of the examples."""

    def __post_init__(self) -> None:
        """Refuses what cannot work, with SettingsError."""
        for name in ("learning_rate", "batch", "micro_batch", "max_epochs", "patience", "max_grad_norm"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"{name} is {getattr(self, name)}: it must be above 0")
        if not 0 < self.warmup < 1 or self.weight_decay < 0 or self.lora_rank < 0:
            raise SettingsError("warmup must be in (0, 1), weight_decay and lora_rank at least 0")


@dataclass(frozen=True, slots=True)
class Fit:
    """How a training went."""

    epochs: int
    best_epoch: int
    """Whose weights were kept; 0 where no epoch was better than none."""
    held_out_loss: float
    """Of those weights, the mean of an item."""


def load_with_head(path: str, kind: Literal["sequence", "token"], labels: int, settings: HeadSettings) -> Any:
    """The model in the folder or of the hub name `path` with a head of `labels` numbers, ready for `fit_head`.

    `sequence` gives them for the last token that is no padding, `token` for every token. A head that `path` has
    already is gone on with; a causal language model gets a new one, drawn from the seed. float32, in evaluation mode
    (dropout is off in training too), on the GPU where there is one.
    """
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    auto: Any = AutoModelForSequenceClassification if kind == "sequence" else AutoModelForTokenClassification
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(keyed_seed(settings.seed, "head"))
        with _quiet():
            model: Any = auto.from_pretrained(path, num_labels=labels, dtype=torch.float32)
        model.config.get_text_config().pad_token_id = pad_id_of(load_tokenizer(path))
        if settings.lora_rank:
            from peft import LoraConfig, get_peft_model

            task_type = "SEQ_CLS" if kind == "sequence" else "TOKEN_CLS"  # the head is trained whole, and saved
            model = get_peft_model(
                model,
                LoraConfig(
                    r=settings.lora_rank,
                    lora_alpha=settings.lora_alpha,
                    target_modules="all-linear",
                    exclude_modules=["score", "classifier"],  # the names that heads have
                    task_type=task_type,
                ),
            )
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def fit_head(
    model: Any,
    train: Sequence[Example],
    held_out: Sequence[Example],
    losses: Losses[Example],
    settings: HeadSettings,
    on_epoch: Callable[[int, float], None] | None = None,
) -> Fit:
    """Trains the model's open weights, and leaves in it those of the epoch with the lowest held-out loss.

    The gradient of a step is that of the mean over its items. Matrix products are in bfloat16 on a GPU. Raises
    ValueError without training or held-out examples, JourneymanError where a gradient is not finite.
    """
    if not train or not held_out:
        raise ValueError(f"{len(train)} training and {len(held_out)} held-out examples: both are needed")
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    matrices = [p for p in trained.values() if p.ndim > 1]
    vectors = [p for p in trained.values() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW([g for g in groups if g["params"]])
    best, best_epoch, kept = mean_loss(model, held_out, losses, settings), 0, _copy(trained)
    for epoch in range(1, settings.max_epochs + 1):
        _epoch(model, train, losses, settings, optimizer, epoch)
        loss = mean_loss(model, held_out, losses, settings)
        if on_epoch:
            on_epoch(epoch, loss)
        if loss < best:
            best, best_epoch, kept = loss, epoch, _copy(trained)
        elif epoch - best_epoch >= settings.patience:
            break
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(kept[name])
    return Fit(epoch, best_epoch, best)


def mean_loss(model: Any, examples: Sequence[Example], losses: Losses[Example], settings: HeadSettings) -> float:
    """The mean loss of an item, without a gradient."""
    total, count = 0.0, 0
    with torch.no_grad(), autocast(model):
        for first in range(0, len(examples), settings.micro_batch):
            loss, items = losses(model, examples[first : first + settings.micro_batch])
            total, count = total + float(loss), count + items
    return total / max(count, 1)


def save_with_head(model: Any, tokenizer: Any, folder: Path) -> None:
    """Writes model and tokenizer as a Hugging Face folder, all or nothing; an adapter is merged into its weights."""
    plain = model.merge_and_unload() if hasattr(model, "peft_config") else model
    with whole_folder(folder) as partial:
        plain.save_pretrained(partial, safe_serialization=True)
        tokenizer.save_pretrained(partial)


def pad_right(rows: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """(B, L) ids padded on the right, and (B, L) mask, 1 where they are real."""
    length = max(len(row) for row in rows)
    ids_BL = torch.full((len(rows), length), pad_id, dtype=torch.long)
    mask_BL = torch.zeros((len(rows), length), dtype=torch.long)
    for b, row in enumerate(rows):
        ids_BL[b, : len(row)] = torch.tensor(row)
        mask_BL[b, : len(row)] = 1
    return ids_BL.to(device), mask_BL.to(device)


def pad_id_of(tokenizer: Any) -> int:
    """The tokenizer's padding token, else the one that ends a text."""
    return int(tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id)


def autocast(model: Any) -> torch.autocast:
    """bfloat16 matrix products on a GPU, else none."""
    return torch.autocast(model.device.type, torch.bfloat16, enabled=model.device.type == "cuda")


def _epoch(
    model: Any,
    train: Sequence[Example],
    losses: Losses[Example],
    settings: HeadSettings,
    optimizer: torch.optim.Optimizer,
    epoch: int,
) -> None:
    """One pass in a drawn order."""
    order = keyed_rng(settings.seed, "head", epoch).permutation(len(train)).tolist()
    starts = range(0, len(order), settings.batch)
    for number, first in enumerate(starts):
        done = (epoch - 1 + number / len(starts)) / settings.max_epochs
        for group in optimizer.param_groups:
            group["lr"] = warmup_then_decay(settings.learning_rate, settings.warmup, done)
        chosen = [train[i] for i in order[first : first + settings.batch]]
        _step(model, chosen, losses, settings, optimizer)


def _step(
    model: Any,
    chosen: Sequence[Example],
    losses: Losses[Example],
    settings: HeadSettings,
    optimizer: torch.optim.Optimizer,
) -> None:
    """One optimizer step; none where the examples hold no item."""
    optimizer.zero_grad()
    count = 0
    for first in range(0, len(chosen), settings.micro_batch):
        with autocast(model):
            loss, items = losses(model, chosen[first : first + settings.micro_batch])
        if items:
            loss.backward()  # type: ignore[no-untyped-call]
        count += items
    if not count:
        return
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    for parameter in parameters:
        parameter.grad /= count
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, settings.max_grad_norm))
    if not norm < float("inf"):
        raise JourneymanError(f"the gradient's norm is {norm}: lower the learning rate")
    optimizer.step()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bars, and its word that a new head is new."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    before = logging.get_verbosity()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _copy(trained: dict[str, torch.nn.Parameter]) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in trained.items()}
