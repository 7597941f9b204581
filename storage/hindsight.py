"""Hindsight: which of the goals that a failed attempt did reach it should be told anew for.

Strategies as in hindsight experience replay (Andrychowicz et al. 2017, section 4.5), with whole attempts instead of
transitions: `final` is the last goal reached, told from the start; `episode` a goal drawn from all of them, told from
the start; `future` a drawn goal, told from a drawn turn after which every turn reached something new: an attempt that
pushed against a wall or went in circles teaches none of it. Long ways are drawn more often (short and rich, as in
hindsight supervised learning). Proposals only: the caller has every one verified before it is stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from journeyman.agent.data import Achieved, Json

RELABELLER_VERSION = "2"


class Strategy(StrEnum):
    """How a goal is chosen."""

    FINAL = "final"
    FUTURE = "future"
    EPISODE = "episode"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A goal to relabel for, and the turn from which the attempt is kept."""

    strategy: Strategy
    goal: Json
    start_turn: int

    @property
    def relabeller(self) -> str:
        """Strategy and version, e.g. `final/1`."""
        return f"{self.strategy}/{RELABELLER_VERSION}"


def propose(
    achieved: Sequence[Achieved], goal: Json, strategies: Sequence[Strategy], draws: int, rng: np.random.Generator
) -> list[Proposal]:
    """Proposals without repeats, in a fixed order under `rng`; none for the goal that the task has already.

    `draws` is how many goals `future` and `episode` draw each.
    """
    reached = [a for a in achieved if a.goal != goal]
    found: dict[tuple[str, int], Proposal] = {}
    if reached:
        for strategy in strategies:
            for proposal in _by_strategy(strategy, reached, draws, rng):
                found.setdefault((repr(proposal.goal), proposal.start_turn), proposal)
    return list(found.values())


def _by_strategy(
    strategy: Strategy, reached: Sequence[Achieved], draws: int, rng: np.random.Generator
) -> Iterator[Proposal]:
    last = max(reached, key=lambda a: a.turn)
    match strategy:
        case Strategy.FINAL:
            yield Proposal(strategy, last.goal, 0)
        case Strategy.EPISODE:
            for i in rng.integers(len(reached), size=draws):
                yield Proposal(strategy, reached[i].goal, 0)
        case Strategy.FUTURE:
            lengths = np.array(_lengths(reached))
            for i in rng.choice(len(reached), size=draws, p=lengths / lengths.sum()):
                yield Proposal(strategy, reached[i].goal, reached[i].turn - int(rng.integers(lengths[i])))


def _lengths(reached: Sequence[Achieved]) -> list[int]:
    """For each goal how many turns led to it in a row, each of which reached some goal first: none was wasted."""
    turns = {a.turn for a in reached}
    return [next(n for n in range(1, a.turn + 2) if a.turn - n not in turns) for a in reached]
