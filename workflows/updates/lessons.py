"""What an update learns from: attempts compared with their siblings (policy loss), imitated (NLL), or both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from journeyman.agent.data import Source
from journeyman.agent.learning.advantages.group import group_advantages
from journeyman.agent.learning.learner import TrainingRow
from journeyman.storage.replay.pools import Kind
from journeyman.storage.replay.sampler import ReplayGroup
from journeyman.storage.trajectories.trajectories import StoredTrajectory
from journeyman.workflows.session.session import Session
from journeyman.workflows.updates.imitation import imitated, to_imitate
from journeyman.workflows.updates.novelty import novelty_bonuses
from journeyman.workflows.updates.step_terms import step_terms


@dataclass(slots=True, eq=False)
class Lesson:
    """What an update takes from one attempt; M: trained tokens of one of its segments."""

    stored: StoredTrajectory
    reward: float | None
    advantage: float | None = None
    """Among its group; None where it is only imitated."""
    step_terms: Sequence[NDArray[np.float64]] = ()
    """What its steps add to the advantage of their tokens: (M,) for each segment; empty where they add nothing."""
    unweighed: str | None = None
    """Why its steps could not be weighed, though they should be."""
    nll_weight: float = 0.0
    """Of its NLL, with the importance weight of the draw that it is imitated by."""
    imitated: Sequence[NDArray[np.bool_]] = ()
    """Which of its tokens have that weight: (M,) for each segment; empty where none has."""
    importance_weight: float = 1.0
    """Of the draw by which it is compared; where it is only imitated, of that one."""

    @property
    def mean_advantage(self) -> float | None:
        """With what its steps add, over its trained tokens."""
        if self.advantage is None or not len(self.step_terms):
            return self.advantage
        return self.advantage + float(np.concatenate(self.step_terms).mean())

    def rows(self, policy_weight: float) -> list[TrainingRow]:
        """One for each segment."""
        segments = self.stored.trajectory.segments
        terms = self.step_terms if len(self.step_terms) else [np.zeros(())] * len(segments)
        scale = policy_weight * self.importance_weight
        advantages = [np.asarray(((self.advantage or 0.0) + term) * scale, np.float32) for term in terms]
        told = self.imitated if len(self.imitated) else [np.zeros(())] * len(segments)
        weights = [np.asarray(self.nll_weight * one, np.float32) for one in told]
        compared = self.advantage is not None
        return [TrainingRow(s, a, compared, w) for s, a, w in zip(segments, advantages, weights, strict=True)]


def lessons(
    session: Session, iteration: int, fresh: Sequence[StoredTrajectory], drawn: Sequence[ReplayGroup]
) -> list[Lesson]:
    """The update's lessons from the iteration's own attempts and the drawn groups, one for each attempt."""
    settings = session.settings.finetune
    found = {lesson.stored.id: lesson for lesson in _compared(session, iteration, fresh, drawn)}
    for group in drawn if settings.bc_weight else ():
        success = to_imitate(session, group)
        if success is not None:
            lesson = found.setdefault(success.id, Lesson(success, session.rubric.reward(success.verdicts)))
            lesson.nll_weight = settings.bc_weight * group.importance_weight
            lesson.imitated = imitated(session, success)
            if lesson.advantage is None:
                lesson.importance_weight = group.importance_weight
    return list(found.values())


def _compared(
    session: Session, iteration: int, fresh: Sequence[StoredTrajectory], drawn: Sequence[ReplayGroup]
) -> Iterator[Lesson]:
    """Attempts with their advantage among their siblings; one that no verifier could score has advantage 0."""
    settings = session.settings.finetune
    if not settings.policy_weight:
        return
    kinds = {Kind.POLICY} | ({Kind.HINDSIGHT} if settings.hindsight_loss != "nll" else set())
    older = [group for group in drawn if group.kind in kinds and _differ(session, group)]
    drawn_from = [(stored, 1.0) for stored in fresh]
    drawn_from += [(stored, group.importance_weight) for group in older for stored in group.members]
    weights = {stored.id: weight for stored, weight in drawn_from}
    chosen = [stored for stored, _ in drawn_from if _has_logprobs(stored)]
    rewards = _rewards(session, iteration, chosen)
    advantages = group_advantages(rewards, [stored.group_id for stored in chosen], settings.scale_rewards)
    steps = step_terms(session, chosen, rewards)
    for stored, reward, advantage, (terms, problem) in zip(chosen, rewards, advantages, steps, strict=True):
        yield Lesson(stored, reward, float(advantage), terms, problem, importance_weight=weights[stored.id])


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
