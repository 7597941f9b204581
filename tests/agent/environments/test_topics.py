"""Topics: requests in plain English that can be met, an expert that meets them, sentences told for what they are."""

import asyncio
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeyman.agent.constraints.constraints import satisfied
from journeyman.agent.constraints.text_units import words_of
from journeyman.agent.data import Message, Source, Split, StopReason, Task, Trajectory, Turn
from journeyman.agent.environments.topics import Topics, topic_task
from journeyman.agent.errors import DataError, SettingsError, UnknownNameError
from journeyman.agent.plugins import ENVIRONMENTS, load_plugin
from journeyman.agent.protocols import GoalEnvironment, TaskSet
from journeyman.verifiers.texts.constraints import ConstraintsSatisfied

NAME = "journeyman.agent.environments.topics:Topics"
WORLD = Topics()
FOX = {"kind": "use", "word": "fox"}
ONE = {"kind": "sentences", "count": 1}
GOAL = [FOX, ONE, {"kind": "max_words", "count": 9}, {"kind": "use", "word": "brave"}]


def attempt(task: Task, text: str) -> Trajectory:
    return Trajectory(task.hash, Source.POLICY, (Turn(Message("assistant", text)),), (), StopReason.TERMINATED)


def told(goal: list, text: str) -> list:
    task = topic_task(goal, Split.TRAIN)
    return [a.goal for a in WORLD.open(task).achieved_goals(attempt(task, text))]


def test_the_plugin_is_a_task_set_of_goal_environments() -> None:
    world = load_plugin(ENVIRONMENTS, NAME, {"fewest": 1, "most": 6}, (NAME,))
    assert isinstance(world, TaskSet)
    assert (world.max_turns, world.rubric) == (1, {"constraints": 1.0})
    tasks = list(islice(world.tasks(Split.TRAIN, 0), 200))
    assert all(isinstance(world.open(task), GoalEnvironment) for task in tasks)
    assert {len(task.goal) - 2 for task in tasks} == {1, 2, 3, 4, 5, 6}
    counts = {(c["kind"], c["count"]) for task in tasks for c in task.goal if "words" in c["kind"]}
    assert counts == {*(("max_words", n) for n in (8, 9)), *(("min_words", n) for n in (10, 11, 12))}


def test_a_task_is_said_in_plain_words_and_one_answer_ends_it() -> None:
    task = topic_task(GOAL, Split.TEST)
    environment = WORLD.open(task)
    (message,) = asyncio.run(environment.start()).messages
    assert message == Message("user", "Write one sentence about a fox. Write at most 9 words. Use the word brave.")
    assert asyncio.run(environment.step(Message("assistant", "A fox."))).terminated
    assert WORLD.demonstrate(task, [Message("assistant", "A fox.")]) is None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(0, 5))
def test_the_expert_meets_every_task(seed: int, fewest: int, more: int) -> None:
    world = Topics(fewest=fewest, most=min(fewest + more, 6))
    for task in islice(world.tasks(Split.TRAIN, seed), 5):
        (action,) = world.demonstrate(task)
        assert satisfied(task.goal, action.content) == task.goal, action.content
        verdict = ConstraintsSatisfied().verify(task, attempt(task, action.content))
        assert verdict.score == 1


def test_of_what_it_cannot_say_the_expert_says_nothing() -> None:
    assert WORLD.demonstrate(topic_task([*GOAL, {"kind": "letters", "letter": "z", "count": 3}], Split.TRAIN)) is None
    assert WORLD.demonstrate(topic_task([FOX, ONE, {"kind": "max_words", "count": 3}], Split.TRAIN)) is None


def test_a_sentence_is_told_for_its_own_length_and_words() -> None:
    asked = [FOX, ONE, {"kind": "min_words", "count": 9}, {"kind": "starts_with", "word": "now"}]
    asked += [{"kind": "ends_with", "word": "river"}, {"kind": "use", "word": "proud"}]
    (goal,) = told(asked, "Here a fox waits by the lake.")
    own = [FOX, ONE, {"kind": "min_words", "count": 7}, {"kind": "starts_with", "word": "here"}]
    task = topic_task([*own, {"kind": "ends_with", "word": "lake"}], Split.TRAIN)
    assert goal == task.goal
    parent = topic_task(asked, Split.TRAIN)
    episode = WORLD.open(parent).relabel(attempt(parent, "Here a fox waits by the lake."), goal, 0)
    assert episode.task == task
    assert [turn.action.content for turn in episode.turns] == ["Here a fox waits by the lake."]


@pytest.mark.parametrize(
    "text",
    [
        "A brave dog waits.",  # another topic
        "A brave fox waits. It is old.",  # two sentences
        "A brave fox waits by the",  # cut off
        "",
        "fox " * 21 + ".",
    ],
)
def test_what_is_not_one_whole_sentence_about_the_topic_is_told_for_nothing(text: str) -> None:
    assert told(GOAL, text) == []


def test_a_topic_alone_is_no_request() -> None:
    assert told([FOX, ONE, {"kind": "use", "word": "brave"}], "A fox waits.") == []


def test_equal_goals_are_one_task_and_streams_repeat_by_seed() -> None:
    assert topic_task(GOAL, Split.TRAIN).hash == topic_task(GOAL[::-1], Split.TEST).hash

    def first(split: Split, seed: int) -> tuple[str, ...]:
        return tuple(task.hash for task in islice(WORLD.tasks(split, seed), 5))

    assert first(Split.TRAIN, 0) == first(Split.TRAIN, 0)
    assert len({first(split, seed) for split in (Split.TRAIN, Split.TEST) for seed in (0, 1)}) == 4


def test_demonstrations_differ_and_are_of_asked_length_or_short() -> None:
    tasks = list(islice(WORLD.tasks(Split.TRAIN, 0), 300))
    texts = [WORLD.demonstrate(task)[0].content for task in tasks]
    assert len(set(texts)) > 250
    assert max(len(words_of(text)) for text in texts) <= 12


def test_bad_goals_and_options_are_named() -> None:
    with pytest.raises(DataError, match="exactly one topic's word"):
        topic_task([ONE, {"kind": "words", "count": 9}], Split.TRAIN)
    with pytest.raises(DataError, match="exactly one topic's word"):
        topic_task([FOX, {"kind": "use", "word": "dog"}], Split.TRAIN)
    with pytest.raises(UnknownNameError, match="kind of constraint 'word'"):
        topic_task([FOX, {"kind": "word", "count": 9}], Split.TRAIN)
    with pytest.raises(SettingsError, match="'fewest' is 4, above 'most', which is 3"):
        Topics(fewest=4)
