"""One learner on two processes (gloo) is that of one process, and takes up what that one saved."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file
from two_ranks import Case, learn, learn_in_ranks

from journeyman.agent.data import PolicyRef
from journeyman.agent.learning.hardware.ranks import Ranks
from journeyman.agent.learning.learner import LearnerSettings, TrainingRow

pytestmark = pytest.mark.slow  # two processes import torch

FULL = LearnerSettings(learning_rate=1e-3, device="cpu", micro_batch_tokens=40)
LORA = replace(FULL, lora_rank=2, lora_alpha=4)
CRITIC = replace(FULL, loss="dapo", critic="head", entropy_weight=0.01, top_entropy=0.7, value_clip=0.2)
UPDATES = ["full", "lora", "full again", "lora again", "head", "model", "one row"]


def mixed(segments, seed=0, *, values=False):
    """Advantages, KL and NLL over groups that share prompts."""
    chance = np.random.default_rng(seed)
    rows = []
    for i, segment in enumerate(segments):
        trained = int(segment.loss_mask.sum())
        row = TrainingRow(segment, float(chance.normal()), nll=float(i % 3 == 0), reference=0.1)
        if values:
            returns, foreseen = chance.normal(size=(2, trained)).astype(np.float32)
            row = replace(row, reference=None, value=returns, foreseen=foreseen)
        rows.append(row if i % 4 else TrainingRow(replace(segment, behaviour_logprobs=None), nll=1.0))
    return rows


@pytest.fixture(scope="module")
def found(policy, segments_of, tmp_path_factory):
    """What came of each update by one process, and by two; "again" begins with what one process saved."""
    folder = tmp_path_factory.mktemp("ranks")
    rows = mixed(segments_of(3, groups=8))
    valued = mixed(segments_of(5, groups=6), values=True)
    first = {
        name: Case(policy, s, rows, folder / f"{name} by 1", policy) for name, s in (("full", FULL), ("lora", LORA))
    }
    one = {name: learn(case) for name, case in first.items()}
    full, lora = (version(policy, case.settings, case.saved) for case in first.values())
    later = {
        "full again": Case(full, FULL, rows, reference=full),
        "lora again": Case(lora, LORA, rows, reference=lora),  # its adapter lies beside the trained one
        "head": Case(policy, CRITIC, valued),
        "model": Case(policy, replace(CRITIC, critic="model"), valued),
        "one row": Case(policy, FULL, rows[1:2], reference=policy),  # one rank makes a pass that does not count
    }
    two = learn_in_ranks({n: replace(c, saved=folder / f"{n} by 2") for n, c in (first | later).items()}, 2, folder)
    one |= {name: learn(replace(case, saved=folder / f"{name} by 1")) for name, case in later.items()}
    return one, two, folder


def version(policy, settings, folder):
    return PolicyRef(1, policy.path, str(folder)) if settings.lora_rank else PolicyRef(1, str(folder))


@pytest.mark.parametrize("name", UPDATES)
def test_two_ranks_learn_as_one_does(found, name):
    one, two = (outcomes[name] for outcomes in found[:2])
    assert two.stats == pytest.approx(one.stats, rel=1e-5, abs=1e-6)
    assert {"loss", "grad_norm"} <= set(two.stats)
    np.testing.assert_allclose(two.before, one.before, atol=1e-5)
    np.testing.assert_allclose(two.after, one.after, atol=1e-4)
    # AdamW divides by a gradient's size: where that is all rounding, a single weight may go some of its way elsewhere
    apart = two.weights - one.weights
    assert np.sqrt(np.mean(apart**2)) <= 1e-6
    assert np.abs(apart).max() <= FULL.learning_rate / 10
    assert np.abs(one.after - one.before).max() > 1e-3


def test_each_rank_holds_a_part_of_the_weights(found):
    one, two, _ = found
    assert 0.4 < two["full"].held / one["full"].held < 0.6


@pytest.mark.parametrize("name", UPDATES)
def test_two_ranks_save_what_one_does(found, name):
    own, theirs = (files(found[2] / f"{name} by {count}") for count in (1, 2))
    assert own.keys() == theirs.keys()
    assert "learner/optimizer.safetensors" in {file for file, _ in own}
    for key, value in own.items():
        np.testing.assert_allclose(theirs[key], value, atol=3e-5)


def files(folder):
    """The tensors of all files, by file and name."""
    names = (str(p.relative_to(folder)) for p in folder.rglob("*.safetensors"))
    return {(name, key): value for name in names for key, value in load_file(folder / name).items()}


@pytest.mark.parametrize(
    ("name", "settings"),
    [("full again", FULL), ("lora again", LORA), ("head", CRITIC), ("model", replace(CRITIC, critic="model"))],
)
def test_one_process_goes_on_from_what_two_saved(found, policy, segments_of, name, settings):
    rows = mixed(segments_of(4, groups=4), values=settings.critic != "none")
    reference = policy if settings.critic == "none" else None
    own, theirs = (
        learn(Case(version(policy, settings, found[2] / f"{name} by {count}"), settings, rows, reference=reference))
        for count in (1, 2)
    )
    np.testing.assert_allclose(theirs.weights, own.weights, atol=1e-5)
    assert theirs.stats == pytest.approx(own.stats, rel=1e-4, abs=1e-6)


def test_micro_batches_are_dealt_so_that_the_ranks_keep_step():
    sizes = [5, 1, 9, 4, 2]
    hands = [Ranks(rank, 3).deal(sizes, float) for rank in range(3)]
    assert hands == [[(9, 3.0), (2, 3.0)], [(5, 3.0), (1, 3.0)], [(4, 3.0), (1, 0.0)]]
    assert Ranks().deal(sizes, float) == [(size, 1.0) for size in sizes]
    assert Ranks(1, 3).deal([], float) == []
