"""The rows of an update: which are taken together, which tokens keep their advantages, and which rows are refused."""

from dataclasses import replace

import numpy as np
import pytest

from journeyman.agent.data import Segment
from journeyman.agent.learning.learner import Learner, LearnerSettings, TrainingRow
from journeyman.agent.learning.rows import Stream, minibatches, most_uncertain

SEGMENT = Segment(*(np.array(a) for a in ([1, 2], [3, 4, 5])), np.array([True, False, True]), np.float32([-1, -2]))


def test_only_choices_keep_their_advantages():
    rows = [
        TrainingRow(SEGMENT, 2.0),
        TrainingRow(SEGMENT, 0.5, nll=1.0),
        TrainingRow(SEGMENT, np.float32([3, 4])),
    ]
    entropies = {0: np.float32([0.1, 0.9]), 2: np.float32([0.8, 0.2])}
    half, none_told = most_uncertain(rows, entropies, 0.5), most_uncertain(rows, {}, 0.5)
    assert [np.asarray(row.policy).tolist() for row in half] == [[0.0, 2.0], 0.5, [3.0, 0.0]]
    assert [row.nll for row in half] == [0.0, 1.0, 0.0]
    assert [np.asarray(row.policy).tolist() for row in none_told] == [2.0, 0.5, [3.0, 4.0]]


def test_equal_prompts_stay_in_one_step(segments_of):
    rows = [TrainingRow(segment, 1.0) for segment in segments_of(1, groups=9)]
    steps = minibatches(rows, 6, seed=0, epoch=0)
    assert sorted(i for step in steps for i in step) == list(range(len(rows)))
    prompts = [{rows[i].segment.prompt_ids.tobytes() for i in step} for step in steps]
    assert sum(map(len, prompts)) == len(set.union(*prompts))
    assert len(steps) == -(-len(rows) // 6)
    assert minibatches(rows, 6, seed=0, epoch=1) != steps == minibatches(rows, 6, seed=0, epoch=0)


def prompted(counts):
    """So many rows of each prompt."""
    return [
        TrainingRow(replace(SEGMENT, prompt_ids=np.array([p], np.int32)), 1.0)
        for p, n in enumerate(counts)
        for _ in range(n)
    ]


@pytest.mark.parametrize("counts", [[500], [499, 1], [300, 8, 8, 184], [65], [128, 128]])
def test_rows_of_one_prompt_that_exceed_a_step_are_laid_over_several(counts):
    rows = prompted(counts)
    steps = minibatches(rows, 64, seed=3, epoch=0)
    assert sorted(i for step in steps for i in step) == list(range(len(rows)))
    assert len(steps) == -(-len(rows) // 64)
    assert max(map(len, steps)) <= 64 + 8
    assert min(map(len, steps)) >= 64 - 32  # evenly, but for the groups of 8 that stay whole
    for prompt, n in enumerate(counts):
        holding = [step for step in steps if any(rows[i].segment.prompt_ids[0] == prompt for i in step)]
        assert n > 64 or len(holding) == 1
    assert minibatches(rows, 64, seed=3, epoch=1) != steps == minibatches(rows, 64, seed=3, epoch=0)
    assert [len(step) for step in minibatches(rows, None, seed=3, epoch=0)] == [len(rows)]


def test_a_prompts_rows_are_shuffled_before_they_are_divided():
    steps = minibatches(prompted([40]), 10, seed=0, epoch=0)
    assert all(step != list(range(step[0], step[0] + 10)) for step in steps)


def test_the_steps_of_prompts_that_fit_are_as_they_always_were():
    """Seeded runs are compared over versions: the order of groups is drawn first, and nothing else where they fit."""
    assert minibatches(prompted([2, 1, 3, 2]), 3, seed=0, epoch=0) == [[2, 3, 4, 5], [6, 7], [0, 1]]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (TrainingRow(replace(SEGMENT, behaviour_logprobs=None), 1.0), "row 1 has no behaviour log-probs"),
        (
            TrainingRow(replace(SEGMENT, behaviour_logprobs=np.float32([-1])), 1.0),
            r"2 trained tokens, but log-probs of shape \(1,\)",
        ),
        (TrainingRow(SEGMENT, np.float32([1, 2, 3])), r"2 tokens for its policy stream, but weights of shape \(3,\)"),
        (TrainingRow(SEGMENT, float("nan")), "policy weight nan"),
        (TrainingRow(SEGMENT, 1.0, nll=-1.0), "nll weight -1.0"),
        (TrainingRow(SEGMENT, 1.0, nll=np.float32([1, -1])), "nll weight .* is not usable"),
        (TrainingRow(SEGMENT, 1.0, nll=np.float32([1])), r"2 tokens for its nll stream, but weights of shape \(1,\)"),
        (
            TrainingRow(SEGMENT, observation=np.float32([1, 2])),
            r"1 tokens for its observation stream, but weights of shape \(2,\)",
        ),
        (TrainingRow(SEGMENT, observation=-0.1), "observation weight -0.1 is not usable"),
        (TrainingRow(SEGMENT, 1.0, reference=-0.1), "reference weight -0.1 is not usable"),
        (TrainingRow(SEGMENT, 1.0, reference=float("inf")), "reference weight inf is not usable"),
        (TrainingRow(SEGMENT, value=np.float32([1])), r"2 tokens for its value stream, but weights of shape \(1,\)"),
        (TrainingRow(SEGMENT, value=np.float32(1)), r"2 trained tokens, but value of shape \(\)"),
        (TrainingRow(SEGMENT, value=np.float32([1, np.nan])), "value .* is not usable"),
        (
            TrainingRow(SEGMENT, value=np.zeros(2, np.float32), foreseen=np.float32([1])),
            r"2 trained tokens, but foreseen of shape \(1,\)",
        ),
        (
            TrainingRow(SEGMENT, value=np.zeros(2, np.float32), foreseen=np.float32([1, np.inf])),
            "foreseen .* is not usable",
        ),
        (TrainingRow(replace(SEGMENT, behaviour_logprobs=np.float32([-1])), 1.0, shaped=True), "log-probs of shape"),
    ],
)
def test_refuses_rows_that_cannot_be_learned_from(policy, row, message):
    with pytest.raises(ValueError, match=message):
        Learner(policy, LearnerSettings(device="cpu")).update([TrainingRow(SEGMENT, 1.0), row], seed=0)


def test_what_rows_may_be():
    """Returns and advantages below 0, an expert's row in the policy loss, a segment in which nothing was chosen."""
    unsampled = replace(SEGMENT, behaviour_logprobs=None)
    nothing = replace(unsampled, loss_mask=np.zeros(3, np.bool_))
    rows = [
        TrainingRow(SEGMENT, -1.0, value=np.float32([-2, 3]), foreseen=np.float32([0, -1]), reference=0.0),
        TrainingRow(unsampled, 1.0, shaped=True),
        TrainingRow(nothing, observation=np.float32([1, 0, 2])),
        TrainingRow(nothing, nll=1.0),
    ]
    for i, row in enumerate(rows):
        row.check(i)
    assert [row.moves() for row in rows] == [True, True, True, False]
    assert [row.tokens(Stream.OBSERVATION) for row in rows] == [0, 0, 2, 0]
    assert rows[2].predicted.loss_mask.tolist() == [True, False, True]


def test_what_moves_the_policy_beside_its_advantage():
    """A value where a critic reads the policy's hidden states, and the entropy of rows in the policy loss."""
    still = TrainingRow(SEGMENT, 0.0, value=np.zeros(2, np.float32))
    imitated = TrainingRow(SEGMENT)
    assert [still.moves(), still.moves(values=True), still.moves(entropy=True)] == [False, True, True]
    assert not imitated.moves(values=True, entropy=True)
