"""What is imitated: of a group its first success, or all verified ones of a run; of each the actions that led on.

A success may have pushed against a wall, or gone into a dead end and back. Where the states of the attempt are known
(`Retraceable`), the last action taken from each state led on to the goal; the ones before came back to where they
began, and are not imitated. So the way out of a dead end is learned, and the way into it is not.

Dimension letters: M trained tokens of one segment, U turns of the attempt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from journeyman.agent.data import Source, Split, Status
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


def successes(session: Session) -> list[StoredTrajectory]:
    """The run's verified successes at training tasks by `imitation.sources`, with tokens; newest first of each task.

    Of those of one task that say the same one is taken, and at most `imitation.per_task`. Demonstrations on which every
    verifier abstains are verified by nobody and count, as they do for the warm start. Pruned ones are left out and
    take no place.
    """
    settings, store = session.settings.imitation, session.store
    found: dict[tuple[str, tuple[str, ...]], str] = {}
    taken: Counter[str] = Counter()
    trainable = store.trajectories.with_tokens(session.run.id)
    for stored in reversed(store.trajectories.of(session.run.id, split=Split.TRAIN, tokens=False)):
        said = stored.task.hash, tuple(message.content for message in stored.trajectory.messages)
        wanted = (
            stored.trajectory.source in settings.sources and stored.id in trainable and is_positive(session, stored)
        )
        if wanted and said not in found and taken[stored.task.hash] != settings.per_task:
            found[said] = stored.id
            taken[stored.task.hash] += 1
    return store.trajectories.by_id(list(found.values())[::-1])


def is_positive(session: Session, stored: StoredTrajectory) -> bool:
    """Whether the rubric passes it, or it is an expert's and all verifiers abstain."""
    verdicts = stored.verdicts.values()
    by_expert = stored.trajectory.source is Source.EXPERT and bool(verdicts)
    untold = by_expert and all(verdict.status is Status.ABSTAIN for verdict in verdicts)
    return untold or session.rubric.succeeded(stored.verdicts)


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
