"""Monte-Carlo labels of steps: how often the policy comes to a success when it goes on from the end of each step.

After Math-Shepherd (Wang et al. 2023, arXiv:2312.08935, section 3.3). The labels lie in a JSONL file that grows chunk
by chunk, so that a job that was killed goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import TypeAlias

import numpy as np

from journeyman.agent.chance import keyed_seed
from journeyman.agent.chat.rendering import choices_of
from journeyman.agent.data import Task
from journeyman.agent.errors import UsageError
from journeyman.agent.learning.step_tokens import steps_of_tokens
from journeyman.agent.rollout import Attempt, run_rollout
from journeyman.agent.steps import StepSplit, split_steps
from journeyman.storage.runs.policies import PolicyInfo
from journeyman.storage.trajectories.trajectories import StoredTrajectory
from journeyman.workflows.session.session import Session

CHUNK = 64
"""Attempts whose steps are labelled together and written together."""

Labels: TypeAlias = tuple[float | None, ...]
"""Of each step the share of completions that succeeded; of the last the attempt's own success. None: not judged."""

Given: TypeAlias = tuple[tuple[int, ...], ...]
"""The tokens said by a step's end, turn by turn; see `Attempt.given`."""


@dataclass(frozen=True, slots=True)
class LabelPlan:
    """What a file's labels mean; the first line of the file."""

    run: str
    policy: int
    """Number of the version that goes on from the steps."""
    completions: int
    """N, for each step."""
    split: StepSplit


def label_steps(
    session: Session, policy: PolicyInfo, attempts: Sequence[StoredTrajectory], plan: LabelPlan, file: Path
) -> dict[str, Labels]:
    """By trajectory the labels of its steps, of those in the file first.

    The attempts are with their tokens. The same step has the same labels, whatever it is labelled with (to the last
    bits of the sampler's sums). Raises UsageError where the file holds labels of another plan.
    """
    found = _read(file, plan)
    left = [stored for stored in attempts if stored.id not in found]
    with session.reporter.progress("labels: attempts", len(left)) as advance:
        for first in range(0, len(left), CHUNK):
            chunk = left[first : first + CHUNK]
            labels = _label(session, policy, chunk, plan)
            with file.open("a", encoding="utf-8") as out:
                out.writelines(json.dumps({"trajectory": i, "labels": values}) + "\n" for i, values in labels.items())
            found |= labels
            advance(len(chunk))
    return {stored.id: found[stored.id] for stored in attempts}


def step_starts(session: Session, stored: StoredTrajectory, split: StepSplit) -> list[Given]:
    """What had been said by the end of each step but the last, which nothing comes after."""
    trajectory, steps = stored.trajectory, split_steps(stored.trajectory, split)
    turns = [choice.ids for choice in choices_of(trajectory)]
    step_of = np.concatenate(steps_of_tokens(trajectory, steps, session.renderer.decode))
    firsts = [0, *accumulate(len(ids) for ids in turns)]
    starts: list[Given] = []
    for number, step in enumerate(steps[:-1]):
        said = int(np.searchsorted(step_of, number, side="right")) - firsts[step.turn]
        begun = [turns[step.turn][:said]]
        if steps[number + 1].turn > step.turn:  # the turn is over, and so are turns without a step that may follow
            begun = [*turns[step.turn : steps[number + 1].turn], ()]
        starts.append((*turns[: step.turn], *begun))
    return starts


def _label(
    session: Session, policy: PolicyInfo, chunk: Sequence[StoredTrajectory], plan: LabelPlan
) -> dict[str, Labels]:
    starts = {stored.id: step_starts(session, stored, plan.split) for stored in chunk}
    places = {(stored.task.hash, given): stored.task for stored in chunk for given in starts[stored.id]}
    shares = _success_shares(session, policy, places, plan.completions)
    return {s.id: (*(shares[s.task.hash, given] for given in starts[s.id]), _own_success(session, s)) for s in chunk}


def _own_success(session: Session, stored: StoredTrajectory) -> float | None:
    judged = session.rubric.reward(stored.verdicts) is not None
    return float(session.rubric.succeeded(stored.verdicts)) if judged else None


def _success_shares(
    session: Session, policy: PolicyInfo, places: dict[tuple[str, Given], Task], completions: int
) -> dict[tuple[str, Given], float | None]:
    """By place the share of `completions` attempts from it that succeed, of those that could be judged."""
    seed, rubric = session.settings.run.seed, session.rubric
    attempts = [
        Attempt(task, n, keyed_seed(seed, "label", task.hash, str(given), n), given)
        for (_, given), task in places.items()
        for n in range(completions)
    ]
    sampler, limits = session.sampler(policy), session.limits(session.settings.generate.temperature)
    trajectories = run_rollout(attempts, session.open_environment, sampler, session.renderer, limits)
    scores = rubric.score_all([(a.task, t) for a, t in zip(attempts, trajectories, strict=True)])
    outcomes: dict[tuple[str, Given], list[bool]] = {place: [] for place in places}
    for one, records in zip(attempts, scores, strict=True):
        if rubric.reward({record.verifier: record.verdict for record in records}) is not None:
            outcomes[one.task.hash, one.given].append(rubric.passes(records))
    return {place: sum(judged) / len(judged) if judged else None for place, judged in outcomes.items()}


def _read(file: Path, plan: LabelPlan) -> dict[str, Labels]:
    """The file's labels, and the file ready for more of them: what a killed job wrote half of is cut off."""
    head = json.dumps(asdict(plan)) + "\n"
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    lines = text[: text.rfind("\n") + 1].splitlines(keepends=True) or [head]
    if lines[0] != head:
        raise UsageError(f"{file} holds labels of {lines[0].strip()}: delete it, or name another --output")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(lines), encoding="utf-8")
    rows = [json.loads(line) for line in lines[1:]]
    return {row["trajectory"]: tuple(row["labels"]) for row in rows}
