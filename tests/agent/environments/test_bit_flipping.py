"""Bit flipping: its dynamics, its expert, and attempts told anew for states they went through."""

import asyncio
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.agent.data import Message, Source, Split, StopReason, Task, ToolCall, Trajectory, Turn
from journeyman.agent.environments.bit_flipping import BitFlipping, bit_task, flipped, look, read_place
from journeyman.agent.plugins import ENVIRONMENTS, load_plugin
from journeyman.agent.protocols import GoalEnvironment, TaskSet

WORLD = BitFlipping(bits=4)
TASK = bit_task("0110", "1111", Split.TRAIN)


def flip(place: object) -> Message:
    return Message("assistant", "", (ToolCall("flip", {"place": place}),))


def play(task: Task, actions: list[Message]) -> Trajectory:
    async def episode() -> list[Turn]:
        environment, turns = WORLD.open(task), []
        assert (await environment.start()).messages == task.prompt
        for action in actions:
            step = await environment.step(action)
            turns.append(Turn(action, step.observation.messages, step.reward))
            if step.terminated or step.truncated:
                break
        await environment.close()
        return turns

    return Trajectory(task.hash, Source.POLICY, tuple(asyncio.run(episode())), (), StopReason.TERMINATED)


def seen(trajectory: Trajectory) -> list[str]:
    return [turn.observation[0].content for turn in trajectory.turns]


def test_the_plugin_is_a_task_set() -> None:
    world = load_plugin(ENVIRONMENTS, "bit_flipping", {"bits": 5})
    assert isinstance(world, TaskSet)
    assert world.max_turns == 5
    task = next(world.tasks(Split.TRAIN, 0))
    assert isinstance(world.open(task), GoalEnvironment)
    assert (
        task.prompt[0].content
        == f"Flip one bit at a time until none is wrong (!).\n{look(task.payload['start'], task.goal)}"
    )


def test_flips_are_seen_and_the_goal_ends_the_episode() -> None:
    trajectory = play(TASK, [flip(1), flip(4), flip(2)])
    assert seen(trajectory) == ["1=1 2=1 3=1 4!0", "1=1 2=1 3=1 4=1"]
    assert [t.reward for t in trajectory.turns] == [0.0, 1.0]


@pytest.mark.parametrize(
    "junk",
    [Message("assistant", "flip"), flip(0), flip(5), flip("1"), flip(True), flip(1.0), Message("assistant", "", ())],
)
def test_what_is_no_flip_costs_a_turn(junk: Message) -> None:
    trajectory = play(TASK, [junk] * 9)
    assert seen(trajectory) == ["no flip: call flip once, with a place from 1 to 4\n1!0 2=1 3=1 4!0"] * 4


@given(st.integers(0, 99))
def test_the_expert_takes_the_shortest_way(seed: int) -> None:
    for task in islice(WORLD.tasks(Split.TEST, seed), 3):
        actions = WORLD.demonstrate(task)
        assert len(actions) == sum(a != b for a, b in zip(task.payload["start"], task.goal, strict=True))
        assert play(task, list(actions)).turns[-1].reward == 1.0


@given(st.lists(st.integers(0, 5), max_size=6))
def test_the_expert_goes_on_from_any_state(places: list[int]) -> None:
    done = [flip(place) for place in places]
    state = WORLD.open(TASK).states(done)[-1]
    actions = WORLD.demonstrate(TASK, done)
    assert len(actions or ()) == sum(a != b for a, b in zip(state, TASK.goal, strict=True))
    assert (actions is None) == (state == TASK.goal)
    assert WORLD.open(TASK).states([*done, *(actions or ())])[-1] == TASK.goal


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.data())
def test_a_relabel_is_a_success_that_the_environment_would_have_shown(places: list[int], data: st.DataObject) -> None:
    trajectory = play(TASK, [flip(place) for place in places])
    environment = WORLD.open(TASK)
    for achieved in environment.achieved_goals(trajectory):
        start = data.draw(st.integers(0, achieved.turn))
        episode = environment.relabel(trajectory, achieved.goal, start)
        again = play(episode.task, [turn.action for turn in episode.turns])
        assert again.turns == episode.turns
        assert episode.turns[-1].reward == 1.0
        goals = [a.goal for a in WORLD.open(episode.task).achieved_goals(again)]
        assert episode.task.goal in goals


def test_an_attempt_is_told_whole_for_a_goal_that_it_did_not_reach() -> None:
    trajectory = play(TASK, [flip(1), flip(1), flip(3)])
    environment = WORLD.open(TASK)
    assert [a.goal for a in environment.achieved_goals(trajectory)] == ["1110", "0100"]
    episode = environment.relabel(trajectory, "0000", 1)
    assert episode.task == bit_task("1110", "0000", Split.TRAIN)
    assert [t.action for t in episode.turns] == [flip(1), flip(3)]
    assert [t.observation[0].content for t in episode.turns] == ["1=0 2!1 3!1 4=0", "1=0 2!1 3=0 4=0"]
    assert [t.reward for t in episode.turns] == [0.0, 0.0]
    with pytest.raises(ValueError, match="is at 0110 before turn 2"):
        environment.relabel(trajectory, "0110", 2)


@given(st.text("01", min_size=1, max_size=9), st.integers(-3, 12))
def test_flipping_twice_is_flipping_never(state: str, place: int) -> None:
    assert flipped(flipped(state, place), place) == state
    assert (flipped(state, place) != state) == (1 <= place <= len(state))
    assert read_place(flip(place)) == place
