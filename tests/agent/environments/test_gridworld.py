"""The gridworld: its maps, its dynamics, its expert, and attempts told anew for another goal."""

import asyncio
from collections import Counter, deque
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeyman.agent.data import Episode, Message, Source, Split, Step, StopReason, Task, ToolCall, Trajectory, Turn
from journeyman.agent.environments.gridworld import Gridworld, look, read_layout
from journeyman.agent.environments.gridworld_maps import DISCOUNT, HOLE, MOVES, WALL, Layout, distances, state_values
from journeyman.agent.errors import SettingsError
from journeyman.agent.plugins import ENVIRONMENTS, load_plugin
from journeyman.agent.protocols import GoalEnvironment, TaskSet

WORLD = Gridworld(size=4, max_turns=12)
LAYOUT = Layout(("...#", ".#O.", "....", "#..."), (0, 0), (2, 3))


def move(direction: str) -> Message:
    return Message("assistant", f'move("{direction}")', (ToolCall("move", {"direction": direction}),))


JUNK = [
    Message("assistant", "I would rather not."),
    Message("assistant", "", (ToolCall("jump", {"direction": "up"}),)),
    Message("assistant", "", (ToolCall("move", {"direction": "north"}),)),
    Message("assistant", "", (ToolCall("move", {"direction": ["up"]}),)),
    Message("assistant", "", (ToolCall("move", {}),)),
    Message("assistant", "", (ToolCall("move", {"direction": "up"}), ToolCall("move", {"direction": "up"}))),
]


def play(world: Gridworld, task: Task, actions: list[Message]) -> tuple[Trajectory, list[Step]]:
    """Acts until the episode is over or the actions are used up."""

    async def episode() -> list[Step]:
        environment = world.open(task)
        assert (await environment.start()).messages == task.prompt
        steps: list[Step] = []
        for action in actions:
            steps.append(await environment.step(action))
            if steps[-1].terminated or steps[-1].truncated:
                break
        await environment.close()
        return steps

    steps = asyncio.run(episode())
    turns = [Turn(a, s.observation.messages, s.reward) for a, s in zip(actions, steps, strict=False)]
    reason = StopReason.TERMINATED if steps and steps[-1].terminated else StopReason.TRUNCATED
    return Trajectory(task.hash, Source.POLICY, tuple(turns), (), reason), steps


def seen(step: Step) -> str:
    (message,) = step.observation.messages
    assert message.role == "tool"
    return message.content


def breadth_first(rows: tuple[str, ...], goal: tuple[int, int]) -> dict[tuple[int, int], int]:
    """Steps to the goal from every free cell that has a way, by search backwards."""
    steps, queue = {goal: 0}, deque([goal])
    while queue:
        row, column = queue.popleft()
        for down, right in MOVES.values():
            cell = (row + down, column + right)
            inside = 0 <= cell[0] < len(rows) and 0 <= cell[1] < len(rows)
            if inside and cell not in steps and rows[cell[0]][cell[1]] not in (WALL, HOLE):
                steps[cell] = steps[(row, column)] + 1
                queue.append(cell)
    return steps


def take(world: Gridworld, n: int, split: Split = Split.TRAIN, seed: int = 0) -> list[Task]:
    return list(islice(world.tasks(split, seed), n))


def test_the_plugin_is_a_task_set_with_checked_options():
    world = load_plugin(ENVIRONMENTS, "gridworld", {"walls": 0.1, "holes": 0.05})
    assert isinstance(world, TaskSet)
    assert (world.size, world.walls, world.holes, world.min_distance, world.rubric) == (8, 0.1, 0.05, 6, {"goal": 1.0})
    assert isinstance(world.open(take(world, 1)[0]), GoalEnvironment)
    with pytest.raises(SettingsError, match="walls"):
        load_plugin(ENVIRONMENTS, "gridworld", {"walls": 1.5})


def test_prompt_and_observations_show_the_offset_and_the_ways():
    task = WORLD.task(LAYOUT, Split.TRAIN)
    assert task.goal == [2, 3]
    assert task.payload == {"map": ["...#", ".#O.", "....", "#..."], "start": [0, 0]}
    assert [m.role for m in task.prompt] == ["user"]
    assert task.prompt[0].content == "Walk to the goal.\ngoal 2 down 3 right\nfree down right"
    _, steps = play(WORLD, task, [move(d) for d in ("up", "right", "right", "left", "left", "down", "down")])
    assert seen(steps[0]) == "wall\ngoal 2 down 3 right\nfree down right"
    assert seen(steps[1]) == "goal 2 down 2 right\nfree right"
    assert seen(steps[6]) == "goal 3 right\nfree right"
    assert look(LAYOUT, (2, 2)) == "goal 1 right\nfree down left right"


def test_only_the_cells_walked_least_are_named_so_that_no_memory_is_needed_to_leave_a_circle():
    world = Gridworld(size=2, max_turns=12, min_distance=1)
    task = world.task(Layout(("...", "...", "..."), (0, 0), (2, 2)), Split.TRAIN)
    _, steps = play(world, task, [move(d) for d in ("right", "down", "left", "up", "right")])
    assert [seen(step) for step in steps] == [
        "goal 2 down 1 right\nfree down right",
        "goal 1 down 1 right\nfree down left right",
        "goal 1 down 2 right\nfree down",
        "goal 2 down 2 right\nfree down right",
        "goal 2 down 1 right\nfree right",
    ]


@given(seed=st.integers(0, 10**6))
def test_whoever_goes_where_the_way_is_named_free_arrives(seed: int):
    """Node counting: in a world without one-way steps, the least walked cell beside leads to the goal in the end."""
    world = Gridworld(size=5, walls=0.2, holes=0.2, min_distance=4, max_turns=500)
    task, rng = take(world, 1, Split.TRAIN, seed)[0], np.random.default_rng(seed)
    layout, walked = read_layout(task), [read_layout(task).start]
    while walked[-1] != layout.goal:
        assert len(walked) < 500
        _, free = look(layout, walked[-1], Counter(walked)).splitlines()
        walked.append(layout.after(walked[-1], rng.choice(free.split()[1:])))


def test_the_goal_and_holes_end_the_episode():
    task = WORLD.task(LAYOUT, Split.TRAIN)
    trajectory, steps = play(WORLD, task, WORLD.demonstrate(task))
    assert [c.arguments["direction"] for t in trajectory.turns for c in t.action.tool_calls] == [
        *("down", "down", "right", "right", "right")
    ]
    assert [s.reward for s in steps] == [0.0, 0.0, 0.0, 0.0, 1.0]
    assert [s.terminated for s in steps] == [False] * 4 + [True]
    assert seen(steps[-1]) == "goal reached"
    _, steps = play(WORLD, task, [move("right"), move("right"), move("down"), move("down")])
    assert len(steps) == 3
    assert (steps[-1].reward, steps[-1].terminated, seen(steps[-1])) == (0.0, True, "fell into a hole")


@pytest.mark.parametrize("junk", JUNK)
def test_what_is_no_move_costs_a_turn_and_is_told_so(junk: Message):
    world = Gridworld(size=4, max_turns=3)
    _, steps = play(world, world.task(LAYOUT, Split.TRAIN), [junk] * 5)
    assert [s.truncated for s in steps] == [False, False, True]
    assert not any(s.terminated for s in steps)
    assert seen(steps[0]).startswith(
        "no move: call move once, with up, down, left, right\ngoal 2 down 3 right\nfree down right"
    )


def test_arriving_in_the_last_turn_is_no_truncation():
    world = Gridworld(size=4, max_turns=5)
    task = world.task(LAYOUT, Split.TRAIN)
    _, steps = play(world, task, world.demonstrate(task))
    assert (steps[-1].terminated, steps[-1].truncated, steps[-1].reward) == (True, False, 1.0)


@pytest.mark.parametrize("world", [Gridworld(), Gridworld(size=5, walls=0.3, holes=0.2, min_distance=4, max_turns=9)])
def test_drawn_maps_are_solvable_at_the_set_distance_and_demonstrations_are_shortest_paths(world: Gridworld):
    for task in take(world, 40):
        layout = read_layout(task)
        shortest = breadth_first(layout.rows, layout.goal)[layout.start]
        assert world.min_distance <= shortest <= world.max_turns
        trajectory, steps = play(world, task, list(world.demonstrate(task)))
        assert (len(steps), steps[-1].reward) == (shortest, 1.0)
        assert trajectory.stop_reason == StopReason.TERMINATED
        assert {m.role for m in world.demonstrate(task)} == {"assistant"}


def test_the_expert_goes_on_from_wherever_the_agent_went():
    task = WORLD.task(LAYOUT, Split.TRAIN)
    assert WORLD.demonstrate(task, [JUNK[0], move("up")]) == WORLD.demonstrate(task)  # nothing happened
    assert WORLD.demonstrate(task, [move("right"), move("right")])[0].tool_calls[0].arguments == {"direction": "left"}
    assert WORLD.demonstrate(task, [move("right"), move("right"), move("down")]) is None  # in the hole
    assert WORLD.demonstrate(task, WORLD.demonstrate(task)) is None  # at the goal


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), choices=st.lists(st.integers(0, len(MOVES) + len(JUNK) - 1), max_size=8))
def test_what_was_done_and_what_the_expert_adds_reach_the_goal(seed, choices):
    world = Gridworld(size=5, min_distance=3, max_turns=40)
    task = take(world, 1, Split.TRAIN, seed)[0]
    every = [*map(move, MOVES), *JUNK]
    attempt, steps = play(world, task, [every[i] for i in choices])
    done = [turn.action for turn in attempt.turns]
    actions = world.demonstrate(task, done)
    assert (actions is None) == bool(steps and steps[-1].terminated)
    if actions is not None:
        layout = read_layout(task)
        cell = world.open(task).states(done)[-1]
        assert len(actions) == breadth_first(layout.rows, layout.goal)[cell]
        whole, _ = play(world, task, [*done, *actions])
        assert whole.turns[: len(done)] == attempt.turns
        assert (len(whole.turns), whole.turns[-1].reward) == (len(done) + len(actions), 1.0)


@given(st.lists(st.text(".#O", min_size=6, max_size=6), min_size=6, max_size=6))
def test_value_iteration_equals_breadth_first_search(drawn: list[str]):
    rows = (f".{drawn[0][1:]}", *drawn[1:])
    expected = breadth_first(rows, (0, 0))
    steps_NN, values_NN = distances(rows, (0, 0)), state_values(rows, (0, 0))
    for cell in np.ndindex(6, 6):
        steps = expected.get(cell, 0)
        assert steps_NN[cell] == steps
        assert values_NN[cell] == pytest.approx(DISCOUNT ** (steps - 1) if steps else 0.0)


def test_no_path_is_no_demonstration_and_impossible_options_are_errors():
    walled_in = Layout((".#.", "##.", "..."), (0, 0), (2, 2))
    assert walled_in.shortest_path() is None
    assert WORLD.demonstrate(WORLD.task(walled_in, Split.TRAIN)) is None
    with pytest.raises(SettingsError, match="lower min_distance"):
        take(Gridworld(size=2, min_distance=4), 1)
    with pytest.raises(SettingsError, match="no goal 6 to 3 steps away"):
        take(Gridworld(max_turns=3), 1)


def test_streams_are_keyed_by_seed_and_split_and_do_not_meet():
    world = Gridworld()
    streams = {
        (split, seed): [t.hash for t in take(world, 60, split, seed)]
        for split in set(Split) - {Split.GUARD}
        for seed in (0, 1)
    }
    assert len({name for hashes in streams.values() for name in hashes}) == 6 * 60
    assert streams[Split.TEST, 1] == [t.hash for t in take(world, 60, Split.TEST, 1)]
    assert all(t.split == Split.VALIDATION for t in take(world, 3, Split.VALIDATION))


def test_the_hash_names_map_start_and_goal_alone():
    task = WORLD.task(LAYOUT, Split.TRAIN)
    assert Gridworld(walls=0.5).task(LAYOUT, Split.TEST).hash == task.hash
    others = [
        Layout(LAYOUT.rows, (0, 1), LAYOUT.goal),
        Layout(LAYOUT.rows, LAYOUT.start, (2, 2)),
        Layout(LAYOUT.rows, LAYOUT.goal, LAYOUT.start),
        Layout((*LAYOUT.rows[:3], "...."), LAYOUT.start, LAYOUT.goal),
    ]
    assert len({task.hash, *(WORLD.task(layout, Split.TRAIN).hash for layout in others)}) == 5


def test_achieved_goals_are_the_free_cells_entered_with_their_first_turn():
    task = WORLD.task(LAYOUT, Split.TRAIN)
    actions = [move("right"), move("up"), move("left"), move("right"), JUNK[0], move("right"), move("down")]
    trajectory, steps = play(WORLD, task, actions)
    assert steps[-1].terminated
    achieved = WORLD.open(task).achieved_goals(trajectory)
    assert [(a.goal, a.turn) for a in achieved] == [([0, 1], 0), ([0, 2], 5)]
    solved, _ = play(WORLD, task, WORLD.demonstrate(task))
    assert WORLD.open(task).achieved_goals(solved)[-1].goal == task.goal


def test_a_walk_is_told_whole_for_a_goal_that_it_did_not_reach():
    task = WORLD.task(LAYOUT, Split.TRAIN)
    environment = WORLD.open(task)
    fallen, _ = play(WORLD, task, [move("right"), move("up"), move("right"), move("down")])
    told = environment.relabel(fallen, [3, 3], 1)
    assert told.task == WORLD.task(Layout(LAYOUT.rows, (0, 1), (3, 3)), Split.TRAIN)
    assert [t.action for t in told.turns] == [move("up"), move("right"), move("down")]
    assert [t.observation[0].content for t in told.turns] == [
        "wall\ngoal 3 down 2 right\nfree left right",
        "goal 3 down 1 right\nfree left",
        "fell into a hole",
    ]
    assert [t.reward for t in told.turns] == [0.0, 0.0, 0.0]
    hole = environment.relabel(fallen, [1, 2], 0)  # a hole is never reached
    assert (len(hole.turns), hole.turns[-1].reward) == (4, 0.0)


def test_a_walk_that_starts_at_the_goal_cannot_be_told():
    task = WORLD.task(LAYOUT, Split.TRAIN)
    environment = WORLD.open(task)
    trajectory, _ = play(WORLD, task, [move("right"), move("left"), move("down")])
    assert [len(environment.relabel(trajectory, [0, 1], start).turns) for start in (0, 2)] == [1, 1]
    for goal, start_turn in (([0, 1], 1), ([0, 0], 0), ([0, 0], 2)):
        with pytest.raises(ValueError, match="there is nothing to tell"):
            environment.relabel(trajectory, goal, start_turn)


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), choices=st.lists(st.integers(0, 3), min_size=1, max_size=12), data=st.data())
def test_every_attempt_can_be_told_for_every_goal(seed, choices, data):
    """As hindsight groups need it: what is told is what the environment would have shown, up to the first reach."""
    world = Gridworld(size=5, min_distance=3, max_turns=14)
    task = take(world, 1, Split.TRAIN, seed)[0]
    parent, _ = play(world, task, [move(list(MOVES)[i]) for i in choices])
    layout = read_layout(task)
    free = [[i, j] for i in range(5) for j in range(5) if layout.at((i, j)) == "." and (i, j) != layout.start]
    goal = data.draw(st.sampled_from(free))
    told = world.open(task).relabel(parent, goal, 0)
    replayed, _ = play(world, told.task, [turn.action for turn in told.turns])
    assert replayed.turns == told.turns
    reached = [a.turn for a in world.open(task).achieved_goals(parent) if a.goal == goal]
    assert len(told.turns) == (reached[0] + 1 if reached else len(parent.turns))
    assert told.turns[-1].reward == float(bool(reached))


def check_relabelled(world: Gridworld, task: Task, parent: Trajectory, told: Episode) -> None:
    """Replayed in a fresh environment the episode says the same, and reaches its goal at the end and not before."""
    replayed, steps = play(world, told.task, [turn.action for turn in told.turns])
    assert replayed.turns == told.turns
    assert [s.terminated for s in steps] == [False] * (len(steps) - 1) + [True]
    assert [s.reward for s in steps] == [0.0] * (len(steps) - 1) + [1.0]
    assert [t.action for t in told.turns] == [t.action for t in parent.turns[told.start_turn :]][: len(told.turns)]
    assert told.task.payload["map"] == task.payload["map"]
    assert world.open(told.task).achieved_goals(replayed)[-1].goal == told.task.goal
    assert told.task == world.task(read_layout(told.task), told.task.split)


@given(
    seed=st.integers(0, 10**6),
    choices=st.lists(st.integers(0, len(MOVES) + len(JUNK) - 1), min_size=1, max_size=15),
    data=st.data(),
)
def test_every_reached_cell_can_be_told_as_the_goal_from_any_earlier_turn(seed, choices, data):
    world = Gridworld(size=5, min_distance=3, max_turns=14)
    task = take(world, 1, Split.TRAIN, seed)[0]
    every = [*map(move, MOVES), *JUNK]
    parent, _ = play(world, task, [every[i] for i in choices])
    environment = world.open(task)
    for achieved in environment.achieved_goals(parent):
        start_turn = data.draw(st.integers(0, achieved.turn))
        told = environment.relabel(parent, achieved.goal, start_turn)
        assert told.start_turn + len(told.turns) - 1 == achieved.turn
        assert told.task.goal == achieved.goal
        check_relabelled(world, task, parent, told)
        if start_turn == 0 and achieved.goal == task.goal:
            assert (told.task, told.turns) == (task, parent.turns)
