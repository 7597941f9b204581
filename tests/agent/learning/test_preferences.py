"""Preferences: what an update of pairs does, that it can be cut anywhere, and what of a pair counts."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from journeyman.agent.data import Segment
from journeyman.agent.errors import SettingsError
from journeyman.agent.learning.learner import Learner, LearnerSettings
from journeyman.agent.learning.preferences import Pair, PairLoss, apart, prefer

SETTINGS = LearnerSettings(learning_rate=1e-2, device="cpu")
LORA = replace(SETTINGS, lora_rank=2, lora_alpha=4)
MEASURED = {"seconds", "tokens_per_second", "peak_memory_mb", "flops_utilisation"}
DPO = PairLoss("dpo", 0.5)


@pytest.fixture(scope="module")
def pairs(segments_of):
    """Of groups of attempts, the first one each time against every other; one attempt has two segments."""
    groups = {}
    for segment in segments_of(4, groups=7):
        if segment.loss_mask.any():
            groups.setdefault(segment.prompt_ids.tobytes(), []).append(segment)
    members = [group for group in groups.values() if len(group) > 1]
    made = [Pair((first,), (other,)) for first, *others in members for other in others]
    more = members[0][0], members[1][0]
    return [*made, Pair(more, (members[0][1],))]


def weights(learner):
    return torch.cat([p.detach().flatten() for p in learner.model.parameters()])


@pytest.mark.parametrize("config", [SETTINGS, LORA], ids=["full", "lora"])
def test_an_update_does_not_depend_on_its_micro_batches(policy, pairs, config):
    loss = PairLoss("dpo", 0.5, nll_weight=0.3)
    found = []
    for tokens in (1, 40, 100_000):
        learner = Learner(policy, replace(config, micro_batch_tokens=tokens), reference=policy)
        trained = [p for p in learner.model.parameters() if p.requires_grad]
        learner.optimizer = torch.optim.SGD(trained)  # Adam's division would blow rounding up
        stats = prefer(learner, pairs, loss, seed=1, batch=4, epochs=2, learning_rate=0.5)
        accuracy = stats.pop("accuracy")  # at first margins are 0 but for rounding, which says whose is the larger
        assert 0 <= accuracy <= 1
        found.append((weights(learner), {k: v for k, v in stats.items() if k not in MEASURED}))
    assert found[0][1]["steps"] == 2 * -(-len(pairs) // 4)
    for other, stats in found[1:]:
        assert torch.allclose(other, found[0][0], rtol=1e-4, atol=2e-6)
        assert stats == pytest.approx(found[0][1], rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("loss", ["dpo", "ipo", "apo_zero"])
@pytest.mark.parametrize("config", [SETTINGS, LORA], ids=["full", "lora"])
def test_chosen_attempts_become_likelier_than_rejected_ones(policy, pairs, config, loss):
    learner = Learner(policy, replace(config, learning_rate=3e-3), reference=policy)
    first = prefer(learner, pairs, PairLoss(loss, 0.5), seed=1)
    assert (first["margin"], first["accuracy"], first["steps"]) == (0.0, 0.0, 1.0)  # it is the reference yet
    later = prefer(learner, pairs, PairLoss(loss, 0.5), seed=1, epochs=15)
    assert later["margin"] == pytest.approx(later["chosen_log_ratio"] - later["rejected_log_ratio"], abs=1e-6)
    assert later["margin"] > 0 < later["grad_norm"]
    assert later["loss"] < first["loss"]
    assert later["accuracy"] > 0.5


def test_the_first_loss_is_that_of_no_margin(policy, pairs):
    learner = Learner(policy, SETTINGS, reference=policy)
    stats = prefer(learner, pairs, DPO, seed=1)
    assert stats["loss"] == pytest.approx(np.log(2), rel=1e-6)
    assert stats["pairs"] == len(pairs)
    assert stats["chosen_nll"] > 0
    more = prefer(Learner(policy, SETTINGS, reference=policy), pairs, replace(DPO, nll_weight=2.0), seed=1)
    assert more["loss"] == pytest.approx(np.log(2) + 2 * stats["chosen_nll"], rel=1e-6)
    distinct = {(s.prompt_ids.tobytes(), s.completion_ids.tobytes()) for p in pairs for s in (*p.chosen, *p.rejected)}
    assert stats["rows"] == len(distinct)
    assert {"entropy", "tokens_per_second", "seconds", "peak_memory_mb"} <= stats.keys()


def test_an_update_is_the_same_when_made_again(policy, pairs):
    learners = [Learner(policy, SETTINGS, reference=policy) for _ in range(2)]
    for learner in learners:
        prefer(learner, pairs, DPO, seed=1, batch=3, learning_rate=lambda done: 1e-2 * (1 - done))
    assert torch.equal(*map(weights, learners))


def segment(prompt, tokens, mask):
    ids = [np.array(values, np.int32) for values in (prompt, tokens)]
    return Segment(*ids, np.array(mask, bool), None)


def test_a_common_beginning_counts_for_both_or_for_neither():
    attempt = segment([1], [5, 6, 7, 8, 9], [1, 1, 0, 1, 1])
    revised = segment([1], [5, 6, 7, 8, 3, 4], [0, 0, 0, 1, 1, 1])
    found = apart(Pair((revised,), (attempt,)))
    assert found.chosen[0].loss_mask.tolist() == [False, False, False, True, True, True]
    assert found.rejected[0].loss_mask.tolist() == [False, False, False, True, True]
    elsewhere = segment([2], [5, 6, 7], [1, 1, 1])
    assert apart(Pair((elsewhere,), (attempt,))).rejected[0] is attempt
    longer = segment([1], [5, 6, 7, 8, 9, 2], [0, 1, 0, 1, 1, 1])
    both = apart(Pair((longer, elsewhere), (attempt,)))
    assert both.rejected[0].loss_mask.tolist() == [False, True, False, True, True]
    assert both.chosen[1] is elsewhere


def test_a_pair_of_a_revision_leaves_the_shared_turns_alone(policy):
    """The gradient by the shared turns' tokens would be that of the attempt alone; so it is as if nobody had them."""
    attempt = segment([1, 2], [5, 6, 7, 8, 9], [1, 1, 0, 1, 1])
    revised = segment([1, 2], [5, 6, 7, 3, 4], [0, 0, 0, 1, 1])
    later = segment([1, 2, 5, 6, 7], [8, 9], [1, 1]), segment([1, 2, 5, 6, 7], [3, 4], [1, 1])
    found = []
    for pair in (Pair((revised,), (attempt,)), Pair((later[1],), (later[0],))):
        learner = Learner(policy, SETTINGS, reference=policy)
        learner.optimizer = torch.optim.SGD(learner.model.parameters())
        prefer(learner, [pair], DPO, seed=1, learning_rate=0.1)
        found.append(weights(learner))
    assert torch.allclose(*found, rtol=1e-4, atol=2e-6)


def test_what_cannot_be_is_refused(policy, pairs):
    with pytest.raises(ValueError, match="there are no pairs"):
        prefer(Learner(policy, SETTINGS, reference=policy), [], DPO, seed=1)
    with pytest.raises(SettingsError, match="no reference policy"):
        prefer(Learner(policy, SETTINGS), pairs, DPO, seed=1)
