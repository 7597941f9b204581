"""Stage 4: one update of the policy, GRPO on groups plus NLL on verified positives.

The groups are the iteration's own attempts and what is drawn from the replay store; what each attempt teaches is in
lessons.py.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from functools import partial

import numpy as np

from journeyman.agent.chance import keyed_seed
from journeyman.agent.data import Json
from journeyman.agent.learning.advantages.attempts import Attempt
from journeyman.agent.learning.learner import TrainingRow
from journeyman.agent.learning.schedule import warmup_then_decay
from journeyman.storage.runs.policies import NewPolicy, Use
from journeyman.workflows.attempts.attempts import attempts_of
from journeyman.workflows.attempts.versions import candidate_number, parent_of, version_path
from journeyman.workflows.session.oversights import warn_of_cut_off_attempts, warn_of_single_steps
from journeyman.workflows.session.session import RunRef, Session, borrow
from journeyman.workflows.updates.closeness import kl_figures
from journeyman.workflows.updates.lessons import Lesson, lessons
from journeyman.workflows.updates.replay import draw, remember


def finetune(ref: RunRef, iteration: int) -> Json:
    """Trains the newest promoted policy on what the iteration gathered and saves the result as a candidate."""
    with borrow(ref) as session:
        store, run_id, number = session.store, session.run.id, candidate_number(iteration)
        if number not in {p.number for p in store.policies.of(run_id)}:
            remember(store, run_id, session.rubric, iteration)
            _train(session, iteration)
        candidate = store.policies.numbered(run_id, number)
        return {"policy": number, **candidate.stats}


def _train(session: Session, iteration: int) -> None:
    store, run_id, number = session.store, session.run.id, candidate_number(iteration)
    settings = session.settings.finetune
    parent = parent_of(session, iteration)
    attempts = attempts_of(session, iteration)
    warn_of_cut_off_attempts(session, [stored.trajectory for stored in attempts])
    found = lessons(session, iteration, attempts, draw(session, iteration, parent))
    parts = [lesson.rows(settings.policy_weight) for lesson in found]
    rows = [row for part in parts for row in part]
    session.reporter.line(f"  iteration {iteration}: training on {len(rows)} rows")
    learner = session.learner(parent)
    steps = settings.epochs * -(-len(rows) // settings.batch)
    warmup = settings.warmup if settings.warmup * steps >= 1 else 0.0  # one shorter than a step is none
    update = learner.update(
        rows,
        minibatch_rows=settings.batch,
        epochs=settings.epochs,
        seed=keyed_seed(session.settings.run.seed, "finetune", iteration),
        learning_rate=partial(warmup_then_decay, settings.learning_rate, warmup),
    )
    warn_of_single_steps(session, "finetune", len(rows), update.stats["steps"] / settings.epochs)
    path = version_path(session, number)
    learner.save(session.artifacts / path, number, parent.path)
    uses = _uses(session, found, parts, update.ratios)
    compared = [lesson.attempt for lesson in found if lesson.attempt is not None]
    stats: dict[str, Json] = dict(update.stats) | _of_groups(compared) | kl_figures(session, iteration, compared)
    unweighed = Counter(lesson.unweighed for lesson in found if lesson.unweighed)
    stats |= {"steps_unweighed": dict(unweighed)} if unweighed else {}
    store.policies.add(run_id, NewPolicy(number, parent.id, iteration, "finetune", path, stats), uses)
    session.learner_became(store.policies.numbered(run_id, number))


def _of_groups(attempts: Sequence[Attempt]) -> dict[str, float]:
    """Spread of the rewards that were compared, and the share of their groups without contrast."""
    rewards: dict[Hashable, list[float]] = defaultdict(list)
    for attempt in attempts:
        if attempt.reward is not None:
            rewards[attempt.group].append(attempt.reward)
    if not rewards:
        return {}
    every = np.array([reward for group in rewards.values() for reward in group])
    alike = sum(min(group) == max(group) for group in rewards.values())
    return {
        "reward_mean": float(every.mean()),
        "reward_std": float(every.std()),
        "groups_without_contrast": alike / len(rewards),
    }


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
                lesson.mean_advantage,
                lesson.nll_weight,
                sum(known) / len(known) if known else None,
                lesson.importance_weight,
            )
        )
    return uses
