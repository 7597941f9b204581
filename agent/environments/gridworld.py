"""Gridworld: walk a map of walls and holes to a goal by tool calls, seeing only the cells around and where it lies.

A goal is a cell, [row, column] from the top left. The agent is told at the start and after each move where it lies as
the crow flies, and which of the four cells beside it are free, the least walked of them only: not the way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Annotated, ClassVar

from pydantic import Field

from journeyman.agent.chance import keyed_rng
from journeyman.agent.data import Json, Message, Split, Task, Tool, ToolCall, canonical_hash
from journeyman.agent.environments.goal_episode import GoalEpisode
from journeyman.agent.environments.gridworld_maps import HOLE, MOVES, Cell, Layout, draw_layouts
from journeyman.agent.errors import SettingsError

MOVE = Tool(
    "move",
    "Go one cell.",
    {
        "type": "object",
        "properties": {"direction": {"type": "string", "enum": list(MOVES)}},
        "required": ["direction"],
    },
)
RULES = "Walk to the goal."
MAX_DRAWS = 300
"""Failed draws in a row after which the options are taken to be impossible."""


@dataclass
class Gridworld:
    """Random solvable maps without end. The demonstrations are greedy paths of value iteration."""

    size: Annotated[int, Field(ge=2, le=64)] = 8
    """Cells along a side of the map."""
    walls: Annotated[float, Field(ge=0, le=0.6)] = 0.15
    """Probability of a wall in a cell."""
    holes: Annotated[float, Field(ge=0, le=0.4)] = 0.1
    """Probability of a hole in a cell; a hole ends the episode."""
    min_distance: Annotated[int, Field(ge=1)] = 6
    """Least number of moves from the start to the goal; the most is `max_turns`."""
    max_turns: Annotated[int, Field(ge=1)] = 24
    """Turns after which an episode is truncated; a call that is no move, or runs into a wall, costs one too."""
    instant: ClassVar[bool] = True
    rubric: Mapping[str, float] = field(default_factory=lambda: {"goal": 1.0})
    """Verifiers used where the settings name none, with their weights."""

    def tasks(self, split: Split, seed: int) -> Iterator[Task]:
        """Endless tasks. Raises SettingsError where the options leave (almost) no map to draw."""
        rng = keyed_rng(seed, "gridworld", split)
        failed = 0
        for layout in draw_layouts(rng, self.size, self.walls, self.holes, (self.min_distance, self.max_turns)):
            if layout is not None:
                failed = 0
                yield self.task(layout, split)
            elif (failed := failed + 1) == MAX_DRAWS:
                raise SettingsError(
                    f"gridworld: no goal {self.min_distance} to {self.max_turns} steps away in {MAX_DRAWS} maps "
                    f"of size {self.size}; lower min_distance, walls or holes, or raise size or max_turns"
                )

    def task(self, layout: Layout, split: Split) -> Task:
        """The task of walking from the layout's start to its goal."""
        rows, start, goal = list(layout.rows), list(layout.start), list(layout.goal)
        prompt = Message("user", f"{RULES}\n{look(layout, layout.start)}")
        name = canonical_hash("gridworld", [rows, start, goal])
        return Task("gridworld", goal, (prompt,), split, name, {"map": rows, "start": start})

    def demonstrate(self, task: Task, after: Sequence[Message] = ()) -> Sequence[Message] | None:
        """The moves of a shortest path from where those actions end; None from a hole, the goal, or behind walls."""
        episode = self.open(task)
        path = replace(read_layout(task), start=episode.states(after)[-1]).shortest_path()
        moves = [Message("assistant", "", (ToolCall(MOVE.name, {"direction": name}),)) for name in path or ()]
        return moves or None

    def open(self, task: Task) -> GridworldEpisode:
        """A fresh episode."""
        return GridworldEpisode(self, task)


class GridworldEpisode(GoalEpisode[Cell]):
    """One walk; every free cell entered was a goal reached."""

    def __init__(self, world: Gridworld, task: Task) -> None:
        self._world = world
        self._layout = read_layout(task)
        super().__init__(task, (MOVE,), self._layout.start, world.max_turns)

    def after(self, state: Cell, action: Message) -> Cell:
        """The cell that the move ends at; the same one for a wall, and for an action that is no move."""
        direction = read_direction(action)
        return self._layout.after(state, direction) if direction else state

    def goal_at(self, state: Cell) -> Json:
        """The cell as a list, or None for a hole."""
        return None if self._layout.at(state) == HOLE else list(state)

    def tell(self, action: Message) -> str:
        """What is seen, after a word on a move that was none; at a hole or at the goal only that."""
        cell, before = self.path[-1], self.path[-2]
        if self._layout.at(cell) == HOLE:
            text = "fell into a hole"
        elif cell == self._layout.goal:
            text = "goal reached"
        else:
            text = look(self._layout, cell, Counter(self.path))
        if not read_direction(action):
            return f"no move: call {MOVE.name} once, with {', '.join(MOVES)}\n{text}"
        return f"wall\n{text}" if cell == before else text

    def between(self, start: Cell, goal: Json) -> GridworldEpisode:
        """A fresh walk from `start` to `goal` on the same map."""
        layout = Layout(self._layout.rows, start, (goal[0], goal[1]))
        return self._world.open(self._world.task(layout, self.task.split))


def read_layout(task: Task) -> Layout:
    """The layout that the task's goal and payload hold."""
    (row, column), (goal_row, goal_column) = task.payload["start"], task.goal
    return Layout(tuple(task.payload["map"]), (row, column), (goal_row, goal_column))


def read_direction(action: Message) -> str | None:
    """The direction of the action's one valid move, or None where it has no call, another one, or several."""
    return next((d for d in MOVES if action.tool_calls == (ToolCall(MOVE.name, {"direction": d}),)), None)


def offset(cell: Cell, goal: Cell) -> str:
    """Where the goal lies from the cell, e.g. "2 down 1 right"."""
    down, right = goal[0] - cell[0], goal[1] - cell[1]
    parts = [f"{abs(down)} {'down' if down > 0 else 'up'}"] if down else []
    return " ".join([*parts, f"{abs(right)} {'right' if right > 0 else 'left'}"] if right else parts)


def look(layout: Layout, cell: Cell, walked: Mapping[Cell, int] = MappingProxyType({})) -> str:
    """What the agent is told at the cell: e.g. "goal 2 down 1 right" and, on a second line, "free up right".

    Of the free cells beside it those are named that were `walked` least often; the others, walls and holes are not.
    Whoever goes to any of those named arrives in the end, without memory (node counting: Koenig and Szymanski 1999).
    """
    free = layout.free_beside(cell)
    least = min((walked.get(at, 0) for at in free.values()), default=0)
    names = [name for name, at in free.items() if walked.get(at, 0) == least]
    return f"goal {offset(cell, layout.goal)}\n{' '.join(['free', *names])}"
