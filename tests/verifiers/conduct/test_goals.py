"""What goal environments say of an attempt: whether it arrived, and which of its turns were for nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.agent.data import Message, Source, Split, Status, StopReason, Task, ToolCall, Trajectory, Turn
from journeyman.agent.environments.bit_flipping import BitFlipping
from journeyman.agent.environments.countdown import Countdown
from journeyman.agent.environments.gridworld import Gridworld
from journeyman.agent.environments.gridworld_maps import MOVES, Layout
from journeyman.agent.protocols import StepVerifier
from journeyman.verifiers.conduct.goals import GoalReached, GoalSteps

WORLD = Gridworld(size=3, max_turns=9)
TASK = WORLD.task(Layout(("..#", ".O.", "..."), (0, 0), (2, 2)), Split.TRAIN)


def say(text: str) -> Message:
    """A move where the text is a direction, else the text alone."""
    calls = (ToolCall("move", {"direction": text}),) if text in MOVES else ()
    return Message("assistant", f'move("{text}")' if calls else text, calls)


def attempt(*said: str) -> Trajectory:
    """Acts until the episode is over or nothing is left to say."""
    environment = WORLD.open(TASK)

    async def turns() -> tuple[list[Turn], StopReason]:
        done: list[Turn] = []
        for text in said:
            step = await environment.step(say(text))
            done.append(Turn(say(text), step.observation.messages, step.reward))
            if step.terminated or step.truncated:
                return done, StopReason.TERMINATED if step.terminated else StopReason.TRUNCATED
        return done, StopReason.LENGTH

    done, reason = asyncio.run(turns())
    return Trajectory(TASK.hash, Source.POLICY, tuple(done), (), reason)


@pytest.mark.parametrize(
    ("said", "scores", "reached"),
    [
        (["down", "down", "right", "right"], [1, 1, 1, 1], 1.0),
        (["up", "down", "right"], [0, 1, 0], 0.0),  # a wall, a step, a hole
        (["hello", "right", "left", "down"], [0, 1, 1, 1], 0.0),  # going back is a step like any other
        (["down", "down", "left", "right", "right"], [1, 1, 0, 1, 1], 1.0),
        (["right", *["up"] * 8, "down"], [1, *[0] * 8], 0.0),  # truncated: the last turn is judged as the others are
    ],
)
def test_turns_that_were_for_nothing_score_0(said: list[str], scores: list[float], reached: float) -> None:
    trajectory = attempt(*said)
    verdict = GoalSteps().verify(TASK, trajectory)
    assert verdict.step_scores == tuple(map(float, scores))
    assert verdict.score == pytest.approx(sum(scores) / len(scores))
    assert GoalReached().verify(TASK, trajectory).score == reached
    wasted = [str(turn) for turn, score in enumerate(scores, 1) if not score]
    assert (verdict.explanation or "").removeprefix("for nothing: turn ") == ", ".join(wasted)


@given(st.lists(st.sampled_from([*MOVES, "", "  ", "hello"]), max_size=12))
def test_there_is_a_score_for_each_step(said: list[str]) -> None:
    verifier, trajectory = GoalSteps(), attempt(*said)
    assert isinstance(verifier, StepVerifier)
    verdict = verifier.verify(TASK, trajectory)
    assert verdict.status is Status.OK
    assert len(verdict.step_scores) == len(verifier.steps_of(trajectory))
    assert set(verdict.step_scores) <= {0.0, 1.0}
    if verdict.score == 1.0 and trajectory.stop_reason is StopReason.TERMINATED:
        assert GoalReached().verify(TASK, trajectory).score == 1.0


def test_flips_are_judged_too() -> None:
    world = BitFlipping(bits=2)
    task = next(iter(world.tasks(Split.TRAIN, 0)))
    flip = [Message("assistant", f"flip({n})", (ToolCall("flip", {"place": n}),)) for n in (1, 7)]
    turns = tuple(Turn(action, (), 0.0) for action in flip)
    verdict = GoalSteps().verify(task, Trajectory(task.hash, Source.POLICY, turns, (), StopReason.TRUNCATED))
    assert verdict.step_scores == (1.0, 0.0)


def test_abstains_where_no_states_are_told() -> None:
    task: Task = next(iter(Countdown().tasks(Split.TRAIN, 0)))
    turns = (Turn(Message("assistant", "1+1"), (), 0.0),)
    verdict = GoalSteps().verify(task, Trajectory(task.hash, Source.POLICY, turns, (), StopReason.TERMINATED))
    assert verdict.status is Status.ABSTAIN
    assert "'countdown' tells no states" in verdict.explanation


@pytest.mark.parametrize("reason", [StopReason.LENGTH, StopReason.ERROR])
def test_an_action_that_was_never_acted_out_reaches_nothing(reason: StopReason) -> None:
    walked = attempt("down", "down", "right")
    cut_off = replace(walked, turns=(*walked.turns, Turn(say("right"))), stop_reason=reason)
    assert GoalReached().verify(TASK, cut_off).score == 0.0
    assert GoalSteps().verify(TASK, cut_off).step_scores == (1.0, 1.0, 1.0, 0.0)
    full = replace(walked, stop_reason=StopReason.LENGTH)  # the history had no room for another turn
    assert GoalSteps().verify(TASK, full).step_scores == (1.0, 1.0, 1.0)
    assert full.acted_out == full.turns
