"""RLHF from end to end: people's labels, a reward model (Bradley-Terry), PPO with a critic and the KL in the reward.

    python examples/rlhf/rlhf.py [FOLDER] [--pairs 300] [--iterations 20] [--kl-target 0.05]

Here a hidden rule (`manners:Polite`) stands in for people: it says which of two greetings is better, in `--pairs`
pairs, and no update ever sees it. The reward model learns from the labels, PPO from the reward model, and the audit
asks the hidden rule about every version: `liked` is the share of validation's attempts that it likes. Without the KL
(`--kl-target 0`) the reward goes on rising while `liked` falls to 0: that is reward hacking, and the audit shows it.
"""

from __future__ import annotations

import argparse
import tempfile
from itertools import combinations
from pathlib import Path
from statistics import fmean

from manners import Polite

from journeyman.agent.chance import keyed_rng
from journeyman.agent.data import Source, Split
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.labels import NewLabel
from journeyman.workflows.cli import main as journeyman

SETTINGS = str(Path(__file__).parent / "rlhf.toml")


def main() -> None:
    """Parses the command line and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", default=None)
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--kl-target", type=float, default=0.05)
    options = parser.parse_args()
    folder = options.folder or tempfile.mkdtemp()
    if Path(folder, "runs.db").exists():
        parser.error(f"{folder} has runs in it already: name another folder")
    rows = rlhf(folder, options.pairs, options.iterations, options.kl_target)
    print("| version | liked | reward | KL | its weight |\n|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(f"{value:.3g}" for value in row.values()) + " |")


def rlhf(
    folder: str, pairs: int, iterations: int, kl_target: float, overrides: tuple[str, ...] = ()
) -> list[dict[str, float]]:
    """What each version of the second run came to: `liked`, mean reward, KL a token and its weight."""
    places = [f"store.url=sqlite:///{folder}/runs.db", f"store.artifacts={folder}/weights", f"run.output={folder}"]
    run = ["run", SETTINGS, *(f for o in (*places, *overrides) for f in ("--set", o))]
    do(run)
    store = ReplayStore(f"sqlite:///{folder}/runs.db")
    compare(store, pairs)
    reward_model = f"{folder}/reward"
    train = ["train-reward-model", "rlhf", "--pairs", "labels", "--output", reward_model, "--epochs", "6"]
    do([*train, "--store", f"sqlite:///{folder}/runs.db", "--learning-rate", "5e-4", "--batch", "16"])
    kl = [f"kl.weight={0.4 if kl_target else 0.0}", "kl.place=reward"]
    kl += ["kl.schedule=adaptive", f"kl.target={kl_target}"] if kl_target else []
    ppo = [
        "run.continues=true",
        f"run.iterations={iterations}",
        "finetune.policy_weight=1.0",
        "estimator.name=gae",
        "critic.kind=head",
        "rubric={ 'manners:Said' = 1.0, reward_model = { weight = 1.0, shaping = true } }",
        f"verifiers.reward_model.model={reward_model}",
        *kl,
    ]
    do([*run, *(f for override in ppo for f in ("--set", override))])
    return table(store)


def do(command: list[str]) -> None:
    """Runs `journeyman ...`; what it said of a fault is all that there is to say."""
    if code := journeyman(command):
        raise SystemExit(code)


def compare(store: ReplayStore, pairs: int) -> None:
    """Labels of the first run's attempts: of two at one task the one that the hidden rule likes is better."""
    (run,) = store.runs.all()
    attempts = store.trajectories.of(run.id, source=Source.POLICY, iterations=[1])
    groups: dict[str, list[tuple[str, float]]] = {}
    for stored in attempts:
        liked = Polite().verify(stored.task, stored.trajectory).score
        groups.setdefault(stored.group_id, []).append((stored.id, liked))
    told = [pair for group in groups.values() for pair in combinations(group, 2) if pair[0][1] != pair[1][1]]
    for i in keyed_rng(0, "pairs").permutation(len(told))[:pairs]:
        better, worse = sorted(told[i], key=lambda one: -one[1])
        store.labels.add(NewLabel(better[0], worse[0], 1.0, "people"))


def table(store: ReplayStore) -> list[dict[str, float]]:
    """One row for each version of the newest run."""
    run = max(store.runs.all(), key=lambda r: r.ordinal)
    rewards = {e.policy_number: e.mean_reward for e in store.evaluations.of(run.id, Split.VALIDATION)}
    return [
        {
            "version": float(policy.number),
            "liked": liked(store, run.id, policy.number),
            "reward": rewards[policy.number],
            "kl": float(policy.stats.get("kl", 0.0)),
            "kl_weight": float(policy.stats.get("kl_weight", 0.0)),
        }
        for policy in store.policies.of(run.id)
    ]


def liked(store: ReplayStore, run_id: str, version: int) -> float:
    """The share of the version's validation attempts that the hidden rule likes, as the audit had it judge them."""
    attempts = store.trajectories.of(run_id, split=Split.VALIDATION, policy_number=version, tokens=False)
    verdicts = [v for stored in attempts for of, v in stored.verdicts.items() if of.name == Polite.name]
    return fmean(verdict.score == 1.0 for verdict in verdicts)


if __name__ == "__main__":
    main()
