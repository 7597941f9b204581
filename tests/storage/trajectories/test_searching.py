"""Trajectories by what they are and what became of them, on both databases; and how many there are of each kind."""

from __future__ import annotations

import pytest

from journeyman.agent.data import ScoreRecord, Source, Split, Status, Verdict, VerifierId
from journeyman.agent.errors import UnknownNameError, UsageError
from journeyman.storage.runs.policies import NewPolicy, Use
from journeyman.storage.runs.runs import TermInfo
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.rows import NewTrajectory
from journeyman.storage.trajectories.searching import Order, Search
from journeyman.storage.trajectories.trajectories import Tally

SCORES = (1.0, 0.5, 0.0, None)
"""Of the attempts at each task; the last one was not judged."""


@pytest.fixture
def filled(store: ReplayStore, task_of, trajectory_of) -> tuple[str, dict[str, str]]:
    """A run, and its attempts' ids by `task/attempt`: tasks 1 and 2 are trained on, 100 is held out."""
    run = store.runs.create("toy", {}, [TermInfo("goal", 1.0)])
    tasks = [task_of(1), task_of(2), task_of(100, Split.VALIDATION)]
    store.tasks.add(run.id, tasks, origin="generated")
    store.policies.add(run.id, NewPolicy(1, None, 0, "warm_start", "x", {}, promoted=True))
    (policy,) = store.policies.of(run.id)
    verifier = VerifierId("goal", "1", "00")
    for iteration, task in enumerate(tasks, 1):
        rows = [
            NewTrajectory(
                f"g{task.goal}",
                trajectory_of(task, attempt=n),
                iteration,
                policy.id,
                scores=() if score is None else (ScoreRecord(verifier, Verdict(Status.OK, score), 1.0),),
            )
            for n, score in enumerate(SCORES)
        ]
        store.trajectories.add(run.id, rows)
    expert = NewTrajectory("expert", trajectory_of(tasks[0], Source.EXPERT), 0, None)
    store.trajectories.add(run.id, [expert])
    ids = {f"{t.task.goal}/{t.trajectory.attempt}": t.id for t in store.trajectories.of(run.id, source=Source.POLICY)}
    uses = [Use(ids["1/0"], 1.0, "r", None, 1.0), Use(ids["1/2"], 0.0, "r", -0.5, 0.0)]
    store.policies.add(run.id, NewPolicy(2, policy.id, 1, "finetune", "y", {}), uses)
    return run.id, ids


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Search(iteration=1, order=Order.BEST), ["1/0", "1/1", "1/2"]),
        (Search(iteration=1, order=Order.WORST), ["1/2", "1/1", "1/0"]),
        (Search(iteration=1, order=Order.WORST, limit=1), ["1/2"]),
        (Search(task="hash1", failed=True, order=Order.BEST), ["1/1", "1/2"]),
        (Search(task="hash1", fate="policy loss"), ["1/2"]),
        (Search(fate="positive"), ["1/0"]),
        (Search(fate="not scored", task="hash2"), ["2/3"]),
        (Search(task="hash100", fate="held"), ["100/3", "100/2", "100/1", "100/0"]),
        (Search(task="hash2", iteration=1), []),
        (Search(failed=True, fate="positive"), []),
    ],
)
def test_what_is_looked_for_is_found(store: ReplayStore, filled, wanted: Search, found: list[str]) -> None:
    run_id, ids = filled
    names = {i: name for name, i in ids.items()}
    result = store.trajectories.search(run_id, wanted)
    if wanted.order is Order.NEWEST:
        assert list(result) == sorted(result, reverse=True)
        assert sorted(names[i] for i in result) == sorted(found)
    else:
        assert [names[i] for i in result] == found


def test_fates_come_along(store: ReplayStore, filled) -> None:
    run_id, ids = filled
    fates = store.trajectories.search(run_id, Search(iteration=1))
    assert {name: fates[ids[name]] for name in ("1/0", "1/1", "1/2", "1/3")} == {
        "1/0": "positive",
        "1/1": "not drawn",
        "1/2": "policy loss",
        "1/3": "not scored",
    }
    assert store.trajectories.fate_of(ids["100/0"]) == "held out"


def test_what_there_is_not_is_named(store: ReplayStore, filled) -> None:
    run_id, _ = filled
    with pytest.raises(UsageError, match="there is no iteration 7: the run has trajectories of 0 to 3"):
        store.trajectories.search(run_id, Search(iteration=7))
    with pytest.raises(UsageError, match="has the fate 'lost'; there are 'held out', 'not drawn', 'not scored'"):
        store.trajectories.search(run_id, Search(fate="lost"))
    with pytest.raises(UnknownNameError, match="unknown task 'hash3': did you mean 'hash"):
        store.trajectories.search(run_id, Search(task="hash3"))
    with pytest.raises(UsageError, match="3 tasks of the run have a hash like 'hash'"):
        store.trajectories.search(run_id, Search(task="hash"))
    empty = store.runs.create("empty", {}).id
    assert store.trajectories.search(empty, Search()) == {}
    with pytest.raises(UsageError, match="there is no iteration 0: the run has no trajectories yet"):
        store.trajectories.search(empty, Search(iteration=0))
    with pytest.raises(UsageError, match="the fate 'x'; there are none yet"):
        store.trajectories.search(empty, Search(fate="x"))


def test_kinds_add_up(store: ReplayStore, filled) -> None:
    run_id, _ = filled
    tally = store.trajectories.tally(run_id)
    assert tally == Tally(attempts=8, held_out=4, demonstrations=1, relabels=0)
    assert tally.all == len(store.trajectories.of(run_id)) == 13
    assert str(tally) == "13 trajectories (8 attempts, 4 held-out ones, 1 demonstrations, 0 relabels)"
    assert store.trajectories.counts(run_id) == {
        (0, Source.EXPERT): 1,
        (1, Source.POLICY): 4,
        (2, Source.POLICY): 4,
    }
