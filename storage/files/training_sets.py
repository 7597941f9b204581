"""Data sets for other trainers: conversations to imitate (SFT), and pairs of which one is better (DPO)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from journeyman.agent.data import Source, Split, Verdict, VerifierId
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.loading import StoredTrajectory

Reward: TypeAlias = Callable[[Mapping[VerifierId, Verdict]], float | None]


@dataclass(frozen=True, slots=True, eq=False)
class Preference:
    """Two attempts at one task, of which one is better."""

    better: StoredTrajectory
    worse: StoredTrajectory
    by: Literal["label", "reward"]
    """Who says so: a label of a person or a judge, or the rubric."""


def sft_rows(
    store: ReplayStore, run_id: str, succeeded: Callable[[Mapping[VerifierId, Verdict]], bool]
) -> Iterator[Any]:
    """`{"messages": [...]}` of every training attempt, demonstration and relabel that succeeded, as chat.

    Demonstrations by DAgger are left out: a chat does not say that their first turns are not to be imitated.
    """
    for stored in store.trajectories.of(run_id, split=Split.TRAIN, tokens=False):
        by_dagger = stored.trajectory.source is Source.EXPERT and stored.parent_id is not None
        if succeeded(stored.verdicts) and not by_dagger:
            yield {"messages": _chat([*stored.task.prompt, *stored.trajectory.messages])}


def preference_rows(store: ReplayStore, run_id: str, reward: Reward) -> Iterator[Any]:
    """`{"prompt": [...], "chosen": [...], "rejected": [...]}`: first people's preferences, then one pair a group."""
    for pair in preferences(store, run_id, reward):
        yield {
            "prompt": _chat(pair.better.task.prompt),
            "chosen": _chat(pair.better.trajectory.messages),
            "rejected": _chat(pair.worse.trajectory.messages),
        }


def preferences(
    store: ReplayStore, run_id: str, reward: Reward, per_group: int = 1, margin: float = 0.0
) -> Iterator[Preference]:
    """Pairs of training attempts: first those of labels, then at most `per_group` pairs of each group.

    A group's pairs are its best attempt by reward with its worst, the second best with the second worst, and so on
    while these differ by more than `margin`; of equal rewards the first attempt is taken. Ties are left out.
    """
    stored = {t.id: t for t in store.trajectories.of(run_id, split=Split.TRAIN, tokens=False)}
    for label in store.labels.of(run_id):
        if label.other_id is None or label.value == 0.5 or label.trajectory_id not in stored:
            continue
        better, worse = stored[label.trajectory_id], stored[label.other_id]
        yield Preference(better, worse, "label") if label.value > 0.5 else Preference(worse, better, "label")
    groups: dict[str, list[tuple[float, StoredTrajectory]]] = defaultdict(list)
    for trajectory in stored.values():
        value = reward(trajectory.verdicts)
        if value is not None:
            groups[trajectory.group].append((value, trajectory))
    for members in groups.values():
        falling, rising = sorted(members, key=lambda m: -m[0]), sorted(members, key=lambda m: m[0])
        for best, worst in zip(falling[:per_group], rising, strict=False):
            if best[0] - worst[0] > margin:
                yield Preference(best[1], worst[1], "reward")


def _chat(found: Any) -> list[dict[str, Any]]:
    return [message.to_json() for message in found]
