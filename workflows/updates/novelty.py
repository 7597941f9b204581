"""The novelty bonus: what the iteration's attempts reached, judged by what earlier ones did."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from journeyman.agent.asking import open_bounded
from journeyman.agent.chance import keyed_seed
from journeyman.agent.errors import Outage
from journeyman.agent.exploration.novelty import Counts, Novelty, RandomNetwork, visits
from journeyman.storage.trajectories.trajectories import StoredTrajectory
from journeyman.storage.trajectories.visits import past_attempts
from journeyman.workflows.session.session import Session


def novelty_bonuses(session: Session, iteration: int, stored: Sequence[StoredTrajectory]) -> NDArray[np.float64]:
    """(B,) bonuses >= 0, `novelty.weight` included, for the iteration's B attempts in the order given.

    They are to be added to the rubric's rewards before advantages are taken; all 0 where `novelty.kind` is `none`. The
    judge is made anew from the store each time, from the newest `novelty.memory` attempts of earlier iterations, so
    that a resumed run gives the same bonuses.
    """
    settings = session.settings.novelty
    if settings.kind == "none":
        return np.zeros(len(stored))
    judge = _judge(session)
    past = past_attempts(session.store.database, session.run.id, iteration, settings.memory)
    for _, attempts in groupby(past, key=lambda t: t.iteration):
        judge.observe([_visits(session, t) for t in attempts])
    return settings.weight * judge.observe([_visits(session, t) for t in stored])


def _judge(session: Session) -> Novelty:
    if session.settings.novelty.kind == "counts":
        return Counts()
    return RandomNetwork(keyed_seed(session.settings.run.seed, "novelty", session.run.ordinal))


def _visits(session: Session, stored: StoredTrajectory) -> list[str]:
    try:
        environment = open_bounded(session.open_environment, stored.task, session.step_seconds)
        found = visits(environment, stored.trajectory, session.step_seconds)
    except Outage as fault:
        session.warn("novelty", f"attempts have no bonus for novelty where the environment fails to say more: {fault}")
        return []
    settings = session.settings.novelty
    apart = settings.kind == "counts" and settings.scope == "task"
    return [f"{stored.task.hash} {visit}" for visit in found] if apart else found
