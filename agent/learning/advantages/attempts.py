"""What an estimator is given and what it makes: attempts with their rewards, and the credit of their tokens.

An estimator is a plugin (entry points `journeyman.estimators`): a dataclass whose fields are its options, with what it
`needs` and a method `credit`. It declares its needs, the learner computes them, and it makes the streams of weights
that the learner then executes; so a new one touches nothing else.

Dimension letters: N trained tokens of one attempt, over all its segments in order, U turns of it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from journeyman.agent.learning.advantages.tokens import token_advantages, token_rewards
from journeyman.agent.learning.advantages.tokens import turn_rewards as turn_sums


class Need(StrEnum):
    """What must be computed or asked before an estimator can work."""

    VALUES = "values"
    """The critic's, before each token and after the last one of an attempt that was cut off."""
    STATES = "states"
    """Those that the attempt was in, from an environment that is `Retraceable`."""


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """One attempt as an estimator sees it, e.g. `Attempt("g1", 1.0, np.array([0, 0, 1]), (0.0, 0.5))`."""

    group: Hashable
    """Key of its group: the attempts at one task by one policy."""
    reward: float | None
    """The rubric's; None where no verifier could score it: its advantages are 0, and it enters no mean."""
    turns_N: NDArray[np.intp]
    """Index of the turn that each token belongs to, not falling."""
    turn_rewards_U: tuple[float, ...]
    """The environment's own, 0 for turns without one; the rubric's reward is not among them."""
    truncated: bool = False
    """Whether it was cut off, so that something was still to come; else it ended."""
    log_ratios_N: NDArray[np.float64] | None = None
    """log(pi / reference) of each token (k1, nats) before the update, where the KL is in the reward."""
    kl_weight: float = 0.0
    """Beta of the KL in the reward."""
    values_N: NDArray[np.float64] | None = None
    """What the critic foresaw before each token."""
    final_value: float = 0.0
    """What it foresaw after the last one; 0 where the attempt ended."""
    states: tuple[Hashable, ...] | None = None
    """(U + 1) the states before each turn that was acted out and after the last; None where they are not known."""

    def penalties(self) -> NDArray[np.float64] | None:
        """(N,) -beta log(pi / reference): what the KL takes from the reward at each token; None where it takes nothing.

        RLHF: arXiv:2203.02155, section 3.5; by token as in REINFORCE++, arXiv:2501.03262.
        """
        return None if self.log_ratios_N is None else -self.kl_weight * self.log_ratios_N

    @property
    def total(self) -> float | None:
        """The reward with the penalties of all its tokens."""
        penalties_N = self.penalties()
        if self.reward is None or penalties_N is None:
            return self.reward
        return self.reward + float(penalties_N.sum())

    def everywhere(self, advantage: float) -> Credit:
        """One advantage for all its tokens."""
        return Credit(np.full(len(self.turns_N), advantage))

    def token_rewards(self, *, turn_rewards: bool) -> NDArray[np.float64]:
        """(N,) the reward at the last token, penalties at each; with `turn_rewards` the turns' own at their ends."""
        penalties_N = self.penalties()
        rewards_N = np.zeros(len(self.turns_N)) if penalties_N is None else penalties_N
        rewards_N[-1:] += self.reward or 0.0
        if turn_rewards and len(rewards_N):
            own = np.asarray(self.turn_rewards_U, np.float64)[np.unique(self.turns_N)]
            rewards_N += token_rewards(own, self.turns_N)
        return rewards_N

    def rewards_by_turn(self, *, turn_rewards: bool) -> NDArray[np.float64]:
        """(U,) the sum of the same over each turn; turns without a trained token are left out here and below."""
        return turn_sums(self.token_rewards(turn_rewards=turn_rewards), self.turns_N)

    def states_by_turn(self) -> list[Hashable]:
        """(U,) the state before each turn; an object of its own, which equals no other, where it is not known."""
        known = self.states or ()
        return [known[u] if u < len(known) else object() for u in np.unique(self.turns_N).tolist()]

    def by_turn(self, advantages_U: NDArray[np.float64]) -> Credit:
        """The advantage of each turn on its tokens; none where the attempt has no reward."""
        if self.reward is None:
            return self.everywhere(0.0)
        return Credit(token_advantages(advantages_U, self.turns_N))


@dataclass(frozen=True, slots=True, eq=False)
class Credit:
    """What an estimator makes of one attempt."""

    advantages_N: NDArray[np.float64]
    returns_N: NDArray[np.float64] | None = None
    """What the critic should have foreseen before each token; None teaches it nothing."""

    def masked(self) -> Credit:
        """The same where the attempt teaches nothing: advantages of 0, no returns."""
        return replace(self, advantages_N=np.zeros_like(self.advantages_N), returns_N=None)


@runtime_checkable
class Estimator(Protocol):
    """Says how much better than expected each token was."""

    needs: ClassVar[frozenset[Need]]

    def credit(self, attempts: Sequence[Attempt]) -> Sequence[Credit]:
        """One for each attempt, in their order."""
