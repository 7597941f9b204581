"""How close the policy is held to the run's first version: the weight of the KL, over the iterations of a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from journeyman.agent.learning.advantages.attempts import Attempt
from journeyman.workflows.attempts.versions import parent_of
from journeyman.workflows.session.session import Session


def kl_weight(session: Session, iteration: int) -> float:
    """Beta of the iteration's update, as `kl.schedule` says.

    `constant` is `kl.weight`. `linear` goes from there in the first iteration to `kl.final` in the last: close to what
    was imitated as long as that is all the policy knows, and then free. `adaptive` doubles the parent's where its
    update ended with a KL of more than 1.5 times `kl.target`, and halves it below the target over 1.5 (PPO,
    arXiv:1707.06347, section 4): it is found in the parent's statistics, so that a resumed run goes on with it.
    """
    settings = session.settings.kl
    if settings.schedule == "constant":
        return settings.weight
    if settings.schedule == "linear":
        last = max(session.settings.run.iterations - 1, 1)
        return settings.weight + (settings.final - settings.weight) * min((iteration - 1) / last, 1.0)
    assert settings.target is not None, "its section has seen to it"
    stats = parent_of(session, iteration).stats
    if "kl_weight" not in stats or "kl" not in stats:
        return settings.weight
    weight, kl = float(stats["kl_weight"]), float(stats["kl"])
    if kl > 1.5 * settings.target:
        return 2 * weight
    return weight / 2 if kl < settings.target / 1.5 else weight


def kl_figures(session: Session, iteration: int, attempts: Sequence[Attempt]) -> dict[str, float]:
    """`kl_weight`, and where the KL is in the reward `kl`: its mean over tokens, in nats, before the update."""
    beta = kl_weight(session, iteration)
    if not beta:
        return {}
    penalties = [attempt.penalties_N for attempt in attempts if attempt.penalties_N is not None]
    if not penalties:
        return {"kl_weight": beta}
    return {"kl_weight": beta, "kl": float(np.concatenate(penalties).mean()) / -beta}
