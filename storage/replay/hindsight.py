"""Hindsight: which of the goals that failed attempts did reach they should be told anew for.

Strategies as in hindsight experience replay (Andrychowicz et al. 2017, section 4.5), with whole attempts instead of
transitions: `final` is the last goal reached, told from the start; `episode` a goal drawn from all of them, told from
the start; `future` a drawn goal, told from a drawn turn after which every turn reached something new: an attempt that
pushed against a wall or went in circles teaches none of it. Long ways are drawn more often (short and rich, as in
hindsight supervised learning). `best` is `final` for one attempt of a failed group only, the one that did best.

A hindsight group tells all siblings of a failed group for a goal that some of them reached, so that there is contrast.
Choosing the goal by the outcome is biased, and no importance ratio repairs that. Proposals only: the caller has every
one verified before it is stored.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from journeyman.agent.data import Achieved, Json

RELABELLER_VERSION = "2"
GROUP_RELABELLER = f"group/{RELABELLER_VERSION}"
"""Of the attempts in a hindsight group."""


class Strategy(StrEnum):
    """How a goal is chosen."""

    FINAL = "final"
    FUTURE = "future"
    EPISODE = "episode"
    BEST = "best"


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


def best_of_group(rewards: Sequence[float | None], achieved: Sequence[Sequence[Achieved]]) -> int | None:
    """Index of the sibling that `best` tells anew: the highest reward, then the most goals reached, then the first.

    None where no sibling reached any goal.
    """
    ranks = [
        (reward if reward is not None else -np.inf, len(reached), -i)
        for i, (reward, reached) in enumerate(zip(rewards, achieved, strict=True))
        if reached
    ]
    return -max(ranks)[2] if ranks else None


def group_goals(achieved: Sequence[Sequence[Achieved]], goal: Json, count: int, rng: np.random.Generator) -> list[Json]:
    """At most `count` goals for hindsight groups of these siblings, without repeats, in a fixed order under `rng`.

    Only goals that some siblings reached and some did not. One that k of G reached in t turns on average is drawn with
    a weight of k (G - k) t: by the variance of its rewards, and longer ways more often.
    """
    turns: dict[str, int] = Counter()
    reached: dict[str, int] = Counter()
    for one in achieved:
        for found in one:
            name = json.dumps(found.goal, sort_keys=True)
            reached[name] += 1
            turns[name] += found.turn + 1
    own = json.dumps(goal, sort_keys=True)
    names = sorted(name for name, k in reached.items() if k < len(achieved) and name != own)
    if not names:
        return []
    weights = np.array([(len(achieved) - reached[name]) * turns[name] for name in names], dtype=float)
    drawn = rng.choice(len(names), size=min(count, len(names)), replace=False, p=weights / weights.sum())
    return [json.loads(names[i]) for i in drawn]


def _by_strategy(
    strategy: Strategy, reached: Sequence[Achieved], draws: int, rng: np.random.Generator
) -> Iterator[Proposal]:
    last = max(reached, key=lambda a: a.turn)
    match strategy:
        case Strategy.FINAL | Strategy.BEST:
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
