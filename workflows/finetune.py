"""Stage 4: one update of the policy, GRPO on groups plus NLL on verified positives.

The groups are the iteration's own attempts and what is drawn from the replay store. An attempt may be compared with its
siblings (policy loss), imitated (NLL), or both; it is one row of the update either way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from journeyman.agent.chance import keyed_seed
from journeyman.agent.data import Json, Source
from journeyman.agent.learning.advantages import group_advantages
from journeyman.agent.learning.learner import TrainingRow
from journeyman.agent.learning.schedule import warmup_then_decay
from journeyman.storage.replay import ReplayGroup
from journeyman.storage.replay_pools import Kind
from journeyman.storage.runs import NewPolicy, Use
from journeyman.storage.trajectories import StoredTrajectory
from journeyman.workflows.attempts import attempts_of
from journeyman.workflows.novelty import novelty_bonuses
from journeyman.workflows.replaying import draw, remember
from journeyman.workflows.session import RunRef, Session, borrow
from journeyman.workflows.versions import candidate_number, parent_of, version_path


def finetune(ref: RunRef, iteration: int) -> Json:
    """Trains the newest promoted policy on what the iteration gathered and saves the result as a candidate."""
    with borrow(ref) as session:
        store, run_id, number = session.store, session.run.id, candidate_number(iteration)
        if number not in {p.number for p in store.policies(run_id)}:
            remember(store, run_id, session.rubric, iteration)
            _train(session, iteration)
        candidate = store.policy(run_id, number)
        return {"policy": number, **candidate.stats}


@dataclass(slots=True, eq=False)
class Lesson:
    """What an update takes from one attempt."""

    stored: StoredTrajectory
    reward: float | None
    advantage: float | None = None
    """Among its group; None where it is only imitated."""
    nll_weight: float = 0.0
    importance_weight: float = 1.0

    def rows(self, policy_weight: float) -> list[TrainingRow]:
        """One for each segment."""
        compared = self.advantage is not None
        advantage = (self.advantage or 0.0) * policy_weight * self.importance_weight
        weight = self.nll_weight * self.importance_weight
        return [TrainingRow(s, advantage, compared, weight) for s in self.stored.trajectory.segments]


def lessons(
    session: Session, iteration: int, fresh: Sequence[StoredTrajectory], drawn: Sequence[ReplayGroup]
) -> list[Lesson]:
    """The update's lessons from the iteration's own attempts and the drawn groups, one for each attempt."""
    settings = session.settings.finetune
    found = {lesson.stored.id: lesson for lesson in _compared(session, iteration, fresh, drawn)}
    for group in drawn if settings.bc_weight else ():
        best = _to_imitate(session, group)
        if best is not None:
            lesson = found.setdefault(best.id, Lesson(best, session.rubric.reward(best.verdicts)))
            lesson.nll_weight = settings.bc_weight
            if lesson.advantage is None:
                lesson.importance_weight = group.importance_weight
    return list(found.values())


def _train(session: Session, iteration: int) -> None:
    store, run_id, number = session.store, session.run.id, candidate_number(iteration)
    settings = session.settings.finetune
    parent = parent_of(session, iteration)
    found = lessons(session, iteration, attempts_of(session, iteration), draw(session, iteration, parent))
    parts = [lesson.rows(settings.policy_weight) for lesson in found]
    rows = [row for part in parts for row in part]
    session.reporter.line(f"  iteration {iteration}: training on {len(rows)} rows")
    learner = session.learner(parent)
    update = learner.update(
        rows,
        minibatch_rows=settings.batch,
        epochs=settings.epochs,
        seed=keyed_seed(session.settings.run.seed, "finetune", iteration),
        learning_rate=partial(warmup_then_decay, settings.learning_rate, settings.warmup),
    )
    path = version_path(session, number)
    learner.save(session.artifacts / path, number)
    uses = _uses(session, found, parts, update.ratios)
    store.add_policy(run_id, NewPolicy(number, parent.id, iteration, "finetune", path, update.stats), uses)
    session.learner_became(store.policy(run_id, number))


def _compared(
    session: Session, iteration: int, fresh: Sequence[StoredTrajectory], drawn: Sequence[ReplayGroup]
) -> Iterator[Lesson]:
    """Attempts with their advantage among their siblings; one that no verifier could score has advantage 0."""
    settings = session.settings.finetune
    if not settings.policy_weight:
        return
    kinds = {Kind.POLICY} | ({Kind.HINDSIGHT} if settings.hindsight_loss != "nll" else set())
    older = [group for group in drawn if group.kind in kinds and _differ(session, group)]
    chosen = [(stored, 1.0) for stored in fresh]
    chosen += [(stored, group.importance_weight) for group in older for stored in group.members]
    chosen = [(stored, weight) for stored, weight in chosen if _has_logprobs(stored)]
    rewards = _rewards(session, iteration, [stored for stored, _ in chosen])
    advantages = group_advantages(rewards, [stored.group_id for stored, _ in chosen], settings.scale_rewards)
    for (stored, weight), reward, advantage in zip(chosen, rewards, advantages, strict=True):
        yield Lesson(stored, reward, float(advantage), importance_weight=weight)


def _differ(session: Session, group: ReplayGroup) -> bool:
    """Whether the group's rewards do: a relabel alone, say, would only take its share of the policy loss's mean."""
    return len({session.rubric.reward(stored.verdicts) for stored in group.members} - {None}) > 1


def _rewards(session: Session, iteration: int, chosen: Sequence[StoredTrajectory]) -> list[float | None]:
    """The rubric's rewards; the iteration's own attempts have their bonus for novelty in it."""
    own = [stored for stored in chosen if stored.trajectory.source is Source.POLICY and stored.iteration == iteration]
    bonuses = dict(zip((stored.id for stored in own), novelty_bonuses(session, iteration, own), strict=True))
    rewards = [session.rubric.reward(stored.verdicts) for stored in chosen]
    return [None if r is None else r + bonuses.get(t.id, 0.0) for r, t in zip(rewards, chosen, strict=True)]


def _has_logprobs(stored: StoredTrajectory) -> bool:
    """Whether the policy loss can have its ratio: not where a relabel had to be tokenised anew."""
    return all(segment.behaviour_logprobs is not None for segment in stored.trajectory.segments)


def _to_imitate(session: Session, group: ReplayGroup) -> StoredTrajectory | None:
    """The group's success with the fewest turns: wasted turns are not worth imitating."""
    if group.kind is Kind.POLICY or (
        group.kind is Kind.HINDSIGHT and session.settings.finetune.hindsight_loss == "grpo"
    ):
        return None
    successes = [stored for stored in group.members if session.rubric.succeeded(stored.verdicts)]
    return min(successes, key=lambda stored: (len(stored.trajectory.turns), stored.trajectory.attempt))


def _uses(
    session: Session, found: Sequence[Lesson], parts: Sequence[Sequence[TrainingRow]], ratios: dict[int, float]
) -> list[Use]:
    """For the record what each attempt was used for; its ratio is the mean over its segments."""
    uses, first = [], 0
    for lesson, part in zip(found, parts, strict=True):
        known = [ratios[i] for i in range(first, first + len(part)) if i in ratios]
        first += len(part)
        uses.append(
            Use(
                lesson.stored.id,
                lesson.reward,
                session.rubric.hash,
                lesson.advantage,
                lesson.nll_weight,
                sum(known) / len(known) if known else None,
                lesson.importance_weight,
            )
        )
    return uses
