"""What a user probably did not mean is said once, with the remedy, and nothing is said where all is well."""

from __future__ import annotations

import numpy as np
import pytest

from journeyman.agent.data import Message, Segment, Source, Split, StopReason, Task, Trajectory, Turn
from journeyman.workflows.session.oversights import (
    warn_of_cut_off_attempts,
    warn_of_equal_prompts,
    warn_of_long_turns,
    warn_of_single_steps,
)


@pytest.fixture
def session(watched, monkeypatch):
    """One whose warnings are in `session.said`; turns of 8 tokens, batches of 64 and 512 rows."""
    found = watched.open(generate={"max_tokens": 8})
    found.said = []
    monkeypatch.setattr(found.reporter, "line", found.said.append)
    return found


def made(tokens: int, reason: StopReason = StopReason.TERMINATED) -> Trajectory:
    """An attempt whose second turn has so many tokens."""
    mask = np.array([True, False, *[True] * tokens])
    ids = np.zeros(len(mask), np.int32)
    return Trajectory(
        "h", Source.POLICY, (Turn(Message("assistant", "x")),) * 2, (Segment(ids[:1], ids, mask, None),), reason
    )


def tasks(prompts: list[str]) -> list[Task]:
    return [Task("e", None, (Message("user", p),), Split.TRAIN, str(i)) for i, p in enumerate(prompts)]


def test_equal_prompts(session):
    warn_of_equal_prompts(session, Split.TRAIN, [])
    warn_of_equal_prompts(session, Split.TRAIN, tasks(["a", "b", "b"]))
    assert session.said == []
    warn_of_equal_prompts(session, Split.TRAIN, tasks(["a", "a", "b", "b"]))
    warn_of_equal_prompts(session, Split.TEST, tasks(["a"] * 9))
    assert len(session.said) == 1  # once in a run
    assert "the 4 train tasks have only 2 different prompts" in session.said[0]


@pytest.mark.parametrize(
    ("attempts", "setting"),
    [
        ([made(8, StopReason.LENGTH)] * 3 + [made(2)] * 2, "3 of 5 attempts were cut off by generate.max_tokens = 8"),
        ([made(3, StopReason.LENGTH)] * 3, "3 of 3 attempts were cut off by sampler.max_context = 1024"),
        ([made(8, StopReason.LENGTH)] * 2 + [made(2)] * 2, None),
        ([made(8, StopReason.TRUNCATED)] * 4, None),
        ([], None),
    ],
)
def test_attempts_cut_off(session, attempts, setting):
    warn_of_cut_off_attempts(session, attempts)
    warn_of_cut_off_attempts(session, attempts)
    assert len(session.said) == (setting is not None)
    assert setting is None or setting in session.said[0]


def test_demonstrations_that_no_attempt_can_say(session):
    warn_of_long_turns(session, [made(8)] * 10 + [made(9)])
    assert session.said == []
    warn_of_long_turns(session, [made(8)] * 9 + [made(11)])
    assert "1 of 10 demonstrations have a turn of more than generate.max_tokens = 8" in session.said[0]
    assert "set it to 11 or more" in session.said[0]


@pytest.mark.parametrize(
    ("section", "rows", "steps", "says"),
    [
        (
            "warm_start",
            40,
            1.0,
            "an epoch of the warm start is a single optimizer step (40 rows, warm_start.",
        ),
        ("warm_start", 40, 1.0, "set warm_start.batch to 5, or give more demonstrations"),
        ("finetune", 300, 1.0, "set finetune.batch to 37, or make more attempts"),
        ("finetune", 3, 0.5, "set finetune.batch to 1,"),
        ("finetune", 300, 0.0, "none of its 300 rows has an advantage or is imitated"),
        ("finetune", 3000, 6.0, None),
    ],
)
def test_single_steps(session, section, rows, steps, says):
    warn_of_single_steps(session, section, rows, steps)
    warn_of_single_steps(session, section, rows, steps)
    assert len(session.said) == (says is not None)
    assert says is None or says in session.said[0]


def test_a_loop_says_what_it_meets(watched, monkeypatch):
    """Demonstrations too long, one step an epoch, attempts cut off: each once in a run of two iterations."""
    from journeyman.workflows.commands.run import execute
    from journeyman.workflows.console import Reporter
    from journeyman.workflows.session.runs import start_run

    settings = watched.settings(
        warm_start={"demonstrations": 4, "max_epochs": 2, "check_every": 2},
        generate={"tasks": 2, "attempts": 2, "max_tokens": 2},
    )
    settings = settings.model_copy(update={"run": settings.run.model_copy(update={"iterations": 2})})
    said: list[str] = []
    monkeypatch.setattr(Reporter, "line", lambda _, text: said.append(text))
    execute(settings, start_run(settings), Reporter())
    warnings = [text for text in said if "warning" in text]
    assert len(warnings) == 4
    for part in (
        "4 of 4 demonstrations",
        "an epoch of the warm start",
        "4 of 4 attempts were cut off",
        "a pass of an update",
    ):
        assert sum(part in text for text in warnings) == 1
