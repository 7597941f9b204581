"""Work is done once: claims, expiry, and the slower worker's outcome that does not count."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from journeyman.agent.errors import LeaseLostError
from journeyman.storage.leases import Progress
from journeyman.storage.rows import NewTrajectory
from journeyman.storage.store import ReplayStore

KIND = "generate/1"


def test_every_piece_is_claimed_by_one(url: str, store: ReplayStore, run_id: str) -> None:
    subjects = [f"s{i:03d}" for i in range(100)]
    store.enqueue(run_id, KIND, subjects)
    store.enqueue(run_id, KIND, subjects)

    def work(number: int) -> list[str]:
        mine, other = [], ReplayStore(url)
        while claim := other.claim(run_id, KIND, f"w{number}", limit=7, seconds=60):
            mine += claim.subjects
            other.finish(claim)
        other.close()
        return mine

    with ThreadPoolExecutor(4) as threads:
        done = [s for mine in threads.map(work, range(4)) for s in mine]
    assert sorted(done) == subjects
    assert store.progress(run_id, KIND) == Progress(open=0, claimed=0, done=100)


def test_an_expired_claim_goes_to_another(store: ReplayStore, run_id: str, task_of, trajectory_of) -> None:
    store.enqueue(run_id, KIND, ["hash1"])
    slow = store.claim(run_id, KIND, "slow", limit=1, seconds=-1)
    assert slow is not None
    quick = store.claim(run_id, KIND, "quick", limit=1, seconds=60)
    assert quick is not None
    assert quick.subjects == ("hash1",)
    store.add_trajectories(run_id, [NewTrajectory("g", trajectory_of(task_of(1)), 1, None)], finishes=quick)
    late = NewTrajectory("late", trajectory_of(task_of(1)), 1, None)
    with pytest.raises(LeaseLostError, match="1 of 1 pieces of generate/1 are another worker's by now"):
        store.add_trajectories(run_id, [late], finishes=slow)
    with pytest.raises(LeaseLostError):
        store.renew(slow, seconds=60)
    store.finish(quick)  # said again, as after an answer that was lost: it is done, by this claim
    assert [t.group for t in store.trajectories(run_id)] == ["g"]
    assert store.progress(run_id, KIND).finished


def test_renewing_and_releasing(store: ReplayStore, run_id: str) -> None:
    store.enqueue(run_id, KIND, ["a", "b"])
    claim = store.claim(run_id, KIND, "w", limit=2, seconds=-1)
    assert claim is not None
    store.renew(claim, seconds=60)
    assert store.claim(run_id, KIND, "x", limit=2, seconds=60) is None
    store.release(claim)
    assert store.progress(run_id, KIND) == Progress(open=2, claimed=0, done=0)
    assert not store.progress(run_id, KIND).finished
    again = store.claim(run_id, KIND, "x", limit=1, seconds=60)
    assert again is not None
    assert again.subjects == ("a",)
