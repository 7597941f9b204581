"""What an environment raises when it is asked what was reached is data: nothing is told anew, and it is said once."""

from __future__ import annotations

import pytest

from journeyman.agent.data import Source
from journeyman.agent.sampling.scripted import ScriptedSampler
from journeyman.workflows.attempts.attempts import attempts_of
from journeyman.workflows.stages.generate import generate
from journeyman.workflows.stages.relabel import relabel
from journeyman.workflows.stages.score import score
from journeyman.workflows.updates.imitation import imitated
from journeyman.workflows.updates.novelty import novelty_bonuses


@pytest.fixture
def failed(watched, monkeypatch):
    """`failed(fault)`: a session in which 4 attempts at 2 tasks walked the wrong way, and what it says."""

    def make(fault: str, strategies: list[str]):
        session = watched.open(
            environment={"name": "broken_plugins:Walk", "fault": fault},
            generate={"tasks": 2, "attempts": 2},
            relabel={"strategies": strategies},
            novelty={"kind": "counts"},
        )
        session.sampler = lambda policy: ScriptedSampler(session.renderer, lambda prompt, seed: "-")
        said: list[str] = []
        monkeypatch.setattr(session.reporter, "line", said.append)
        generate(session.ref, 1)
        score(session.ref, 1)
        return session, said

    return make


@pytest.mark.parametrize(
    ("fault", "strategies", "reason"),
    [
        ("relabel raises", ["final"], "relabel: ValueError: not this time"),
        ("achieved goals raise", ["final"], "achieved_goals: LookupError: which?"),
        ("achieved none", ["final"], "achieved_goals: TypeError"),
        ("turns out of range", ["final"], "achieved_goals: ValueError: Achieved"),
        ("goals of several states", ["future"], "relabel: ValueError: the trajectory is at"),
    ],
)
def test_what_goals_raise_is_counted_and_said_once(failed, fault, strategies, reason):
    session, said = failed(fault, strategies)
    relabel(session.ref, 1)
    warnings = [text for text in said if "warning" in text]
    assert len(warnings) == 1
    assert reason in warnings[0]
    assert "of 4 attempts could not be told anew" in warnings[0]
    if fault != "goals of several states":
        assert "4 of 4" in warnings[0]
        assert not session.store.trajectories.of(session.run.id, source=Source.HINDSIGHT)


def test_where_nothing_is_raised_all_is_told_and_nothing_said(failed):
    session, said = failed("", ["final"])
    assert relabel(session.ref, 1)["relabels"] == 2  # of two equal attempts at a task one is new
    assert not [text for text in said if "warning" in text]


def test_states_and_novelty_do_without(failed):
    session, said = failed("states are short", ["final"])
    attempts = attempts_of(session, 1)
    assert all(part.all() for part in imitated(session, attempts[0]))
    session, said = failed("achieved goals raise", ["final"])
    attempts = attempts_of(session, 1)
    assert novelty_bonuses(session, 1, attempts).tolist() == [0.0] * 4
    assert sum("warning" in text and "novelty" in text for text in said) == 1
