"""The replay buffer's two ends: judged groups enter the pools, and an update's draw comes out of them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

from journeyman.agent.chance import keyed_rng
from journeyman.agent.data import Source
from journeyman.storage.replay.pools import Kind
from journeyman.storage.replay.sampler import Mix, ReplayGroup
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.trajectories import JudgedAttempt
from journeyman.verifiers.rubric import Rubric
from journeyman.workflows.session.session import Session

_KINDS = {
    Source.EXPERT: (Kind.EXPERT,),
    Source.POLICY: (Kind.SUCCESS, Kind.POLICY),
    Source.HINDSIGHT: (Kind.HINDSIGHT,),
}


def remember(store: ReplayStore, run_id: str, rubric: Rubric, iteration: int) -> None:
    """Enters the iteration's groups as what they can teach by now; to be done again after verdicts were given again."""
    for source, kinds in _KINDS.items():
        attempts = store.trajectories.judged(run_id, iteration, source)
        groups = {group: list(members) for group, members in groupby(attempts, key=lambda a: a.group)}
        for kind in kinds:
            teaching = [group for group, members in groups.items() if _teaches(rubric, kind, members)]
            store.replay.enter(run_id, kind, teaching)


def draw(session: Session, iteration: int, policy: int) -> list[ReplayGroup]:
    """The groups that version `policy` is to be trained on beside the iteration's own."""
    return _sample(session, iteration, policy, session.settings.replay.quota)


def draw_stored(session: Session, iteration: int, policy: int) -> list[ReplayGroup]:
    """The same for an update without attempts of its own: groups that differ in reward, and what the quota has beside.

    `replay.groups` are drawn of each; the latter only where positives are imitated.
    """
    quota = {kind: share for kind, share in session.settings.replay.quota.items() if kind != Kind.POLICY}
    compared = _sample(session, iteration, policy, {Kind.POLICY: 1.0})
    imitates = session.settings.finetune.bc_weight and any(quota.values())
    return compared + (_sample(session, iteration, policy, quota) if imitates else [])


def _sample(session: Session, iteration: int, policy: int, quota: Mapping[str, float]) -> list[ReplayGroup]:
    settings = {**session.settings.replay.model_dump(), "quota": quota}
    by_contrast = {Kind.POLICY} | ({Kind.HINDSIGHT} if session.settings.finetune.hindsight_loss == "grpo" else set())
    mix = Mix(**settings, by_contrast=frozenset(by_contrast))
    rng = keyed_rng(session.settings.run.seed, "replay", session.run.ordinal, iteration)
    return session.store.replay.sample(session.run.id, mix, session.rubric, rng, policy=policy, iteration=iteration)


def _teaches(rubric: Rubric, kind: Kind, members: list[JudgedAttempt]) -> bool:
    if kind is not Kind.POLICY:
        return any(rubric.succeeded(member.verdicts) for member in members)
    rewards = [rubric.reward(member.verdicts) for member in members]
    return len({reward for reward in rewards if reward is not None}) > 1
