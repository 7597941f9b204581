"""A run's preferences: pairs of attempts at one task, of which one is better by a label or by the rubric's reward."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from journeyman.agent.chance import keyed_rng
from journeyman.storage.files.training_sets import Preference, preferences
from journeyman.storage.trajectories.trajectories import StoredTrajectory
from journeyman.workflows.session.session import Session
from journeyman.workflows.settings.objectives import Says

_BY = {"all": {"label", "reward"}, "labels": {"label"}, "rewards": {"reward"}}


def choose_pairs(session: Session, says: Says, per_group: int, margin: float = 0.0) -> list[Preference]:
    """The run's preferences between attempts that say different things, each once; without tokens.

    Of rewards at most `per_group` pairs of one group, whose rewards differ by more than `margin`.
    """
    return _distinct(_said(session, says, per_group, margin))


def pairs_to_learn(session: Session, iteration: int, policy: int) -> list[Preference]:
    """At most `preference.limit` pairs for training version `policy` further, drawn from all, with tokens.

    Pairs by reward are of versions within `replay.max_age`; labels never age. Those whose tokens were pruned are left
    out. Neither takes the place of another that says the same.
    """
    settings, oldest = session.settings.preference, policy - session.settings.replay.max_age
    whole = session.store.trajectories.with_tokens(session.run.id)
    found = _distinct(
        pair
        for pair in _said(session, settings.pairs, settings.per_group, settings.margin)
        if {pair.better.id, pair.worse.id} <= whole
        and (pair.by == "label" or all((s.policy_number or policy) >= oldest for s in (pair.better, pair.worse)))
    )
    order = keyed_rng(session.settings.run.seed, "pairs", session.run.ordinal, iteration).permutation(len(found))
    return _with_tokens(session, [found[i] for i in sorted(order[: settings.limit].tolist())])


def _said(session: Session, says: Says, per_group: int, margin: float) -> Iterator[Preference]:
    """All preferences of the run by what `says` asks for."""
    found = preferences(session.store, session.run.id, session.rubric.reward, per_group, margin)
    return (pair for pair in found if pair.by in _BY[says])


def _distinct(pairs: Iterable[Preference]) -> list[Preference]:
    """Those between attempts that say different things, each once: the first of what is said twice."""
    distinct: dict[tuple[tuple[str, ...], ...], Preference] = {}
    for pair in pairs:
        better, worse = (tuple(m.content for m in s.trajectory.messages) for s in (pair.better, pair.worse))
        if better and worse and better != worse:
            distinct.setdefault(((pair.better.task.hash,), better, worse), pair)
    return list(distinct.values())


def _with_tokens(session: Session, pairs: Sequence[Preference]) -> list[Preference]:
    ids = list(dict.fromkeys(stored.id for pair in pairs for stored in (pair.better, pair.worse)))
    whole: dict[str, StoredTrajectory] = {t.id: t for t in session.store.trajectories.by_id(ids)}
    return [replace(pair, better=whole[pair.better.id], worse=whole[pair.worse.id]) for pair in pairs]
