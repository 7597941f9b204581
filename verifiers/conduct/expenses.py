"""What an attempt cost: its length, its time, its price, its repetition. Penalties: give them negative weights.

Each score is 0 up to a budget, and rises in a straight line to 1 at a limit; `raw` is the number itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar, Literal

from journeyman.agent.chat.tool_calls import around_calls
from journeyman.agent.constraints.text_units import words_of
from journeyman.agent.data import Task, Trajectory, Verdict
from journeyman.agent.errors import SettingsError

_UNIT = re.compile(
    r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]|[^\W\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]{1,20}|[^\w\s]"
)
"""A word, at most 20 characters of one, a character of a script without blanks (Thai, Lao, kana, Han), or a mark."""


@dataclass(frozen=True)
class Length:
    """How much the agent wrote, in all its turns together."""

    budget: float
    """So much is free."""
    limit: float
    """From so much on the score is 1; above `budget`."""
    unit: Literal["tokens", "words", "characters", "turns"] = "tokens"
    name: ClassVar[str] = "length"
    version: ClassVar[str] = "2"
    reads_expenses: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_range(self.budget, self.limit)

    def verify(self, task: Task, trajectory: Trajectory) -> Verdict:
        """`raw` in units; abstains where tokens are asked for and their number is not known."""
        texts = [turn.action.content for turn in trajectory.turns]
        if self.unit == "tokens":
            if trajectory.sampled_tokens is None:
                return Verdict.abstain("the number of tokens is not known")
            amount = trajectory.sampled_tokens
        elif self.unit == "turns":
            amount = len(texts)
        else:
            amount = sum(map(len, texts)) if self.unit == "characters" else sum(len(words_of(text)) for text in texts)
        return _overrun(amount, self.budget, self.limit, self.unit)


@dataclass(frozen=True)
class Latency:
    """How long the attempt took."""

    budget: float
    """So many seconds are free."""
    limit: float
    """From so many seconds on the score is 1; above `budget`."""
    name: ClassVar[str] = "latency"
    version: ClassVar[str] = "1"
    reads_expenses: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_range(self.budget, self.limit)

    def verify(self, task: Task, trajectory: Trajectory) -> Verdict:
        """`raw` in seconds of wall time; abstains where it was not taken."""
        if trajectory.seconds is None:
            return Verdict.abstain("the time was not taken")
        return _overrun(trajectory.seconds, self.budget, self.limit, "seconds")


@dataclass(frozen=True)
class Cost:
    """What the attempt's tokens, turns and calls of tools cost together, in a currency of your own."""

    budget: float
    """So much is free."""
    limit: float
    """From so much on the score is 1; above `budget`."""
    per_token: float = 0.0
    """Price of a sampled token."""
    per_turn: float = 0.0
    """Price of a turn."""
    per_call: float = 0.0
    """Price of a tool call, well-formed or not."""
    name: ClassVar[str] = "cost"
    version: ClassVar[str] = "2"
    reads_expenses: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_range(self.budget, self.limit)
        prices = {"per_token": self.per_token, "per_turn": self.per_turn, "per_call": self.per_call}
        for option, price in prices.items():
            if not 0 <= price < math.inf:
                raise SettingsError(f"option {option!r} must be a price of at least 0, got {price}")
        if not any(prices.values()):
            raise SettingsError(f"nothing has a price: set one of {', '.join(prices)}")

    def verify(self, task: Task, trajectory: Trajectory) -> Verdict:
        """`raw` is the price; abstains where tokens have one and their number is not known."""
        if self.per_token and trajectory.sampled_tokens is None:
            return Verdict.abstain("the number of tokens is not known")
        turns = trajectory.turns
        calls = sum(max(len(around_calls(t.action.content)) - 1, len(t.action.tool_calls)) for t in turns)
        tokens = trajectory.sampled_tokens or 0
        price = self.per_token * tokens + self.per_turn * len(turns) + self.per_call * calls
        return _overrun(price, self.budget, self.limit, "")


@dataclass(frozen=True)
class Repetition:
    """How much the agent repeats itself: the larger of two shares.

    Of n-grams, 1 - different / all (seq-rep-n: Welleck et al. 2020, "Neural Text Generation with Unlikelihood
    Training", section 6.1), over words and marks outside tool calls; a longer word counts as pieces of 20 characters.
    Of turns, the same formula: two are the same where the agent said the same and was answered the same.
    """

    n: int = 4
    """Words and marks in a row."""
    budget: float = 0.1
    """So large a share is free."""
    limit: float = 0.5
    """From so large a share on the score is 1; above `budget`."""
    name: ClassVar[str] = "repetition"
    version: ClassVar[str] = "2"

    def __post_init__(self) -> None:
        _check_range(self.budget, self.limit)
        if not 1 <= self.n <= 32:
            raise SettingsError(f"option 'n' must be 1 to 32, got {self.n}")
        if self.limit > 1:
            raise SettingsError(f"option 'limit' is a share of at most 1, got {self.limit}")

    def verify(self, task: Task, trajectory: Trajectory) -> Verdict:
        """`raw` is the larger share, in [0, 1); the explanation says which it is."""
        texts = [" ".join(around_calls(turn.action.content)) for turn in trajectory.turns]
        ngrams = _repeated(chain.from_iterable(_ngrams(text, self.n) for text in texts))
        told = ((turn.action.content, *(m.content for m in turn.observation)) for turn in trajectory.turns)
        turns = _repeated(told)
        unit = f"of {self.n}-grams repeated" if ngrams >= turns else "of turns repeated"
        return _overrun(max(ngrams, turns), self.budget, self.limit, unit)


def _ngrams(text: str, n: int) -> Iterable[tuple[str, ...]]:
    units = [unit.casefold() for unit in _UNIT.findall(text)]
    return zip(*(units[start:] for start in range(n)), strict=False)


def _repeated(items: Iterable[Hashable]) -> float:
    """The share of the items that stand earlier among them already: 1 - different / all, 0 of none."""
    listed = list(items)
    return 1 - len(set(listed)) / len(listed) if listed else 0.0


def _overrun(amount: float, budget: float, limit: float, unit: str) -> Verdict:
    score = min(max((amount - budget) / (limit - budget), 0.0), 1.0)
    why = f"{amount:.6g} {unit}".strip()
    over = f", {amount - budget:.6g} over the budget of {budget:.6g}" if amount > budget else ""
    return Verdict.scored(score, raw=amount, why=why + over)


def _check_range(budget: float, limit: float) -> None:
    if not 0 <= budget < limit < math.inf:
        raise SettingsError(f"'budget' must be at least 0 and below 'limit', got budget {budget} and limit {limit}")
