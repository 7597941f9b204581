"""Updates by one process or by several: what a test compares. As a program it is one of the ranks.

`python two_ranks.py CASES FOUND`: takes the pickled cases, and the first rank writes what came of them.
"""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from journeyman.agent.data import PolicyRef
from journeyman.agent.learning.figures import OF_THE_MACHINE
from journeyman.agent.learning.hardware.ranks import Ranks, join_ranks, together
from journeyman.agent.learning.learner import Learner, LearnerSettings, TrainingRow


@dataclass(frozen=True)
class Case:
    """An update to make, and where its version goes (with `saved`)."""

    policy: PolicyRef
    settings: LearnerSettings
    rows: list[TrainingRow]
    saved: Path | None = None
    reference: PolicyRef | None = None
    update: dict[str, Any] = field(default_factory=lambda: {"minibatch_rows": 7, "epochs": 2})


@dataclass(frozen=True)
class Outcome:
    """What came of it, as arrays."""

    stats: dict[str, float]
    weights: Any
    before: Any
    """Log-probs of all rows, then under the reference and the critic's values where there are such."""
    after: Any
    held: int
    """Elements of the weights that the process held."""


def learn(case: Case) -> Outcome:
    learner = Learner(case.policy, case.settings, case.reference)
    before = known(learner, case)
    update = learner.update(case.rows, seed=1, **case.update)
    weights = [together(p.detach()) for p in learner.model.parameters() if p.requires_grad]
    if learner.critic is not None:
        weights += [together(p.detach()) for p in learner.critic.parameters()]
    if case.saved is not None:
        learner.save(case.saved, 1)
    held = sum(getattr(p, "_local_tensor", p).numel() for p in learner.model.parameters())
    stats = {name: value for name, value in update.stats.items() if name not in OF_THE_MACHINE}
    flat = torch.cat([w.flatten() for w in weights]).numpy()
    return Outcome(stats, flat, before, known(learner, case), held)


def known(learner: Learner, case: Case) -> Any:
    segments = [row.segment for row in case.rows]
    found = learner.logprobs(segments)
    if case.reference is not None:
        found += learner.reference_logprobs(segments)
    if learner.critic is not None:
        values = learner.critic.values(segments, range(len(segments)))
        found += [values[i] for i in range(len(segments))]
    return np.concatenate(found)


def start(command: list[str], ranks: int, **options: Any) -> list[subprocess.Popen[bytes]]:
    """`python *command` as every rank of so many, as torchrun starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    env = os.environ | {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [
        subprocess.Popen([sys.executable, *command], env=env | {"RANK": str(k), "LOCAL_RANK": str(k)}, **options)
        for k in range(ranks)
    ]


def learn_in_ranks(cases: dict[str, Case], ranks: int, folder: Path) -> dict[str, Outcome]:
    """What came of the cases, learned one after the other by so many processes."""
    (folder / "cases").write_bytes(pickle.dumps(cases))
    started = start([__file__, str(folder / "cases"), str(folder / "found")], ranks)
    try:
        assert [process.wait(300) for process in started] == [0] * ranks
    finally:
        for process in started:
            process.kill()
            process.wait()
    found: dict[str, Outcome] = pickle.loads((folder / "found").read_bytes())
    return found


def main(cases: str, found: str) -> None:
    import two_ranks  # what is pickled here is of this module, not of `__main__`

    torch.set_num_threads(1)
    join_ranks()
    outcomes = {name: two_ranks.learn(case) for name, case in pickle.loads(Path(cases).read_bytes()).items()}
    if Ranks.joined().first:
        Path(found).write_bytes(pickle.dumps(outcomes))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
