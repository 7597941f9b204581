"""Which success is imitated, and which of its actions: the last one from each state, found again in its tokens."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from journeyman.agent.data import Message, ToolCall
from journeyman.agent.environments.gridworld import MOVE
from journeyman.agent.environments.gridworld_maps import MOVES
from journeyman.agent.learning.learner import TrainingRow
from journeyman.agent.sampling.scripted import ScriptedSampler
from journeyman.workflows.attempts.attempts import attempts_of
from journeyman.workflows.session.session import Session
from journeyman.workflows.stages.finetune import finetune
from journeyman.workflows.stages.generate import generate
from journeyman.workflows.stages.score import score
from journeyman.workflows.updates.imitation import leading_on
from journeyman.workflows.updates.lessons import lessons
from journeyman.workflows.updates.replay import draw, remember

SQUARE = {"name": "gridworld", "size": 2, "walls": 0.0, "holes": 0.0, "min_distance": 2, "max_turns": 8}
"""Maps of four free cells; from corner to corner there are two ways of two moves."""
BACK = {"up": "down", "down": "up", "left": "right", "right": "left"}


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_from_every_state_the_imitated_actions_lead_to_the_end(states: list[int]) -> None:
    kept = [i for i, led_on in enumerate(leading_on(states)) if led_on]
    onward = {states[i]: states[i + 1] for i in kept}
    assert len(onward) == len(kept)  # one for each state
    assert set(onward) == set(states) - {states[-1]}
    for start in states:
        state, steps = start, 0
        while state != states[-1]:
            state, steps = onward[state], steps + 1
            assert steps <= len(onward)


def test_the_way_out_of_a_dead_end_is_imitated_and_the_way_in_is_not() -> None:
    cells = ["start", "fork", "end", "end", "fork", "goal"]
    assert leading_on(cells) == [True, False, False, True, True]


@pytest.fixture
def session(watched) -> Session:
    """An iteration's attempts are there: against the wall, a step, the step back, and then straight to the goal."""
    sizes = {"train": 2, "validation": 1, "test": 1}
    generating = {"tasks": 2, "attempts": 2, "max_tokens": 64}
    replay = {"groups": 8, "quota": {"success": 1.0}}
    session = watched.open(environment=SQUARE, tasks=sizes, generate=generating, replay=replay)

    def reply(prompt: str, seed: int) -> str:
        turn = prompt.count("<|assistant|>") - 1
        *_, free = re.findall("^free (.+?)(?:<|$)", prompt, re.MULTILINE)
        if turn == 0:
            (direction, *_) = set(MOVES) - set(free.split())
        elif turn == 2:
            direction = BACK[re.findall(r'move\("(\w+)"\)', prompt)[-1]]
        else:
            (direction, *_) = free.split()
        return call(session, direction)

    session.sampler = lambda policy: ScriptedSampler(session.renderer, reply)
    generate(session.ref, 1)
    score(session.ref, 1)
    return session


def call(session: Session, direction: str) -> str:
    return session.renderer.write(
        Message("assistant", "", (ToolCall("move", {"direction": direction}),)), (MOVE,)
    ).content


def imitated_text(session: Session, row: TrainingRow) -> str:
    ids = row.segment.completion_ids[row.segment.loss_mask]
    return session.renderer.decode(ids[row.per_token(row.nll) > 0].tolist())


def test_of_a_success_the_actions_that_led_on_are_imitated(session: Session) -> None:
    fresh = attempts_of(session, 1)
    assert [(len(one.trajectory.turns), one.trajectory.turns[-1].reward) for one in fresh] == [(5, 1.0)] * 4
    remember(session.store, session.run.id, session.rubric, 1)
    drawn = draw(session, 1, session.store.policies.newest_promoted(session.run.id).number)
    found = [lesson for lesson in lessons(session, 1, None, fresh, drawn) if lesson.nll_weight]
    assert [lesson.stored.trajectory.attempt for lesson in found] == [0, 0]  # one for each task, its first success
    for lesson in found:
        moves = [turn.action.tool_calls[0].arguments["direction"] for turn in lesson.stored.trajectory.turns]
        (row,) = lesson.rows(policy_weight=1.0)
        assert imitated_text(session, row) == "".join(call(session, d) + "<|end|>" for d in moves[2:])
        assert row.per_token(row.nll).max() == session.settings.finetune.bc_weight


def test_what_is_imitated_has_the_weight_of_its_own_draw(session: Session) -> None:
    fresh = attempts_of(session, 1)
    remember(session.store, session.run.id, session.rubric, 1)
    drawn = draw(session, 1, session.store.policies.newest_promoted(session.run.id).number)
    rare = [replace(group, importance_weight=0.2) for group in drawn]
    told = {one.stored.id: one for one in lessons(session, 1, None, fresh, rare) if one.nll_weight}
    assert [one.nll_weight for one in told.values()] == [0.2 * session.settings.finetune.bc_weight] * len(told)
    assert {one.importance_weight for one in told.values()} == {1.0}  # they are compared among fresh siblings too
    alone = [one for one in lessons(session, 1, None, [], rare) if one.nll_weight]
    assert [(one.nll_weight, one.importance_weight) for one in alone] == [(0.2, 0.2)] * len(told)
    assert max(row.per_token(row.nll).max() for one in alone for row in one.rows(1.0)) == np.float32(0.2)


def test_an_update_of_one_step_has_the_whole_learning_rate(session: Session) -> None:
    session.base_learner().save(session.artifacts / "x", 1)
    assert finetune(session.ref, 1)["steps"] == 1
    paths = [
        session.artifacts / policy.path / "model.safetensors" for policy in session.store.policies.of(session.run.id)
    ]
    before, after = map(load_file, paths)
    moved = max(float(np.abs(after[name] - before[name]).max()) for name in before)
    assert moved == pytest.approx(session.settings.finetune.learning_rate, rel=0.05)  # AdamW's first step
