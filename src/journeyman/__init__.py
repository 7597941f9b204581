"""Journeyman: agentic expert iteration. Importing it is light; names load what they need on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from journeyman.agent.data import Message as Message
    from journeyman.agent.data import Task as Task
    from journeyman.agent.data import Trajectory as Trajectory
    from journeyman.agent.data import Verdict as Verdict
    from journeyman.agent.protocols import Environment as Environment
    from journeyman.agent.protocols import TaskSet as TaskSet
    from journeyman.agent.protocols import Verifier as Verifier

_HOMES = {
    "Message": "journeyman.agent.data",
    "Task": "journeyman.agent.data",
    "Trajectory": "journeyman.agent.data",
    "Verdict": "journeyman.agent.data",
    "Environment": "journeyman.agent.protocols",
    "TaskSet": "journeyman.agent.protocols",
    "Verifier": "journeyman.agent.protocols",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'journeyman' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
