"""Speed of one optimizer update against TRL's GRPOTrainer, in one run: `python benchmarks/learner.py`.

Both sides train the same small Llama on the same rows in float32 on two CPU threads, in turns, from log-probs to the
AdamW step: TRL by its own `_compute_loss`, backward, clipping and optimizer, in micro-batches of 8 rows, its default;
the learner by `Learner.update`. Gradient checkpointing is off on both sides (TRL's own default, on, is slower) but
in the line that says so. Prints medians, the ratio (of each turn, their median) for each shape and beside it what
counting tokens allows; then the learner's speed on short rows, peak memory, and what a large vocabulary takes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "shared"))
from memory import Alive

from journeyman.agent.data import PolicyRef, Segment
from journeyman.agent.learning.learner import Learner, LearnerSettings, TrainingRow

VOCABULARY = 512
GENERATIONS = 8
RAGGED = (8, 80, 152, 224, 296, 368, 440, 512)
SHAPES = (
    (1024, [64] * GENERATIONS, False),
    (512, [64] * GENERATIONS, False),
    (512, [64] * GENERATIONS, True),
    (128, [64] * GENERATIONS, False),
    (64, [64] * GENERATIONS, False),
    (32, [64] * GENERATIONS, False),
    (256, RAGGED, False),
)
"""Tokens of the prompt, of each completion, and whether TRL checkpoints."""
SETTINGS = LearnerSettings(device="cpu", loss="dapo")


def make_model(folder: Path, *, hidden: int, layers: int, intermediate: int, vocabulary: int = VOCABULARY) -> PolicyRef:
    """A random Llama with a tokenizer of one word for each id."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=hidden // 32,
        max_position_embeddings=2048,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    special = {"unk_token": "w0", "eos_token": "w1", "pad_token": "w2"}
    core = Tokenizer(models.WordLevel({f"w{i}": i for i in range(vocabulary)}, unk_token=special["unk_token"]))
    PreTrainedTokenizerFast(tokenizer_object=core, **special).save_pretrained(folder)
    return PolicyRef(0, str(folder))


def make_rows(groups: int, prompt: int, completions: Sequence[int]) -> list[TrainingRow]:
    """Groups of rows with one prompt each and completions of those lengths, all of whose tokens are trained."""
    chance = np.random.default_rng(0)
    rows = []
    for _ in range(groups):
        prompt_ids = chance.integers(3, VOCABULARY, prompt).astype(np.int32)
        for completion in completions:
            ids = chance.integers(3, VOCABULARY, completion).astype(np.int32)
            behaviour = np.full(completion, -6.0, dtype=np.float32)
            segment = Segment(prompt_ids, ids, np.ones(completion, dtype=bool), behaviour)
            rows.append(TrainingRow(segment, float(chance.normal())))
    return rows


def trl_update(policy: PolicyRef, rows: list[TrainingRow], folder: str, *, checkpointing: bool) -> Callable[[], None]:
    """One update of a GRPOTrainer that already has its rollouts."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(policy.path),
        reward_funcs=lambda **_: [0.0],
        args=GRPOConfig(
            output_dir=folder,
            report_to="none",
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=checkpointing,
            num_generations=GENERATIONS,
            gradient_accumulation_steps=len(rows) // GENERATIONS,
        ),
        train_dataset=Dataset.from_dict({"prompt": ["w3"] * GENERATIONS}),
        processing_class=PreTrainedTokenizerFast.from_pretrained(policy.path),
    )
    trainer.current_gradient_accumulation_steps = len(rows) // GENERATIONS
    if checkpointing:
        trainer.model.gradient_checkpointing_enable(trainer.args.gradient_checkpointing_kwargs)
    trainer.model.train()
    optimizer = trainer.create_optimizer()
    count = sum(len(row.segment.completion_ids) for row in rows)
    inputs = [_trl_inputs(rows[a : a + GENERATIONS], count) for a in range(0, len(rows), GENERATIONS)]

    def update() -> None:
        optimizer.zero_grad()
        for part in inputs:
            trainer._compute_loss(trainer.model, part).backward()
        torch.nn.utils.clip_grad_norm_(trainer.model.parameters(), trainer.args.max_grad_norm)
        optimizer.step()

    return update


def _trl_inputs(rows: list[TrainingRow], count: int) -> dict[str, Any]:
    """One of TRL's micro-batches: completions padded on the right to the longest of them."""
    prompts = torch.tensor(np.stack([row.segment.prompt_ids for row in rows]), dtype=torch.long)
    completions = [torch.from_numpy(row.segment.completion_ids).long() for row in rows]
    mask = [torch.ones_like(ids) for ids in completions]
    return {
        "prompt_ids": prompts,
        "prompt_mask": torch.ones_like(prompts),
        "completion_ids": pad_sequence(completions, batch_first=True, padding_value=2),
        "completion_mask": pad_sequence(mask, batch_first=True),
        "advantages": torch.tensor([row.policy for row in rows]),
        "num_items_in_batch": torch.tensor(float(count)),
    }


def in_turns(
    first: Callable[[], object], second: Callable[[], object], repeats: int, clock: Callable[[], float]
) -> tuple[list[float], list[float]]:
    """Seconds of each, turn by turn."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats + 1):
        for work, taken in zip((first, second), seconds, strict=True):
            started = clock()
            work()
            if repeat:  # the first turn warms up
                taken.append(clock() - started)
    return seconds


def bound(prompt: int, completions: Sequence[int]) -> float:
    """TRL's tokens, padding included, over those that are there when the prompt is computed once."""
    return len(completions) * (prompt + max(completions)) / (prompt + sum(completions))


def peak(side: str, policy: PolicyRef, prompt: int, completions: Sequence[int], folder: str) -> float:
    """Megabytes that one update takes above what the process holds before it."""
    torch.set_num_threads(1)
    rows = make_rows(2, prompt, completions)
    if side == "TRL":
        update: Callable[[], object] = trl_update(policy, rows, folder, checkpointing=False)
    else:
        settings = replace(SETTINGS, activation_checkpointing=side.endswith("activation checkpointing"))
        update = partial(Learner(policy, settings).update, rows, seed=0)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = _resident("VmRSS")
    update()
    return _resident("VmHWM") - before


def _resident(name: str) -> float:
    """A line of the process's status, in megabytes."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[name].split()[0]) / 1024


def compare_memory(policy: PolicyRef, folder: str) -> None:
    """Prints the peaks at 1024 / 64, each side in a process of its own."""
    found = {}
    for side in ("TRL", "learner", "learner with activation checkpointing"):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            found[side] = pool.submit(peak, side, policy, 1024, [64] * GENERATIONS, folder).result()
    for side, megabytes in found.items():
        share = f", {megabytes / found['TRL']:.0%} of TRL's"
        print(
            f"peak memory of an update, 1024 / 64: {side} {megabytes:,.0f} MB{share if side != 'TRL' else ''}",
            flush=True,
        )


def many_logits(folder: Path) -> None:
    """Prints the memory of an update on 8,192 trained tokens with a vocabulary of 150,000."""
    policy = make_model(folder, hidden=64, layers=1, intermediate=128, vocabulary=150_000)
    learner = Learner(policy, SETTINGS)
    rows = make_rows(1, 16, [1024] * GENERATIONS)
    with Alive() as alive:
        seconds = learner.update(rows, seed=0).stats["seconds"]
    whole = 8192 * 150_000 * 4 / 2**20
    print(
        f"vocabulary 150,000, 8,192 trained tokens (all logits: {whole:,.0f} MB): largest tensor "
        f"{alive.largest / 2**20:,.0f} MB, all at once {alive.peak / 2**20:,.0f} MB, {seconds:.0f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu-time", action="store_true", help="for one thread on a machine with other work")
    arguments = parser.parse_args()
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        policy = make_model(Path(folder) / "small", hidden=256, layers=4, intermediate=768)
        print(f"G = {GENERATIONS}, 2 groups an update, {arguments.threads} threads, median of {arguments.repeats}")
        for prompt, completions, checkpointing in SHAPES:
            rows = make_rows(2, prompt, completions)
            theirs = trl_update(policy, rows, folder, checkpointing=checkpointing)
            learner = Learner(policy, SETTINGS)
            trl, ours = in_turns(theirs, partial(learner.update, rows, seed=0), arguments.repeats, clock)
            ratios = sorted(a / b for a, b in zip(trl, ours, strict=True))
            ratio, limit = statistics.median(ratios), bound(prompt, completions)
            note = " (TRL with gradient checkpointing, its default)" if checkpointing else ""
            longest = f"{min(completions)} to {max(completions)}" if len(set(completions)) > 1 else f"{completions[0]}"
            print(
                f"{prompt:4d} / {longest:8}: TRL {statistics.median(trl):.3f} s, learner {statistics.median(ours):.3f} "
                f"s, ratio {ratio:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}), by tokens {limit:.2f}: "
                f"{ratio / limit:.0%}{note}",
                flush=True,
            )
        tiny = Learner(make_model(Path(folder) / "tiny", hidden=128, layers=4, intermediate=512), SETTINGS)
        for epochs, kind in ((1, "one step"), (2, "two steps, with the log-probs at the start")):
            stats = tiny.update(make_rows(125, 25, [15] * GENERATIONS), seed=0, epochs=epochs).stats
            speed = stats["tokens_per_second"]
            print(
                f"1,000 rows of 25 + 15 tokens, 1 M parameters, {kind}: {stats['seconds']:.2f} s, {speed:,.0f} tokens/s"
            )
        compare_memory(policy, folder)
        many_logits(Path(folder) / "words")


if __name__ == "__main__":
    main()
