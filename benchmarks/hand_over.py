"""Do samplers hold what the learner made? Both of them against the learner over 3 updates, full weights and LoRA.

python benchmarks/hand_over.py [FAMILY ...] [--faults 50] [--model FOLDER]

A row for each tiny random model: the largest gap of the probe sequences after the hand-overs (mean difference of
log-probs, nats a token: what the run stores), the largest difference of a sampled token's, seconds of the slowest
hand-over. Then faults: a hand-over that is left out, half done, of a damaged tensor, of another version's weights.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "shared"))
from tiny_models import FAMILIES, make_model

from journeyman.agent.chance import keyed_rng
from journeyman.agent.data import PolicyRef, SamplingParams, Segment
from journeyman.agent.errors import JourneymanError, SamplerError
from journeyman.agent.learning.learner import Learner, LearnerSettings, TrainingRow
from journeyman.agent.manifests import seal, version_of
from journeyman.agent.probes import Proof, judge_hand_over, read_probe
from journeyman.agent.protocols import Sampler
from journeyman.agent.sampling.factory import open_sampler
from journeyman.agent.sampling.settings import SamplerSettings

UPDATES = 3
VOCABULARY = 256  # bytes: what the tiny tokenizer and every other one have
SAMPLERS = ("vllm", "transformers")
FAULTS = ("left out", "half done", "damaged", "another version")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("families", nargs="*", help=f"of {', '.join(FAMILIES)}; all without")
    parser.add_argument("--faults", type=int, default=50, help="of each kind, sampler and way of training")
    parser.add_argument("--model", help="a folder with a real model instead of the tiny ones")
    options = parser.parse_args()
    names = [options.model] if options.model else options.families or list(FAMILIES)
    print(f"{'model':<14}{'trained':<9}{'sampler':<14}{'gap':>9}{'sampled':>10}{'seconds':>9}")
    for name in names:
        for rank in (0, 8):
            with tempfile.TemporaryDirectory() as folder:
                base = name if options.model else str(make_model(name, Path(folder, "base"), 0))
                try:
                    learner, versions = trained(base, Path(folder), rank)
                except JourneymanError as error:
                    print(f"{name:<14}{kind(rank):<9}the learner refuses it: {error}")
                    continue
                for sampler in SAMPLERS:
                    print(
                        f"{name:<14}{kind(rank):<9}{sampler:<14}{row(sampler, base, learner, versions, rank)}",
                        flush=True,
                    )
    if options.faults and not options.model:
        for rank in (0, 8):
            for sampler in SAMPLERS:
                with tempfile.TemporaryDirectory() as folder:
                    caught = faults(sampler, Path(folder), rank, options.faults)
                shown = ", ".join(f"{fault} {count} of {options.faults}" for fault, count in caught.items())
                print(f"caught, llama tied, {kind(rank)}, {sampler}: {shown}", flush=True)


def kind(rank: int) -> str:
    return "LoRA" if rank else "full"


def trained(base: str, folder: Path, rank: int) -> tuple[Learner, list[PolicyRef]]:
    """The learner after the updates, and its versions."""
    learner = Learner(PolicyRef(0, base), LearnerSettings(learning_rate=1e-3, lora_rank=rank))
    versions = []
    for number in range(1, UPDATES + 1):
        rng = keyed_rng("update", number)
        ids = rng.integers(0, VOCABULARY, (8, 32)).astype(np.int32)
        rows = [TrainingRow(Segment(i[:8], i[8:], np.ones(24, np.bool_), None), nll=1.0) for i in ids]
        learner.update(rows, seed=number, minibatch_rows=4)
        versions.append(learner.save(folder / f"v{number}", number))
    return learner, versions


def settings(rank: int) -> SamplerSettings:
    return SamplerSettings(context_tokens=128, max_batch=32, lora_rank=rank)


def row(sampler_kind: str, base: str, learner: Learner, versions: list[PolicyRef], rank: int) -> str:
    """The figures of one sampler, or why it cannot have the model."""
    try:
        sampler = open_sampler(sampler_kind, PolicyRef(0, base), settings(rank))
    except JourneymanError as error:
        return f"refused: {error}"
    proof, gaps, apart, seconds = None, [], [], []
    try:
        for version in versions:
            started = time.perf_counter()
            proof = handed_over(sampler, version, proof)
            seconds.append(time.perf_counter() - started)
            gaps.append(proof.gap)
            learner.restore(version)
            apart.append(sampled_gap(sampler, learner))
    except SamplerError as error:
        return f"refused: {error}"
    finally:
        sampler.close()
    return f"{max(gaps):9.1e}{max(apart):10.1e}{max(seconds):9.2f}"


def handed_over(sampler: Sampler, version: PolicyRef, before: Proof | None, given: PolicyRef | None = None) -> Proof:
    """Loads the version (or what is `given` in its place) and proves it, as a run does."""
    asyncio.run(sampler.load_policy(given or version))
    return proved(sampler, version, before)


def proved(sampler: Sampler, version: PolicyRef, before: Proof | None) -> Proof:
    probe = read_probe(Path(version.adapter or version.path))
    assert probe is not None
    found = asyncio.run(sampler.score([ids.tolist() for ids in probe.sequences]))
    return judge_hand_over(version, probe, found, "float32", before)


def sampled_gap(sampler: Sampler, learner: Learner) -> float:
    """Largest difference of a sampled token's log-prob, behind prompts of unequal lengths."""
    prompts = [keyed_rng("prompt", i).integers(0, VOCABULARY, 5 + 7 * i).tolist() for i in range(8)]

    async def sample() -> list:
        params = [SamplingParams(12, 1.0, seed=i) for i in range(len(prompts))]
        return await asyncio.gather(*(sampler.generate(p, q) for p, q in zip(prompts, params, strict=True)))

    said = asyncio.run(sample())
    segments = [
        Segment(np.array(p, np.int32), c.token_ids, np.ones(len(c.token_ids), np.bool_), None)
        for p, c in zip(prompts, said, strict=True)
    ]
    expected = learner.logprobs(segments)
    return max(float(np.abs(e - c.logprobs).max()) for e, c in zip(expected, said, strict=True))


def faults(sampler_kind: str, folder: Path, rank: int, count: int) -> dict[str, int]:
    """How many of the faulty hand-overs of the last version were caught, by kind; right ones between them pass."""
    base = str(make_model("llama tied", folder / "base", 0))
    _, (first, second, third) = trained(base, folder, rank)
    sampler = open_sampler(sampler_kind, first, settings(rank))
    caught = dict.fromkeys(FAULTS, 0)
    try:
        for number in range(count):
            for fault in FAULTS:
                before = handed_over(sampler, second, None)
                given = {"left out": None, "another version": first}.get(fault, replace(third))
                if fault in ("half done", "damaged"):
                    given = spoilt(third, second, folder / "spoilt", fault, keyed_rng(fault, number))
                try:
                    proved(sampler, third, before) if given is None else handed_over(sampler, third, before, given)
                except SamplerError:
                    caught[fault] += 1
        handed_over(sampler, third, handed_over(sampler, second, None))
    finally:
        sampler.close()
    return caught


def spoilt(new: PolicyRef, old: PolicyRef, folder: Path, fault: str, rng: np.random.Generator) -> PolicyRef:
    """A copy of the new version with half of its tensors the old one's, or with one tensor's quarter in disorder."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(new.adapter or new.path, folder)
    name = "adapter_model.safetensors" if new.adapter else "model.safetensors"
    tensors, before = load_file(folder / name), load_file(Path(old.adapter or old.path) / name)
    names = sorted(tensors)
    if fault == "half done":
        for key in rng.permutation(names)[: len(names) // 2]:
            tensors[key] = before[key]
    else:
        tensor = tensors[names[rng.integers(len(names))]].view(-1)
        part = slice(0, max(2, len(tensor) // 4))
        tensor[part] = tensor[part].flip(0).clone()
    save_file(tensors, folder / name, metadata={"format": "pt"})
    seal(folder, version_of(folder), parent=None, base=new.path)  # so that the probe has to find it
    return replace(new, adapter=str(folder)) if new.adapter else replace(new, path=str(folder))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
