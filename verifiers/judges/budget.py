"""Shares the characters that a judge may be shown among messages, before any of them is cut."""

from __future__ import annotations

from collections.abc import Sequence

NOTE = 60
"""Most characters of a note that says how much is left out."""
LEAST = 200
"""Characters that each message has at least, or all that it has; messages for which there is no room are left out."""


def allot(lengths: Sequence[int], heads: Sequence[int], budget: int) -> dict[int, int]:
    """How many characters each message is shown with, its note included, by number and in order.

    `lengths` are those of the messages, `heads` what showing each costs beside. Short messages are shown whole, longer
    ones with equal shares; the last, which mostly is the answer, has half of the budget where it needs that. Where
    there are too many, those in the middle are not shown at all. All together, with a note on those, is within
    `budget`.
    """
    if not lengths:
        return {}
    shown = _shown(lengths, heads, budget)
    *others, last = shown
    room = budget - sum(heads[i] for i in shown) - (NOTE if len(shown) < len(lengths) else 0)
    given = min(lengths[last], max(room // 2, room - sum(lengths[i] for i in others)))
    level = _level([lengths[i] for i in others], room - given)
    return {i: min(lengths[i], level) for i in others} | {last: given}


def _shown(lengths: Sequence[int], heads: Sequence[int], budget: int) -> list[int]:
    """The messages for which there is room, from both ends."""
    costs = [head + min(length, LEAST) for head, length in zip(heads, lengths, strict=True)]
    last = len(lengths) - 1
    room = budget - heads[last] - min(lengths[last], budget // 2)
    if sum(costs[:-1]) <= room:
        return list(range(len(lengths)))
    first, end = 0, last  # shown are [0, first) and [end, last]
    room -= NOTE
    for turn in range(last):
        take = end - 1 if turn % 2 else first
        if costs[take] > room:
            break
        room -= costs[take]
        first, end = (first, take) if turn % 2 else (first + 1, end)
    return [*range(first), *range(end, last + 1)]


def _level(lengths: Sequence[int], room: int) -> int:
    """The most characters that each may have, so that all together have `room` at most."""
    for count, length in zip(range(len(lengths), 0, -1), sorted(lengths), strict=True):
        if length * count > room:
            return room // count
        room -= length
    return max(lengths, default=0)
