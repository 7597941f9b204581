"""What an episode costs beside its sampling: `python benchmarks/episodes.py [--episodes 2048] [--repeats 3]`.

Single-turn Countdown with a sampler that answers at once, called where the rollout runs (`instant`, as it is) and in
a thread for each episode, as environments are that promise nothing; in turns. Prints processor seconds and wall
seconds of each (medians), and their ratio.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from journeyman.agent.chance import keyed_seed
from journeyman.agent.chat.renderer import Renderer
from journeyman.agent.data import Completion, SamplingParams, Split
from journeyman.agent.environments.countdown import Countdown
from journeyman.agent.models import TINY, tokenizer_of
from journeyman.agent.rollout import STEP_SECONDS, Attempt, Limits, run_rollout

GROUP = 8


class AtOnce:
    """A sampler that says the same three tokens and stops."""

    def __init__(self, renderer: Renderer) -> None:
        self._said = Completion(np.array([5, 6, renderer.stop_ids[0]], np.int32), np.zeros(3, np.float32), stopped=True)

    async def generate(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
        """Whatever is asked."""
        return self._said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    task_set, renderer = Countdown(count=2, max_value=40), Renderer(tokenizer_of(TINY))
    tasks = itertools.islice(task_set.tasks(Split.TRAIN, 0), options.episodes // GROUP)
    attempts = [Attempt(task, i, keyed_seed(0, task.hash, i)) for task in tasks for i in range(GROUP)]
    limits = Limits(1, 16, 96)
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(options.repeats):
        for name, seconds in (("instant", None), ("threads", STEP_SECONDS)):
            wall, processor = time.perf_counter(), time.process_time()
            run_rollout(attempts, task_set.open, AtOnce(renderer), renderer, replace(limits, step_seconds=seconds))
            found.setdefault(name, []).append((time.process_time() - processor, time.perf_counter() - wall))
    print(f"{len(attempts)} episodes\n| | processor s | wall s |\n|---|---|---|")
    for name, times in found.items():
        print(f"| {name} | {' | '.join(f'{statistics.median(column):.2f}' for column in zip(*times, strict=True))} |")
    pairs = zip(found["threads"], found["instant"], strict=True)
    print(f"processor time, threads over instant: {statistics.median(a[0] / b[0] for a, b in pairs):.1f}")


if __name__ == "__main__":
    main()
