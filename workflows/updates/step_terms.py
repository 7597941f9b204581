"""Step-level advantages in an update: from the stored step scores of the verifier that the settings name.

Dimension letters: S steps of one attempt, M trained tokens of one segment.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from journeyman.agent.data import Status
from journeyman.agent.learning.advantages.steps import step_advantages
from journeyman.agent.learning.step_tokens import Decode, steps_of_tokens
from journeyman.agent.protocols import StepVerifier
from journeyman.storage.trajectories.trajectories import StoredTrajectory
from journeyman.verifiers.rubric import Criterion
from journeyman.workflows.session.session import Session

logger = logging.getLogger(__name__)


class StepTerm(NamedTuple):
    """What the steps of one attempt add to its advantage, or why they could not be weighed."""

    tokens: Sequence[NDArray[np.float64]] = ()
    """(M,) for each segment; empty where they add nothing."""
    problem: str | None = None


class _Scored(NamedTuple):
    """The steps of one attempt with their scores, or why there are none."""

    tokens: Sequence[NDArray[np.intp]] = ()
    """(M,) for each segment: the step that each token belongs to."""
    scores_S: tuple[float, ...] | None = None
    problem: str | None = None


def step_terms(
    session: Session,
    chosen: Sequence[StoredTrajectory],
    rewards: Sequence[float | None],
    groups: Sequence[Hashable],
) -> list[StepTerm]:
    """`finetune.step_weight` x each token's step-level advantage (see `step_advantages`), for each attempt.

    Nothing is added where the verifier failed or abstained, where the attempt has no reward (its row is masked), where
    its step scores are not one for each step, or where the steps are out of order or beyond its text; such attempts are
    left out of their group's mean and deviation.
    """
    settings, judge = session.settings.finetune, judge_of_steps(session)
    if judge is None:
        return [StepTerm()] * len(chosen)
    decode = session.renderer.decode
    scored = [_scored(judge, stored, reward, decode) for stored, reward in zip(chosen, rewards, strict=True)]
    advantages = step_advantages(
        [one.scores_S for one in scored], groups, settings.step_scale_rewards, settings.step_discount
    )
    return [
        StepTerm([settings.step_weight * advantages_S[steps_M] for steps_M in one.tokens], one.problem)
        if advantages_S.any()
        else StepTerm(problem=one.problem)
        for one, advantages_S in zip(scored, advantages, strict=True)
    ]


def judge_of_steps(session: Session) -> Criterion | None:
    """The verifier whose step scores updates weigh, as the rubric has it; None where they weigh none."""
    settings = session.settings.finetune
    if settings.step_verifier is None or not settings.step_weight:
        return None
    return next(c for c in session.rubric.criteria if c.recipe.name == settings.step_verifier)


def _scored(judge: Criterion, stored: StoredTrajectory, reward: float | None, decode: Decode) -> _Scored:
    verdict = stored.verdicts.get(judge.id)
    if reward is None:
        return _Scored(problem="no reward")
    if verdict is None or verdict.status is not Status.OK:
        return _Scored(problem="no verdict" if verdict is None else str(verdict.status))
    assert isinstance(judge.verifier, StepVerifier), "checking.check_update has seen to it"
    try:
        steps = judge.verifier.steps_of(stored.trajectory)
    except Exception as error:  # plugin code: what it raises masks one attempt, and no more
        return _mismatch(judge, stored, f"steps_of() raised {type(error).__name__}: {error}")
    if len(steps) != len(verdict.step_scores or ()):
        return _mismatch(judge, stored, f"{len(verdict.step_scores or ())} step scores of {len(steps)} steps")
    try:
        tokens = steps_of_tokens(stored.trajectory, steps, decode) if steps else []
    except ValueError as error:
        return _mismatch(judge, stored, "steps out of order or beyond the text", f" ({error})")
    return _Scored(tokens, verdict.step_scores)


def _mismatch(judge: Criterion, stored: StoredTrajectory, problem: str, more: str = "") -> _Scored:
    """`more` is what is logged, but too much for a reason that attempts are counted by."""
    logger.warning("%s%s of verifier %s/%s: trajectory %s", problem, more, judge.id.name, judge.id.version, stored.id)
    return _Scored(problem=problem)
