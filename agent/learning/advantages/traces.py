"""Tables that learn by eligibility traces: TD(lambda), SARSA(lambda) and Watkins' Q(lambda).

Each step changes its table in place by step_size x error x traces (on-line learning), and returns the error.
`following` is what the environment went on to, None where it terminated: there is nothing to come. Where an episode was
truncated it is given, and the estimate there counts. Between episodes call `Traces.cut`.

Dimension letters: S states, A actions.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

TraceKind: TypeAlias = Literal["accumulating", "replacing"]


class Traces:
    """How much each entry of a table, (S,) or (S, A), has to do with the error found now.

    At every step all fade by discount x lam, both in [0, 1]; the entry now visited then gains 1 (`accumulating`: Sutton
    & Barto 2018, equation 12.5) or is set to 1 (`replacing`: Singh & Sutton 1996).
    """

    def __init__(self, shape: tuple[int, ...], discount: float, lam: float, kind: TraceKind = "accumulating") -> None:
        self.discount, self.lam, self.kind = discount, lam, kind
        self.eligibility = np.zeros(shape)
        """As the table; at least 0, and at most 1 with replacing traces."""

    def visit(self, entry: int | tuple[int, int]) -> NDArray[np.float64]:
        """The traces, after those of the past have faded and the entry's is marked."""
        self.eligibility *= self.discount * self.lam
        self.eligibility[entry] = 1.0 + (self.eligibility[entry] if self.kind == "accumulating" else 0.0)
        return self.eligibility

    def cut(self) -> None:
        """Nothing that came before has to do with what is found from now on."""
        self.eligibility[:] = 0.0


def td_step(
    values_S: NDArray[np.float64], traces: Traces, step_size: float, state: int, reward: float, following: int | None
) -> float:
    """TD(lambda) of state values under the policy that acts: Sutton & Barto 2018, equations 12.5 to 12.7.

    >>> values, traces = np.zeros(2), Traces((2,), discount=1.0, lam=0.5)
    >>> [td_step(values, traces, 0.5, 0, 0.0, 1), td_step(values, traces, 0.5, 1, 1.0, None)], values.tolist()
    ([0.0, 1.0], [0.25, 0.5])
    """
    return _learn(values_S, traces, step_size, state, reward, 0.0 if following is None else values_S[following])


def sarsa_step(
    values_SA: NDArray[np.float64],
    traces: Traces,
    step_size: float,
    taken: tuple[int, int],
    reward: float,
    following: tuple[int, int] | None,
) -> float:
    """SARSA(lambda) of action values under the policy that acts: Sutton & Barto 2018, section 12.7.

    `taken` is the state and the action taken there; `following` the next state and the action that will be taken there.
    """
    return _learn(values_SA, traces, step_size, taken, reward, 0.0 if following is None else values_SA[following])


def watkins_step(
    values_SA: NDArray[np.float64],
    traces: Traces,
    step_size: float,
    taken: tuple[int, int],
    reward: float,
    following: tuple[int, int] | None,
) -> float:
    """Watkins' Q(lambda) of action values under the greedy policy, whatever acts: Watkins 1989; ibid., section 12.10.

    As `sarsa_step`, but the best action's value counts, and traces are cut where the action that will be taken is not
    greedy (a tie for the best is): what it brings is not the greedy policy's.
    """
    best = 0.0 if following is None else values_SA[following[0]].max()
    greedy = following is None or values_SA[following] == best
    error = _learn(values_SA, traces, step_size, taken, reward, best)
    if not greedy:
        traces.cut()
    return error


def _learn(
    values: NDArray[np.float64],
    traces: Traces,
    step_size: float,
    entry: int | tuple[int, int],
    reward: float,
    value_after: float,
) -> float:
    error = float(reward + traces.discount * value_after - values[entry])
    values += step_size * error * traces.visit(entry)
    return error
