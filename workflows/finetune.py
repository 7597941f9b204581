"""Stage 4: one update of the policy, GRPO on the iteration's groups plus NLL on verified positives."""

from __future__ import annotations

from functools import partial

from journeyman.agent.chance import keyed_rng, keyed_seed
from journeyman.agent.data import Json
from journeyman.agent.learning.advantages import group_advantages
from journeyman.agent.learning.learner import TrainingRow
from journeyman.agent.learning.schedule import warmup_then_decay
from journeyman.storage.replay import Mix, sample_positives
from journeyman.storage.runs import NewPolicy, Use
from journeyman.storage.trajectories import StoredTrajectory
from journeyman.workflows.attempts import attempts_of
from journeyman.workflows.session import RunRef, Session, borrow
from journeyman.workflows.versions import candidate_number, parent_of, version_path


def finetune(ref: RunRef, iteration: int) -> Json:
    """Trains the newest promoted policy on what the iteration gathered and saves the result as a candidate."""
    with borrow(ref) as session:
        store, run_id, number = session.store, session.run.id, candidate_number(iteration)
        if number not in {p.number for p in store.policies(run_id)}:
            _train(session, iteration)
        candidate = store.policy(run_id, number)
        return {"policy": number, **candidate.stats}


def _train(session: Session, iteration: int) -> None:
    store, run_id, number = session.store, session.run.id, candidate_number(iteration)
    parent = parent_of(session, iteration)
    rows, uses = _rows(session, iteration)
    learner = session.learner(parent)
    session.reporter.line(f"  iteration {iteration}: training on {len(rows)} rows")
    settings = session.settings.finetune
    stats = learner.update(
        rows,
        minibatch_rows=settings.batch,
        epochs=settings.epochs,
        seed=keyed_seed(session.settings.run.seed, "finetune", iteration),
        learning_rate=partial(warmup_then_decay, settings.learning_rate, settings.warmup),
    )
    path = version_path(session, number)
    learner.save(session.artifacts / path, number)
    store.add_policy(run_id, NewPolicy(number, parent.id, iteration, "finetune", path, stats), uses)
    session.learner_became(store.policy(run_id, number))


def _rows(session: Session, iteration: int) -> tuple[list[TrainingRow], list[Use]]:
    """The update's rows, and for the record what each trajectory was used for; one that is both is one row."""
    attempts = _advantages(session, iteration)
    positives = {t.id: t for t in _positives(session, iteration)}
    weight = session.settings.finetune.bc_weight
    rows, uses = [], []
    for stored, reward, advantage in attempts:
        nll_weight = weight if positives.pop(stored.id, None) else 0.0
        scaled = advantage * session.settings.finetune.policy_weight
        rows += [TrainingRow(s, scaled, in_policy_loss=True, nll_weight=nll_weight) for s in stored.trajectory.segments]
        uses.append(Use(stored.id, reward, session.rubric.hash, advantage, nll_weight))
    for stored in positives.values():
        rows += [TrainingRow(s, 0.0, in_policy_loss=False, nll_weight=weight) for s in stored.trajectory.segments]
        uses.append(Use(stored.id, session.rubric.reward(stored.verdicts), session.rubric.hash, None, weight))
    return rows, uses


def _advantages(session: Session, iteration: int) -> list[tuple[StoredTrajectory, float | None, float]]:
    """The iteration's attempts with reward and group advantage; a row that no verifier could score has advantage 0."""
    if not session.settings.finetune.policy_weight:
        return []
    stored = attempts_of(session, iteration)
    rewards = [session.rubric.reward(t.verdicts) for t in stored]
    advantages = group_advantages(rewards, [t.task.hash for t in stored], session.settings.finetune.scale_rewards)
    return list(zip(stored, rewards, (float(a) for a in advantages), strict=True))


def _positives(session: Session, iteration: int) -> list[StoredTrajectory]:
    settings = session.settings.finetune
    if not settings.bc_weight or not settings.positives:
        return []
    mix = Mix(settings.positives, settings.quota, settings.max_age, settings.per_task)
    rng = keyed_rng(session.settings.run.seed, "positives", session.run.ordinal, iteration)
    return sample_positives(session.store, session.run.id, iteration, mix, session.rubric.succeeded, rng)
