"""What a user probably did not mean: said once in a run, as a warning with the remedy. Nothing is decided by it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from journeyman.agent.data import Split, StopReason, Task, Trajectory
from journeyman.workflows.session.session import Session

_STEPS = 8
"""Steps of a pass that a smaller batch is recommended for."""


def warn_of_equal_prompts(session: Session, split: Split, tasks: Sequence[Task]) -> None:
    """Hidden state is a reason for them, and having forgotten to say what the task is another."""
    different = len({task.prompt for task in tasks})
    if tasks and 2 * different <= len(tasks):
        session.warn(
            "equal prompts",
            f"the {len(tasks)} {split} tasks have only {different} different prompts: where the environment does not "
            "hide on purpose what tells them apart, put that into the prompt (docs/environments.md, hidden state)",
        )


def warn_of_long_turns(session: Session, shown: Sequence[Trajectory]) -> None:
    """Where a tenth of the demonstrations or more say what no attempt has the tokens to say."""
    most = session.settings.generate.max_tokens
    longest = [_longest_turn(trajectory) for trajectory in shown]
    cut_off = sum(tokens > most for tokens in longest)
    if cut_off and 10 * cut_off >= len(shown):
        session.warn(
            "long turns",
            f"{cut_off} of {len(shown)} demonstrations have a turn of more than generate.max_tokens = {most} tokens, "
            f"where attempts are cut off: set it to {max(longest)} or more",
        )


def warn_of_cut_off_attempts(session: Session, made: Sequence[Trajectory]) -> None:
    """Where most attempts ran out of tokens: they were not acted out to their end.

    The attempts come with their tokens, which tell whether a turn was too long or the whole history.
    """
    cut_off = [trajectory for trajectory in made if trajectory.stop_reason is StopReason.LENGTH]
    if 2 * len(cut_off) <= len(made):
        return
    most, context = session.settings.generate.max_tokens, session.settings.sampler.max_context
    by_turn = sum(_longest_turn(trajectory) >= most for trajectory in cut_off)
    long_turns = 2 * by_turn >= len(cut_off)
    setting, value = ("generate.max_tokens", most) if long_turns else ("sampler.max_context", context)
    session.warn(
        "cut off",
        f"{len(cut_off)} of {len(made)} attempts were cut off by {setting} = {value}, and not acted out to their end: "
        "raise it, or show the policy demonstrations of shorter answers",
    )


def warn_of_single_steps(
    session: Session, section: Literal["warm_start", "finetune", "preference"], rows: int, steps_of_a_pass: float
) -> None:
    """Where a pass over so many rows (preferences: pairs) is one step, or none: no learning rate makes up for that."""
    if steps_of_a_pass > 1:
        return
    batch = getattr(session.settings, section).batch
    unit = "pairs" if section == "preference" else "rows"
    what = "an epoch of the warm start" if section == "warm_start" else f"a pass of an update over its {unit}"
    if steps_of_a_pass == 0:
        why = f"there are no {unit} to learn from, neither of attempts nor of what is drawn from the store"
        if rows:
            why = f"none of its {rows} {unit} has an advantage or is imitated, since no attempt beat its siblings"
        text = (
            f"{what} made no optimizer step, and the weights stay as they were: {why}; give easier tasks, more "
            "demonstrations, or partial scores"
        )
    else:
        more = "give more demonstrations" if section == "warm_start" else "make more attempts"
        text = (
            f"{what} is a single optimizer step ({rows} {unit}, {section}.batch = {batch}): set {section}.batch to "
            f"{max(1, rows // _STEPS)}, or {more}"
        )
    session.warn(f"{section} steps", text)


def _longest_turn(trajectory: Trajectory) -> int:
    """Its tokens, the end of the turn included."""
    return max((end - first for segment in trajectory.segments for first, end in segment.runs()), default=0)
