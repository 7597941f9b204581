"""A run in the store, without a model: what its updates and evaluations said is written there by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from journeyman.agent.data import Split
from journeyman.storage.runs.evaluations import AuditInfo, EvaluationInfo
from journeyman.storage.runs.policies import NewPolicy
from journeyman.workflows.session.session import Session

SECRET = "https://ann:secret@host/x"


@pytest.fixture
def session(watched, monkeypatch) -> Session:
    """A run of a warm start only, without trackers; `said` has its warnings, `lines` whatever else it says."""
    found = watched.open(verifiers={"pattern": {"pattern": SECRET}})
    found.lines, found.said = [], []

    def line(text: str) -> None:
        (found.said if text.startswith("  warning: ") else found.lines).append(text)

    monkeypatch.setattr(found.reporter, "line", line)
    return found


@pytest.fixture
def track(session: Session) -> Callable[..., None]:
    """`track("trackio", ...)`: from now on the run has these trackers; keyword arguments are settings of [track]."""

    def make(*to: str, **settings: str) -> None:
        changed = session.settings.track.model_copy(update={"to": to, **settings})
        session.settings = session.settings.model_copy(update={"track": changed})

    return make


@pytest.fixture
def measure(session: Session) -> Callable[..., None]:
    """`measure(split, iteration, pass_at_1)`: an evaluation of the iteration's version, or of version `number`."""

    def make(split: Split, iteration: int, pass_at_1: float, guard: str = "", number: int | None = None) -> None:
        of = iteration + 1 if number is None else number
        info = EvaluationInfo(split, iteration, of, 8, 4, pass_at_1, 2 * pass_at_1, pass_at_1, guard)
        session.store.evaluations.add(session.run.id, info)

    return make


@pytest.fixture
def go_on(session: Session, measure) -> Callable[[int], None]:
    """`go_on(i)`: iteration i is over, which made version i + 1; odd ones are promoted, 0 is the warm start."""

    def make(iteration: int) -> None:
        store, run_id, number = session.store, session.run.id, iteration + 1
        if iteration:
            store.runs.begin_iteration(run_id, iteration)
            stats = {"loss": 1 / iteration, "approx_kl": 2.5e-4, "steps_unweighed": {"no steps": 3}, "note": "x"}
            parent = store.policies.newest_promoted(run_id).id
            store.policies.add(run_id, NewPolicy(number, parent, iteration, "finetune", "x", stats))
            measure(Split.GUARD, iteration, 0.5, guard="words")
            store.evaluations.add_audit(run_id, [AuditInfo(number, Split.VALIDATION, "repetition", 0.125, 8)])
        measure(Split.VALIDATION, iteration, 0.25 + iteration / 16)
        store.policies.set_promoted(run_id, number, promoted=iteration % 2 == 1)
        store.runs.finish_iteration(run_id, iteration)

    return make
