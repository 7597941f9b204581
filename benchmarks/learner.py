"""Speed of one optimizer update against TRL's GRPOTrainer, in one run: `python benchmarks/learner.py`.

Both sides train the same small Llama on the same rows in float32 on two CPU threads, in turns, from log-probs to the
AdamW step: TRL by its own `_compute_loss`, backward, clipping and optimizer, in micro-batches of 8 rows, its default;
the learner by `Learner.update`. Gradient checkpointing is off on both sides (TRL's own default, on, is slower) but
in the line that says so. Prints medians and the ratio for each shape, then the learner's speed on short rows.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from journeyman.agent.data import PolicyRef, Segment
from journeyman.agent.learning.learner import Learner, LearnerSettings, TrainingRow

VOCABULARY = 512
GENERATIONS = 8


def make_model(folder: Path, *, hidden: int, layers: int, intermediate: int) -> PolicyRef:
    """A random Llama with a tokenizer of one word for each id."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=hidden // 32,
        max_position_embeddings=2048,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    special = {"unk_token": "w0", "eos_token": "w1", "pad_token": "w2"}
    core = Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCABULARY)}, unk_token=special["unk_token"]))
    PreTrainedTokenizerFast(tokenizer_object=core, **special).save_pretrained(folder)
    return PolicyRef(0, str(folder))


def make_rows(groups: int, prompt: int, completion: int) -> list[TrainingRow]:
    """Groups of `GENERATIONS` rows of equal lengths, so that TRL has nothing to pad."""
    chance = np.random.default_rng(0)
    rows = []
    for _ in range(groups):
        prompt_ids = chance.integers(3, VOCABULARY, prompt).astype(np.int32)
        for _ in range(GENERATIONS):
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
    inputs = [_trl_inputs(rows[a : a + GENERATIONS], len(rows)) for a in range(0, len(rows), GENERATIONS)]

    def update() -> None:
        optimizer.zero_grad()
        for part in inputs:
            trainer._compute_loss(trainer.model, part).backward()
        torch.nn.utils.clip_grad_norm_(trainer.model.parameters(), trainer.args.max_grad_norm)
        optimizer.step()

    return update


def _trl_inputs(rows: list[TrainingRow], count: int) -> dict[str, Any]:
    prompts, completions = (
        torch.tensor(np.stack([getattr(row.segment, name) for row in rows]), dtype=torch.long)
        for name in ("prompt_ids", "completion_ids")
    )
    return {
        "prompt_ids": prompts,
        "prompt_mask": torch.ones_like(prompts),
        "completion_ids": completions,
        "completion_mask": torch.ones_like(completions),
        "advantages": torch.tensor([row.policy for row in rows]),
        "num_items_in_batch": torch.tensor(float(count * completions.shape[1])),
    }


def in_turns(first: Callable[[], object], second: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median seconds of each."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats + 1):
        for work, taken in zip((first, second), seconds, strict=True):
            started = time.perf_counter()
            work()
            if repeat:  # the first turn warms up
                taken.append(time.perf_counter() - started)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        policy = make_model(Path(folder) / "small", hidden=256, layers=4, intermediate=768)
        settings = LearnerSettings(device="cpu", loss="dapo")
        print(f"G = {GENERATIONS}, 2 groups an update, {arguments.threads} threads, median of {arguments.repeats}")
        for prompt, completion, checkpointing in ((512, 64, False), (512, 64, True), (128, 64, False), (32, 64, False)):
            rows = make_rows(2, prompt, completion)
            theirs = trl_update(policy, rows, folder, checkpointing=checkpointing)
            learner = Learner(policy, settings)
            trl, ours = in_turns(theirs, lambda: learner.update(rows, seed=0), arguments.repeats)  # noqa: B023 - called here
            note = " (TRL with gradient checkpointing, its default)" if checkpointing else ""
            shape = f"prompt {prompt:3d}, completion {completion}"
            print(f"{shape}: TRL {trl:.3f} s, learner {ours:.3f} s, ratio {trl / ours:.2f}{note}", flush=True)
        tiny = Learner(make_model(Path(folder) / "tiny", hidden=128, layers=4, intermediate=512), settings)
        for epochs, kind in ((1, "one step"), (2, "two steps, with the log-probs at the start")):
            stats = tiny.update(make_rows(125, 25, 15), seed=0, epochs=epochs).stats
            speed = stats["tokens_per_second"]
            print(
                f"1,000 rows of 25 + 15 tokens, 1 M parameters, {kind}: {stats['seconds']:.2f} s, {speed:,.0f} tokens/s"
            )


if __name__ == "__main__":
    main()
