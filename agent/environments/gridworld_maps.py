"""Maps for the gridworld: drawing them at random, moving on them, and value iteration over their cells.

N: cells along a side of a map. A: the four moves. A cell is (row, column), from the top left, each in [0, N).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Cell: TypeAlias = tuple[int, int]

FREE, WALL, HOLE = ".", "#", "O"
MOVES = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
DISCOUNT = 0.9


@dataclass(frozen=True, slots=True)
class Layout:
    """A square map and a start and goal on it, e.g. `Layout(("..", "#."), (0, 0), (1, 1))`."""

    rows: tuple[str, ...]
    """N strings of N characters, each `FREE`, `WALL` or `HOLE`."""
    start: Cell
    goal: Cell

    def at(self, cell: Cell) -> str:
        """What is at the cell; outside the map there is wall."""
        inside = all(0 <= axis < len(self.rows) for axis in cell)
        return self.rows[cell[0]][cell[1]] if inside else WALL

    def after(self, cell: Cell, direction: str) -> Cell:
        """Where a move from `cell` ends: the next cell, or the same one where a wall is in the way."""
        down, right = MOVES[direction]
        ahead = (cell[0] + down, cell[1] + right)
        return cell if self.at(ahead) == WALL else ahead

    def free_beside(self, cell: Cell) -> dict[str, Cell]:
        """The moves that lead from the cell to a free one, in the order of `MOVES`, and which that is."""
        beside = {name: (cell[0] + down, cell[1] + right) for name, (down, right) in MOVES.items()}
        return {name: at for name, at in beside.items() if self.at(at) == FREE}

    def shortest_path(self) -> list[str] | None:
        """The moves of the greedy policy of value iteration; of equally good ones the first of `MOVES`.

        None where no path leads to the goal.
        """
        values_NN = state_values(self.rows, self.goal)
        best_NN = action_values(move_ends(self.rows), self.goal, values_NN).argmax(axis=0)
        if self.start != self.goal and values_NN[self.start] == 0:
            return None
        path: list[str] = []
        cell = self.start
        while cell != self.goal:
            path.append(list(MOVES)[best_NN[cell]])
            cell = self.after(cell, path[-1])
        return path


def move_ends(rows: Sequence[str]) -> NDArray[np.int64]:
    """(A, N, N) where each move from each cell ends, as row * N + column; a move into a wall stays."""
    size = len(rows)
    cells_NN = np.arange(size * size).reshape(size, size)
    wall_NN = np.array([list(row) for row in rows]) == WALL
    padded = np.pad(np.where(wall_NN, -1, cells_NN), 1, constant_values=-1)
    ahead_ANN = np.stack([padded[1 + i : 1 + i + size, 1 + j : 1 + j + size] for i, j in MOVES.values()])
    return np.where(ahead_ANN < 0, cells_NN, ahead_ANN)


def action_values(ends_ANN: NDArray[np.int64], goal: Cell, values_NN: NDArray[np.float64]) -> NDArray[np.float64]:
    """(A, N, N) what each move from each cell is worth: one Bellman backup (Sutton and Barto, 2018, eq. 4.10).

    Entering the goal is rewarded by 1, all else by 0.
    """
    entered_ANN = ends_ANN == goal[0] * len(values_NN) + goal[1]
    values_ANN: NDArray[np.float64] = entered_ANN + DISCOUNT * values_NN.ravel()[ends_ANN]
    return values_ANN


def state_values(rows: Sequence[str], goal: Cell) -> NDArray[np.float64]:
    """(N, N) values of the best policy, by value iteration: DISCOUNT ** (steps - 1), or 0 where there is no way.

    The goal and holes end an episode, so they are worth 0. As moves are deterministic, the backups reach their fixed
    point exactly, after as many sweeps as the longest way has steps.
    """
    acting_NN = np.array([list(row) for row in rows]) == FREE
    acting_NN[goal] = False
    ends_ANN = move_ends(rows)
    values_NN = np.zeros(acting_NN.shape)
    while True:
        backed_up_NN = np.where(acting_NN, action_values(ends_ANN, goal, values_NN).max(axis=0), 0.0)
        if np.array_equal(backed_up_NN, values_NN):
            return values_NN
        values_NN = backed_up_NN


def distances(rows: Sequence[str], goal: Cell) -> NDArray[np.int64]:
    """(N, N) steps of the shortest path to the goal, 0 at the goal and where there is no way."""
    values_NN = state_values(rows, goal)
    steps_NN = 1 + np.log(np.where(values_NN > 0, values_NN, 1)) / np.log(DISCOUNT)
    return np.where(values_NN > 0, np.rint(steps_NN), 0).astype(np.int64)


def draw_layouts(
    rng: np.random.Generator, size: int, walls: float, holes: float, steps: tuple[int, int]
) -> Iterator[Layout | None]:
    """Endless random layouts whose shortest path has from `steps[0]` to `steps[1]` moves, None for a failed draw.

    Each cell is a wall with probability `walls` and a hole with `holes`; goal and start are uniform where possible.
    """
    while True:
        chance_NN = rng.random((size, size))
        tiles_NN = np.where(chance_NN < walls, WALL, np.where(chance_NN < walls + holes, HOLE, FREE))
        free = np.argwhere(tiles_NN == FREE)
        if not len(free):
            yield None
            continue
        rows = tuple("".join(row) for row in tiles_NN)
        goal = _pick(rng, free)
        steps_NN = distances(rows, goal)
        starts = np.argwhere((steps_NN >= steps[0]) & (steps_NN <= steps[1]))
        yield Layout(rows, _pick(rng, starts), goal) if len(starts) else None


def _pick(rng: np.random.Generator, cells: NDArray[np.int64]) -> Cell:
    row, column = cells[rng.integers(len(cells))].tolist()
    return row, column
