"""What the trainings of reward models (`train_prm`, `train_reward_model`) have in common."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal, Self

from journeyman.agent.errors import UsageError
from journeyman.storage.runs.policies import PolicyInfo
from journeyman.workflows.session.session import Session

if TYPE_CHECKING:
    from journeyman.agent.learning.heads.training import HeadSettings


@dataclass(frozen=True)
class HeadOptions:
    """How a model with a head is trained.

    None is the run's own: `model.lora_rank`, `warm_start.batch`, and `finetune.learning_rate`.
    """

    held_out: float = 0.2
    """Share of the tasks, by hash: half of them stop the training, the other half score it."""
    epochs: int = 10
    lora_rank: int | None = None
    batch: int | None = None
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 1:
            raise UsageError(f"--held-out {self.held_out} is not between 0 and 1")
        if self.epochs < 1:
            raise UsageError("--epochs must be at least 1")

    @classmethod
    def chosen(cls, options: argparse.Namespace) -> Self:
        """Those of the command line; what it leaves out has its default."""
        names = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in vars(options).items() if name in names})


def head_settings(session: Session, options: HeadOptions) -> HeadSettings:
    """How the model is trained: by the options, else as the run trains its policy."""
    from journeyman.agent.learning.heads.training import HeadSettings

    start, tune, model = session.settings.warm_start, session.settings.finetune, session.settings.model
    return HeadSettings(
        learning_rate=tune.learning_rate if options.learning_rate is None else options.learning_rate,
        batch=start.batch if options.batch is None else options.batch,
        max_epochs=options.epochs,
        lora_rank=model.lora_rank if options.lora_rank is None else options.lora_rank,
        lora_alpha=model.lora_alpha,
        seed=session.settings.run.seed,
    )


def part_of(task_hash: str, held_out: float) -> Literal["train", "stop", "score"]:
    """What a task's attempts are for, by its hash: a share of `held_out` is not trained on."""
    place = int(task_hash[:8], 16) / 16**8
    return "score" if place < held_out / 2 else "stop" if place < held_out else "train"


def new_folder(path: str) -> Path:
    """Where a model is to be written; raises UsageError where something is there."""
    folder = Path(path)
    if folder.exists():
        raise UsageError(f"{folder} exists already: name a new folder")
    return folder


@contextmanager
def full_weights(session: Session, policy: PolicyInfo) -> Iterator[str]:
    """A folder (or name) with the policy's full weights, an adapter merged in."""
    from journeyman.agent.learning.checkpoint import export_merged

    ref = session.policy_ref(policy)
    if ref.adapter is None:
        yield ref.path
        return
    with TemporaryDirectory() as folder:
        export_merged(ref, Path(folder) / "policy")
        yield str(Path(folder) / "policy")
