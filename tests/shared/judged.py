"""The verifier `program` on one answer, as its tests ask it."""

from journeyman.agent.data import Message, Source, Split, StopReason, Task, Trajectory, Turn
from journeyman.agent.plugins import VERIFIERS, load_plugin


def attempt(goal, text, payload=None):
    task = Task("dataset", goal, (Message("user", "?"),), Split.TEST, "0" * 32, payload or {})
    turn = Turn(Message("assistant", text))
    return task, Trajectory(task.hash, Source.POLICY, (turn,), (), StopReason.TERMINATED)


def judge(goal, text, payload=None, **options):
    return load_plugin(VERIFIERS, "program", options).verify(*attempt(goal, text, payload))
