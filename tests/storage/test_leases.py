"""Work is done once: claims, expiry, and the slower worker's outcome that does not count."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from journeyman.agent.data import ScoreRecord, Status, Verdict, VerifierId
from journeyman.agent.errors import LeaseLostError
from journeyman.storage.leases import Progress
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.rows import NewTrajectory

KIND = "generate/1"


def test_every_piece_is_claimed_by_one(url: str, store: ReplayStore, run_id: str) -> None:
    subjects = [f"s{i:03d}" for i in range(100)]
    store.queue.enqueue(run_id, KIND, subjects)
    store.queue.enqueue(run_id, KIND, subjects)

    def work(number: int) -> list[str]:
        mine, other = [], ReplayStore(url)
        while claim := other.queue.claim(run_id, KIND, f"w{number}", limit=7, seconds=60):
            mine += claim.subjects
            other.queue.finish(claim)
        other.close()
        return mine

    with ThreadPoolExecutor(4) as threads:
        done = [s for mine in threads.map(work, range(4)) for s in mine]
    assert sorted(done) == subjects
    assert store.queue.progress(run_id, KIND) == Progress(open=0, claimed=0, done=100)


def test_an_expired_claim_goes_to_another(store: ReplayStore, run_id: str, task_of, trajectory_of) -> None:
    store.queue.enqueue(run_id, KIND, ["hash1"])
    slow = store.queue.claim(run_id, KIND, "slow", limit=1, seconds=-1)
    assert slow is not None
    quick = store.queue.claim(run_id, KIND, "quick", limit=1, seconds=60)
    assert quick is not None
    assert quick.subjects == ("hash1",)
    store.trajectories.add(run_id, [NewTrajectory("g", trajectory_of(task_of(1)), 1, None)], finishes=quick)
    late = NewTrajectory("late", trajectory_of(task_of(1)), 1, None)
    with pytest.raises(LeaseLostError, match="1 of 1 pieces of generate/1 are another worker's by now"):
        store.trajectories.add(run_id, [late], finishes=slow)
    with pytest.raises(LeaseLostError):
        store.queue.renew(slow, seconds=60)
    store.queue.finish(quick)  # said again, as after an answer that was lost: it is done, by this claim
    assert [t.group for t in store.trajectories.of(run_id)] == ["g"]
    assert store.queue.progress(run_id, KIND).finished


def test_renewing_and_releasing(store: ReplayStore, run_id: str) -> None:
    store.queue.enqueue(run_id, KIND, ["a", "b"])
    claim = store.queue.claim(run_id, KIND, "w", limit=2, seconds=-1)
    assert claim is not None
    store.queue.renew(claim, seconds=60)
    assert store.queue.claim(run_id, KIND, "x", limit=2, seconds=60) is None
    store.queue.release(claim)
    assert store.queue.progress(run_id, KIND) == Progress(open=2, claimed=0, done=0)
    assert not store.queue.progress(run_id, KIND).finished
    again = store.queue.claim(run_id, KIND, "x", limit=1, seconds=60)
    assert again is not None
    assert again.subjects == ("a",)


def test_work_to_be_had_is_open_or_expired(store: ReplayStore, run_id: str) -> None:
    for kind in ("generate/1", "generate/2", "score/1", "score/2"):
        store.queue.enqueue(run_id, kind, ["a"])
    assert store.queue.claim(run_id, "generate/1", "w", limit=1, seconds=60) is not None
    assert store.queue.claim(run_id, "generate/2", "w", limit=1, seconds=-1) is not None
    done = store.queue.claim(run_id, "score/1", "w", limit=1, seconds=60)
    assert done is not None
    store.queue.finish(done)
    assert store.queue.kinds_to_do(run_id) == ["generate/2", "score/2"]
    assert store.queue.kinds_to_do(store.runs.create("other", {}).id) == []


def test_a_dead_worker_gives_back_what_it_held(store: ReplayStore, run_id: str) -> None:
    store.queue.enqueue(run_id, KIND, ["a", "b", "c"])
    claims = [store.queue.claim(run_id, KIND, name, limit=1, seconds=60) for name in ("dead", "dead", "alive")]
    assert all(claims)
    store.queue.finish(claims[0])
    store.queue.release_all_of(run_id, KIND, "dead")
    assert store.queue.progress(run_id, KIND) == Progress(open=1, claimed=1, done=1)
    with pytest.raises(LeaseLostError):
        store.queue.finish(claims[1])


def test_scores_finish_a_claim_once(store: ReplayStore, run_id: str, task_of, trajectory_of) -> None:
    store.trajectories.add(run_id, [NewTrajectory("g", trajectory_of(task_of(1)), 1, None)])
    (row,) = store.trajectories.of(run_id)
    store.queue.enqueue(run_id, "score/1", [row.id])
    slow = store.queue.claim(run_id, "score/1", "slow", limit=1, seconds=-1)
    quick = store.queue.claim(run_id, "score/1", "quick", limit=1, seconds=60)
    assert slow is not None
    assert quick is not None
    verifier = VerifierId("goal", "1", "00")
    for claim, score in ((quick, 1.0), (quick, 0.5)):  # said again, as after an answer that was lost
        store.verdicts.add([(row.id, ScoreRecord(verifier, Verdict(Status.OK, score), 1.0))], finishes=claim)
    with pytest.raises(LeaseLostError):
        store.verdicts.add([(row.id, ScoreRecord(verifier, Verdict(Status.OK, 0.0), 1.0))], finishes=slow)
    assert store.trajectories.by_id([row.id], tokens=False)[0].verdicts == {verifier: Verdict(Status.OK, 1.0)}
    assert store.trajectories.by_id([row.id], tokens=False)[0].trajectory.segments == ()
    assert store.queue.progress(run_id, "score/1").finished
