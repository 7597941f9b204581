"""An update that runs out of memory is tried again in smaller pieces, and nothing of a failed try counts."""

import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from journeyman.agent.data import Segment
from journeyman.agent.errors import JourneymanError, MicroBatchTooLargeError
from journeyman.agent.learning.hardware.memory import ran_out, smaller
from journeyman.agent.learning.hardware.ranks import Ranks
from journeyman.agent.learning.learner import Learner, LearnerSettings, TrainingRow

SETTINGS = LearnerSettings(learning_rate=1e-2, device="cpu", critic="head")
CPU = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"
)
LITTLE_MEMORY = """
import pickle, resource, sys
from pathlib import Path
from journeyman.agent.learning.learner import Learner

policy, settings, rows = pickle.loads(sys.stdin.buffer.read())
learner = Learner(policy, settings)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 10 * 2**20, resource.RLIM_INFINITY))
stats = learner.update(rows, seed=0).stats
print(*(stats[name] for name in ("loss", "grad_norm", "nll")))
"""


def rows_of(segments):
    """Positives, advantages and returns."""
    chance = np.random.default_rng(0)
    return [
        TrainingRow(s, float(chance.normal()), nll=0.3, value=chance.normal(size=s.loss_mask.sum()).astype(np.float32))
        for s in segments
    ]


def limited(learner, most, where):
    """Has forward or backward passes fail that hold more tokens than `most`; gives the tokens of every pass."""
    passes, hidden = [], learner._score.halves.hidden

    def fail(_=None):
        raise RuntimeError(CPU)

    def measured(ids_BL, *more):
        passes.append(ids_BL.numel())
        found = hidden(ids_BL, *more)
        if found.requires_grad and ids_BL.numel() > most and len(passes) > 1:  # the first one's gradient is there
            if where == "forward":
                fail()
            found.register_hook(fail)
        return found

    learner._score.halves.hidden = measured
    return passes


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_a_step_is_made_in_smaller_pieces(policy, segments_of, caplog, where):
    rows = rows_of([s for s in segments_of(3, groups=8) if s.loss_mask.any()])
    found = []
    for most in (10_000, 30):
        learner = Learner(policy, replace(SETTINGS, micro_batch_tokens=60))
        learner.optimizer = torch.optim.SGD(learner.model.parameters())
        passes = limited(learner, most, where)
        stats = learner.update(rows, seed=1).stats
        found.append((torch.cat([p.detach().flatten() for p in learner.model.parameters()]), stats, passes))
    (expected, stats, _), (weights, others, passes) = found
    assert torch.allclose(weights, expected, rtol=1e-4, atol=2e-6)
    for name in ("loss", "policy_loss", "nll", "entropy", "value_loss", "grad_norm"):
        assert others[name] == pytest.approx(stats[name], rel=1e-4)
    assert max(passes[1:]) > 30 >= passes[-1]
    said = [record.getMessage() for record in caplog.records]
    assert said
    assert all("trying half of that" in line for line in said)


@pytest.mark.parametrize("kind", ["head", "model"])
def test_a_single_row_that_does_not_fit_is_named(policy, segments_of, kind):
    segments = [s for s in segments_of(3, groups=8) if s.loss_mask.any()]
    learner = Learner(policy, replace(SETTINGS, critic=kind, micro_batch_tokens=60))
    limited(learner, 8, "forward")
    longest = max(len(s.prompt_ids) + int(np.flatnonzero(s.loss_mask)[-1]) for s in segments)
    before = [p.detach().clone() for p in learner.model.parameters()]
    with pytest.raises(JourneymanError, match=r"does not hold an update with a single row of \d+ tokens") as error:
        learner.update(rows_of(segments), seed=1)
    assert "\n" not in str(error.value)
    assert all(
        remedy in str(error.value) for remedy in ("max_context", "learner.activation_checkpointing", "lora_rank")
    )
    assert 8 < int(str(error.value).partition("row of ")[2].split()[0]) <= longest
    assert all(map(torch.equal, before, learner.model.parameters()))
    assert not learner.optimizer.state


def test_ranks_do_not_try_it_alone():
    """The others are in the middle of a pass; all begin anew, with half of it (workflows/stages/finetune.py)."""
    cpu = torch.device("cpu")
    assert smaller(32, cpu, Ranks(), single=False) == 16
    with pytest.raises(MicroBatchTooLargeError, match="a micro-batch of 32 tokens on every rank"):
        smaller(32, cpu, Ranks(1, 2), single=False)
    with pytest.raises(JourneymanError, match="a single row of 12 tokens"):
        smaller(12, cpu, Ranks(1, 2), single=True)


def test_other_errors_are_not_taken_for_it(policy, segments_of, monkeypatch):
    learner = Learner(policy, SETTINGS)
    monkeypatch.setattr(learner._score.halves, "hidden", lambda *_: torch.zeros(2) + torch.zeros(3))
    with pytest.raises(RuntimeError, match="must match"):
        learner.update(rows_of(segments_of(3)), seed=1)
    assert [ran_out(error) for error in (RuntimeError(CPU), MemoryError(), torch.OutOfMemoryError("CUDA out of"))]
    assert not any(ran_out(error) for error in (RuntimeError("CUDA error"), ValueError("not enough memory")))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's address space")
def test_a_real_limit(policy):
    """Of 10 MiB more than the process has when it begins, of which an update in one piece needs some 60."""
    chance = np.random.default_rng(0)
    ids, mask = chance.integers(0, 31, (400, 64)).astype(np.int32), np.ones(60, np.bool_)
    rows = [TrainingRow(Segment(own[:4], own[4:], mask, None), nll=1.0) for own in ids]
    settings = LearnerSettings(device="cpu", micro_batch_tokens=10**6)
    told = pickle.dumps((policy, settings, rows))
    done = subprocess.run([sys.executable, "-c", LITTLE_MEMORY], input=told, capture_output=True, check=True)
    assert b"trying half of that" in done.stderr
    stats = Learner(policy, settings).update(rows, seed=0).stats
    expected = [stats[name] for name in ("loss", "grad_norm", "nll")]
    assert list(map(float, done.stdout.split())) == pytest.approx(expected, rel=1e-5)
