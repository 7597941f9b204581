"""The learner: what an update does, that it can be cut anywhere, and what it refuses."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tiny_models import make_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from journeyman.agent.data import PolicyRef, Segment
from journeyman.agent.errors import JourneymanError, SettingsError, UsageError
from journeyman.agent.learning.checkpoint import export_merged, whole_folder
from journeyman.agent.learning.figures import OF_THE_MACHINE
from journeyman.agent.learning.learner import Learner, LearnerSettings, TrainingRow
from journeyman.agent.learning.rows import most_uncertain

SETTINGS = LearnerSettings(learning_rate=1e-2, device="cpu")
LORA = replace(SETTINGS, lora_rank=2, lora_alpha=4)


def rows_of(segments, seed=0):
    """A mixture: advantages of a row or of its tokens, masked rows, positives with and without log-probs."""
    chance = np.random.default_rng(seed)
    rows = []
    for segment in segments:
        kind = chance.integers(0, 5)
        trained = int(segment.loss_mask.sum())
        if kind == 0:
            rows.append(TrainingRow(replace(segment, behaviour_logprobs=None), nll=1.0))
        elif kind == 1:
            rows.append(TrainingRow(segment, chance.normal(size=trained).astype(np.float32)))
        elif kind == 2:
            rows.append(TrainingRow(segment, 0.0))
        else:
            rows.append(TrainingRow(segment, float(chance.normal()), nll=float(kind == 3) * 0.3))
    return rows


def weights(learner):
    return torch.cat([p.detach().flatten() for p in learner.model.parameters()])


def files(folder: Path):
    """Name and content of every file but the manifest, which says whose they are.

    peft writes the adapter's module names, a set, in any order.
    """
    found = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    found.pop("manifest.json", None)
    if "adapter_config.json" in found:
        config = json.loads(found["adapter_config.json"])
        found["adapter_config.json"] = config | {"target_modules": sorted(config["target_modules"])}
    return found


@pytest.mark.parametrize(
    ("loss", "share"), [("grpo", 1.0), ("bnpo", 1.0), ("dr_grpo", 1.0), ("dapo", 1.0), ("cispo", 1.0), ("dapo", 0.3)]
)
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
@example(seed=429476)  # the share ends among siblings' first tokens, whose entropies are equal but for rounding
def test_an_update_does_not_depend_on_its_micro_batches(policy, segments_of, loss, share, seed):
    rows = rows_of(segments_of(seed, groups=6), seed)
    found = []
    for tokens in (1, 40, 100_000):
        # a plain gradient step in all but name, so that rounding is not blown up by Adam's division
        sizes = {"max_completion": 7, "micro_batch_tokens": tokens}
        config = replace(SETTINGS, loss=loss, eps_high=1.5, top_entropy=share, **sizes)
        learner = Learner(policy, config)
        learner.optimizer = torch.optim.SGD(learner.model.parameters())
        stats = learner.update(rows, seed=1, minibatch_rows=5, epochs=2).stats
        found.append((weights(learner), {k: v for k, v in stats.items() if k not in OF_THE_MACHINE}))
    for other, stats in found[1:]:
        assert torch.allclose(other, found[0][0], rtol=1e-4, atol=2e-6)
        assert stats == pytest.approx(found[0][1], rel=1e-3, abs=1e-5)


def test_one_step_needs_no_second_look_at_the_start(policy, segments_of):
    """The first of two epochs, whose log-probs at the start are computed apart, makes the step that one epoch makes."""
    rows = rows_of(segments_of(5, groups=6))
    once, twice = Learner(policy, SETTINGS), Learner(policy, SETTINGS)
    stats = once.update(rows, seed=1).stats
    norms = []
    step = twice.optimizer.step
    twice.optimizer.step = lambda: (norms.append(gradient_norm(twice)), step())
    later = twice.update(rows, seed=1, epochs=2).stats
    assert stats["steps"] == 1
    assert (stats["approx_kl"], later["approx_kl"] > 0) == (0.0, True)  # the second step is away from the start
    assert stats["ratio"] == 1.0
    assert norms[0] == pytest.approx(min(stats["grad_norm"], SETTINGS.max_grad_norm), rel=1e-4)


def gradient_norm(learner):
    return torch.cat([p.grad.flatten() for p in learner.model.parameters()]).norm().item()


def test_statistics_are_those_of_the_formulas(policy, segments_of):
    segments = [s for s in segments_of(2, groups=5) if s.loss_mask.any()]
    rows = [TrainingRow(s, 1.0) for s in segments] + [TrainingRow(segments[0], nll=2.0)]
    learner = Learner(policy, replace(SETTINGS, loss="bnpo"))
    before = learner.logprobs(segments)
    stats = learner.update(rows, seed=0).stats
    raw = np.exp(np.concatenate(before) - np.concatenate([s.behaviour_logprobs for s in segments]))
    assert stats["raw_correction"] == pytest.approx(raw.mean(), rel=1e-4)
    assert stats["correction"] == pytest.approx(np.minimum(raw, 3).mean(), rel=1e-4)
    assert stats["policy_loss"] == pytest.approx(-np.minimum(raw, 3).mean(), rel=1e-4)  # ratio 1, advantage 1
    assert stats["nll"] == pytest.approx(-before[0].mean(), rel=1e-4)
    assert stats["loss"] == pytest.approx(stats["policy_loss"] + 2 * stats["nll"], rel=1e-4)
    assert (stats["clip_fraction"], stats["approx_kl"], stats["rows"]) == (0.0, 0.0, len(rows))


def test_rows_of_failed_verifiers_stay_in_the_denominator(policy, segments_of):
    segment = segments_of(4)[0]
    losses = [
        Learner(policy, SETTINGS)
        .update([TrainingRow(segment, 1.0), *[TrainingRow(segment, 0.0)] * extra], seed=0)
        .stats["loss"]
        for extra in (0, 1, 3)
    ]
    assert losses == pytest.approx([losses[0], losses[0] / 2, losses[0] / 4])


def test_nothing_to_learn_from_changes_nothing(policy, segments_of):
    learner = Learner(policy, SETTINGS)
    before = weights(learner)
    stats = learner.update([TrainingRow(s, 0.0) for s in segments_of(4)], seed=0).stats
    assert torch.equal(weights(learner), before)
    assert stats["steps"] == 0


def test_imitation_lowers_the_nll(policy, segments_of):
    segments = segments_of(6, groups=4, logprobs=False)
    learner = Learner(policy, SETTINGS)
    before = -np.concatenate(learner.logprobs(segments)).mean()
    rows = [TrainingRow(s, nll=1.0) for s in segments]
    stats = learner.update(rows, seed=0, minibatch_rows=4, epochs=20).stats
    assert -np.concatenate(learner.logprobs(segments)).mean() < 0.5 * before
    assert "policy_loss" not in stats


def test_tokens_without_nll_weight_are_as_if_not_trained_on(policy, segments_of):
    segments = [s for s in segments_of(6, groups=4, logprobs=False) if s.loss_mask.sum() > 1]
    parts, whole = [], []
    for segment in segments:
        trained = np.flatnonzero(segment.loss_mask)
        weight = np.where(np.arange(len(trained)) % 2, 0.0, 0.7).astype(np.float32)
        mask = np.zeros_like(segment.loss_mask)
        mask[trained[::2]] = True
        parts.append(TrainingRow(segment, nll=weight))
        whole.append(TrainingRow(replace(segment, loss_mask=mask), nll=0.7))
    found = []
    for rows in (parts, whole):
        learner = Learner(policy, SETTINGS)
        learner.optimizer = torch.optim.SGD(learner.model.parameters())
        stats = learner.update(rows, seed=0, minibatch_rows=3).stats
        found.append((weights(learner), stats["loss"], stats["nll"]))
    assert torch.allclose(found[0][0], found[1][0], rtol=1e-5, atol=1e-6)
    assert found[0][1:] == pytest.approx(found[1][1:])


def test_an_update_moves_choices_only(policy, segments_of):
    """One step on every token's advantage is the same as one with the advantages that are left, given as such."""
    segments = [s for s in segments_of(3, groups=4) if s.loss_mask.any()]
    learner = Learner(policy, SETTINGS)
    entropies = learner._score.logprobs_and_entropies(segments, range(len(segments)))[1]
    rows = [TrainingRow(s, 1.0 - i % 3) for i, s in enumerate(segments)]
    wanted = {i: entropies[i] for i, row in enumerate(rows) if row.policy}
    found = []
    for share, lessons in ((0.25, rows), (1.0, most_uncertain(rows, wanted, 0.25))):
        learner = Learner(policy, replace(SETTINGS, top_entropy=share))
        learner.optimizer = torch.optim.SGD(learner.model.parameters(), lr=1e-2)
        learner.update(lessons, seed=0)
        found.append(weights(learner))
    assert torch.allclose(*found, rtol=1e-4, atol=2e-6)
    moved_by_all = Learner(policy, SETTINGS)
    moved_by_all.optimizer = torch.optim.SGD(moved_by_all.model.parameters(), lr=1e-2)
    moved_by_all.update(rows, seed=0)
    assert not torch.allclose(found[0], weights(moved_by_all), rtol=1e-4, atol=2e-6)


def test_reinforcement_raises_what_was_better(policy, segments_of):
    learner = Learner(policy, SETTINGS)
    pair = segments_of(9, groups=1)[:2]
    starts = learner.logprobs(pair)
    better, worse = (replace(s, behaviour_logprobs=p) for s, p in zip(pair, starts, strict=True))
    before = [p.sum() for p in learner.logprobs([better, worse])]
    learner.update([TrainingRow(better, 1.0), TrainingRow(worse, -1.0)], seed=0, epochs=3)
    after = [p.sum() for p in learner.logprobs([better, worse])]
    assert after[0] - before[0] > after[1] - before[1]


def test_kl_keeps_the_policy_near_the_reference(policy, segments_of):
    rows = rows_of(segments_of(7, groups=6))
    drift = []
    for beta in (0.0, 5.0):
        learner = Learner(policy, replace(SETTINGS, learning_rate=2e-3), reference=policy)
        start = weights(learner)
        near = [replace(row, reference=beta) if beta and row.policy is not None else row for row in rows]
        stats = learner.update(near, seed=0, epochs=6).stats
        drift.append((weights(learner) - start).norm().item())
        assert ("kl" in stats) == (beta > 0)
    assert drift[1] < drift[0]


@pytest.mark.parametrize("config", [SETTINGS, LORA], ids=["full", "lora"])
def test_a_saved_learner_goes_on_bit_for_bit(policy, segments_of, tmp_path, config):
    batches = [rows_of(segments_of(seed, groups=6), seed) for seed in range(3)]
    straight = Learner(policy, config)
    for seed, rows in enumerate(batches):
        straight.update(rows, seed=seed, minibatch_rows=6, epochs=2)
        straight.save(tmp_path / f"straight{seed}", seed)

    resumed = Learner(policy, config)
    for seed, rows in enumerate(batches):
        resumed.update(rows, seed=seed, minibatch_rows=6, epochs=2)
        saved = resumed.save(tmp_path / f"resumed{seed}", seed)
        resumed = Learner(saved, config)

    assert torch.equal(weights(straight), weights(resumed))
    assert files(tmp_path / "straight2") == files(tmp_path / "resumed2")
    assert {"learner/optimizer.safetensors", "tokenizer.json"} <= set(files(tmp_path / "straight2"))


@pytest.mark.parametrize("config", [SETTINGS, LORA], ids=["full", "lora"])
def test_restore_returns_weights_and_optimizer(policy, segments_of, tmp_path, config):
    rows, others = (rows_of(segments_of(seed, groups=6), seed) for seed in (1, 2))
    learner = Learner(policy, config)
    learner.update(rows, seed=0)
    parent = learner.save(tmp_path / "parent", 1)
    before = weights(learner).clone()
    learner.update(others, seed=0)
    assert not torch.equal(weights(learner), before)
    learner.restore(parent)
    assert torch.equal(weights(learner), before)
    learner.save(tmp_path / "again", 1)
    assert files(tmp_path / "again") == files(tmp_path / "parent")


def test_a_saved_policy_is_what_transformers_loads(policy, segments_of, tmp_path):
    learner = Learner(policy, SETTINGS)
    learner.update(rows_of(segments_of(1)), seed=0)
    saved = learner.save(tmp_path / "v1", 1)
    assert saved == PolicyRef(1, str(tmp_path / "v1"))
    model = AutoModelForCausalLM.from_pretrained(saved.path)
    assert torch.equal(torch.cat([p.flatten() for p in model.parameters()]), weights(learner))
    assert AutoTokenizer.from_pretrained(saved.path).convert_tokens_to_ids("w7") == 7


@pytest.mark.parametrize("config", [SETTINGS, LORA], ids=["full", "lora"])
def test_merged_weights_are_the_policy(policy, segments_of, tmp_path, config):
    segments = segments_of(1)
    learner = Learner(policy, config)
    learner.update(rows_of(segments), seed=0, epochs=3)
    saved = learner.save(tmp_path / "v1", 1)
    assert (saved.adapter is None) == (config.lora_rank == 0)
    export_merged(saved, tmp_path / "merged")
    assert "learner/optimizer.safetensors" not in files(tmp_path / "merged")
    merged = Learner(PolicyRef(0, str(tmp_path / "merged")), SETTINGS)
    base = Learner(policy, SETTINGS)
    expected, found, start = (np.concatenate(x.logprobs(segments)) for x in (learner, merged, base))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.abs(found - start).max() > 1e-2


def test_only_the_adapter_is_trained(policy, segments_of):
    learner = Learner(policy, LORA)
    frozen = {n: p.clone() for n, p in learner.model.named_parameters() if not p.requires_grad}
    assert all("lora" in n for n, p in learner.model.named_parameters() if p.requires_grad)
    learner.update(rows_of(segments_of(1)), seed=0)
    assert all(torch.equal(p, frozen[n]) for n, p in learner.model.named_parameters() if n in frozen)


@pytest.mark.parametrize("config", [SETTINGS, LORA], ids=["full", "lora"])
def test_bfloat16_keeps_trained_weights_in_float32(policy, segments_of, config):
    segments = segments_of(3)
    exact, rough = Learner(policy, config), Learner(policy, replace(config, dtype="bfloat16"))
    assert {p.dtype for p in rough.model.parameters() if p.requires_grad} == {torch.float32}
    expected, found = (np.concatenate(x.logprobs(segments)) for x in (exact, rough))
    assert 0 < np.abs(found - expected).mean() < 0.1
    stats = rough.update(rows_of(segments), seed=0, epochs=2).stats
    assert np.isfinite(stats["loss"])


def test_a_write_that_dies_leaves_the_folder_as_it_was(tmp_path):
    target = tmp_path / "v1"
    with whole_folder(target) as partial:
        (partial / "weights").write_text("old")

    def die():
        with whole_folder(target) as partial:
            (partial / "weights").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        die()
    assert (target / "weights").read_text() == "old"
    with whole_folder(target) as partial:
        assert list(partial.iterdir()) == []
        (partial / "other").write_text("new")
    assert [p.name for p in tmp_path.iterdir()] == ["v1"]
    assert [p.name for p in target.iterdir()] == ["other"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "cispo"}, "eps_high"),
        ({"loss": "dr_grpo"}, "max_completion"),
        ({"temperature": 0.0}, "above 0"),
        ({"top_entropy": 0.0}, "top_entropy is 0.0: it must be above 0"),
    ],
)
def test_refuses_settings_that_cannot_work(policy, changes, message):
    with pytest.raises(SettingsError, match=message):
        Learner(policy, replace(SETTINGS, **changes))


def test_refuses_an_adapter_of_another_rank(policy, tmp_path):
    saved = Learner(policy, LORA).save(tmp_path / "v1", 1)
    with pytest.raises(SettingsError, match="lora_rank is 0"):
        Learner(saved, SETTINGS)
    with pytest.raises(SettingsError, match=r"lora_rank is 3, but the adapter in .* has rank 2"):
        Learner(saved, replace(LORA, lora_rank=3))


def test_a_gradient_that_is_not_finite_is_not_followed(policy, segments_of):
    learner = Learner(policy, SETTINGS)
    segment = segments_of(1)[0]
    learner.update([TrainingRow(segment, nll=1.0)], seed=0)
    before = weights(learner).clone()
    state = {i: {k: v.clone() for k, v in s.items()} for i, s in enumerate(learner.optimizer.state.values())}
    with pytest.raises(JourneymanError, match="the gradient's norm is nan: lower the learning rate, or look at"):
        learner.update([TrainingRow(segment, nll=3e38)], seed=0)
    assert torch.equal(weights(learner), before)
    for i, now in enumerate(learner.optimizer.state.values()):
        assert all(torch.equal(now[key], value) for key, value in state[i].items())


def test_no_rows_at_all_change_nothing(policy):
    learner = Learner(policy, SETTINGS)
    before = weights(learner).clone()
    update = learner.update([], seed=0, minibatch_rows=4, epochs=2)
    assert torch.equal(weights(learner), before)
    assert (update.stats["steps"], update.stats["rows"], update.ratios) == (0, 0, {})


def test_refuses_a_reference_of_another_vocabulary(policy, llama, tmp_path):
    llama(vocab_size=37).save_pretrained(tmp_path)
    with pytest.raises(SettingsError, match="has 37 words, the policy 31: the KL needs a reference of the same voc"):
        Learner(policy, SETTINGS, PolicyRef(0, str(tmp_path)))


def test_tokens_without_an_advantage_take_no_share_of_the_most_uncertain(policy, segments_of):
    """Positives that are only imitated are not counted, though they are in the policy loss and have gradients."""
    compared, *told = [s for s in segments_of(4, groups=6) if s.loss_mask.sum() > 1]
    config = replace(SETTINGS, loss="dapo", top_entropy=0.5)
    alone, beside = Learner(policy, config), Learner(policy, config)
    silent = [TrainingRow(s, 0.0) for s in told]
    imitated = [TrainingRow(s, 0.0, nll=1e-12) for s in told]
    for learner, rows in ((alone, silent), (beside, imitated)):
        learner.optimizer = torch.optim.SGD(learner.model.parameters())
        learner.update([TrainingRow(compared, 1.0), *rows], seed=0)
    assert not torch.equal(weights(alone), weights(Learner(policy, config)))
    torch.testing.assert_close(weights(beside), weights(alone), rtol=1e-5, atol=1e-7)


def test_a_kl_by_k3_is_finite_where_imitated_tokens_are_unlikely(policy, segments_of):
    segments = [s for s in segments_of(3, groups=4) if s.loss_mask.any()]
    rows = [TrainingRow(segments[0], 1.0, reference=0.1)]
    rows += [TrainingRow(s, nll=1.0) for s in segments[1:]]
    learner = Learner(policy, replace(SETTINGS, kl="k3", temperature=0.002), reference=policy)
    assert min(logprobs.min() for logprobs in learner.logprobs(segments[1:])) < -100
    assert np.isfinite(learner.update(rows, seed=0).stats["loss"])


@pytest.mark.parametrize("kind", ["longrope", "dynamic"])
def test_what_is_so_long_that_positions_are_scaled_otherwise_is_refused(tmp_path, kind):
    """Its neighbours in a forward pass would be scaled too."""
    factors = {"short_factor": [1.0] * 16, "long_factor": [4.0] * 16}
    rope = {"rope_type": kind, "rope_theta": 1e4} | (factors if kind == "longrope" else {"factor": 4.0})
    lengths = {"longrope": {"original_max_position_embeddings": 64}, "dynamic": {"max_position_embeddings": 64}}[kind]
    family = "phi3" if kind == "longrope" else "llama"
    learner = Learner(PolicyRef(0, str(make_model(family, tmp_path, 0, **lengths, rope_parameters=rope))), SETTINGS)
    short, long = (
        Segment(np.arange(8, dtype=np.int32), np.arange(n, dtype=np.int32), np.ones(n, np.bool_), None)
        for n in (57, 58)  # the last token is predicted, and not read
    )
    alone = learner.logprobs([short])
    says = rf"has 65 tokens to be read, and beyond 64 the model scales its positions by .* \({kind}\): leave it"
    with pytest.raises(UsageError, match=says):
        learner.logprobs([short, long])
    rows = [TrainingRow(segment, nll=1.0) for segment in (short, long)]
    with pytest.raises(UsageError, match=says):
        learner.update(rows, seed=0)
    assert np.array_equal(learner.logprobs([short])[0], alone[0])
