"""What is imitated of a group: its first success, and of that the actions that led on.

A success may have pushed against a wall, or gone into a dead end and back. Where the states of the attempt are known
(`Retraceable`), the last action taken from each state led on to the goal; the ones before came back to where they
began, and are not imitated. So the way out of a dead end is learned, and the way into it is not.

Dimension letters: M trained tokens of one segment, U turns of the attempt.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from journeyman.agent.learning.step_tokens import turns_of_tokens
from journeyman.storage.replay.pools import Kind
from journeyman.storage.replay.sampler import ReplayGroup
from journeyman.storage.trajectories.trajectories import StoredTrajectory
from journeyman.workflows.session.session import Session
from journeyman.workflows.updates.states import states_of


def to_imitate(session: Session, group: ReplayGroup) -> StoredTrajectory | None:
    """The group's first success; None where it has none, or is there for the policy loss only.

    Not the shortest one: that would be the one that had the luck to meet no difficulty.
    """
    if group.kind is Kind.POLICY or (
        group.kind is Kind.HINDSIGHT and session.settings.finetune.hindsight_loss == "grpo"
    ):
        return None
    successes = [stored for stored in group.members if session.rubric.succeeded(stored.verdicts)]
    return min(successes, key=lambda stored: stored.trajectory.attempt, default=None)


def imitated(session: Session, stored: StoredTrajectory) -> list[NDArray[np.bool_]]:
    """(M,) for each segment: whether the token is of an action that led on; all are where no states are known."""
    turns_M = turns_of_tokens(stored.trajectory)
    states = states_of(session, stored)
    if states is None:
        return [np.ones(len(turns), np.bool_) for turns in turns_M]
    led_on = leading_on(states)
    led_on_U = np.zeros(len(stored.trajectory.turns), np.bool_)
    led_on_U[: len(led_on)] = led_on
    return [led_on_U[turns] for turns in turns_M]


def leading_on(states: Sequence[Hashable]) -> list[bool]:
    """Of each action, between two states in a row, whether it is the last one taken from the state before it.

    >>> leading_on(["start", "dead end", "dead end", "start", "goal"])  # in, against the wall, back, on
    [False, False, True, True]
    """
    last = {state: i for i, state in enumerate(states)}
    return [last[state] == i for i, state in enumerate(states[:-1])]
