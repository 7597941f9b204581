"""Speed of behavioural cloning against TRL's SFTTrainer with packing, in one run: `python benchmarks/cloning.py`.

Both train the same small Llama for one epoch on the same demonstrations of uneven lengths, in float32 on two threads,
in turns: TRL packs them into rows of 1,024 tokens, one in a forward pass (several are laid into one long row, under a
mask of all its tokens: six times as slow here), the learner lays them out by itself. Both take about as many tokens a
step. Prints tokens of demonstrations a second, medians, and the ratio.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from learner import VOCABULARY, make_model
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from journeyman.agent.data import PolicyRef, Segment
from journeyman.agent.learning.learner import Learner, LearnerSettings, TrainingRow

PACK = 1024
"""Tokens of a packed row, TRL's default."""
PACKS = 8
"""Packed rows of a step."""


def demonstrations(count: int) -> list[Segment]:
    """Prompts of 16 to 256 tokens, answers of 16 to 512; short ones are more common."""
    chance = np.random.default_rng(0)
    segments = []
    for _ in range(count):
        prompt, answer = (int(16 * (most / 16) ** chance.random()) for most in (256, 512))
        ids = chance.integers(3, VOCABULARY, prompt + answer).astype(np.int32)
        segments.append(Segment(ids[:prompt], ids[prompt:], np.ones(answer, dtype=bool), None))
    return segments


def trl_seconds(policy: PolicyRef, segments: list[Segment], folder: str) -> float:
    """Seconds of an epoch of SFTTrainer."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows = [
        {
            "input_ids": np.concatenate([s.prompt_ids, s.completion_ids]).tolist(),
            "completion_mask": [0] * len(s.prompt_ids) + [1] * len(s.completion_ids),
        }
        for s in segments
    ]
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(policy.path),
        args=SFTConfig(
            output_dir=folder,
            report_to="none",
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            packing=True,
            max_length=PACK,
            per_device_train_batch_size=1,
            gradient_accumulation_steps=PACKS,
            num_train_epochs=1,
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=PreTrainedTokenizerFast.from_pretrained(policy.path),
    )
    started = time.perf_counter()
    trainer.train()
    return time.perf_counter() - started


def our_seconds(policy: PolicyRef, segments: list[Segment]) -> float:
    """Seconds of an epoch of the learner."""
    learner = Learner(policy, LearnerSettings(device="cpu"))
    rows = [TrainingRow(segment, nll=1.0) for segment in segments]
    tokens = sum(len(s.prompt_ids) + len(s.completion_ids) for s in segments)
    started = time.perf_counter()
    learner.update(rows, seed=0, minibatch_rows=round(len(rows) * PACK * PACKS / tokens))
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--demonstrations", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    segments = demonstrations(options.demonstrations)
    tokens = sum(len(s.prompt_ids) + len(s.completion_ids) for s in segments)
    with tempfile.TemporaryDirectory() as folder:
        policy = make_model(Path(folder) / "small", hidden=256, layers=4, intermediate=768)
        taken: list[tuple[float, float]] = []
        for repeat in range(options.repeats + 1):
            both = trl_seconds(policy, segments, folder), our_seconds(policy, segments)
            taken += [both] if repeat else []  # the first turn warms up
    trl, ours = (statistics.median(seconds) for seconds in zip(*taken, strict=True))
    print(f"{len(segments)} demonstrations of {tokens} tokens, {options.threads} threads")
    print(f"TRL {tokens / trl:,.0f} tokens/s, learner {tokens / ours:,.0f} tokens/s, ratio {trl / ours:.2f}")


if __name__ == "__main__":
    main()
