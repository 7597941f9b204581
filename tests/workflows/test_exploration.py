"""An iteration's tasks and its novelty bonuses, from the store of a run: asked again, they are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from journeyman.agent.data import (
    Message,
    ScoreRecord,
    Source,
    Split,
    Status,
    StopReason,
    Task,
    Trajectory,
    Turn,
    Verdict,
)
from journeyman.agent.environments.countdown import countdown_task
from journeyman.agent.errors import StoreError
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.rows import NewTrajectory
from journeyman.workflows.attempts.attempts import attempts_of
from journeyman.workflows.attempts.curriculum import choose_tasks, tasks_of
from journeyman.workflows.console import Reporter
from journeyman.workflows.session.session import RunRef, Session
from journeyman.workflows.settings.loading import parse_settings
from journeyman.workflows.updates.novelty import novelty_bonuses

OFTEN, SELDOM, NONE = "2+3+4", "2*3+4", "hm"
"""Answers that reach 9, 10 and nothing."""
Open = Callable[..., Session]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Opens a session of a new run with twelve tasks; keyword arguments are settings by section."""
    store = ReplayStore(f"sqlite:///{tmp_path}/a.db")

    def open_session(**sections) -> Session:
        environment = {"name": "journeyman.agent.environments.countdown:Countdown"}
        values = {"environment": environment, "generate": {"tasks": 4}} | sections
        run = store.runs.create("r", parse_settings(values, "here").model_dump(mode="json"))
        store.tasks.add(run.id, [task(i) for i in range(12)], origin="generated")
        return Session(RunRef("", run.id), store, Reporter(quiet=True), "the test")

    yield open_session
    store.close()


def task(number: int) -> Task:
    return countdown_task([2, 3, 4], 30 + number, 100, Split.TRAIN)


def store_group(session: Session, iteration: int, number: int, answers: str | list[str], solved: int) -> None:
    """A group at one task, of which the first so many count as solved."""
    criterion = session.rubric.criteria[0].id
    answers = [answers] * 8 if isinstance(answers, str) else answers
    rows = []
    for attempt, answer in enumerate(answers):
        turn = Turn(Message("assistant", answer))
        made = Trajectory(task(number).hash, Source.POLICY, (turn,), (), StopReason.TERMINATED, attempt)
        scores = (ScoreRecord(criterion, Verdict(Status.OK, float(attempt < solved)), 0.0),)
        rows.append(NewTrajectory(f"policy/{iteration}/{number}", made, iteration, None, scores=scores))
    session.store.trajectories.add(session.run.id, rows)


def hashes(session: Session, iteration: int) -> list[str]:
    return [t.hash for t in choose_tasks(session, iteration)]


@pytest.mark.parametrize("strategy", ["passes", "ucb", "thompson"])
def test_the_choice_is_distinct_and_the_same_when_asked_again(opened: Open, strategy: str) -> None:
    session = opened(curriculum={"strategy": strategy})
    store_group(session, 1, 0, OFTEN, 4)
    found = hashes(session, 2)
    assert len(set(found)) == len(found) == 4
    store_group(session, 2, 1, OFTEN, 4)  # its own iteration's attempts change nothing: it may be resumed
    assert hashes(session, 2) == found


def test_what_was_chosen_stands_whatever_the_verdicts_become(opened: Open) -> None:
    session = opened(curriculum={"strategy": "ucb", "explore": 0.0})
    for number in range(12):
        store_group(session, 1, number, OFTEN, 4 if number < 4 else 0)
    chosen = hashes(session, 2)
    with pytest.raises(StoreError, match=r"iteration 2 of run .* has not begun"):
        tasks_of(session, 2)
    session.store.runs.begin_iteration(session.run.id, 2, chosen)
    session.store.verdicts.retract("goal", "1", "took 1 for 7")
    assert hashes(session, 2) != chosen
    session.store.runs.begin_iteration(session.run.id, 2, hashes(session, 2))
    assert [t.hash for t in tasks_of(session, 2)] == chosen


@pytest.mark.parametrize(("strategy", "explore"), [("ucb", 0.0), ("thompson", 1.0)])
def test_tasks_with_contrast_come_back(opened: Open, strategy: str, explore: float) -> None:
    session = opened(curriculum={"strategy": strategy, "explore": explore})
    for number in range(12):
        for iteration in (1, 2, 3):
            store_group(session, iteration, number, OFTEN, 4 if number < 4 else 8 * (number % 2))
    assert set(hashes(session, 4)) == {task(i).hash for i in range(4)}


def test_ucb_with_a_large_bonus_tries_everything(opened: Open) -> None:
    session = opened(curriculum={"strategy": "ucb", "explore": 1.0})
    for number in range(8):
        store_group(session, 1, number, OFTEN, 4)
    assert set(hashes(session, 2)) == {task(i).hash for i in range(8, 12)}


def test_old_attempts_are_forgotten(opened: Open) -> None:
    session = opened(curriculum={"strategy": "ucb", "explore": 0.0, "max_age": 1})
    for number in range(12):
        store_group(session, 1, number, OFTEN, 4 if number < 4 else 0)
    for number in range(4):
        store_group(session, 2, number, OFTEN, 8)
    assert not set(hashes(session, 3)) & {task(i).hash for i in range(4)}


def test_fewer_tasks_than_asked_for_are_all_of_them(opened: Open) -> None:
    session = opened(curriculum={"strategy": "thompson"}, generate={"tasks": 99})
    assert set(hashes(session, 1)) == {task(i).hash for i in range(12)}


def test_passes_see_every_task_before_any_comes_again(opened: Open) -> None:
    session = opened()
    assert len({h for i in (1, 2, 3) for h in hashes(session, i)}) == 12


def bonuses(session: Session, iteration: int) -> list[float]:
    found: list[float] = novelty_bonuses(session, iteration, attempts_of(session, iteration, tokens=False)).tolist()
    return found


def two_iterations(session: Session) -> None:
    store_group(session, 1, 0, [OFTEN, OFTEN, OFTEN], 0)
    store_group(session, 2, 1, [OFTEN, SELDOM, NONE], 0)


def test_counts_reach_back_to_earlier_iterations(opened: Open) -> None:
    session = opened(novelty={"kind": "counts", "weight": 0.5})
    two_iterations(session)
    np.testing.assert_allclose(bonuses(session, 2), [0.25, 0.5, 0])
    np.testing.assert_allclose(bonuses(session, 1), [0.5 * 3**-0.5] * 3)


def test_counts_for_each_task_apart(opened: Open) -> None:
    session = opened(novelty={"kind": "counts", "weight": 0.5, "scope": "task"})
    two_iterations(session)
    np.testing.assert_allclose(bonuses(session, 2), [0.5, 0.5, 0])


def test_memory_is_bounded(opened: Open) -> None:
    session = opened(novelty={"kind": "counts", "weight": 1.0, "memory": 1})
    two_iterations(session)
    np.testing.assert_allclose(bonuses(session, 2), [2**-0.5, 1, 0])


def test_rnd_prefers_the_seldom_and_is_repeatable(opened: Open) -> None:
    session = opened(novelty={"kind": "rnd", "weight": 1.0})
    two_iterations(session)
    found = bonuses(session, 2)
    assert found[1] > found[0] > found[2] == 0
    assert bonuses(session, 2) == found


def test_switched_off_is_zero(opened: Open) -> None:
    session = opened()
    two_iterations(session)
    assert bonuses(session, 2) == [0, 0, 0]


def test_an_iteration_in_which_a_pass_ends_has_as_many_tasks_as_the_others(opened: Open) -> None:
    session = opened(generate={"tasks": 5})
    every = {t.hash for t in session.store.tasks.of(session.run.id, Split.TRAIN)}
    chosen = [hashes(session, iteration) for iteration in range(1, 9)]
    assert {len(set(names)) for names in chosen} == {min(5, len(every))}
    assert set().union(*chosen) == every
