"""Credit for an update's attempts: what the estimator needs is computed and asked for, then it says its word.

Dimension letters: N trained tokens of one attempt, over all its segments in order, M of one segment.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from journeyman.agent.data import StopReason
from journeyman.agent.learning.advantages.attempts import Attempt, Credit, Need
from journeyman.agent.learning.learner import Learner
from journeyman.agent.learning.step_tokens import turns_of_tokens
from journeyman.storage.trajectories.trajectories import StoredTrajectory
from journeyman.workflows.attempts.attempts import is_own
from journeyman.workflows.session.session import Session
from journeyman.workflows.updates.closeness import kl_weight, mean_kl
from journeyman.workflows.updates.states import states_of


class Credited(NamedTuple):
    """An attempt as the estimator saw it, and what it made of it."""

    attempt: Attempt
    credit: Credit


def credited(
    session: Session,
    iteration: int,
    learner: Learner,
    chosen: Sequence[StoredTrajectory],
    rewards: Sequence[float | None],
    groups: Sequence[Hashable],
) -> list[Credited]:
    """The credit of each attempt by the run's estimator; one without a reward has advantages of 0 and no returns.

    `learner` has the weights that the update begins with.
    """
    estimator, kl = session.estimator, session.settings.kl
    attempts = [_plain(*one) for one in zip(chosen, rewards, groups, strict=True)]
    if kl.asked and kl.place == "reward":
        attempts = _compared_with_reference(learner, chosen, attempts)
        own = [a for t, a in zip(chosen, attempts, strict=True) if is_own(t, iteration)]
        beta = kl_weight(session, iteration, mean_kl(own))
        attempts = [replace(attempt, kl_weight=beta) for attempt in attempts]
    if Need.VALUES in estimator.needs:
        attempts = _valued(learner, chosen, attempts)
    if Need.STATES in estimator.needs:
        attempts = [replace(a, states=states_of(session, t)) for t, a in zip(chosen, attempts, strict=True)]
        if attempts and not any(attempt.states for attempt in attempts):
            session.warn(
                "no states",
                f"estimator {session.settings.estimator['name']!r} compares what was done in equal states, and the "
                "environment tells none (see Retraceable in docs/environments.md): it is as good as 'group'",
            )
    found = estimator.credit(attempts)
    return [Credited(a, c if a.reward is not None else c.masked()) for a, c in zip(attempts, found, strict=True)]


def _plain(stored: StoredTrajectory, reward: float | None, group: Hashable) -> Attempt:
    trajectory = stored.trajectory
    turns = turns_of_tokens(trajectory)
    return Attempt(
        group,
        reward,
        np.concatenate(turns) if turns else np.zeros(0, np.intp),
        tuple(turn.reward or 0.0 for turn in trajectory.turns),
        truncated=trajectory.stop_reason is not StopReason.TERMINATED,
    )


def _compared_with_reference(
    learner: Learner, chosen: Sequence[StoredTrajectory], attempts: Sequence[Attempt]
) -> list[Attempt]:
    """With k1 at each token (arXiv:2203.02155): its expectation under the policy is that of the KL."""
    segments = [segment for stored in chosen for segment in stored.trajectory.segments]
    own, known = learner.logprobs(segments), learner.reference_logprobs(segments)
    ratios = [a.astype(np.float64) - b for a, b in zip(own, known, strict=True)]
    return [
        replace(attempt, log_ratios_N=ratio_N)
        for attempt, ratio_N in zip(attempts, _by_attempt(chosen, ratios), strict=True)
    ]


def _valued(learner: Learner, chosen: Sequence[StoredTrajectory], attempts: Sequence[Attempt]) -> list[Attempt]:
    """With the critic's values, and beyond the end where an attempt was cut off."""
    assert learner.critic is not None, "checking.check has seen to it"
    segments = [segment for stored in chosen for segment in stored.trajectory.segments]
    values = learner.critic.values(segments, range(len(segments)))
    cut = [i for i, attempt in enumerate(attempts) if attempt.truncated and len(attempt.turns_N)]
    beyond = learner.critic.final_values([chosen[i].trajectory.segments[-1] for i in cut])
    final = dict(zip(cut, beyond.tolist(), strict=True))
    by_segment = [values[i].astype(np.float64) for i in range(len(segments))]
    return [
        replace(attempt, values_N=values_N, final_value=final.get(i, 0.0))
        for i, (attempt, values_N) in enumerate(zip(attempts, _by_attempt(chosen, by_segment), strict=True))
    ]


def _by_attempt(chosen: Sequence[StoredTrajectory], values: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """(N,) of each attempt from (M,) of each segment of all."""
    found, first = [], 0
    for stored in chosen:
        count = len(stored.trajectory.segments)
        found.append(np.concatenate([np.zeros(0), *values[first : first + count]]))
        first += count
    return found
