"""What is sent to trackers: every number that the store has of an iteration, under a name that all of them take."""

from __future__ import annotations

import math
from collections.abc import Mapping

from journeyman.agent.data import Json, Source, Split
from journeyman.storage.runs.evaluations import EvaluationInfo
from journeyman.storage.runs.policies import PolicyInfo
from journeyman.storage.store import ReplayStore


def figures(store: ReplayStore, run_id: str, iteration: int) -> dict[str, float]:
    """The numbers of one iteration by name, e.g. `validation/pass_at_1`; 0 is the warm start.

    They stand once the iteration is over, but for those of the test tasks, which the last one gets at the run's end.
    What is not finite is left out: not every tracker takes it.
    docs/tracking.md lists the names.
    """
    version = next((p for p in store.policies.of(run_id) if p.iteration == iteration), None)
    found: dict[str, Json] = _of_attempts(store, run_id, iteration)
    if version is not None:
        found |= _of_version(version) | _of_evaluations(store, run_id, version)
    found["seconds/iteration"] = store.runs.iteration_seconds(run_id).get(iteration)
    numbers = {name: float(value) for name, value in found.items() if isinstance(value, int | float)}
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def _of_attempts(store: ReplayStore, run_id: str, iteration: int) -> dict[str, Json]:
    counts = store.trajectories.counts(run_id)
    scored, solved = store.trajectories.solved(run_id, iteration)
    return {
        "attempts/made": counts.get((iteration, Source.POLICY), 0),
        "attempts/broken": store.trajectories.broken(run_id, iteration),
        "attempts/relabels": counts.get((iteration, Source.HINDSIGHT), 0),
        "attempts/demonstrations": counts.get((iteration, Source.EXPERT), 0),
        "train/pass_at_1": solved / scored if scored else None,
    }


def _of_version(version: PolicyInfo) -> dict[str, Json]:
    """What its update said of itself, and what became of it."""
    return {
        **{f"learner/{name}": value for name, value in version.stats.items()},
        "policy/number": version.number,
        "policy/promoted": version.promoted,
        "policy/handover_gap": version.handover_gap,
    }


def _of_evaluations(store: ReplayStore, run_id: str, version: PolicyInfo) -> dict[str, Json]:
    """Its own evaluations and audit; with the last version's the run's results on the test tasks.

    Those are of what was promoted by then: `journeyman finetune` may promote later ones, which were not tested.
    """
    promoted = [p.number for p in store.policies.of(run_id) if p.promoted and p.number <= version.number]
    found: dict[str, Json] = {}
    for info in store.evaluations.of(run_id):
        if info.iteration != version.iteration:
            continue
        if info.split is Split.TEST:
            ends = {"test": promoted[-1:], "test/warm_start": promoted[:1]}
            for where in (where for where, numbers in ends.items() if info.policy_number in numbers):
                found |= _under(where, info)
        elif info.policy_number == version.number:
            found |= _under(f"guard/{info.guard}" if info.guard else str(info.split), info)
    for audit in store.evaluations.audits(run_id):
        if audit.policy_number == version.number:
            found[f"audit/{audit.split}/{audit.metric}"] = audit.value
    return found


def _under(where: str, info: EvaluationInfo) -> Mapping[str, Json]:
    return {
        f"{where}/pass_at_1": info.pass_at_1,
        f"{where}/pass_at_k": info.pass_at_k,
        f"{where}/mean_reward": info.mean_reward,
    }
