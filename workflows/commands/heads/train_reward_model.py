"""`journeyman train-reward-model`: an outcome reward model from preferences between a run's attempts.

Labels, and pairs of a better and a worse attempt by the rubric's reward, teach a model with a head of one number to
give the better one more (Bradley and Terry): see `pair_training`.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from journeyman.agent.data import Json
from journeyman.agent.errors import UsageError
from journeyman.storage.files.training_sets import Preference
from journeyman.workflows.commands.heads.training_heads import (
    HeadOptions,
    full_weights,
    head_settings,
    new_folder,
    part_of,
)
from journeyman.workflows.console import Reporter
from journeyman.workflows.session.engines import base_model
from journeyman.workflows.session.runs import chosen_version, find_run
from journeyman.workflows.session.session import Session, lend
from journeyman.workflows.settings.objectives import Says
from journeyman.workflows.terminal import say_json
from journeyman.workflows.updates.pairs import choose_pairs

if TYPE_CHECKING:
    from journeyman.agent.chat.renderer import Renderer
    from journeyman.agent.learning.heads.pairs import PairExample


@dataclass(frozen=True)
class RewardModelOptions(HeadOptions):
    """How an outcome reward model is trained."""

    model: str | None = None
    """What to begin with, named as in the setting `model.name`; None is the run's policy."""
    policy: str | None = None
    """Its version; None is the newest promoted one."""
    pairs: Says = "all"
    """Who says which attempt is better: labels, the rubric, or both."""
    per_group: int = 4
    """Most pairs that the rubric makes of one group."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.per_group < 1:
            raise UsageError("--per-group must be at least 1")
        if self.model and self.policy:
            raise UsageError("--model and --policy name two models to begin with: give one of them")


def train_reward_model(options: argparse.Namespace) -> None:
    """`journeyman train-reward-model RUN --output FOLDER`."""
    chosen, output = RewardModelOptions.chosen(options), new_folder(options.output)
    with lend(find_run(options.store, options.run), Reporter()) as session:
        report = make_reward_model(session, chosen, output)
    if options.json:
        say_json(report)
    else:
        Reporter(stdout=True).table(f"{output}: held-out pairs", [report])


def make_reward_model(session: Session, options: RewardModelOptions, output: Path) -> dict[str, Json]:
    """Trains on the run's preferences and writes the model to `output`; how well it does on held-out pairs.

    Raises UsageError where there are too few.
    """
    from journeyman.agent.learning.checkpoint import whole_folder
    from journeyman.agent.learning.heads.pairs import pair_losses, readable_tokens, score_pairs
    from journeyman.agent.learning.heads.training import fit_head, load_with_head, pad_id_of, save_with_head

    settings = head_settings(session, options)
    found = choose_pairs(session, options.pairs, options.per_group)
    with _beginning(session, options) as (path, renderer):
        model = load_with_head(path, "sequence", 1, settings)
    pad_id = pad_id_of(renderer.tokenizer)
    parts = _examples(renderer, found, options, readable_tokens(model))
    with session.reporter.progress("training: epochs", options.epochs) as advance:
        fit = fit_head(model, parts["train"], parts["stop"], pair_losses(pad_id), settings, lambda *_: advance())
    report: dict[str, Json] = {
        "trained_pairs": len(parts["train"]),
        **asdict(fit),
        **asdict(score_pairs(model, parts["score"], pad_id, settings.micro_batch)),
    }
    with whole_folder(output) as folder:
        save_with_head(model, renderer.tokenizer, folder)
        told = {"told_by": dict(Counter(pair.by for pair in found))}
        text = json.dumps(asdict(options) | told | report, indent=2)
        (folder / "training.json").write_text(text + "\n", encoding="utf-8")
    return report


def _examples(
    renderer: Renderer, found: Sequence[Preference], options: RewardModelOptions, limit: int
) -> dict[str, list[PairExample]]:
    """The pairs as tokens, by what they are for; those that the model cannot read whole are left out."""
    from journeyman.agent.learning.heads.pairs import PairExample, conversation_ids

    parts: dict[str, list[PairExample]] = {"train": [], "stop": [], "score": []}
    for pair in found:
        example = PairExample(*(conversation_ids(renderer, s.task, s.trajectory) for s in (pair.better, pair.worse)))
        if max(len(example.chosen), len(example.rejected)) <= limit:
            parts[part_of(pair.better.task.hash, options.held_out)].append(example)
    if not all(parts.values()):
        counts = ", ".join(f"{len(examples)} to {name}" for name, examples in parts.items())
        raise UsageError(
            f"too few pairs ({counts}; {len(found)} in all): raise --held-out or --per-group, label some attempts "
            "(`journeyman label`), or let the run make more"
        )
    return parts


@contextmanager
def _beginning(session: Session, options: RewardModelOptions) -> Iterator[tuple[str, Renderer]]:
    """Folder or name of the model to begin with, and what makes its tokens."""
    from journeyman.agent.chat.renderer import Renderer
    from journeyman.agent.models import load_tokenizer

    if options.model:
        named = session.settings.model.model_copy(update={"name": options.model})
        path = base_model(session.settings.model_copy(update={"model": named}))
        yield path, Renderer(load_tokenizer(path))
        return
    with full_weights(session, chosen_version(session, options.policy)) as path:
        yield path, session.renderer
