"""One full iteration of a 0.5 B-shaped random model, transformers sampler, with the time of every stage.

    python benchmarks/gpu_iteration.py             # bfloat16 on the GPU
    python benchmarks/gpu_iteration.py --shape 0.01B --allow-cpu   # a dry run of the script itself

The model has the shape of Qwen2.5-0.5B (hidden 896, 24 layers, 14 heads of which 2 for keys and values, feed-forward
4,864, 151,936 tokens) with random weights and this package's character tokenizer: it measures time, not skill.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from journeyman.agent.models import load_tokenizer, make_tiny
from journeyman.workflows.console import Reporter
from journeyman.workflows.expert_iteration import Stage, expert_iteration
from journeyman.workflows.session.runs import start_run
from journeyman.workflows.settings.loading import parse_settings

SHAPES = {
    "0.5B": {
        "hidden_size": 896,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "intermediate_size": 4864,
        "vocab_size": 151_936,
    },
    "0.01B": {
        "hidden_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 512,
        "vocab_size": 65_536,
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="0.5B")
    parser.add_argument("--allow-cpu", action="store_true")
    parser.add_argument("--tasks", type=int, default=64)
    parser.add_argument("--attempts", type=int, default=8)
    options = parser.parse_args()
    if not torch.cuda.is_available() and not options.allow_cpu:
        raise SystemExit("no CUDA device here: run this on a machine with a GPU, or pass --allow-cpu for a dry run")
    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder, "model"), SHAPES[options.shape])
        seconds, rows = run(Path(folder), options.tasks, options.attempts)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(f"\n{options.shape} random model, {options.tasks} tasks x {options.attempts} attempts, on {device}")
    for stage, taken in seconds.items():
        print(f"{stage:<12} {taken:8.2f} s   {rows[stage]}")
    if torch.cuda.is_available():
        print(f"peak memory  {torch.cuda.max_memory_allocated() / 2**30:8.2f} GiB")


def make_model(folder: Path, shape: dict[str, int]) -> None:
    make_tiny(folder, 0, hidden=64, layers=1)  # for its tokenizer
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**shape, max_position_embeddings=2048, tie_word_embeddings=True))
    tokenizer = load_tokenizer(str(folder))
    model.config.bos_token_id, model.config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
    model.to(torch.bfloat16).save_pretrained(folder)


def run(folder: Path, tasks: int, attempts: int) -> tuple[dict[str, float], dict[str, object]]:
    settings = parse_settings(
        {
            "run": {"name": "gpu", "iterations": 1, "engine": "none", "output": str(folder)},
            "store": {"url": f"sqlite:///{folder}/gpu.db", "artifacts": str(folder / "artifacts")},
            "tasks": {"train": 512, "validation": 64, "test": 64},
            "model": {"name": str(folder / "model")},
            "sampler": {"kind": "transformers"},
            "warm_start": {"demonstrations": 256, "max_epochs": 1, "learning_rate": 1e-5},
            "generate": {"tasks": tasks, "attempts": attempts, "max_tokens": 64},
            "finetune": {"learning_rate": 1e-6},
            "evaluate": {"attempts": 1},
        },
        "this benchmark",
    )
    seconds: dict[str, float] = defaultdict(float)
    rows: dict[str, object] = {}

    def timed(stage: Stage) -> Stage:
        def call(*arguments: object) -> object:
            started = time.perf_counter()
            rows[stage.__name__] = stage(*arguments)
            seconds[stage.__name__] += time.perf_counter() - started
            return rows[stage.__name__]

        return call

    expert_iteration(start_run(settings), Reporter(), timed)
    return seconds, rows


if __name__ == "__main__":
    main()
