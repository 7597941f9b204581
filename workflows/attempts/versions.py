"""Policy versions: their numbers, their weights on disk, and which of those are kept."""

from __future__ import annotations

import shutil

from journeyman.agent.errors import UsageError
from journeyman.storage.runs.policies import PolicyInfo
from journeyman.workflows.session.runs import chosen_version
from journeyman.workflows.session.session import Session

WARM_START = 1
"""Number of a run's first version; iteration i makes version i + 1."""


def candidate_number(iteration: int) -> int:
    """The version that an iteration makes; iteration 0 is the warm start."""
    return iteration + WARM_START


def parent_of(session: Session, iteration: int) -> PolicyInfo:
    """The policy that an iteration begins with: the newest promoted one before it."""
    policy = session.store.policies.newest_promoted(session.run.id, before=candidate_number(iteration))
    if policy is None:
        raise UsageError(f"run {session.run.id} has no policy for iteration {iteration}: run its warm start first")
    return policy


def start_of(session: Session, iteration: int) -> PolicyInfo | None:
    """What the iteration's update begins with, as `finetune.begin` says; None is the base model."""
    begin = session.settings.finetune.begin
    if begin == "parent":
        return parent_of(session, iteration)
    return None if begin == "base" else chosen_version(session, begin)


def version_path(session: Session, number: int) -> str:
    """Folder of a version's weights, relative to the artifacts."""
    return f"{session.run.id}/v{number:04d}"


def prune(session: Session) -> list[int]:
    """Deletes the weights of versions neither promoted nor among the last `store.keep_last`; their numbers.

    A version of another run, which this one continues, is never touched.
    """
    policies = session.store.policies.of(session.run.id)
    last = policies[-session.settings.store.keep_last :]
    own = [p for p in policies if p.path == version_path(session, p.number)]
    dropped = [p for p in own if p.kept and p.promoted is False and p not in last]
    session.store.policies.set_pruned(
        [p.id for p in dropped]
    )  # first the word, then the deed: a kill in between loses nothing
    for policy in own:
        if not policy.kept or policy in dropped:
            shutil.rmtree(session.artifacts / policy.path, ignore_errors=True)
    return [p.number for p in dropped]
