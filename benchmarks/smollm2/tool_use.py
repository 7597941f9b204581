"""Multi-turn tool use with a real model: SmolLM2 solves word problems with a calculator, through ChatML.

    python benchmarks/smollm2/tool_use.py [--seed 0] [--iterations 2] [--out FOLDER] [--set NAME=VALUE ...]

It writes word problems of two calculations each as files like GSM8K's (the same stories, other numbers, no problem
twice), has the environment `gsm8k` demonstrate some of them, a call of the calculator a turn, and runs the warm start
and the iterations of `journeyman run`. It prints test pass@1 of both ends, and how often a call was made as the model's
format has it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from journeyman.agent.chance import keyed_rng
from journeyman.agent.data import Json, Split
from journeyman.workflows.attempts.exams import answers, exam_of
from journeyman.workflows.console import Reporter
from journeyman.workflows.session.session import RunRef, lend

ROWS = {"train": 400, "validation": 40, "test": 100}
SETTINGS = {
    "run.name": "tool_use",
    "model.name": "smollm2",
    "model.lora_rank": 16,
    "sampler.max_context": 512,
    "tasks.train": 400,
    "tasks.validation": 40,
    "tasks.test": 100,
    "warm_start.demonstrations": 40,
    "warm_start.max_epochs": 3,
    "warm_start.check_every": 1,
    "warm_start.learning_rate": 5e-4,
    "optimizer.beta2": 0.98,
    "generate.tasks": 32,
    "generate.max_tokens": 64,
    "generate.chunk": 32,
    "finetune.learning_rate": 5e-4,
    "evaluate.temperature": 0.7,
}
STORIES = (
    ("A baker fills {a} boxes with {b} buns each and sells {c} buns. How many buns are left?", "*", "-", "buns"),
    ("A farmer picks {a} baskets of {b} apples and finds {c} more apples. How many apples has he?", "*", "+", "apples"),
    ("A school buys {a} packs of {b} pens and gives away {c} pens. How many pens are left?", "*", "-", "pens"),
    ("A shelf holds {a} books. Then {b} books come and {c} books go. How many books are on it?", "+", "-", "books"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--iterations", type=int, default=2)
    parser.add_argument("--out", help="folder of the problems and of the run; without it nothing is kept")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(options.out or scratch).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        chosen = SETTINGS | write_problems(folder, options.seed) | places(folder)
        chosen |= {"run.seed": options.seed, "run.iterations": options.iterations}
        started = time.monotonic()
        summary = run([*(f"{name}={value}" for name, value in chosen.items()), *options.overrides])
        print(f"{time.monotonic() - started:.0f} s; test pass@1: {summary['test_pass_at_1']}")
        look(RunRef(summary["store"], summary["run"]))


def places(folder: Path) -> dict[str, Json]:
    return {
        "store.url": f"sqlite:///{folder}/journeyman.db",
        "store.artifacts": folder / "artifacts",
        "run.output": folder / "runs",
    }


def write_problems(folder: Path, seed: int) -> dict[str, Json]:
    """A file for each split; returns the settings that name them."""
    rng, known = keyed_rng(seed, "problems"), set()
    named: dict[str, Json] = {}
    for split, count in ROWS.items():
        rows: list[str] = []
        while len(rows) < count:
            row = problem(rng)
            if row["question"] not in known:
                known.add(row["question"])
                rows.append(json.dumps(row))
        file = folder / f"{split}.jsonl"
        file.write_text("\n".join(rows) + "\n")
        named[f"environment.{split}"] = file
    return named


def problem(rng: np.random.Generator) -> dict[str, str]:
    """A question with its solution, marked as GSM8K's are."""
    story, first, second, things = STORIES[rng.integers(len(STORIES))]
    a, b, c = (int(rng.integers(*bounds)) for bounds in ((12, 60), (11, 40), (10, 100)))
    middle = a * b if first == "*" else a + b
    c = min(c, middle - 1)
    end = middle - c if second == "-" else middle + c
    one, two = f"{a}{first}{b}", f"{middle}{second}{c}"
    solution = f"First <<{one}={middle}>>{middle} {things}, then <<{two}={end}>>{end} {things}.\n#### {end}"
    return {"question": story.format(a=a, b=b, c=c), "answer": solution}


def run(overrides: list[str]) -> Json:
    """The summary of the run."""
    command = [sys.executable, "-m", "journeyman.workflows.cli", "run", "examples/gsm8k.toml", "--json"]
    for override in overrides:
        command += ["--set", override]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(Path(result.stdout.splitlines()[-1]).read_text())


def look(ref: RunRef) -> None:
    """How the test's attempts of the first and the last policy called the tool."""
    with lend(ref, Reporter()) as session:
        policies = session.store.policies.of(session.run.id)
        promoted = [p for p in policies if p.promoted]
        exam, last = exam_of(session, Split.TEST), max(p.iteration for p in policies)
        for policy in dict.fromkeys((promoted[0].number, promoted[-1].number)):
            info = session.store.policies.numbered(session.run.id, policy)
            found = [t.trajectory for t in answers(session, info, last, exam)]
            turns = np.mean([len(t.turns) for t in found])
            calls = np.mean([any(turn.action.tool_calls for turn in t.turns) for t in found])
            print(f"v{policy}: {len(found)} attempts, {turns:.2f} turns each, {calls:.0%} with a well-formed call")


if __name__ == "__main__":
    main()
