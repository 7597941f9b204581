"""The states that an attempt was in, where its environment can tell them."""

from __future__ import annotations

from collections.abc import Hashable

from journeyman.agent.asking import ask_for_states, open_bounded
from journeyman.agent.errors import Outage
from journeyman.agent.protocols import Retraceable
from journeyman.storage.trajectories.trajectories import StoredTrajectory
from journeyman.workflows.session.session import Session


def states_of(session: Session, stored: StoredTrajectory) -> tuple[Hashable, ...] | None:
    """Those before each turn that was acted out and after the last; None where the environment does not tell them."""
    seconds = session.step_seconds
    try:
        environment = open_bounded(session.open_environment, stored.task, seconds)
        if not isinstance(environment, Retraceable):
            return None
        return tuple(ask_for_states(environment, [turn.action for turn in stored.trajectory.acted_out], seconds))
    except Outage as fault:
        session.warn("states", f"an update does without the states of attempts, since the environment fails: {fault}")
        return None
