"""What an update by each objective is made of, out of the store, and what it teaches the learner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from journeyman.agent.chance import keyed_seed
from journeyman.agent.data import Json
from journeyman.agent.learning.learner import Learner
from journeyman.agent.learning.preferences import Pair, PairLoss, prefer
from journeyman.agent.learning.schedule import warmup_then_decay
from journeyman.storage.files.training_sets import Preference
from journeyman.storage.replay.pools import Kind
from journeyman.storage.replay.sampler import ReplayGroup
from journeyman.storage.runs.policies import Use
from journeyman.storage.trajectories.trajectories import StoredTrajectory
from journeyman.verifiers.rubric import Criterion
from journeyman.workflows.attempts.attempts import attempts_of, is_own
from journeyman.workflows.attempts.versions import candidate_number, start_of
from journeyman.workflows.session.oversights import warn_of_cut_off_attempts, warn_of_single_steps
from journeyman.workflows.session.session import Session
from journeyman.workflows.settings.objectives import Objective
from journeyman.workflows.updates.agreement import agree, told_of_rows
from journeyman.workflows.updates.closeness import kl_figures
from journeyman.workflows.updates.imitation import imitated, successes
from journeyman.workflows.updates.lessons import Lesson, has_logprobs, lessons, of_groups, uses_of
from journeyman.workflows.updates.pairs import pairs_to_learn
from journeyman.workflows.updates.replay import draw, draw_stored
from journeyman.workflows.updates.step_terms import judge_of_steps


@dataclass(frozen=True, slots=True)
class Taught:
    """What an update did, for the record."""

    stats: Mapping[str, Json]
    uses: Sequence[Use]


class Material(Protocol):
    """What is learned from; M: trained tokens of a segment."""

    def missing(self, session: Session) -> str | None:
        """Why there is nothing to learn from, with the remedy; None where there is something."""

    def key(self, session: Session) -> Json:
        """What it is made of: two materials with equal keys teach the same, by the same settings."""

    def teach(self, session: Session, iteration: int, learner: Learner) -> Taught:
        """Moves the learner's weights."""


def gather(session: Session, iteration: int, objective: Objective, *, alone: bool = False) -> Material:
    """The iteration's material; `alone` is an update without attempts of its own."""
    start = start_of(session, iteration)
    policy = candidate_number(iteration) - 1 if start is None else start.number
    fresh = [] if alone else attempts_of(session, iteration)
    warn_of_cut_off_attempts(session, [stored.trajectory for stored in fresh])
    if objective == "dpo":
        return Pairs(pairs_to_learn(session, iteration, policy))
    if objective == "bc":
        return Successes(successes(session))
    return Groups(fresh, (draw_stored if alone else draw)(session, iteration, policy))


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Of GRPO: attempts compared with their siblings, and positives that are imitated beside."""

    fresh: Sequence[StoredTrajectory]
    drawn: Sequence[ReplayGroup]

    def missing(self, session: Session) -> str | None:
        """See `Material`."""
        settings, replay = session.settings.finetune, session.settings.replay
        compared = [*self.fresh, *(s for g in self.drawn if g.kind is Kind.POLICY for s in g.members)]
        if not settings.policy_weight and (self.fresh or self.drawn):
            return None
        if not compared:
            limits = f"replay.groups = {replay.groups}, replay.max_age = {replay.max_age}"
            return (
                f"it has no group of attempts that differ in reward within {limits}: raise these, or let it make more"
            )
        if not any(map(has_logprobs, compared)):
            what = f"none of {len(compared)} attempts has the log-probs of the policy that made it"
            return f"{what}, which GRPO's ratio is to: learn from them by `bc` or `dpo`"
        return None

    def key(self, session: Session) -> Json:
        """See `Material`; what is made of an attempt's verdicts counts too, which may be given again."""
        judged = partial(_judged, session, judge_of_steps(session))
        return [
            session.rubric.hash,
            [judged(s) for s in self.fresh],
            [[g.kind, g.importance_weight, *map(judged, g.members)] for g in self.drawn],
        ]

    def teach(self, session: Session, iteration: int, learner: Learner) -> Taught:
        """See `Material`."""
        return _by_lessons(session, iteration, learner, lessons(session, iteration, learner, self.fresh, self.drawn))


@dataclass(frozen=True, slots=True, eq=False)
class Successes:
    """Of imitation alone: verified successes, all of equal weight."""

    shown: Sequence[StoredTrajectory]

    def missing(self, session: Session) -> str | None:
        """See `Material`."""
        sources = ", ".join(session.settings.imitation.sources)
        return None if self.shown else f"it has no verified success of imitation.sources = [{sources}]: name others"

    def key(self, session: Session) -> Json:
        """See `Material`."""
        return [stored.id for stored in self.shown]

    def teach(self, session: Session, iteration: int, learner: Learner) -> Taught:
        """See `Material`."""
        rubric = session.rubric
        found = [
            Lesson(s, rubric.reward(s.verdicts), nll_weight=1.0, imitated=imitated(session, s)) for s in self.shown
        ]
        return _by_lessons(session, iteration, learner, found)


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Of preferences: two attempts at one task each, of which one is better."""

    pairs: Sequence[Preference]

    def missing(self, session: Session) -> str | None:
        """See `Material`."""
        says = f"preference.pairs = {session.settings.preference.pairs!r}"
        remedy = "label some attempts (`journeyman label`, `journeyman revise`), or let it make more"
        return None if self.pairs else f"it has no pairs of a better and a worse attempt ({says}): {remedy}"

    def key(self, session: Session) -> Json:
        """See `Material`."""
        return [[pair.better.id, pair.worse.id] for pair in self.pairs]

    def teach(self, session: Session, iteration: int, learner: Learner) -> Taught:
        """See `Material`; nothing moves where there are no pairs, as in an iteration without contrast."""
        settings, tune = session.settings.preference, session.settings.finetune
        stats: dict[str, Json] = {"steps": 0.0, "pairs": 0.0}
        session.reporter.line(f"  iteration {iteration}: training on {len(self.pairs)} pairs")
        if self.pairs:
            stats = dict(
                prefer(
                    learner,
                    [Pair(p.better.trajectory.segments, p.worse.trajectory.segments) for p in self.pairs],
                    PairLoss(settings.loss, settings.beta, settings.nll_weight),
                    batch=settings.batch,
                    epochs=tune.epochs,
                    seed=_seed(session, iteration),
                    learning_rate=_rate(session, settings.learning_rate, len(self.pairs), settings.batch),
                )
            )
            stats["told_by"] = dict(Counter(pair.by for pair in self.pairs))
        warn_of_single_steps(session, "preference", len(self.pairs), stats["steps"] / tune.epochs)
        return Taught(stats, self._uses(session))

    def _uses(self, session: Session) -> list[Use]:
        """An attempt's advantage is how much more often it is the better one, as a share of its pairs: in [-1, 1]."""
        signs: dict[str, list[int]] = {}
        found = {stored.id: stored for pair in self.pairs for stored in (pair.better, pair.worse)}
        for pair in self.pairs:
            signs.setdefault(pair.better.id, []).append(1)
            signs.setdefault(pair.worse.id, []).append(-1)
        rubric = session.rubric
        return [
            Use(i, rubric.reward(found[i].verdicts), rubric.hash, sum(of) / len(of), nll_weight=0.0)
            for i, of in signs.items()
        ]


def _judged(session: Session, judge: Criterion | None, stored: StoredTrajectory) -> Json:
    """The attempt with its reward, whether it succeeded, and what the judge of steps says of it."""
    verdict = None if judge is None else stored.verdicts.get(judge.id)
    steps = None if verdict is None else [verdict.status, verdict.step_scores]
    return [stored.id, session.rubric.reward(stored.verdicts), session.rubric.succeeded(stored.verdicts), steps]


def _by_lessons(session: Session, iteration: int, learner: Learner, found: Sequence[Lesson]) -> Taught:
    """One update by streams: rows of lessons."""
    settings = session.settings.finetune
    parts = [lesson.rows(settings.policy_weight) for lesson in found]
    rows = [row for part in parts for row in part]
    agree(learner.ranks, "rows", told_of_rows(rows))
    session.reporter.line(f"  iteration {iteration}: training on {len(rows)} rows")
    update = learner.update(
        rows,
        minibatch_rows=settings.batch,
        epochs=settings.epochs,
        seed=_seed(session, iteration),
        learning_rate=_rate(session, settings.learning_rate, len(rows), settings.batch),
    )
    if session.settings.optimizer.kind == "adamw":
        warn_of_single_steps(session, "finetune", len(rows), update.stats["steps"] / settings.epochs)
    compared = [(lesson.stored, lesson.attempt) for lesson in found if lesson.attempt is not None]
    stats: dict[str, Json] = dict(update.stats) | of_groups([attempt for _, attempt in compared])
    stats |= kl_figures(session, iteration, [attempt for stored, attempt in compared if is_own(stored, iteration)])
    unweighed = Counter(lesson.unweighed for lesson in found if lesson.unweighed)
    stats |= {"steps_unweighed": dict(unweighed)} if unweighed else {}
    return Taught(stats, uses_of(session, found, parts, update.ratios))


def _seed(session: Session, iteration: int) -> int:
    return keyed_seed(session.settings.run.seed, "finetune", iteration)


def _rate(session: Session, peak: float, count: int, batch: int) -> partial[float]:
    """The learning rate over the share of steps done; a warm-up that is shorter than a step is none."""
    settings = session.settings.finetune
    steps = settings.epochs * -(-count // batch)
    return partial(warmup_then_decay, peak, settings.warmup if settings.warmup * steps >= 1 else 0.0)
