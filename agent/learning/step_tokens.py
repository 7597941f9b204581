"""Which turn and which step of its attempt each trained token belongs to: what is known of them is told their tokens.

Dimension letters: M trained tokens of one segment, N of the whole attempt or tokens of one turn.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from journeyman.agent.chat.rendering import choices_of
from journeyman.agent.data import Trajectory
from journeyman.agent.steps import StepSpan

T = TypeVar("T", bound=np.generic)

Decode = Callable[[Sequence[int]], str]
"""Token ids -> their text, special tokens included (`Renderer.decode`)."""


def turns_of_tokens(trajectory: Trajectory) -> list[NDArray[np.intp]]:
    """(M,) for each segment: the index of the turn that each trained token belongs to.

    Turns that are not trained on are the first ones, as in a demonstration by DAgger. Raises ValueError where there are
    more runs of trained tokens than turns.
    """
    runs = [segment.runs() for segment in trajectory.segments]
    chosen, turns = sum(map(len, runs)), len(trajectory.turns)
    if chosen > turns:
        raise ValueError(f"a trajectory of {turns} turns has {chosen} runs of trained tokens")
    found, first = [], turns - chosen
    for own in runs:
        numbers = np.arange(first, first + len(own))
        found.append(np.repeat(numbers, [end - start for start, end in own]))
        first += len(own)
    return found


def steps_of_tokens(trajectory: Trajectory, steps: Sequence[StepSpan], decode: Decode) -> list[NDArray[np.intp]]:
    """(M,) for each segment: the index in `steps` of the step that each trained token belongs to.

    A token belongs to the step that its text begins in: it is found by decoding the turn's tokens up to it, so that any
    tokenizer will do, also where a character is made of several tokens. What no span covers (the end of turn, blanks)
    belongs to the step before it, or at the start to the first step.

    Raises ValueError where there are no steps or they are out of order, where the trajectory's tokens are not there
    (see `choices_of`), or where their text is too short for the steps.
    """
    order = [(step.turn, step.start) for step in steps]
    if not steps or order != sorted(set(order)):
        raise ValueError(f"the steps begin at {order}: there must be some, each later than the one before")
    found: list[int] = []
    index = 0
    for turn, choice in enumerate(choices_of(trajectory)):
        starts = [step.start for step in steps if step.turn == turn]
        before = index - 1 if index else 0
        cuts = _cuts(choice.ids, starts, decode)
        own = np.arange(len(choice.ids))
        steps_N = np.searchsorted(cuts, own, side="right") - 1 + index
        found += np.maximum(steps_N, index if starts else before).tolist()
        index += len(starts)
    return by_segment(trajectory, np.array(found, np.intp))


def by_segment(trajectory: Trajectory, values_N: NDArray[T]) -> list[NDArray[T]]:
    """(M,) for each segment from (N,) for the attempt; nothing where it ended before its first token."""
    ends = np.cumsum([np.count_nonzero(segment.loss_mask) for segment in trajectory.segments])
    return np.split(values_N, ends[:-1]) if len(ends) else []


def _cuts(ids: Sequence[int], starts: Sequence[int], decode: Decode) -> list[int]:
    """How many of the (N,) ids it takes to have said all characters before each start."""
    text = decode(ids)
    if starts and len(text) < starts[-1]:
        raise ValueError(f"a step begins at character {starts[-1]} of a turn whose tokens are only {text!r}")
    return [
        bisect_left(range(len(ids)), True, key=lambda n: decode(ids[:n])[:start] == text[:start]) for start in starts
    ]
