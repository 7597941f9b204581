"""Stage 5, after evaluation: does the policy solve the tasks, or only please the verifiers? It decides nothing.

Goodhart's law in a loop: what is trained on stops to measure. Signs of that, of the candidate's validation attempts,
are kept in the table `audit`; docs/audit.md says what each is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import fmean

from journeyman.agent.chance import keyed_rng
from journeyman.agent.data import Json, Source, Split, Status
from journeyman.storage.runs.evaluations import AuditInfo
from journeyman.storage.trajectories.trajectories import StoredTrajectory
from journeyman.verifiers.conduct.expenses import Repetition
from journeyman.verifiers.texts.rewrites import rewritten
from journeyman.workflows.attempts.attempts import attempts_of
from journeyman.workflows.attempts.versions import WARM_START, candidate_number
from journeyman.workflows.session.session import RunRef, Session, borrow

SIGNS = (
    "length",
    "length_vs_warm_start",
    "length_vs_parent",
    "repetition",
    "verifier_failures",
    "rubric_only",
    "held_out_only",
    "flips",
)
"""The metrics; `flips/<rewrite>/to_pass` and `flips/<rewrite>/to_fail` are beside them."""
_PAGE = 256


def audit(ref: RunRef, iteration: int) -> Json:
    """Has the held-out verifier judge, and stores the iteration's numbers in one transaction; by metric."""
    with borrow(ref) as session:
        store, run_id, number = session.store, session.run.id, candidate_number(iteration)
        if number not in {info.policy_number for info in store.evaluations.audits(run_id)}:
            _judge(session, [*_validation(session, iteration), *_training(session, iteration)])
            store.evaluations.add_audit(run_id, list(_findings(session, iteration)))
        return {info.metric: info.value for info in audited(session, number)}


def audited(session: Session, number: int, split: Split = Split.VALIDATION) -> list[AuditInfo]:
    """What the audit of a version found."""
    return [
        i for i in session.store.evaluations.audits(session.run.id) if (i.policy_number, i.split) == (number, split)
    ]


def _validation(session: Session, iteration: int) -> list[StoredTrajectory]:
    """The candidate's validation attempts, less those that an outage broke."""
    found = session.store.trajectories.of(
        session.run.id,
        source=Source.POLICY,
        split=Split.VALIDATION,
        iterations=[iteration],
        policy_number=candidate_number(iteration),
        tokens=False,
    )
    return [t for t in found if not t.trajectory.broken]


def _training(session: Session, iteration: int) -> list[StoredTrajectory]:
    """The drawn training attempts, of those that no outage broke; the parent made them."""
    found = attempts_of(session, iteration, tokens=False) if session.settings.audit.train else []
    attempts = [t for t in found if not t.trajectory.broken]
    return _drawn(session, iteration, attempts, session.settings.audit.train)


def _drawn(
    session: Session, iteration: int, attempts: Sequence[StoredTrajectory], count: int
) -> list[StoredTrajectory]:
    """At most `count` of the attempts, in their order."""
    rng = keyed_rng(session.settings.run.seed, "audit", session.run.ordinal, iteration)
    places = rng.permutation(len(attempts))[:count]
    return [attempts[i] for i in sorted(places)]


def _judge(session: Session, attempts: Sequence[StoredTrajectory]) -> None:
    """Stores the held-out verifier's verdicts on those that it has not judged yet."""
    if session.held_out is None:
        return
    held_out, (criterion,) = session.held_out, session.held_out.criteria
    left = [t for t in attempts if criterion.id not in t.verdicts]
    with session.reporter.progress(f"audit by {criterion.id.name}", len(left)) as advance:
        for first in range(0, len(left), _PAGE):
            page = left[first : first + _PAGE]
            judged = held_out.score_all([(t.task, t.trajectory) for t in page])
            session.store.verdicts.add([(t.id, record) for t, (record,) in zip(page, judged, strict=True)])
            advance(len(page))


def _findings(session: Session, iteration: int) -> Iterator[AuditInfo]:
    number, attempts = candidate_number(iteration), _validation(session, iteration)
    yield from _lengths(session, number, attempts)
    repeated = [Repetition().verify(t.task, t.trajectory).raw or 0.0 for t in attempts]
    yield from _mean(number, "repetition", repeated)
    if thoughts := [float(t.trajectory.thought_tokens) for t in attempts if t.trajectory.thought_tokens]:
        yield AuditInfo(number, Split.VALIDATION, "thoughts", sum(thoughts) / len(attempts), len(attempts))
    yield from _failures(session, number, attempts)
    yield from _disagreement(session, number, attempts, Split.VALIDATION)
    yield from _disagreement(session, number, _training(session, iteration), Split.TRAIN)
    yield from _flips(session, iteration, attempts)


def _mean(number: int, metric: str, values: Sequence[float], split: Split = Split.VALIDATION) -> Iterator[AuditInfo]:
    """The mean as the version's metric; nothing where there is nothing to take it of."""
    if values:
        yield AuditInfo(number, split, metric, fmean(values), len(values))


def _lengths(session: Session, number: int, attempts: Sequence[StoredTrajectory]) -> Iterator[AuditInfo]:
    """Mean sampled tokens, and how many times those of the run's first version and of the parent they are."""
    found = list(_mean(number, "length", [float(t.trajectory.sampled_tokens or 0) for t in attempts]))
    yield from found
    lengths = {
        i.policy_number: i.value for i in session.store.evaluations.audits(session.run.id) if i.metric == "length"
    }
    parent_id = session.store.policies.numbered(session.run.id, number).parent_id
    parents = [p.number for p in session.store.policies.of(session.run.id) if p.id == parent_id]
    for own in found:
        for name, others in (("warm_start", [WARM_START]), ("parent", parents)):
            for before in (lengths[other] for other in others if lengths.get(other)):
                yield replace(own, metric=f"length_vs_{name}", value=own.value / before)


def _failures(session: Session, number: int, attempts: Sequence[StoredTrajectory]) -> Iterator[AuditInfo]:
    """The share of verdicts that are none: the verifier raised, or took too long."""
    rubrics = [session.rubric, *([session.held_out] if session.held_out else [])]
    asked = {criterion.id for rubric in rubrics for criterion in rubric.criteria}
    verdicts = [verdict for t in attempts for verifier, verdict in t.verdicts.items() if verifier in asked]
    failed = [float(verdict.status in (Status.ERROR, Status.TIMEOUT)) for verdict in verdicts]
    yield from _mean(number, "verifier_failures", failed)


def _disagreement(
    session: Session, number: int, attempts: Sequence[StoredTrajectory], split: Split
) -> Iterator[AuditInfo]:
    """How often only one of rubric and held-out verifier passes an attempt, of those on which both have a word."""
    if session.held_out is None:
        return
    (criterion,) = session.held_out.criteria
    pairs = []
    for stored in attempts:
        verdict = stored.verdicts.get(criterion.id)
        if verdict is not None and verdict.score is not None and session.rubric.reward(stored.verdicts) is not None:
            passed = verdict.score >= session.settings.audit.passes_at
            pairs.append((session.rubric.succeeded(stored.verdicts), passed))
    yield from _mean(number, "rubric_only", [float(mine and not other) for mine, other in pairs], split)
    yield from _mean(number, "held_out_only", [float(other and not mine) for mine, other in pairs], split)


def _flips(session: Session, iteration: int, attempts: Sequence[StoredTrajectory]) -> Iterator[AuditInfo]:
    """How often the rubric's word changes when an answer is written otherwise: in all, and by rewrite and direction."""
    settings, number = session.settings.audit, candidate_number(iteration)
    known = [t for t in attempts if session.rubric.reward(t.verdicts) is not None]
    drawn = _drawn(session, iteration, known, settings.rewrites)
    every: list[bool] = []
    for kind in settings.kinds:
        changes = _rejudged(session, kind, drawn)
        yield from _mean(number, f"flips/{kind}/to_pass", [float(now and not before) for before, now in changes])
        yield from _mean(number, f"flips/{kind}/to_fail", [float(before and not now) for before, now in changes])
        every += [before is not now for before, now in changes]
    yield from _mean(number, "flips", [float(flipped) for flipped in every])


def _rejudged(session: Session, kind: str, attempts: Sequence[StoredTrajectory]) -> list[tuple[bool, bool]]:
    """Whether the rubric passes each as it was and as it is rewritten; those that this leaves as they are not."""
    rubric = session.rubric
    told = [(t, rewritten(t.trajectory, kind)) for t in attempts]
    pairs = [(t, other) for t, other in told if other is not None]
    judged = rubric.score_all([(t.task, other) for t, other in pairs])
    return [
        (rubric.succeeded(t.verdicts), rubric.passes(scores))
        for (t, _), scores in zip(pairs, judged, strict=True)
        if rubric.reward({score.verifier: score.verdict for score in scores}) is not None
    ]
