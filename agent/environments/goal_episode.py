"""Deterministic episodes of several turns whose states can be goals: what was reached, and attempts told anew.

The states that an attempt went through follow from its actions alone, so that is all that is read of a trajectory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from itertools import accumulate
from typing import Generic, TypeVar

from journeyman.agent.data import Achieved, Episode, Json, Message, Observation, Step, Task, Tool, Trajectory, Turn

State = TypeVar("State", bound=Hashable)


class GoalEpisode(ABC, Generic[State]):
    """One attempt at a task of going from one state to another; a GoalEnvironment.

    A subclass says what an action does (`after`), which goal a state is (`goal_at`), what the agent is told (`tell`;
    as a tool does, where there are tools, else as the user) and what an attempt between other states is (`between`).
    """

    def __init__(self, task: Task, tools: Sequence[Tool], start: State, max_turns: int) -> None:
        self.tools = tools
        self.task = task
        self.path: list[State] = [start]
        """The state before each turn so far, and the present one."""
        self._max_turns = max_turns

    @abstractmethod
    def after(self, state: State, action: Message) -> State:
        """The state that the action leads to; the same one where it does nothing."""

    @abstractmethod
    def goal_at(self, state: State) -> Json:
        """The goal that the state is, or None for one that is no goal."""

    def ends(self, state: State) -> bool:
        """Whether the episode is over there, wherever the goal is: where nothing else is said, at what is no goal."""
        return self.goal_at(state) is None

    @abstractmethod
    def tell(self, action: Message) -> str:
        """What the agent is told after the action, which led to the end of `path`."""

    @abstractmethod
    def between(self, start: State, goal: Json) -> GoalEpisode[State]:
        """A fresh episode from `start` to `goal`, all else equal."""

    async def start(self) -> Observation:
        """The task's prompt."""
        return Observation(self.task.prompt)

    async def step(self, action: Message) -> Step:
        """Takes one action. Reward 1 for reaching the goal, else 0."""
        return self._take(action)

    async def close(self) -> None:
        """Nothing is held."""

    def states(self, actions: Iterable[Message]) -> list[State]:
        """The state before each of the actions, the first of them taken at the start, and after the last."""
        return list(accumulate(actions, self.after, initial=self.path[0]))

    def achieved_goals(self, trajectory: Trajectory) -> list[Achieved]:
        """The goals that the trajectory went through, the start apart, by its actions that were acted out alone."""
        start, *states = self.states(turn.action for turn in trajectory.acted_out)
        first: dict[State, int] = {start: -1}
        for turn, state in enumerate(states):
            if self.goal_at(state) is not None:
                first.setdefault(state, turn)
        return [Achieved(self.goal_at(state), turn) for state, turn in first.items() if turn >= 0]

    def relabel(self, trajectory: Trajectory, goal: Json, start_turn: int) -> Episode:
        """The attempt from the state before `start_turn` on, told for `goal` until it first reaches it, or to its end.

        `start_turn` is in [0, number of turns). Raises ValueError where that state is the goal already.
        """
        start = self.states(turn.action for turn in trajectory.turns)[start_turn]
        if self.goal_at(start) == goal:
            raise ValueError(f"the trajectory is at {goal} before turn {start_turn}: there is nothing to tell")
        episode = self.between(start, goal)
        turns: list[Turn] = []
        for turn in trajectory.turns[start_turn:]:
            step = episode._take(turn.action)
            turns.append(Turn(turn.action, step.observation.messages, step.reward))
            if step.reward:
                break
        return Episode(episode.task, tuple(turns), start_turn)

    def _take(self, action: Message) -> Step:
        self.path.append(self.after(self.path[-1], action))
        here = self.goal_at(self.path[-1])
        arrived = here is not None and here == self.task.goal
        over = arrived or self.ends(self.path[-1])
        observation = Observation((Message("tool" if self.tools else "user", self.tell(action)),))
        return Step(observation, float(arrived), over, not over and len(self.path) > self._max_turns)
