"""The one boundary to verifiers' code: whatever they raise or return becomes a proper verdict, never a silent zero."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

from journeyman.agent.data import Status, Task, Trajectory, Verdict
from journeyman.agent.errors import UsageError
from journeyman.agent.protocols import BatchVerifier, Verifier

MAX_TEXT = 10_000
"""Characters kept of each text of a verdict: a model may write megabytes, and verdicts are stored."""


def judged(verifier: Verifier, task: Task, trajectory: Trajectory) -> Verdict:
    """The verifier's verdict; status `error` with the reason where it raises, or returns what is no proper verdict."""
    try:
        return proper(verifier.verify(task, trajectory))
    except (Exception, SystemExit) as error:  # the boundary to plugin code: classify, never raise on
        return failed(error)


def judged_together(verifier: BatchVerifier, attempts: Sequence[tuple[Task, Trajectory]]) -> list[Verdict]:
    """The same for a verifier that judges many at once: what it raises becomes the verdict on every attempt.

    But a UsageError is raised on: a wrong key or address is the user's to put right, and no attempt's fault.
    """
    try:
        verdicts = list(verifier.verify_all(attempts))
        if len(verdicts) != len(attempts):
            raise ValueError(f"verify_all() returned {len(verdicts)} verdicts on {len(attempts)} attempts")
    except UsageError:
        raise
    except (Exception, SystemExit) as error:  # the boundary to plugin code, as above
        return [failed(error)] * len(attempts)
    return [proper(verdict) for verdict in verdicts]


def failed(error: BaseException) -> Verdict:
    """The verdict of status `error` that says what was raised."""
    return Verdict(Status.ERROR, explanation=_shortened(f"{type(error).__name__}: {error}"))


def proper(verdict: object) -> Verdict:
    """The verdict itself, its texts cut to `MAX_TEXT` characters, or one of status `error` that says what is wrong."""
    if not isinstance(verdict, Verdict):
        return Verdict(Status.ERROR, explanation=f"verify() returned {type(verdict).__name__}, not a Verdict")
    try:
        problem = next(_problems(verdict), None)
    except Exception as error:  # fields may hold anything, even what cannot be printed
        return failed(error)
    if problem is not None:
        return Verdict(Status.ERROR, explanation=_shortened(problem))
    return replace(
        verdict,
        extracted=_shortened(verdict.extracted),
        expected=_shortened(verdict.expected),
        explanation=_shortened(verdict.explanation),
    )


def _problems(verdict: Verdict) -> Iterator[str]:
    """What is wrong with its fields."""
    status, ok = verdict.status, verdict.status is Status.OK
    if not isinstance(status, Status):
        yield f"status {status!r} is none of {', '.join(Status)}"
    if ok != (verdict.score is not None):
        yield f"a verdict of status {status} has score {verdict.score}: `ok` has one, nothing else has"
    if not ok and (verdict.raw is not None or verdict.step_scores is not None):
        yield f"a verdict of status {status} has numbers: only `ok` carries them"
    if ok and not _in_range(verdict.score):
        yield f"score {verdict.score!r} is not in [0, 1]"
    if verdict.raw is not None and not _is_number(verdict.raw):
        yield f"raw {verdict.raw!r} is not finite"
    for number, score in enumerate(verdict.step_scores or ()):
        if not _in_range(score):
            yield f"score {score!r} of step {number} is not in [0, 1]"
    for name in ("extracted", "expected", "explanation"):
        text = getattr(verdict, name)
        if not isinstance(text, str | None):
            yield f"{name} is {type(text).__name__}, not text"


def _in_range(score: object) -> bool:
    return _is_number(score) and 0 <= score <= 1  # type: ignore[operator]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max  # false for NaN


def _shortened(text: str | None) -> str | None:
    """The text as it can be stored: not too long, and without NUL and lone surrogates, which no database takes."""
    if text is None:
        return None
    whole = text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")
    return whole if len(whole) <= MAX_TEXT else whole[:MAX_TEXT] + "..."
