"""How close the policy is held to the run's first version: the weight of the KL, over the iterations of a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from journeyman.agent.learning.advantages.attempts import Attempt
from journeyman.workflows.attempts.versions import parent_of
from journeyman.workflows.session.session import Session


def kl_weight(session: Session, iteration: int, measured: float | None = None) -> float:
    """Beta of the iteration's update, as `kl.schedule` says.

    `constant` is `kl.weight`. `linear` goes from there in the first iteration to `kl.final` in the last: close to what
    was imitated as long as that is all the policy knows, and then free. `adaptive` doubles the parent's where the KL
    is more than 1.5 times `kl.target`, and halves it below the target over 1.5 (PPO, arXiv:1707.06347, section 4).
    That KL, in nats a token, is `measured` on the iteration's own attempts where it is known before the update, else
    the one that the parent's update ended with. The weight is found in the statistics of the parent, or of the newest
    before it that had one, so that a resumed run goes on with it.
    """
    settings = session.settings.kl
    if settings.schedule == "constant":
        return settings.weight
    if settings.schedule == "linear":
        last = max(session.settings.run.iterations - 1, 1)
        return settings.weight + (settings.final - settings.weight) * min((iteration - 1) / last, 1.0)
    assert settings.target is not None, "its section has seen to it"
    parent = parent_of(session, iteration)
    kl = parent.stats.get("kl") if measured is None else measured
    line = (p.stats for p in (parent, *session.store.policies.ancestors(parent)) if p.run_id == session.run.id)
    weight = next((float(stats["kl_weight"]) for stats in line if "kl_weight" in stats), None)
    if weight is None:
        return settings.weight
    if kl is None:
        return weight
    if kl > 1.5 * settings.target:
        return 2 * weight
    return weight / 2 if kl < settings.target / 1.5 else weight


def mean_kl(own: Sequence[Attempt]) -> float | None:
    """Nats a token, over all tokens of attempts by the policy itself; None where there are none."""
    known = [attempt.log_ratios_N for attempt in own if attempt.log_ratios_N is not None]
    every = np.concatenate(known) if known else np.zeros(0)
    return float(every.mean()) if len(every) else None


def kl_figures(session: Session, iteration: int, own: Sequence[Attempt]) -> dict[str, float]:
    """`kl_weight`, and where the KL is in the reward `kl`: its mean over `own` tokens, in nats, before the update."""
    if not session.settings.kl.asked:
        return {}
    kl = mean_kl(own)
    if not (beta := kl_weight(session, iteration, kl)):
        return {}
    return {"kl_weight": beta} if kl is None else {"kl_weight": beta, "kl": kl}
