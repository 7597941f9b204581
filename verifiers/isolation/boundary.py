"""The one boundary to verifiers' code: whatever they raise or return becomes a proper verdict, never a silent zero.

A verdict's fields may be anything until they have passed here, so each is read once and made plain: numbers become
Python's own floats by their own type's conversion, texts Python's own strings, cut to a length that can be stored.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice

from journeyman.agent.data import Status, Task, Trajectory, Verdict
from journeyman.agent.errors import UsageError
from journeyman.agent.protocols import BatchVerifier, Verifier

MAX_TEXT = 10_000
"""Characters kept of each text of a verdict: a model may write megabytes, and verdicts are stored."""
MAX_STEPS = 10_000
"""Step scores of a verdict, at most."""


class _ImproperError(Exception):
    """Says what is wrong with a verdict."""


def judged(verifier: Verifier, task: Task, trajectory: Trajectory) -> Verdict:
    """The verifier's verdict; status `error` with the reason where it raises, or returns what is no proper verdict.

    In a worker's own process nothing that is raised means anything but that the verifier failed.
    """
    try:
        return proper(verifier.verify(task, trajectory))
    except BaseException as error:
        return failed(error)


def judged_together(verifier: BatchVerifier, attempts: Sequence[tuple[Task, Trajectory]]) -> list[Verdict]:
    """The same for a verifier that judges many at once: what it raises becomes the verdict on every attempt.

    But a UsageError is raised on: a wrong key or address is the user's to put right, and no attempt's fault. So is
    KeyboardInterrupt: here, in the caller's process, it is the user's.
    """
    try:
        verdicts = list(islice(verifier.verify_all(attempts), len(attempts) + 1))
        if len(verdicts) != len(attempts):
            count = len(verdicts) if len(verdicts) < len(attempts) else "more"
            raise ValueError(f"verify_all() returned {count} verdicts on {len(attempts)} attempts")
        return [proper(verdict) for verdict in verdicts]
    except (UsageError, KeyboardInterrupt):
        raise
    except BaseException as error:  # the boundary to plugin code: classify, never raise on
        return [failed(error)] * len(attempts)


def failed(error: BaseException) -> Verdict:
    """The verdict of status `error` that says what was raised."""
    try:
        why = _text(f"{type(error).__name__}: {error}")
    except Exception as other:  # its text is the verifier's code too
        why = f"{type(error).__name__}, whose text raises {type(other).__name__}"
    return Verdict(Status.ERROR, explanation=why)


def proper(verdict: object) -> Verdict:
    """The verdict of plain values, its texts cut to `MAX_TEXT` characters, or one of status `error`: what is wrong."""
    try:
        if not isinstance(verdict, Verdict):
            raise _ImproperError(f"verify() returned {type(verdict).__name__}, not a Verdict")
        return _checked(verdict)
    except _ImproperError as problem:
        return Verdict(Status.ERROR, explanation=_text(str(problem)))
    except Exception as error:  # fields may hold anything, even what cannot be read or printed
        return failed(error)


def _checked(verdict: Verdict) -> Verdict:
    status, score, raw, steps = verdict.status, verdict.score, verdict.raw, verdict.step_scores
    if not isinstance(status, Status):
        raise _ImproperError(f"status {status!r} is none of {', '.join(Status)}")
    if (status is Status.OK) != (score is not None):
        raise _ImproperError(f"a verdict of status {status} has score {score}: `ok` has one, nothing else has")
    if status is not Status.OK and (raw is not None or steps is not None):
        raise _ImproperError(f"a verdict of status {status} has numbers: only `ok` carries them")
    return Verdict(
        status,
        None if score is None else _share(score, "score {!r}"),
        None if raw is None else _finite(raw),
        None if steps is None else _shares(steps),
        *(_text_or_none(name, getattr(verdict, name)) for name in ("extracted", "expected", "explanation")),
    )


def _share(value: object, called: str) -> float:
    """A number in [0, 1]; -0.0 becomes 0.0."""
    number = _plain(value)
    if number is None or not 0 <= number <= 1:
        raise _ImproperError(f"{called.format(value)} is not in [0, 1]")
    return number + 0.0


def _finite(value: object) -> float:
    number = _plain(value)
    if number is None or not math.isfinite(number):
        raise _ImproperError(f"raw {value!r} is not finite")
    return number


def _shares(steps: object) -> tuple[float, ...]:
    """Of any iterable that has an order."""
    if not isinstance(steps, Iterable) or isinstance(steps, str | bytes | bytearray | Mapping | AbstractSet):
        raise _ImproperError(f"step_scores is {type(steps).__name__}, not a sequence of numbers")
    some = enumerate(islice(steps, MAX_STEPS + 1))
    found = tuple(_share(score, f"score {{!r}} of step {number}") for number, score in some)
    if len(found) > MAX_STEPS:
        raise _ImproperError(f"step_scores has more than {MAX_STEPS:,} numbers")
    return found


def _plain(value: object) -> float | None:
    """Python's own float of a real number, True being 1; None for what is none, and infinity for one out of range.

    Numbers are Python's, NumPy's, fractions, and arrays or tensors without dimensions. A subclass has no say in what it
    is: the conversion of float or int itself is asked.
    """
    if isinstance(value, float):
        return float.__float__(value)
    try:
        if isinstance(value, int):
            return int.__float__(value)
        if isinstance(value, numbers.Real):
            return float.__float__(float(value))
    except OverflowError:
        return math.inf
    if getattr(value, "shape", None) == () and isinstance(number := value.item(), int | float):  # type: ignore[attr-defined]
        return _plain(number)
    return None


def _text_or_none(name: str, text: object) -> str | None:
    if text is None:
        return None
    if not isinstance(text, str):
        raise _ImproperError(f"{name} is {type(text).__name__}, not text")
    return _text(text)


def _text(text: str) -> str:
    """The text as it can be stored: not too long, and without NUL and lone surrogates, which no database takes."""
    cut = str.__getitem__(text, slice(MAX_TEXT))
    whole = cut.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")
    return whole if str.__len__(text) <= MAX_TEXT else whole + "..."
