"""What an update learns from: attempts compared with their siblings (policy loss), imitated (NLL), or both."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from journeyman.agent.data import Source
from journeyman.agent.learning.advantages.attempts import Attempt, Credit
from journeyman.agent.learning.learner import Learner, TrainingRow
from journeyman.agent.learning.step_tokens import by_segment
from journeyman.storage.replay.pools import Kind
from journeyman.storage.replay.sampler import ReplayGroup
from journeyman.storage.runs.policies import Use
from journeyman.storage.trajectories.trajectories import StoredTrajectory
from journeyman.workflows.attempts.attempts import is_own
from journeyman.workflows.session.session import Session
from journeyman.workflows.updates.closeness import kl_weight
from journeyman.workflows.updates.credit import credited
from journeyman.workflows.updates.imitation import imitated, to_imitate
from journeyman.workflows.updates.novelty import novelty_bonuses
from journeyman.workflows.updates.step_terms import step_terms


@dataclass(slots=True, eq=False)
class Lesson:
    """What an update takes from one attempt; M: trained tokens of one of its segments."""

    stored: StoredTrajectory
    reward: float | None
    credit: Credit | None = None
    """Of its tokens, by the run's estimator; None where it is only imitated."""
    attempt: Attempt | None = None
    """What that was made of."""
    kl_weight: float = 0.0
    """beta of the KL in the loss."""
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
        """With what its steps add, over its trained tokens; None where it is only imitated."""
        if self.credit is None:
            return None
        advantages_N = self._all_advantages()
        if not len(advantages_N):
            return 0.0
        least, most = float(advantages_N.min()), float(advantages_N.max())
        return least if least == most else float(advantages_N.mean())  # the mean of equal ones may be rounded

    def rows(self, policy_weight: float) -> list[TrainingRow]:
        """One for each segment."""
        stored, credit, attempt = self.stored, self.credit, self.attempt
        segments = stored.trajectory.segments
        told = self.imitated if len(self.imitated) else [np.zeros((), np.bool_)] * len(segments)
        rows = [
            TrainingRow(segment, nll=np.where(one, self.nll_weight, 0.0).astype(np.float32))
            for segment, one in zip(segments, told, strict=True)
        ]
        if credit is None or attempt is None:
            return rows
        scaled = by_segment(stored.trajectory, self._all_advantages() * (policy_weight * self.importance_weight))
        rows = [replace(row, policy=one.astype(np.float32)) for row, one in zip(rows, scaled, strict=True)]
        if self.kl_weight:
            rows = [replace(row, reference=self.kl_weight) for row in rows]
        if stored.trajectory.source is Source.EXPERT:
            rows = [replace(row, shaped=True) for row in rows]
        if credit.returns_N is None or attempt.values_N is None:
            return rows
        told_of = (by_segment(stored.trajectory, values_N) for values_N in (credit.returns_N, attempt.values_N))
        parts = zip(rows, *told_of, strict=True)
        return [replace(row, value=a.astype(np.float32), foreseen=b.astype(np.float32)) for row, a, b in parts]

    def _all_advantages(self) -> NDArray[np.float64]:
        assert self.credit is not None
        steps = np.concatenate(self.step_terms) if len(self.step_terms) else np.zeros(())
        return self.credit.advantages_N + steps


def lessons(
    session: Session,
    iteration: int,
    learner: Learner,
    fresh: Sequence[StoredTrajectory],
    drawn: Sequence[ReplayGroup],
) -> list[Lesson]:
    """The update's lessons from the iteration's own attempts and the drawn groups, one for each attempt.

    `learner` has the weights that the update begins with.
    """
    settings = session.settings.finetune
    found = {lesson.stored.id: lesson for lesson in _compared(session, iteration, learner, fresh, drawn)}
    for group in drawn if settings.bc_weight else ():
        success = to_imitate(session, group)
        if success is not None:
            lesson = found.setdefault(success.id, Lesson(success, session.rubric.reward(success.verdicts)))
            lesson.nll_weight = settings.bc_weight * group.importance_weight
            lesson.imitated = imitated(session, success)
            if lesson.credit is None:
                lesson.importance_weight = group.importance_weight
    return list(found.values())


def of_groups(attempts: Sequence[Attempt]) -> dict[str, float]:
    """Mean and spread of the rewards that were compared, penalties included; the share of groups without contrast."""
    rewards: dict[Hashable, list[float]] = defaultdict(list)
    for attempt in attempts:
        if attempt.total is not None:
            rewards[attempt.group].append(attempt.total)
    if not rewards:
        return {}
    every = np.array([reward for group in rewards.values() for reward in group])
    alike = sum(min(group) == max(group) for group in rewards.values())
    return {
        "reward_mean": float(every.mean()),
        "reward_std": float(every.std()),
        "groups_without_contrast": alike / len(rewards),
    }


def uses_of(
    session: Session, found: Sequence[Lesson], parts: Sequence[Sequence[TrainingRow]], ratios: Mapping[int, float]
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
                lesson.mean_advantage,
                lesson.nll_weight,
                sum(known) / len(known) if known else None,
                lesson.importance_weight,
            )
        )
    return uses


def _compared(
    session: Session,
    iteration: int,
    learner: Learner,
    fresh: Sequence[StoredTrajectory],
    drawn: Sequence[ReplayGroup],
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
    chosen = [stored for stored, _ in drawn_from if has_logprobs(stored)]
    groups: list[Hashable] = [stored.group_id for stored in chosen]
    if settings.experts == "group":
        shown = _demonstrations(session, fresh)
        chosen, groups = chosen + [stored for stored, _ in shown], groups + [group for _, group in shown]
    rewards = _rewards(session, iteration, chosen)
    found = credited(session, iteration, learner, chosen, rewards, groups)
    steps = step_terms(session, chosen, rewards, groups)
    beta = kl_weight(session, iteration) if session.settings.kl.place == "loss" else 0.0
    for stored, (attempt, credit), (terms, problem) in zip(chosen, found, steps, strict=True):
        weight = weights.get(stored.id, 1.0)
        yield Lesson(stored, attempt.reward, credit, attempt, beta, terms, problem, importance_weight=weight)


def _demonstrations(session: Session, fresh: Sequence[StoredTrajectory]) -> list[tuple[StoredTrajectory, Hashable]]:
    """The experts' attempts at the fresh groups' tasks, each with the group that it joins."""
    groups = {stored.task.hash: stored.group_id for stored in fresh}
    experts = session.store.trajectories.of(session.run.id, source=Source.EXPERT, iterations=[0])
    found: list[tuple[StoredTrajectory, Hashable]] = [
        (stored, groups[stored.task.hash]) for stored in experts if stored.task.hash in groups
    ]
    if not found:
        session.warn(
            "experts",
            "finetune.experts = 'group' adds nothing: none of the iteration's tasks has a demonstration; raise "
            "warm_start.demonstrations, or leave it at 'imitate'",
        )
    return found


def _differ(session: Session, group: ReplayGroup) -> bool:
    """Whether the group's rewards do: a relabel alone, say, would only take its share of the policy loss's mean."""
    return len({session.rubric.reward(stored.verdicts) for stored in group.members} - {None}) > 1


def _rewards(session: Session, iteration: int, chosen: Sequence[StoredTrajectory]) -> list[float | None]:
    """The rubric's rewards; the iteration's own attempts have their bonus for novelty in it."""
    own = [stored for stored in chosen if is_own(stored, iteration)]
    bonuses = dict(zip((stored.id for stored in own), novelty_bonuses(session, iteration, own), strict=True))
    rewards = [session.rubric.reward(stored.verdicts) for stored in chosen]
    return [None if r is None else r + bonuses.get(t.id, 0.0) for r, t in zip(rewards, chosen, strict=True)]


def has_logprobs(stored: StoredTrajectory) -> bool:
    """Whether the policy loss can have its ratio: not where a relabel had to be tokenised anew."""
    return all(segment.behaviour_logprobs is not None for segment in stored.trajectory.segments)
