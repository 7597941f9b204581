"""The whole loop against TRL's GRPOTrainer: same model, tasks, reward and number of rollouts, by seeds.

    python benchmarks/vs_trl.py [--seeds 0 1 2] [--set NAME=VALUE ...]

Both begin with the same warm start on the small Countdown of `algorithms.py`. The loop runs as `journeyman run` does,
as it is meant to (hindsight and replay) and as plain GRPO without them; its wall time is that of the whole command,
imports, validation and tests included, and its validation attempts, by which it keeps or rejects versions, are no
rollouts that it learns from. TRL has its own transformers generator and three learning rates, the best of which by test
success counts; it learns as by its defaults from each rollout once (the loop twice), 256 rollouts to a step in
micro-batches of 32; its wall time is that of `train()` alone. Its policies are tested by the same sampler on the same
tasks.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from algorithms import BASE, SETTINGS, summary_of

from journeyman.agent.data import Message, PolicyRef, Source, Split, StopReason, Task, Trajectory, Turn
from journeyman.agent.learning.learner import Learner
from journeyman.agent.models import load_causal_lm, load_tokenizer
from journeyman.storage.runs.policies import NewPolicy
from journeyman.verifiers.conduct.goals import GoalReached
from journeyman.workflows.attempts.exams import exam_of
from journeyman.workflows.console import Reporter
from journeyman.workflows.session.engines import learner_settings
from journeyman.workflows.session.session import RunRef, Session, lend
from journeyman.workflows.settings.loading import load_settings
from journeyman.workflows.settings.settings import Settings
from journeyman.workflows.stages.evaluate import measure

RATES = (1e-4, 3e-4, 1e-3)
"""TRL's learning rates."""
MICRO_BATCH = 32
"""TRL's rows of one forward pass: larger ones leave a processor's caches."""
WHOLE = (
    "relabel.strategies=['final']",
    "relabel.per_task=1",
    "replay.groups=1800",
    "replay.quota={ expert = 0.1, success = 0.35, hindsight = 0.55 }",
    "replay.per_task=1",
    "replay.recency=3.0",
    "finetune.policy_weight=3.0",
    "finetune.learning_rate=1e-3",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options = parser.parse_args()
    print("| seed | arm | rollouts | warm start | final | wall s |\n|---|---|---|---|---|---|", flush=True)
    ratios = []
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as place:
            warm = Path(place, "warm")
            _, summary = summary_of(warm, seed, [*options.overrides, "run.iterations=0"])
            found = {}
            for arm, changes in (("whole loop", WHOLE), ("plain GRPO", ())):
                folder = Path(place, arm.replace(" ", "_"))
                shutil.copytree(warm, folder)
                seconds, told = summary_of(folder, seed, [*changes, *options.overrides, "run.continues=true"])
                found[arm] = (told["test_pass_at_1"]["final"], seconds)
            start = summary["test_pass_at_1"]["final"]
            rollouts = rollouts_of(load_settings(str(SETTINGS), [*BASE, *options.overrides]))
            with lend(RunRef(f"sqlite:///{warm}/runs/journeyman.db", summary["run"]), Reporter(quiet=True)) as session:
                for number, rate in enumerate(RATES):
                    found[f"TRL at {rate:g}"] = trl(session, rollouts, rate, 100 + number)
            for arm, (final, seconds) in found.items():
                print(f"| {seed} | {arm} | {rollouts} | {start:.3f} | {final:.3f} | {seconds:.0f} |", flush=True)
            best = max((one for arm, one in found.items() if arm.startswith("TRL")), key=lambda one: one[0])
            ratios.append([found[arm][1] / best[1] for arm in ("whole loop", "plain GRPO")])
    for arm, shares in zip(("whole loop", "plain GRPO"), zip(*ratios, strict=True), strict=True):
        print(f"{arm}: {statistics.median(shares):.2f} of the wall time of TRL's best, median over seeds")


def rollouts_of(settings: Settings) -> int:
    """How many attempts an arm makes for learning."""
    return settings.run.iterations * settings.generate.tasks * settings.generate.attempts


def trl(session: Session, rollouts: int, rate: float, number: int) -> tuple[float, float]:
    """Test pass@1 of the warm start's policy after TRL's training on so many rollouts, and seconds of `train()`."""
    import torch
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    settings, first = session.settings, session.store.policies.numbered(session.run.id, 1)
    tasks = {text(task): task for task in session.store.tasks.of(session.run.id, Split.TRAIN)}
    per_step = settings.finetune.batch
    with tempfile.TemporaryDirectory() as folder:
        trainer = GRPOTrainer(
            model=load_causal_lm(session.policy_ref(first), dtype=torch.float32, device="cpu"),
            reward_funcs=lambda prompts, completions, **_: [
                reward(tasks[prompt[-1]["content"]], completion[-1]["content"])
                for prompt, completion in zip(prompts, completions, strict=True)
            ],
            args=GRPOConfig(
                output_dir=folder,
                report_to="none",
                use_cpu=True,
                bf16=False,
                gradient_checkpointing=False,
                seed=settings.run.seed,
                learning_rate=rate,
                adam_beta2=settings.optimizer.beta2,
                beta=0.0,
                per_device_train_batch_size=MICRO_BATCH,
                gradient_accumulation_steps=per_step // MICRO_BATCH,
                num_generations=settings.generate.attempts,
                max_completion_length=settings.generate.max_tokens,
                temperature=settings.generate.temperature,
                max_steps=rollouts // per_step,
                save_strategy="no",
                logging_strategy="no",
                disable_tqdm=True,
            ),
            train_dataset=Dataset.from_list(
                [{"prompt": [m.to_json() for m in task.prompt]} for task in tasks.values()]
            ),
            processing_class=load_tokenizer(session.policy_ref(first).path),
        )
        started = time.monotonic()
        trainer.train()
        seconds = time.monotonic() - started
    print(f"  TRL at {rate:g}: {seconds:.0f} s", file=sys.stderr, flush=True)
    return tested(session, trainer.model, number), seconds


def reward(task: Task, said: str) -> float:
    """The run's own verifier, without its worker processes."""
    turns = (Turn(Message("assistant", said)),)
    verdict = GoalReached().verify(task, Trajectory(task.hash, Source.POLICY, turns, (), StopReason.TERMINATED))
    return verdict.score or 0.0


def text(task: Task) -> str:
    """What the task's last message says, which tells its tasks apart."""
    return task.prompt[-1].content


def tested(session: Session, model: Any, number: int) -> float:
    """Test pass@1 of the model's weights, saved as a version of the run."""
    first = session.store.policies.numbered(session.run.id, 1)
    learner = Learner(PolicyRef(1, session.policy_ref(first).path), learner_settings(session.settings))
    learner.model.load_state_dict(model.state_dict())
    path = f"{session.run.id}/trl{number}"
    learner.save(session.artifacts / path, number)
    session.store.policies.add(session.run.id, NewPolicy(number, first.id, 0, "control", path, {}, promoted=False))
    policy = session.store.policies.numbered(session.run.id, number)
    return measure(session, policy, 0, exam_of(session, Split.TEST)).pass_at_1


if __name__ == "__main__":
    main()
