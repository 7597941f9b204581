"""Tokens a second of sampler and learner with SmolLM2, and the share of the machine's FLOPs that each reaches.

    python benchmarks/smollm2/speed.py [--repeats 3] [--groups 16]

What the machine can do is measured in the same run: the float32 products of the model's own widths, 256 rows each, by
torch on as many threads. A token costs two FLOPs for each weight of the layers forward, as many again backward to the
activations, and as many for the weights' gradients where they are trained; the output layer is counted where it is
computed: at sampled and at trained tokens. Attention's pairs, norms and the adapter are not counted, so that the true
shares are a little higher. The groups are as the demo's: prompts of 50 tokens, 8 completions of 20.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable

import numpy as np
import torch

from journeyman.agent.chance import keyed_rng
from journeyman.agent.data import PolicyRef, SamplingParams, Segment
from journeyman.agent.learning.learner import Learner, LearnerSettings, TrainingRow
from journeyman.agent.sampling.factory import open_sampler
from journeyman.agent.sampling.settings import SamplerSettings
from journeyman.workflows.session.engines import base_model
from journeyman.workflows.settings.loading import parse_settings

PROMPT, COMPLETION, GROUP, RANK = 50, 20, 8, 16
HIDDEN, INNER, LAYERS, KEYS, VOCABULARY = 576, 1536, 30, 192, 49152
BODY = LAYERS * HIDDEN * (2 * HIDDEN + 2 * KEYS + 3 * INNER)
"""Weights of the layers' products."""
HEAD = HIDDEN * VOCABULARY


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--groups", type=int, default=16)
    parser.add_argument("--artifacts", default=None, help="where the converted model lies, or is kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        chosen = {"store": {"artifacts": options.artifacts or scratch}, "model": {"name": "smollm2"}}
        policy = PolicyRef(0, base_model(parse_settings(chosen, "benchmark")))
        peak = machine()
        print(f"float32 products: {peak / 1e9:.0f} GFLOP/s on {torch.get_num_threads()} threads", flush=True)
        samples(policy, options.groups, options.repeats, peak)
        for name, rank in (("LoRA", RANK), ("full weights", 0)):
            learns(name, policy, rank, options.groups, options.repeats, peak)


def machine() -> float:
    """FLOPs a second of the layers' largest product, the median of several tries."""
    x, w = torch.randn(256, HIDDEN), torch.randn(INNER, HIDDEN)
    seconds = timed(lambda: [torch.nn.functional.linear(x, w) for _ in range(200)], 7)
    return 200 * 2.0 * 256 * HIDDEN * INNER / seconds


def timed(work: Callable[[], object], repeats: int) -> float:
    """Median seconds, after one turn to warm up."""
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])


def samples(policy: PolicyRef, groups: int, repeats: int, peak: float) -> None:
    """The engine is vLLM, ready for adapters; each prompt is computed once, for its group."""
    settings = SamplerSettings(context_tokens=192, max_batch=128, lora_rank=RANK)
    sampler = open_sampler("vllm", policy, settings)
    seeds = iter(range(1000))

    async def once() -> None:
        seed = next(seeds)
        prompts = keyed_rng(seed, "prompts").integers(20, VOCABULARY, size=(groups, PROMPT)).tolist()
        waiting = [
            sampler.generate(prompt, SamplingParams(COMPLETION, 1.0, seed=GROUP * i + j))
            for i, prompt in enumerate(prompts)
            for j in range(GROUP)
        ]
        await asyncio.gather(*waiting)

    try:
        seconds = timed(lambda: asyncio.run(once()), repeats)
    finally:
        sampler.close()
    sampled = groups * GROUP * COMPLETION
    flops = 2.0 * BODY * (groups * PROMPT + sampled) + 2.0 * HEAD * sampled
    say("sampler (vLLM)", sampled, seconds, flops, peak)


def learns(name: str, policy: PolicyRef, rank: int, groups: int, repeats: int, peak: float) -> None:
    """One step of the learner: forward, backward and AdamW."""
    learner = Learner(policy, LearnerSettings(device="cpu", lora_rank=rank, loss="dapo"))
    rows = make_rows(groups)
    seconds = timed(lambda: learner.update(rows, seed=0), repeats)
    trained = groups * GROUP * COMPLETION
    # of each completion the last token is a target alone
    body = 2.0 * BODY * groups * (PROMPT + GROUP * (COMPLETION - 1))
    head = 2.0 * HEAD * trained
    flops = body * (2 if rank else 3) + head * (2 if rank else 3)
    say(f"learner ({name})", trained, seconds, flops, peak)


def make_rows(groups: int) -> list[TrainingRow]:
    """Groups with random tokens and advantages."""
    chance = keyed_rng(0, "rows")
    rows = []
    for _ in range(groups):
        prompt_ids = chance.integers(20, VOCABULARY, PROMPT).astype(np.int32)
        for _ in range(GROUP):
            ids = chance.integers(20, VOCABULARY, COMPLETION).astype(np.int32)
            behaviour = np.full(COMPLETION, -6.0, dtype=np.float32)
            segment = Segment(prompt_ids, ids, np.ones(COMPLETION, dtype=bool), behaviour)
            rows.append(TrainingRow(segment, float(chance.normal())))
    return rows


def say(name: str, tokens: int, seconds: float, flops: float, peak: float) -> None:
    rate, attempts = tokens / seconds, tokens / COMPLETION / seconds
    print(
        f"{name:<24} {rate:6.0f} sampled or trained tokens/s ({attempts:.1f} attempts/s), {flops / seconds / 1e9:5.0f} "
        f"GFLOP/s, {100 * flops / seconds / peak:3.0f} % of the machine's",
        flush=True,
    )


if __name__ == "__main__":
    main()
