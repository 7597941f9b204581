"""The boundary around what environments are asked: what they raise, or answer that is none, is a fault with a name."""

import threading
import time
from dataclasses import dataclass, replace
from itertools import islice
from types import SimpleNamespace
from typing import Any

import pytest

from journeyman.agent import asking
from journeyman.agent.asking import (
    ask_expert,
    ask_for_goals,
    ask_for_states,
    ask_for_tasks,
    ask_to_relabel,
)
from journeyman.agent.data import Achieved, Episode, Message, Source, Split, StopReason, Task, Trajectory, Turn
from journeyman.agent.environments.bit_flipping import BitFlipping
from journeyman.agent.errors import DataError, Late, Outage, UsageError

TASK = Task("game", 3, (Message("user", "go"),), Split.TRAIN, "h")
MADE = Trajectory("h", Source.POLICY, (Turn(Message("assistant", "a")),) * 2, (), StopReason.TERMINATED)


@dataclass
class Says:
    """Answers, or raises, what it was told to."""

    answer: Any = None

    def __call__(self, *_: object) -> Any:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def environment(**answers):
    return SimpleNamespace(**{name: Says(answer) for name, answer in answers.items()})


def test_what_is_right_comes_back():
    flips = BitFlipping(3)
    task = next(ask_for_tasks(flips, Split.TRAIN, 0, "bit_flipping"))
    actions = ask_expert(flips, task, seconds=5)
    assert ask_for_states(flips.open(task), actions, 5)[-1] == task.goal
    assert ask_expert(flips, task, actions, seconds=5) is None
    assert [a.turn for a in ask_for_goals(environment(achieved_goals=(Achieved(1, 0),)), MADE, 5)] == [0]
    assert ask_to_relabel(environment(relabel=Episode(TASK, MADE.turns[1:], 1)), MADE, 3, 1, 5).start_turn == 1


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (ValueError("no"), "achieved_goals: ValueError: no"),
        (None, "achieved_goals: TypeError"),
        ([3], "3 is no Achieved"),
        ([Achieved(1, 2)], "the attempt has the turns 0 to 1"),
        ([Achieved(1, -1)], "the turns 0 to 1"),
        ([Achieved({1}, 0)], "not JSON serializable"),
    ],
)
def test_goals(answer, message):
    with pytest.raises(Outage, match=message):
        ask_for_goals(environment(achieved_goals=answer), MADE, 5)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (KeyError("x"), "relabel: KeyError: 'x'"),
        (None, "NoneType is no Episode"),
        (Episode(TASK, MADE.turns, 1), "it has turns 1 to 3, the attempt 2"),
        (Episode(replace(TASK, goal=object()), MADE.turns, 0), "no JSON"),
        (Episode(replace(TASK, prompt=(Message("nobody", "x"),)), MADE.turns, 0), "role 'nobody' is none of"),
        (Episode(TASK, (Turn(Message("assistant", "\ud800")),), 0), "surrogates"),
    ],
)
def test_relabels(answer, message):
    with pytest.raises(Outage, match=message):
        ask_to_relabel(environment(relabel=answer), MADE, 3, 0, 5)


@pytest.mark.parametrize(
    ("answer", "message"),
    [([1, 2], "2 states for 2 actions"), ([1, [2], 3], "unhashable"), (OSError("gone"), "states: OSError: gone")],
)
def test_states(answer, message):
    with pytest.raises(Outage, match=message):
        ask_for_states(environment(states=answer), [turn.action for turn in MADE.turns], 5)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (RuntimeError("tired"), "demonstrate: RuntimeError: tired"),
        (["up"], "str is no Message"),
        ([Message("user", "up")], "an action is an assistant's message"),
    ],
)
def test_experts(answer, message):
    with pytest.raises(Outage, match=message):
        ask_expert(environment(demonstrate=answer), TASK, seconds=5)


def test_tasks_that_are_none_end_a_run_with_one_line():
    def tasks(*_):
        yield TASK
        raise OSError("disk")

    stream = ask_for_tasks(SimpleNamespace(tasks=tasks), Split.TRAIN, 4, "game")
    assert list(islice(stream, 1)) == [TASK]
    with pytest.raises(UsageError, match=r"environment 'game': tasks\('train', seed 4\): OSError: disk; `journeyman"):
        next(stream)
    with pytest.raises(DataError, match="no file"):  # errors of this package pass as they are
        next(ask_for_tasks(environment(tasks=DataError("no file")), Split.TRAIN, 0, "game"))


def test_what_does_not_answer_is_named_in_time(monkeypatch):
    monkeypatch.setattr(asking, "LOADING_SECONDS", 0.1)

    class Hangs:
        def tasks(self, split, seed):
            yield TASK
            time.sleep(1)

        def demonstrate(self, task):
            time.sleep(1)

    drawn = ask_for_tasks(Hangs(), Split.TRAIN, 0, "game")
    assert next(drawn) == TASK
    with pytest.raises(UsageError, match=r"environment 'game': tasks\('train', seed 0\): no answer within 0\.1 s"):
        next(drawn)
    with pytest.raises(Late, match=r"demonstrate: no answer within 0\.1 s"):
        ask_expert(Hangs(), TASK, seconds=0.1)


def test_a_task_set_is_asked_in_one_thread():
    """What it holds, a connection to a database say, may be its thread's."""
    seen = set()

    class Draws:
        def tasks(self, split, seed):
            for number in range(5):
                seen.add(threading.get_ident())
                yield replace(TASK, hash=str(number))

    assert len(list(ask_for_tasks(Draws(), Split.TRAIN, 0, "game"))) == 5
    assert len(seen) == 1
    assert threading.get_ident() not in seen
