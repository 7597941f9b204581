"""Attempts a second of both samplers in one run: short prompts in groups of 8, as Countdown's are.

python benchmarks/sampler.py [--requests 1024] [--threads 1]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import torch

from journeyman.agent.chance import keyed_rng
from journeyman.agent.data import PolicyRef, SamplingParams
from journeyman.agent.models import make_tiny
from journeyman.agent.protocols import Sampler
from journeyman.agent.sampling.factory import open_sampler
from journeyman.agent.sampling.settings import SamplerSettings

PROMPT, COMPLETION, GROUP = 26, 12, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        policy = PolicyRef(0, str(make_tiny(Path(folder, "tiny"), 0)))
        rates = {kind: rate(kind, policy, options.requests, options.repeats) for kind in ("transformers", "vllm")}
    for kind, value in rates.items():
        print(f"{kind:<13} {value:7.0f} attempts/s")
    print(f"transformers / vllm: {rates['transformers'] / rates['vllm']:.2f}")


def rate(kind: str, policy: PolicyRef, requests: int, repeats: int) -> float:
    """Median attempts a second of wall time, after one warm-up."""
    sampler = open_sampler(kind, policy, SamplerSettings(context_tokens=96, max_batch=512))
    try:
        seconds = [asyncio.run(once(sampler, requests, seed)) for seed in range(repeats + 1)]
    finally:
        sampler.close()
    return requests / statistics.median(seconds[1:])


async def once(sampler: Sampler, requests: int, seed: int) -> float:
    prompts = keyed_rng(seed, "prompts").integers(32, 127, size=(requests // GROUP, PROMPT)).tolist()
    started = time.perf_counter()
    waiting = [
        sampler.generate(prompt, SamplingParams(COMPLETION, 1.0, seed=seed * requests + GROUP * i + j))
        for i, prompt in enumerate(prompts)
        for j in range(GROUP)
    ]
    await asyncio.gather(*waiting)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
