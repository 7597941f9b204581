"""Out to rows and in again: nothing is lost, nothing is doubled."""

from __future__ import annotations

import json
from dataclasses import replace
from uuid import UUID

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from journeyman.agent.data import (
    Message,
    ScoreRecord,
    Segment,
    Source,
    Status,
    StopReason,
    Trajectory,
    Turn,
    Verdict,
    VerifierId,
)
from journeyman.agent.errors import DataError
from journeyman.storage.files import exporting
from journeyman.storage.files.exporting import export_rows
from journeyman.storage.files.importing import import_rows
from journeyman.storage.runs.policies import NewPolicy, Use
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.labels import NewLabel
from journeyman.storage.trajectories.rows import NewTrajectory
from journeyman.storage.trajectories.trajectories import Trajectories
from journeyman.storage.trajectories.verdicts import Affected

GOAL = VerifierId("goal", "1", "00")


@st.composite
def segments(draw) -> Segment:
    prompt, completion = (
        draw(hnp.arrays(np.int32, st.integers(0, 9), elements=st.integers(0, 2**31 - 1))) for _ in "ab"
    )
    mask = draw(hnp.arrays(np.bool_, len(completion)))
    finite = st.floats(-(2.0**100), 0, width=32, allow_subnormal=False)
    logprobs = draw(st.none() | hnp.arrays(np.float32, int(mask.sum()), elements=finite))
    return Segment(prompt, completion, mask, logprobs)


def test_retracted_verdicts_stay_retracted_elsewhere(store: ReplayStore, run_id: str, task_of, trajectory_of, tmp_path):
    faulty = ScoreRecord(GOAL, Verdict(Status.OK, 1.0), 1.0)
    store.trajectories.add(run_id, [NewTrajectory("g", trajectory_of(task_of(1)), 1, None, scores=(faulty,))])
    store.verdicts.retract("goal", "1", "took 1 for 7")
    rows = list(export_rows(store, run_id))
    assert [score["retracted"] for row in rows for score in row["scores"]] == ["took 1 for 7"]
    other = ReplayStore(f"sqlite:///{tmp_path}/other.db")
    twin = other.runs.create("twin", {}).id
    import_rows(other, twin, rows)
    assert [t.verdicts for t in other.trajectories.of(twin)] == [{}]
    assert list(export_rows(other, twin)) == rows
    other.close()


def test_a_run_moves_to_another_store(store: ReplayStore, run_id: str, task_of, trajectory_of, tmp_path) -> None:
    policy = store.policies.numbered(run_id, 1)
    verdict = ScoreRecord(GOAL, Verdict(Status.OK, 0.5, raw=-2.0, step_scores=(0.5, 1.0)), 1.5)
    failed = ScoreRecord(GOAL, Verdict(Status.TIMEOUT), 9.0)
    store.trajectories.add(
        run_id,
        [
            NewTrajectory("g", replace(trajectory_of(task_of(1)), seconds=2.5), 1, policy.id, scores=(failed,)),
            NewTrajectory("e", trajectory_of(task_of(2), Source.EXPERT), 0, None),
        ],
    )
    parent = next(t for t in store.trajectories.of(run_id) if t.group == "g")
    store.verdicts.add([(parent.id, verdict)])
    relabel = trajectory_of(task_of(3), Source.HINDSIGHT)
    store.trajectories.add(run_id, [NewTrajectory("a", relabel, 1, policy.id, parent.id, "final/2")])

    child, parent = (next(t for t in store.trajectories.of(run_id) if t.group == g) for g in "ag")
    use = Use(child.id, 0.5, "feed", None, 1.0, None, 0.25)
    store.policies.add(
        run_id, NewPolicy(2, policy.id, 1, "finetune", "x", {}), [Use(parent.id, 0.5, "feed", -1.0, 0.0), use]
    )

    text = [json.dumps(row) for row in export_rows(store, run_id)]
    assert [json.loads(row)["group"] for row in text] == ["e", "g", "a"]  # the relabel after its parent
    other = ReplayStore(f"sqlite:///{tmp_path}/other.db")
    target = other.runs.create("copy", {}).id
    for _ in range(2):
        assert import_rows(other, target, map(json.loads, text)) == 3
    assert [json.dumps(row) for row in export_rows(other, target)] == text
    copied = {t.group: t for t in other.trajectories.of(target)}
    assert copied["g"].verdicts == {GOAL: verdict.verdict}
    assert copied["a"].parent_id == copied["g"].id
    assert copied["g"].policy_number == 1
    assert other.policies.numbered(target, 1).kept is False
    assert other.trajectories.uses_of(copied["a"].id) == [(2, replace(use, trajectory_id=copied["a"].id))]
    assert other.verdicts.retract("goal", "1", "when v2 was trained is not known") == [Affected("copy", 2, 1)]
    assert other.upkeep.check() == []
    other.close()


def test_labels_move_along_and_are_not_doubled(
    store: ReplayStore, run_id: str, task_of, trajectory_of, tmp_path
) -> None:
    rows = [NewTrajectory(g, trajectory_of(task_of(1), attempt=i), 1, None) for g in "gh" for i in (0, 1)]
    store.trajectories.add(run_id, rows)
    ids = {t.key: t.id for t in store.trajectories.of(run_id)}
    store.labels.add(NewLabel(ids["g/0"], ids["h/1"], 1.0, "ann", "shorter"))  # the other one comes later in the file
    store.labels.add(NewLabel(ids["h/1"], None, 0.25, "bob"))
    store.labels.add(NewLabel(ids["h/1"], None, 0.25, "bob"))  # said twice is said twice
    text = [json.dumps(row) for row in export_rows(store, run_id)]
    other = ReplayStore(f"sqlite:///{tmp_path}/other.db")
    target = other.runs.create("copy", {}).id
    for _ in range(2):
        import_rows(other, target, map(json.loads, text))
    assert [json.dumps(row) for row in export_rows(other, target)] == text
    keys = {t.id: t.key for t in other.trajectories.of(target)}
    said = [(keys[label.trajectory_id], keys.get(label.other_id), label.value) for label in other.labels.of(target)]
    assert said == [("g/0", "h/1", 1.0), ("h/1", None, 0.25), ("h/1", None, 0.25)]
    with pytest.raises(DataError, match=r"compares \('g', 0\) with \('h', 1\), which is not among the rows"):
        import_rows(other, other.runs.create("part", {}).id, map(json.loads, text[:1]))
    other.close()


@pytest.mark.usefixtures("small_pages")
def test_an_export_goes_page_by_page(store: ReplayStore, run_id: str, task_of, trajectory_of, monkeypatch) -> None:
    asked: list[int] = []
    by_id = Trajectories.by_id
    monkeypatch.setattr(Trajectories, "by_id", lambda self, ids: asked.append(len(ids)) or by_id(self, ids))
    store.trajectories.add(run_id, [NewTrajectory(f"g{i}", trajectory_of(task_of(i)), 1, None) for i in range(10)])
    found = export_rows(store, run_id)
    first = next(found)
    assert asked == [4]  # the rest is not read yet, and others may write meanwhile
    store.trajectories.add(run_id, [NewTrajectory("later", trajectory_of(task_of(1)), 1, None)])
    assert [row["group"] for row in (first, *found)] == [f"g{i}" for i in range(10)]
    assert asked == [4, 4, 2]


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "_PAGE", 4)


@given(st.lists(segments(), min_size=1, max_size=3), st.text(max_size=9))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_tokens_come_back_bit_for_bit(tmp_path_factory, task_of, parts: list[Segment], said: str) -> None:
    source = ReplayStore(f"sqlite:///{tmp_path_factory.mktemp('s')}/s.db")
    run = source.runs.create("a", {}).id
    source.tasks.add(run, [task_of(1)], origin="generated")
    turn = Turn(Message("assistant", said), (), None)
    whole = Trajectory("hash1", Source.POLICY, (turn,), tuple(parts), StopReason.TERMINATED)
    source.trajectories.add(run, [NewTrajectory("g", whole, 1, None)])
    copy = source.runs.create("b", {}).id
    import_rows(source, copy, (json.loads(json.dumps(row)) for row in export_rows(source, run)))
    (found,) = source.trajectories.of(copy)
    assert found.trajectory.turns == (turn,)
    assert all(a.same_as(b) for a, b in zip(found.trajectory.segments, parts, strict=True))
    source.close()


def test_an_attempt_keeps_its_id_where_the_store_has_none_of_it(
    store: ReplayStore, run_id: str, task_of, trajectory_of, tmp_path
) -> None:
    store.trajectories.add(run_id, [NewTrajectory("g", trajectory_of(task_of(1)), 1, None)])
    (stored,) = store.trajectories.of(run_id)
    (row,) = export_rows(store, run_id)
    assert row["id"] == stored.id == str(UUID(stored.id))
    other = ReplayStore(f"sqlite:///{tmp_path}/other.db")
    there, here = other.runs.create("copy", {}).id, store.runs.create("copy", {}).id
    import_rows(other, there, [row])
    import_rows(store, here, [row])
    assert [t.id for t in other.trajectories.of(there)] == [stored.id]
    (copy,) = store.trajectories.of(here)
    assert copy.id != stored.id
    assert [r | {"id": stored.id} for r in export_rows(store, here)] == [row]
    other.close()
