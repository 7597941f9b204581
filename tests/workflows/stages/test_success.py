"""Success in SQL is success by the rubric."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

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
from journeyman.storage.runs.policies import NewPolicy
from journeyman.storage.runs.runs import TermInfo
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.rows import NewTrajectory
from journeyman.verifiers.isolation.pool import PoolLimits, VerifierPool
from journeyman.verifiers.rubric import Rubric, Term
from journeyman.workflows.session.engines import rubric_terms
from journeyman.workflows.settings.loading import parse_settings

POOL = VerifierPool(PoolLimits(workers=1))
OPTIONS = {"length": {"budget": 1, "limit": 9}}
NAMES = ("goal", "number", "exact", "length")
TASK = Task("toy", 1, (Message("user", "?"),), Split.TRAIN, "hash")
TERMS = st.builds(
    Term,
    st.sampled_from([-1.0, -0.25, 0.0, 0.1, 0.5, 1.0]),
    st.sampled_from([None, None, 0.5, 1.0]),
    st.booleans(),
)
VERDICTS = st.one_of(
    st.sampled_from([0.0, 0.25, 0.5, 1.0 - 1e-12, 1.0, 1.0, 1.0]).map(lambda score: Verdict(Status.OK, score)),
    st.sampled_from([Status.ABSTAIN, Status.ERROR, Status.TIMEOUT]).map(Verdict),
    st.none(),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplayStore]:
    opened = ReplayStore(f"sqlite:///{tmp_path_factory.mktemp('success')}/store.db")
    yield opened
    opened.close()


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([Term(1.0), Term(-1.0), Term(0.5, 0.25)]),
    st.dictionaries(st.sampled_from(NAMES[1:]), TERMS, max_size=3),
    st.lists(st.tuples(*[VERDICTS] * len(NAMES)), min_size=1, max_size=6),
)
def test_the_views_agree_with_the_rubric(store: ReplayStore, first, terms, attempts) -> None:
    terms = {"goal": first} | terms
    rubric = Rubric.build(terms, OPTIONS, POOL)
    told = [TermInfo(name, term.weight, term.gate, term.shaping) for name, term in terms.items()]
    run = store.runs.create("r", {}, told).id
    store.tasks.add(run, [TASK], origin="generated")
    store.policies.add(run, NewPolicy(1, None, 0, "warm_start", "x", {}, promoted=True))
    store.runs.begin_iteration(run, 1)
    rows, expected = [], []
    for attempt, verdicts in enumerate(attempts):
        given_ = {c.id: v for c, v in zip(rubric.criteria, verdicts, strict=False) if v is not None}
        trajectory = Trajectory("hash", Source.POLICY, (Turn(TASK.prompt[0]),), (), StopReason.TERMINATED, attempt)
        scores = tuple(ScoreRecord(who, verdict, 1.0) for who, verdict in given_.items())
        rows.append(NewTrajectory("g", trajectory, 1, store.policies.numbered(run, 1).id, scores=scores))
        expected.append(rubric.succeeded(given_))
    store.trajectories.add(run, rows)
    with store.database.read() as connection:
        query = text("SELECT success FROM v_trajectory WHERE run_id = :run ORDER BY attempt")
        found = connection.scalars(query, {"run": run}).all()
    assert [bool(success) for success in found] == expected


def test_a_run_stores_its_rubric_and_those_of_its_guards() -> None:
    guard = {"name": "more", "environment": {"name": "countdown"}, "rubric": {"exact": {"weight": 1.0, "gate": 0.5}}}
    values = {"rubric": {"goal": 1.0, "number": {"weight": 0.5, "shaping": True}}, "guard": [guard]}
    assert rubric_terms(parse_settings(values, "here")) == [
        TermInfo("goal", 1.0),
        TermInfo("number", 0.5, shaping=True),
        TermInfo("exact", 1.0, gate=0.5, guard="more"),
    ]
    assert rubric_terms(parse_settings({}, "here")) == [TermInfo("goal", 1.0)]
