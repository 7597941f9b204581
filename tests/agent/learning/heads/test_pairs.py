"""The Bradley-Terry loss and the training of heads, against the formulas written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, LlamaConfig, LlamaForSequenceClassification

from journeyman.agent.errors import JourneymanError, SettingsError
from journeyman.agent.learning.heads.pairs import PairExample, pair_losses, read_rewards, score_pairs
from journeyman.agent.learning.heads.training import HeadSettings, fit_head, load_with_head, mean_loss, save_with_head
from journeyman.agent.learning.losses import bradley_terry_loss
from journeyman.agent.models import load_tokenizer

PAD = 2
QUICK = HeadSettings(learning_rate=1e-2, batch=8, max_epochs=6, patience=3)


def reward_model(seed: int = 0) -> LlamaForSequenceClassification:
    torch.manual_seed(seed)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 24, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=31, num_labels=1, pad_token_id=PAD, initializer_range=0.3, **shape)
    return LlamaForSequenceClassification(config).eval()


def with_or_without(count: int, seed: int = 0) -> list[PairExample]:
    """Pairs of which the chosen one has token 7 in it."""
    chance = np.random.default_rng(seed)
    pairs = []
    for _ in range(count):
        chosen, rejected = (chance.integers(8, 31, chance.integers(2, 7)) for _ in "ab")
        chosen[chance.integers(len(chosen))] = 7
        pairs.append(PairExample(tuple(chosen.tolist()), tuple(rejected.tolist())))
    return pairs


def test_loss_is_minus_the_logarithm_of_the_sigmoid_of_the_margin() -> None:
    found = bradley_terry_loss(torch.tensor([3.0, 1.0, -50.0]), torch.tensor([1.0, 1.0, 50.0]))
    expected = [math.log(1 + math.exp(-2.0)), math.log(2.0), 100.0]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_rewards_are_the_logits_at_each_text_s_last_token() -> None:
    model, texts = reward_model(), [(3, 4, 5, 6), (9,), (8, 1)]
    with torch.no_grad():
        found = read_rewards(model, texts, PAD)
        for text, reward in zip(texts, found, strict=True):
            hidden = model.model(torch.tensor([text])).last_hidden_state[0, -1]
            torch.testing.assert_close(reward, hidden @ model.score.weight[0])


def test_scores_count_ties_as_halves() -> None:
    model = reward_model()
    better, worse = (5, 6), (9, 3)
    with torch.no_grad():
        first, second = read_rewards(model, [better, worse], PAD).tolist()
    if first < second:
        better, worse = worse, better
    pairs = [
        PairExample(better, worse),
        PairExample(worse, better),
        PairExample(better, worse),
        PairExample((4,), (4,)),
    ]
    scores = score_pairs(model, pairs, PAD, batch=3)
    assert (scores.pairs, scores.accuracy) == (4, 0.625)
    assert scores.margin == pytest.approx(abs(first - second) / 4, rel=1e-5)


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_equal_texts_tie_wherever_in_a_batch_they_are_read(batch: int) -> None:
    """A model of some size: products of many rows add in another order at the edges of their blocks."""
    torch.manual_seed(0)
    shape = {"hidden_size": 200, "num_hidden_layers": 2, "intermediate_size": 300, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=31, num_labels=1, pad_token_id=PAD, initializer_range=0.3, **shape)
    model, read = LlamaForSequenceClassification(config).eval(), 0

    def count(_: object, inputs: tuple[torch.Tensor, ...]) -> None:
        nonlocal read
        read += len(inputs[0])

    model.model.embed_tokens.register_forward_pre_hook(count)
    texts = [tuple(range(4, 6 + n)) for n in range(7)]
    scores = score_pairs(model, [PairExample(text, text) for text in texts * 2], PAD, batch)
    assert (scores.pairs, scores.accuracy, scores.margin) == (14, 0.5, 0)
    assert read == len(texts)
    there_and_back = [PairExample(*pair) for text in texts[1:] for pair in ((text, texts[0]), (texts[0], text))]
    assert score_pairs(model, there_and_back, PAD, batch).margin == 0


def test_the_gradient_does_not_depend_on_micro_batches() -> None:
    weights = []
    for micro_batch in (1, 3, 16):
        model, settings = reward_model(), HeadSettings(micro_batch=micro_batch, batch=16, max_epochs=1)
        fit_head(model, with_or_without(16), with_or_without(4, 1), pair_losses(PAD), settings)
        weights.append(model.score.weight.detach().clone())
    torch.testing.assert_close(weights[0], weights[1])
    torch.testing.assert_close(weights[0], weights[2])
    assert not torch.equal(weights[0], reward_model().score.weight)


def test_training_learns_the_rule_and_keeps_the_best_epoch() -> None:
    model, losses, told = reward_model(), pair_losses(PAD), []
    held_out = with_or_without(40, seed=1)
    fit = fit_head(model, with_or_without(120), held_out, losses, QUICK, lambda *epoch: told.append(epoch))
    assert [number for number, _ in told] == list(range(1, fit.epochs + 1))
    assert (fit.best_epoch, fit.held_out_loss) == min(told, key=lambda epoch: epoch[1])
    assert mean_loss(model, held_out, losses, QUICK) == pytest.approx(fit.held_out_loss, rel=1e-6)
    assert score_pairs(model, with_or_without(60, seed=2), PAD, 16).accuracy >= 0.95


def test_it_stops_when_patience_is_over_and_puts_the_first_weights_back() -> None:
    model, train = reward_model(), with_or_without(32)
    opposite = [PairExample(pair.rejected, pair.chosen) for pair in with_or_without(32, 1)]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    start = mean_loss(model, opposite, pair_losses(PAD), QUICK)
    fit = fit_head(model, train * 4, opposite, pair_losses(PAD), QUICK)
    assert (fit.epochs, fit.best_epoch, fit.held_out_loss) == (3, 0, start)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_a_model_with_a_new_head_is_trained_saved_and_the_same_when_loaded(policy, tmp_path, lora_rank: int) -> None:
    settings = HeadSettings(learning_rate=1e-2, batch=8, max_epochs=2, lora_rank=lora_rank, seed=3)
    model = load_with_head(policy.path, "sequence", 1, settings)
    fit_head(model, with_or_without(64), with_or_without(16, 1), pair_losses(PAD), settings)
    with torch.no_grad():
        expected = read_rewards(model, [(5, 7, 9), (11, 12)], PAD)
    save_with_head(model, load_tokenizer(policy.path), tmp_path / "made")
    loaded, info = AutoModelForSequenceClassification.from_pretrained(tmp_path / "made", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert (loaded.config.num_labels, loaded.config.pad_token_id) == (1, PAD)
    with torch.no_grad():
        torch.testing.assert_close(read_rewards(loaded, [(5, 7, 9), (11, 12)], PAD), expected, rtol=1e-4, atol=1e-5)


def test_the_first_head_depends_on_the_seed_alone(policy) -> None:
    heads = [load_with_head(policy.path, "sequence", 1, HeadSettings(seed=seed)).score.weight for seed in (1, 1, 2)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_refuses_what_cannot_be_trained() -> None:
    with pytest.raises(ValueError, match="0 held-out"):
        fit_head(reward_model(), with_or_without(2), [], pair_losses(PAD), QUICK)
    with pytest.raises(SettingsError, match="batch is 0"):
        HeadSettings(batch=0)
    with pytest.raises(JourneymanError, match="norm is nan"):
        fit_head(reward_model(), with_or_without(2), with_or_without(2), not_a_number, QUICK)


def not_a_number(model, examples):
    return model.score.weight.sum() * float("nan"), 1
