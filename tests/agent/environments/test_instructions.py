"""Instructions: tasks that can be satisfied, an exact expert, and answers told anew for what they do satisfy."""

import asyncio
from itertools import combinations, islice, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeyman.agent.constraints.constraints import satisfied
from journeyman.agent.constraints.text_units import words_of
from journeyman.agent.data import Message, Source, Split, StopReason, Task, Trajectory, Turn
from journeyman.agent.environments.instructions import Instructions, compose, instruction_task, least_words
from journeyman.agent.errors import SettingsError, UnknownNameError
from journeyman.agent.plugins import ENVIRONMENTS, load_plugin
from journeyman.agent.protocols import GoalEnvironment, TaskSet
from journeyman.verifiers.texts.constraints import ConstraintsSatisfied

NAME = "journeyman.agent.environments.instructions:Instructions"
WORLD = Instructions()
DRAWN = {
    *("words", "min_words", "max_words", "use", "avoid", "starts_with", "ends_with"),
    *("case", "json", "sentences", "lines"),
}
GOAL = [
    {"kind": "avoid", "word": "red"},
    {"kind": "sentences", "count": 2},
    {"kind": "use", "word": "owl"},
    {"kind": "words", "count": 4},
]


def attempt(task: Task, text: str) -> Trajectory:
    return Trajectory(task.hash, Source.POLICY, (Turn(Message("assistant", text)),), (), StopReason.TERMINATED)


def goals_of(task: Task, text: str) -> list:
    return [(a.goal, a.turn) for a in WORLD.open(task).achieved_goals(attempt(task, text))]


def test_the_plugin_is_a_task_set_of_goal_environments() -> None:
    world = load_plugin(ENVIRONMENTS, NAME, {"max_words": 5, "words": list("abcdef")})
    assert isinstance(world, TaskSet)
    assert (world.max_turns, world.rubric) == (1, {"constraints": 1.0})
    for task in islice(world.tasks(Split.TRAIN, 0), 50):
        assert isinstance(world.open(task), GoalEnvironment)
        assert all(c["count"] <= 5 for c in task.goal if "count" in c)
        assert {c["word"] for c in task.goal if "word" in c} <= set("abcdef")


def test_a_task_lists_its_constraints_and_one_answer_ends_it() -> None:
    task = instruction_task(GOAL, Split.TEST)
    environment = WORLD.open(task)
    (message,) = asyncio.run(environment.start()).messages
    assert message.content == "Do not use the word red.\nWrite 2 sentences.\nUse the word owl.\nWrite exactly 4 words."
    assert [action.content for action in WORLD.demonstrate(task)] == ["owl. cat sun tea."]
    assert WORLD.demonstrate(task, [Message("assistant", "owl")]) is None
    assert asyncio.run(environment.step(Message("assistant", "owl"))).terminated


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 9), st.integers(0, 8), st.integers(4, 12))
def test_the_demonstration_satisfies_its_task_and_every_part_of_it(
    seed: int, fewest: int, more: int, most: int
) -> None:
    world = Instructions(fewest=fewest, most=min(fewest + more, 9), max_words=most)
    for task in islice(world.tasks(Split.TRAIN, seed), 2):
        assert world.fewest <= len(task.goal) <= world.most
        for size in range(1, len(task.goal) + 1):
            for part in combinations(task.goal, size):
                (action,) = world.demonstrate(instruction_task(list(part), Split.TRAIN))
                assert satisfied(part, action.content) == list(part), action.content
                assert len(words_of(action.content)) == least_words(part) <= most


def test_every_kind_is_drawn_and_the_demonstrations_are_short() -> None:
    tasks = list(islice(WORLD.tasks(Split.TRAIN, 0), 1000))
    assert {c["kind"] for task in tasks for c in task.goal} == DRAWN
    assert max(len(WORLD.demonstrate(task)[0].content) for task in tasks) <= 48
    assert len({task.hash for task in tasks}) > 900


def test_the_expert_writes_json_lines_and_upper_case() -> None:
    def expert(*constraints) -> str:
        return compose(instruction_task(list(constraints), Split.TRAIN).goal, WORLD.words)

    key = {"kind": "json", "key": "map"}
    assert expert(key) == '{"map": ""}'
    assert expert(key, {"kind": "words", "count": 4}, {"kind": "sentences", "count": 2}) == '{"map": "red. cat sun."}'
    assert expert({"kind": "json"}, {"kind": "case", "case": "upper"}) == '"RED"'
    assert expert({"kind": "lines", "count": 3}, {"kind": "ends_with", "word": "ice"}) == "red\ncat\nice"
    assert expert({"kind": "avoid", "word": "red"}, {"kind": "max_words", "count": 6}) == "cat"


def test_several_words_can_be_one_thing_to_use_or_avoid() -> None:
    goal = [{"kind": "use", "word": "Mona  Lisa"}, {"kind": "avoid", "word": "New York"}, {"kind": "words", "count": 4}]
    task = instruction_task(goal, Split.TRAIN)
    assert task.hash == instruction_task([goal[2], goal[1], {"kind": "use", "word": "mona lisa"}], Split.TRAIN).hash
    assert task.prompt[0].content == "Do not use the words new york.\nUse the words mona lisa.\nWrite exactly 4 words."
    (action,) = WORLD.demonstrate(task)
    assert action.content == "mona lisa red cat"
    assert goals_of(task, "The Mona\nLisa hangs") == [(task.goal, 0)]
    assert goals_of(task, "Mona. Lisa in New York") == []
    two = instruction_task([goal[0], {"kind": "sentences", "count": 2}], Split.TRAIN)
    assert WORLD.demonstrate(two)[0].content == "mona lisa. red."
    assert least_words(two.goal) == 3


def test_streams_repeat_by_seed_and_differ_by_split() -> None:
    def first(split: Split, seed: int) -> tuple[str, ...]:
        return tuple(task.hash for task in islice(WORLD.tasks(split, seed), 5))

    assert first(Split.TRAIN, 0) == first(Split.TRAIN, 0)
    assert len({first(split, seed) for split in set(Split) - {Split.GUARD} for seed in (0, 1)}) == 6


def test_the_hash_is_free_of_the_order_of_constraints() -> None:
    tasks = [instruction_task(list(order), Split.TRAIN) for order in permutations(GOAL)]
    assert len({(task.hash, task.prompt) for task in tasks}) == 1
    assert instruction_task(GOAL[1:], Split.TRAIN).hash != tasks[0].hash


def test_what_is_satisfied_is_one_goal() -> None:
    task = instruction_task(GOAL, Split.TRAIN)
    assert goals_of(task, "owl. cat sun tea.") == [(task.goal, 0)]
    assert goals_of(task, "an owl") == [([{"kind": "avoid", "word": "red"}, {"kind": "use", "word": "owl"}], 0)]
    assert goals_of(task, "red") == []
    assert goals_of(task, "") == []


TEXTS = st.one_of(
    st.text(),
    st.lists(st.sampled_from(["red", "OWL", "cat", ". ", "\n", " ", '{"sun": "', '"', '"}'])).map(" ".join),
)


@given(TEXTS, st.integers(0, 99))
def test_a_relabel_of_any_text_is_passed_by_the_verifier(text: str, seed: int) -> None:
    for task in islice(WORLD.tasks(Split.TRAIN, seed), 5):
        verdict = ConstraintsSatisfied().verify(task, attempt(task, text))
        environment = WORLD.open(task)
        goals = [achieved.goal for achieved in environment.achieved_goals(attempt(task, text))]
        assert verdict.score == sum(map(len, goals)) / len(task.goal)
        for goal in goals:
            episode = environment.relabel(attempt(task, text), goal, 0)
            assert episode.task == instruction_task(goal, Split.TRAIN)
            assert episode.turns == (Turn(Message("assistant", text)),)
            assert ConstraintsSatisfied().verify(episode.task, attempt(episode.task, text)).score == 1.0
            assert goals_of(episode.task, text) == [(goal, 0)]


def test_what_is_not_satisfied_is_told_too_and_fails() -> None:
    task = instruction_task(GOAL, Split.TEST)
    episode = WORLD.open(task).relabel(attempt(task, "an owl"), GOAL[:2], 0)
    assert episode.task == instruction_task(GOAL[:2], Split.TRAIN)
    assert ConstraintsSatisfied().verify(episode.task, attempt(episode.task, "an owl")).score == 0.5
    with pytest.raises(UnknownNameError, match="did you mean 'words'"):
        WORLD.open(task).relabel(attempt(task, "an owl"), [{"kind": "word", "count": 2}], 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fewest": 5}, "option 'fewest' is 5, above 'most', which is 4"),
        ({"words": ["mr", *"abcdef"]}, "option 'words': after 'mr' and a full stop no sentence ends; leave it out"),
        ({"most": 10}, "option 'most'"),
        ({"max_words": 3}, "option 'max_words'"),
        ({"words": ["a", "b", "c", "d", "e"]}, "option 'words' must hold 6 words or more, none of them twice"),
        ({"words": ["a", "b", "c", "d", "e", "e"]}, "none of them twice"),
        ({"words": ["a", "b", "c", "d", "e", "F"]}, "option 'words': 'F' is not one word in lower case"),
    ],
)
def test_bad_options_are_named(options: dict, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_plugin(ENVIRONMENTS, NAME, options)
    assert message in str(caught.value)
