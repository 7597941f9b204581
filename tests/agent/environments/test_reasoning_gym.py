"""Reasoning-gym's data sets as tasks, and their scorers on what is stored of a task."""

import asyncio
import json
from dataclasses import replace
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeyman.agent.data import Message, Source, Split, Status, StopReason, Task, Trajectory, Turn
from journeyman.agent.environments.reasoning_gym import pack, unpack
from journeyman.agent.errors import DataError, SettingsError, UnknownNameError
from journeyman.agent.plugins import ENVIRONMENTS, VERIFIERS, load_plugin


def tasks(count, dataset, seed=0, split=Split.TRAIN, **options):
    task_set = load_plugin(ENVIRONMENTS, "reasoning_gym", {"dataset": dataset, "options": options})
    return task_set, list(islice(task_set.tasks(split, seed), count))


def score(task, text):
    stored = replace(task, payload=json.loads(json.dumps(task.payload)))
    trajectory = Trajectory(task.hash, Source.POLICY, (Turn(Message("assistant", text)),), (), StopReason.TERMINATED)
    verdict = load_plugin(VERIFIERS, "reasoning_gym", {}).verify(stored, trajectory)
    assert verdict.status is Status.OK
    return verdict.score


# `rearc` scores grids of tuples, which plain JSON would turn into lists
@pytest.mark.parametrize("name", ["basic_arithmetic", "rearc", "word_ladder", "countdown"])
def test_the_data_sets_own_answer_scores_1_from_what_is_stored(name):
    task_set, some = tasks(2, name)
    for task in some:
        (action,) = task_set.demonstrate(task)
        assert task_set.demonstrate(task, [action]) is None
        assert score(task, action.content) == 1
        assert score(task, f"Let me think. <answer>no</answer> <answer>\n{action.content}\n</answer>") == 1
        assert score(task, "") == score(task, "<answer> </answer>") == 0
        assert score(task, "garbage") < 0.1


def test_a_data_set_without_answers_of_its_own_is_scored_and_not_demonstrated():
    task_set, (task,) = tasks(1, "graph_color")
    assert task.goal is None
    assert task_set.demonstrate(task) is None
    coloring = unpack(task.payload["entry"])["metadata"]["possible_answer"]  # its keys are numbers
    assert set(map(type, coloring)) == {int}
    assert score(task, json.dumps(coloring)) == 1
    assert score(task, json.dumps(dict.fromkeys(coloring, 1))) < 0.1


def test_answers_between_right_and_wrong_keep_their_score():
    _, (task,) = tasks(1, "basic_arithmetic")
    assert 0 < score(task, f"It is {task.goal}, I think") < 1


def test_tasks_are_fixed_by_seed_and_split_and_go_on():
    _, first = tasks(250, "basic_arithmetic", seed=3)
    _, again = tasks(250, "basic_arithmetic", seed=3)
    _, other = tasks(250, "basic_arithmetic", seed=4)
    _, validation = tasks(250, "basic_arithmetic", seed=3, split=Split.VALIDATION)
    assert first == again
    assert len({task.hash for task in first}) > 240
    for others in (other, validation):
        assert len({t.hash for t in others} & {t.hash for t in first}) < 25
    assert {t.split for t in validation} == {Split.VALIDATION}


def test_options_reach_the_generator_and_an_episode_is_one_turn():
    task_set, (task,) = tasks(1, "basic_arithmetic", min_terms=6, max_terms=6)
    assert unpack(task.payload["entry"])["metadata"]["difficulty"]["num_terms"] == (6, 6)
    step = asyncio.run(task_set.open(task).step(Message("assistant", "1")))
    assert step.terminated


def test_unknown_names_and_bad_options_say_the_remedy():
    with pytest.raises(
        UnknownNameError, match=r"unknown reasoning-gym dataset 'countdwon': did you mean 'countdown'\?"
    ):
        tasks(1, "countdwon")
    with pytest.raises(SettingsError, match=r"'countdown' has no option 'min_number': did you mean 'min_numbers'\?"):
        tasks(1, "countdown", min_number=3)
    with pytest.raises(SettingsError, match=r"'countdown' has no option 'size'"):
        tasks(1, "countdown", size=3)
    with pytest.raises(SettingsError, match=r"'countdown' refuses \{'min_numbers': 9, 'max_numbers': 3\}"):
        tasks(1, "countdown", min_numbers=9, max_numbers=3)


def test_the_verifier_abstains_on_tasks_of_other_environments():
    task = Task("dataset", "4", (Message("user", "2+2"),), Split.TEST, "0" * 32)
    trajectory = Trajectory(task.hash, Source.POLICY, (Turn(Message("assistant", "4")),), (), StopReason.TERMINATED)
    assert load_plugin(VERIFIERS, "reasoning_gym", {}).verify(task, trajectory).status is Status.ABSTAIN


_ATOMS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
_KEYS = st.integers() | st.text(max_size=5) | st.tuples(st.integers(), st.integers())
_VALUES = st.recursive(
    _ATOMS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(_KEYS, inner, max_size=3)
        | st.dictionaries(st.sampled_from(["__tuple__", "__dict__", "a"]), inner, max_size=2)
    ),
    max_leaves=8,
)


@settings(deadline=None)  # a busy machine is no failure
@given(_VALUES)
def test_packed_values_come_back_exactly_through_json(value):
    back = unpack(json.loads(json.dumps(pack(value))))
    assert back == value
    assert repr(back) == repr(value)


def test_values_that_are_no_json_are_refused():
    with pytest.raises(DataError, match="holds a set, which cannot be stored as JSON"):
        pack({"a": [{1, 2}]})
