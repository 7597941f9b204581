"""What a judge's answers make together: the mean, and what is said of those that count as the worst, or not at all."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from journeyman.agent.data import Status, Verdict
from journeyman.agent.errors import ChatTimeoutError
from journeyman.verifiers.judges.asking import Blamed, Failed, Outcome, Read
from journeyman.verifiers.judges.prompts import Ruling

WINS = {"A": 1.0, "TIE": 0.5, "B": 0.0}
"""What each choice is worth to A."""


def scored(heard: Sequence[Outcome[Ruling]], worst: int, best: int) -> Verdict:
    """The mean of the numbers said; an answer that the attempt itself prevented is the worst."""
    counted = [outcome for outcome in heard if not isinstance(outcome, Failed)]
    if not counted:
        return _failed(heard)
    numbers = [int(outcome.value.choice) if isinstance(outcome, Read) else worst for outcome in counted]
    return _summary(counted, len(heard), numbers, (statistics.fmean(numbers) - worst) / (best - worst))


def preferred(heard: Sequence[Outcome[Ruling]]) -> Verdict:
    """The mean over pairs of answers, the first text once as A and once as B; a pair that lacks one is left out."""
    pairs = list(zip(heard[::2], heard[1::2], strict=True))
    wins, counted = [], []
    for as_a, as_b in pairs:
        if not isinstance(as_a, Failed) and not isinstance(as_b, Failed):
            wins.append((_win(as_a, 0) + _win(as_b, 1)) / 2)
            counted += [as_a, as_b]
    if not wins:
        return _failed(heard)
    return _summary(counted, len(heard), wins, statistics.fmean(wins))


def _win(outcome: Read[Ruling] | Blamed, place: int) -> float:
    """What an answer is worth to the first text, which stood at `place`; who is to blame for there being none loses."""
    if isinstance(outcome, Read):
        return abs(place - WINS[outcome.value.choice])
    first, *second = outcome.texts
    return (1 + second[0] - first) / 2 if second else 0.0


def _summary(counted: Sequence[Read[Ruling] | Blamed], asked: int, values: Sequence[float], score: float) -> Verdict:
    """The verdict of what counts; the spread is the standard deviation of `values`."""
    mean = statistics.fmean(values)
    rulings = [outcome.value for outcome in counted if isinstance(outcome, Read)]
    blamed = [outcome for outcome in counted if isinstance(outcome, Blamed)]
    said = ", ".join(ruling.choice for ruling in rulings)
    parts = [f"said {said or 'nothing'}; mean {mean:.4g}, spread {statistics.pstdev(values):.4g}"]
    if blamed:
        parts.append(f"{len(blamed)} of {asked} answers count as the worst: {blamed[0].why}")
    if len(counted) < asked:
        parts.append(f"{asked - len(counted)} of {asked} answers dropped")
    if rulings and rulings[0].reasons:
        parts.append(rulings[0].reasons)
    return Verdict.scored(score, raw=mean, extracted=said or None, why="; ".join(parts))


def _failed(heard: Sequence[Outcome[Ruling]]) -> Verdict:
    """The verdict where no answer counts: `timeout` where all that went wrong is that answers took too long."""
    failures = [outcome for outcome in heard if isinstance(outcome, Failed)]
    errors = [failure for failure in failures if failure.error is not None]
    timed_out = errors and all(isinstance(failure.error, ChatTimeoutError) for failure in errors)
    return Verdict(Status.TIMEOUT if timed_out else Status.ERROR, explanation=(errors or failures)[-1].why)
