"""Times of day, in a form of their own: `3:00 p.m.` is `15:00`, and `9:00` is no ratio."""

from __future__ import annotations

import re
from dataclasses import dataclass

_HALF = r"(?P<half>[ap]\.?\s?m\b\.?)"
_TIME = re.compile(
    rf"(?P<hour>[0-9]{{1,2}})\s?(?::\s?(?P<minute>[0-5][0-9])(?:\s?:\s?(?P<second>[0-5][0-9]))?\s*(?:{_HALF}|o'clock)?"
    rf"|\s*(?:{_HALF.replace('half', 'of_hour')}|o'clock))",
    re.IGNORECASE,
)


_HOUR, _HALF_DAY = 3600, 12 * 3600


@dataclass(frozen=True, slots=True)
class Time:
    """A time of day."""

    seconds: int
    """Since midnight; with the hour as written where `half` is not told."""
    half: str = ""
    """"a" or "p", where it is told."""
    sure: bool = True
    """False for what may be a ratio as well: `2:10`."""


def read_time(plain: str) -> Time | None:
    """The time that a plain text is; None where it is none."""
    match = _TIME.fullmatch(plain.strip()) if len(plain) < 40 else None
    if match is None:
        return None
    hour = int(match["hour"])
    half = (match["half"] or match["of_hour"] or "").lower()[:1]
    if hour > (12 if half else 24) or (half and hour == 0):
        return None
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    minute, second = int(match["minute"] or 0), int(match["second"] or 0)
    written = match["minute"] or "00"
    sure = bool(half or match["second"] or written[0] == "0" or match["hour"][0] == "0" or "clock" in plain)
    return Time(3600 * hour + 60 * minute + second, half, sure)


def same_time(gold: Time, answer: Time) -> bool:
    """Whether both are the same; a.m. and p.m. may be missing on one side."""
    if gold.half and answer.half:
        return gold.seconds == answer.seconds
    if not (gold.half or answer.half):
        return gold.seconds == answer.seconds
    told, bare = (gold, answer) if gold.half else (answer, gold)
    face = told.seconds % _HALF_DAY
    return bare.seconds in {told.seconds, face if face >= _HOUR else face + _HALF_DAY}
