"""`journeyman train-prm`: a process reward model from a run's attempts, labelled by Monte-Carlo completions.

Three stages: choose stored attempts at training tasks, label each step by how often the policy succeeds from there
(`step_labels`), and train the policy's own weights with a head of two labels to foretell that (`step_training`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from journeyman.agent.chance import keyed_rng
from journeyman.agent.data import Json, Message, Source, Split
from journeyman.agent.errors import UsageError
from journeyman.agent.steps import StepSplit, split_steps
from journeyman.storage.runs.policies import PolicyInfo
from journeyman.storage.trajectories.trajectories import StoredTrajectory
from journeyman.verifiers.models.prm.families import FAMILIES, FIELDS_FILE, Family
from journeyman.verifiers.models.prm.formatting import encode, solution_of
from journeyman.workflows.commands.heads.step_labels import LabelPlan, Labels, label_steps
from journeyman.workflows.commands.heads.training_heads import (
    HeadOptions,
    full_weights,
    head_settings,
    new_folder,
    part_of,
)
from journeyman.workflows.console import Reporter
from journeyman.workflows.session.runs import chosen_version, find_run
from journeyman.workflows.session.session import Session, lend
from journeyman.workflows.terminal import say_json

if TYPE_CHECKING:
    from journeyman.agent.learning.heads.steps import StepExample

FAMILY = "token_classification"
_PROBE = "probe-5b1d"  # text that no template contains


@dataclass(frozen=True)
class PrmOptions(HeadOptions):
    """How a process reward model is trained."""

    attempts: int = 2000
    """At most so many, drawn from the distinct ones that are stored."""
    completions: int = 8
    """N, for each step."""
    split: StepSplit = "newline"
    targets: Literal["hard", "soft"] = "hard"
    """Whether any completion succeeded, or the share that did."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.attempts, self.completions) < 1:
            raise UsageError("--attempts and --completions must be at least 1")


def train_prm(options: argparse.Namespace) -> None:
    """`journeyman train-prm RUN --output FOLDER`."""
    chosen, output = PrmOptions.chosen(options), new_folder(options.output)
    with lend(find_run(options.store, options.run), Reporter()) as session:
        report = make_prm(session, chosen_version(session, options.policy), chosen, output)
    if options.json:
        say_json(report)
    else:
        Reporter(stdout=True).table(f"{output}: held-out steps", [report])


def make_prm(session: Session, policy: PolicyInfo, options: PrmOptions, output: Path) -> dict[str, Json]:
    """Labels, trains and writes the model to `output`, its labels beside it; how well it does on held-out steps."""
    attempts = choose_attempts(session, options)
    plan = LabelPlan(session.run.id, policy.number, options.completions, options.split)
    labels = label_steps(session, policy, attempts, plan, output.with_name(f"{output.name}.labels.jsonl"))
    return fit_prm(session, policy, options, [(stored, labels[stored.id]) for stored in attempts], output)


def choose_attempts(session: Session, options: PrmOptions) -> list[StoredTrajectory]:
    """Distinct attempts of the run's policies at training tasks, drawn by the run's seed, task by task."""
    stored = session.store.trajectories.of(session.run.id, source=Source.POLICY, split=Split.TRAIN, tokens=False)
    firsts: dict[tuple[str, ...], str] = {}
    for s in stored:
        if split_steps(s.trajectory, options.split):
            firsts.setdefault((s.task.hash, *(turn.action.content for turn in s.trajectory.turns)), s.id)
    ids = list(firsts.values())
    order = keyed_rng(session.run.ordinal, session.settings.run.seed, "prm").permutation(len(ids))
    found = session.store.trajectories.by_id([ids[i] for i in sorted(order[: options.attempts].tolist())])
    with_tokens = [s for s in found if s.trajectory.segments]
    if not with_tokens:
        raise UsageError(
            f"run {session.run.id} has no attempts with tokens to learn from: let it go through an iteration"
        )
    return with_tokens


def fit_prm(
    session: Session,
    policy: PolicyInfo,
    options: PrmOptions,
    labelled: Sequence[tuple[StoredTrajectory, Labels]],
    output: Path,
) -> dict[str, Json]:
    """Trains on the labelled attempts and writes the model; how well it does on those held out for that."""
    from journeyman.agent.learning.checkpoint import whole_folder
    from journeyman.agent.learning.heads.steps import score_model, step_losses
    from journeyman.agent.learning.heads.training import fit_head, load_with_head, pad_id_of, save_with_head

    tokenizer = session.renderer.tokenizer
    family = replace(FAMILIES[FAMILY], separator="\n", split=options.split, after_problem=_between(session))
    parts = _examples(family, tokenizer, options, labelled)
    settings, pad_id = head_settings(session, options), pad_id_of(tokenizer)
    with full_weights(session, policy) as path:
        model = load_with_head(path, "token", 2, settings)
    with session.reporter.progress("training: epochs", options.epochs) as advance:
        fit = fit_head(model, parts["train"], parts["stop"], step_losses(pad_id), settings, lambda *_: advance())
    scores = score_model(model, parts["score"], pad_id, settings.micro_batch)
    report: dict[str, Json] = {
        "policy": f"v{policy.number}",
        "attempts": len(labelled),
        **asdict(fit),
        **asdict(scores),
    }
    with whole_folder(output) as folder:
        save_with_head(model, tokenizer, folder)
        fields = {name: getattr(family, name) for name in ("separator", "split", "after_problem")}
        (folder / FIELDS_FILE).write_text(json.dumps({"family": FAMILY} | fields) + "\n", encoding="utf-8")
        (folder / "training.json").write_text(json.dumps(asdict(options) | report, indent=2) + "\n", encoding="utf-8")
    return report


def _examples(
    family: Family, tokenizer: Any, options: PrmOptions, labelled: Sequence[tuple[StoredTrajectory, Labels]]
) -> dict[str, list[StepExample]]:
    """The attempts as the verifier `prm` will tell them to the model, by what they are for."""
    from journeyman.agent.learning.heads.steps import StepExample

    parts: dict[str, list[StepExample]] = {"train": [], "stop": [], "score": []}
    for stored, labels in labelled:
        spans = split_steps(stored.trajectory, options.split)
        told = encode(family, tokenizer, solution_of(stored.task, stored.trajectory, spans))
        hard = options.targets == "hard"
        targets = tuple(float(label > 0) if hard and label is not None else label for label in labels)
        example = StepExample(tuple(told.ids), tuple(told.reads(family)), targets)
        parts[part_of(stored.task.hash, options.held_out)].append(example)
    if not all(parts.values()):
        counts = ", ".join(f"{len(examples)} to {name}" for name, examples in parts.items())
        raise UsageError(f"too few attempts ({counts}): raise --attempts or --held-out, or let the run make more")
    return parts


def _between(session: Session) -> str:
    """What the policy's chat template puts between a question and its answer: the model knows it as that."""
    return session.renderer.conversation([Message("user", _PROBE)]).rpartition(_PROBE)[2]
