"""Journeyman: agentic expert iteration. Importing it is light; names load what they need on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from journeyman.agent.chance import keyed_rng as keyed_rng
    from journeyman.agent.data import Achieved as Achieved
    from journeyman.agent.data import Episode as Episode
    from journeyman.agent.data import Message as Message
    from journeyman.agent.data import Observation as Observation
    from journeyman.agent.data import Source as Source
    from journeyman.agent.data import Split as Split
    from journeyman.agent.data import Status as Status
    from journeyman.agent.data import Step as Step
    from journeyman.agent.data import StopReason as StopReason
    from journeyman.agent.data import Task as Task
    from journeyman.agent.data import Tool as Tool
    from journeyman.agent.data import ToolCall as ToolCall
    from journeyman.agent.data import Trajectory as Trajectory
    from journeyman.agent.data import Turn as Turn
    from journeyman.agent.data import Verdict as Verdict
    from journeyman.agent.data import canonical_hash as canonical_hash
    from journeyman.agent.environments.dataset import SingleTurn as SingleTurn
    from journeyman.agent.environments.goal_episode import GoalEpisode as GoalEpisode
    from journeyman.agent.errors import InvalidAction as InvalidAction
    from journeyman.agent.protocols import BatchVerifier as BatchVerifier
    from journeyman.agent.protocols import Environment as Environment
    from journeyman.agent.protocols import GoalEnvironment as GoalEnvironment
    from journeyman.agent.protocols import Retraceable as Retraceable
    from journeyman.agent.protocols import StepVerifier as StepVerifier
    from journeyman.agent.protocols import TaskSet as TaskSet
    from journeyman.agent.protocols import Verifier as Verifier

_PARTS = {
    "journeyman.agent.chance": ("keyed_rng",),
    "journeyman.agent.data": (
        *("Achieved", "Episode", "Message", "Observation", "Source", "Split", "Status", "Step", "StopReason"),
        *("Task", "Tool", "ToolCall", "Trajectory", "Turn", "Verdict", "canonical_hash"),
    ),
    "journeyman.agent.environments.dataset": ("SingleTurn",),
    "journeyman.agent.environments.goal_episode": ("GoalEpisode",),
    "journeyman.agent.errors": ("InvalidAction",),
    "journeyman.agent.protocols": (
        *("BatchVerifier", "Environment", "GoalEnvironment", "Retraceable", "StepVerifier", "TaskSet", "Verifier"),
    ),
}
_HOMES = {name: home for home, names in _PARTS.items() for name in names}

__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'journeyman' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
