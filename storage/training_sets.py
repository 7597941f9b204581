"""Data sets for other trainers: conversations to imitate (SFT), and pairs of which one is better (DPO)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from journeyman.agent.data import Message, Source, Split, Verdict, VerifierId
from journeyman.storage.loading import StoredTrajectory
from journeyman.storage.store import ReplayStore

Reward: TypeAlias = Callable[[Mapping[VerifierId, Verdict]], float | None]


def sft_rows(
    store: ReplayStore, run_id: str, succeeded: Callable[[Mapping[VerifierId, Verdict]], bool]
) -> Iterator[Any]:
    """`{"messages": [...]}` of every training attempt, demonstration and relabel that succeeded, as chat.

    Demonstrations by DAgger are left out: a chat does not say that their first turns are not to be imitated.
    """
    for stored in store.trajectories(run_id, split=Split.TRAIN, tokens=False):
        by_dagger = stored.trajectory.source is Source.EXPERT and stored.parent_id is not None
        if succeeded(stored.verdicts) and not by_dagger:
            yield {"messages": _chat([*stored.task.prompt, *_said(stored)])}


def preference_rows(store: ReplayStore, run_id: str, reward: Reward) -> Iterator[Any]:
    """`{"prompt": [...], "chosen": [...], "rejected": [...]}`: first people's preferences, then one pair a group.

    A group's pair is its best and its worst attempt by reward, where these differ; of equal rewards the first attempt
    is taken. Ties between people's pairs are left out.
    """
    stored = {t.id: t for t in store.trajectories(run_id, split=Split.TRAIN, tokens=False)}
    for label in store.labels(run_id):
        if label.other_id is None or label.value == 0.5 or label.trajectory_id not in stored:
            continue
        better, worse = stored[label.trajectory_id], stored[label.other_id]
        yield _pair(better, worse) if label.value > 0.5 else _pair(worse, better)
    groups: dict[str, list[tuple[float, StoredTrajectory]]] = defaultdict(list)
    for trajectory in stored.values():
        value = reward(trajectory.verdicts)
        if value is not None:
            groups[trajectory.group].append((value, trajectory))
    for members in groups.values():
        best, worst = max(members, key=lambda m: m[0]), min(members, key=lambda m: m[0])
        if best[0] > worst[0]:
            yield _pair(best[1], worst[1])


def _pair(better: StoredTrajectory, worse: StoredTrajectory) -> dict[str, Any]:
    return {
        "prompt": _chat(better.task.prompt),
        "chosen": _chat(_said(better)),
        "rejected": _chat(_said(worse)),
    }


def _said(stored: StoredTrajectory) -> list[Message]:
    """What came after the prompt; the last observation closes nothing and is left out."""
    turns = stored.trajectory.turns
    found = [m for turn in turns for m in (turn.action, *turn.observation)]
    last = len(turns[-1].observation) if turns else 0
    return found[: len(found) - last]


def _chat(found: Any) -> list[dict[str, Any]]:
    return [message.to_json() for message in found]
