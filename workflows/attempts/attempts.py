"""Attempts at tasks by a policy, in whole chunks: what `generate` and `evaluate` have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from journeyman.agent.chance import keyed_seed
from journeyman.agent.data import Source, Split, StopReason, Task, Trajectory
from journeyman.agent.errors import SettingsError
from journeyman.agent.protocols import Environment, Sampler
from journeyman.agent.rollout import Attempt, Limits, run_rollout
from journeyman.storage.runs.policies import PolicyInfo
from journeyman.storage.trajectories.rows import NewTrajectory
from journeyman.storage.trajectories.trajectories import StoredTrajectory
from journeyman.verifiers.rubric import Rubric
from journeyman.workflows.attempts.outages import refuse_outage
from journeyman.workflows.session.session import Session


@dataclass(frozen=True, slots=True)
class Plan:
    """Which attempts to make: `attempts` at each of `tasks`, and how they are acted out."""

    tasks: Sequence[Task]
    attempts: int
    limits: Limits
    purpose: tuple[int | str, ...]
    """Parts of the random numbers' key, e.g. ("generate", 3): equal purposes give equal numbers."""
    open_environment: Callable[[Task], Environment]


def attempts_of(session: Session, iteration: int, *, tokens: bool = True) -> list[StoredTrajectory]:
    """The iteration's stored attempts at training tasks, group by group."""
    return session.store.trajectories.of(
        session.run.id, source=Source.POLICY, split=Split.TRAIN, iterations=[iteration], tokens=tokens
    )


def is_own(stored: StoredTrajectory, iteration: int) -> bool:
    """Whether it is one of the iteration's own attempts, and not an older, a relabelled or an expert's."""
    return stored.trajectory.source is Source.POLICY and stored.iteration == iteration


def attempt(
    session: Session, policy: PolicyInfo, iteration: int, plan: Plan, label: str
) -> Iterator[list[NewTrajectory]]:
    """Yields the trajectories chunk by chunk, for the caller to store; chunks that are stored whole are left out."""
    stored = session.store.trajectories.groups(session.run.id, iteration, Source.POLICY)
    with session.reporter.progress(label, len(plan.tasks)) as advance:
        for first, tasks in in_chunks(session, plan.tasks).items():
            if _group(iteration, first, policy) not in stored:  # a chunk is stored in one transaction
                yield make_chunk(session, policy, iteration, plan, tasks)
            advance(len(tasks))


def in_chunks(session: Session, tasks: Sequence[Task]) -> dict[str, Sequence[Task]]:
    """The tasks in lists of `generate.chunk`, each named by the hash of its first task."""
    size = session.settings.generate.chunk
    return {tasks[i].hash: tasks[i : i + size] for i in range(0, len(tasks), size)}


def success_rate(session: Session, path: str, tasks: Sequence[Task]) -> float:
    """The share of the tasks that the weights at `path` solve at one attempt each; nothing is stored.

    Of those that were judged: attempts that broke, or on which a verifier failed, do not count. Raises UsageError where
    most did.
    """
    seed, temperature = session.settings.run.seed, session.settings.evaluate.temperature
    attempts = [Attempt(task, 0, keyed_seed(seed, "check", task.hash)) for task in tasks]
    sampler, limits = session.sampler_at(path), session.limits(temperature)
    trajectories = _acted(session, attempts, session.open_environment, sampler, limits)
    rubric = session.rubric
    scores = rubric.score_all(list(zip(tasks, trajectories, strict=True)))
    verdicts = [{score.verifier: score.verdict for score in given} for given in scores]
    refuse_outage(rubric, verdicts, "warm start: validation")
    return sum(map(rubric.succeeded, verdicts)) / (len(verdicts) - sum(map(rubric.failed, verdicts)))


def judged(rubric: Rubric, rows: Sequence[tuple[Task, NewTrajectory]]) -> list[NewTrajectory]:
    """The new trajectories, each given with its task, with every verifier's verdict on them."""
    scores = rubric.score_all([(task, row.trajectory) for task, row in rows])
    return [replace(row, scores=found) for (_, row), found in zip(rows, scores, strict=True)]


def make_chunk(
    session: Session, policy: PolicyInfo, iteration: int, plan: Plan, tasks: Sequence[Task]
) -> list[NewTrajectory]:
    """The plan's attempts at some of its tasks, sampled together; the same tasks give the same attempts."""
    attempts = [_planned(session, plan, task, number) for task in tasks for number in range(plan.attempts)]
    trajectories = _acted(session, attempts, plan.open_environment, session.sampler(policy), plan.limits)
    return [NewTrajectory(_group(iteration, t.task_hash, policy), t, iteration, policy.id) for t in trajectories]


def make_again(
    session: Session, policy: PolicyInfo, iteration: int, plan: Plan, broken: Sequence[StoredTrajectory]
) -> None:
    """Makes stored attempts of the plan that outages broke once more, each in its own place."""
    attempts = [_planned(session, plan, t.task, t.trajectory.attempt) for t in broken]
    trajectories = _acted(session, attempts, plan.open_environment, session.sampler(policy), plan.limits)
    rows = [NewTrajectory(_group(iteration, t.task_hash, policy), t, iteration, policy.id) for t in trajectories]
    session.store.trajectories.replace_broken(session.run.id, rows)


def _planned(session: Session, plan: Plan, task: Task, number: int) -> Attempt:
    return Attempt(task, number, keyed_seed(session.settings.run.seed, *plan.purpose, task.hash, number))


def _acted(
    session: Session,
    attempts: Sequence[Attempt],
    open_environment: Callable[[Task], Environment],
    sampler: Sampler,
    limits: Limits,
) -> list[Trajectory]:
    """The rollout; raises SettingsError where no attempt had room for a single answer."""
    made = run_rollout(attempts, open_environment, sampler, session.renderer, limits)
    if made and all(t.stop_reason is StopReason.LENGTH and not t.turns for t in made):
        context = session.settings.sampler.max_context
        raise SettingsError(f"sampler.max_context is {context}: none of {len(made)} prompts leaves room for an answer")
    return made


def _group(iteration: int, task_hash: str, policy: PolicyInfo) -> str:
    return f"policy/{iteration}/{task_hash}/v{policy.number}"
