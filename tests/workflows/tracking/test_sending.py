"""Each number is sent once, whatever is killed; a tracker that fails stops nothing, and gets later what it missed."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import ClassVar

import pytest

from journeyman.agent.data import Split
from journeyman.workflows.tracking import sending
from journeyman.workflows.tracking.sending import tracking
from journeyman.workflows.tracking.trackers import TRACKERS, Held, Subject


class Fake:
    """A tracker whose run outlives it, and whose calls fail while `trouble` names them."""

    rows: ClassVar[list[tuple[int, dict[str, float]]]] = []
    calls: ClassVar[list[str]] = []
    trouble: ClassVar[dict[str, BaseException | float]] = {}
    subject: ClassVar[Subject | None] = None

    def open(self, run: Subject) -> Held:
        self._call("open")
        Fake.subject = run
        return {name: {s for s, row in self.rows if name in row} for _, numbers in self.rows for name in numbers}

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        print("* logged")
        self._call("log")
        self.rows.append((step, dict(numbers)))

    def close(self, *, finished: bool) -> None:
        self._call("close")
        self.calls.append("finished" if finished else "stopped")

    def _call(self, name: str) -> None:
        self.calls.append(name)
        trouble = self.trouble.get(name)
        if isinstance(trouble, BaseException):
            raise trouble
        if trouble:
            time.sleep(trouble)


@pytest.fixture
def fake(monkeypatch, track) -> type[Fake]:
    for name, empty in (("rows", []), ("calls", []), ("trouble", {})):
        monkeypatch.setattr(Fake, name, empty)
    monkeypatch.setitem(TRACKERS, "trackio", Fake)
    track("trackio")
    return Fake


def steps(fake: type[Fake], name: str = "validation/pass_at_1") -> list[int]:
    return [step for step, numbers in fake.rows if name in numbers]


def test_a_run_from_its_first_iteration_to_its_test(session, fake, go_on, measure, capsys) -> None:
    with tracking(session) as track:
        for iteration in (0, 1):
            go_on(iteration)
            track(iteration)
            track(iteration)
        measure(Split.TEST, 1, 0.125, number=2)
        track(1)
        track(1)
    assert fake.calls == ["open", "log", "log", "log", "close", "finished"]
    assert [step for step, _ in fake.rows] == [0, 1, 1]
    assert list(fake.rows[2][1]) == ["test/pass_at_1", "test/pass_at_k", "test/mean_reward"]
    assert capsys.readouterr().out == ""  # where `--json` prints
    assert (session.said, session.lines) == ([], [f"  numbers go to trackio as {session.run.own_name}"])


def test_the_tracker_is_told_what_run_it_is_and_no_secret(session, fake, go_on) -> None:
    go_on(0)
    with tracking(session) as track:
        track(0)
    assert (fake.subject.id, fake.subject.name) == (session.run.id, session.run.own_name)
    assert fake.subject.settings["verifiers"]["pattern"]["pattern"] == "https://***@host/x"
    assert fake.subject.settings["generate"]["max_tokens"] == session.settings.generate.max_tokens
    assert "track" not in fake.subject.settings


def test_what_a_library_says_of_a_url_is_shown_without_its_password(session, fake, go_on) -> None:
    fake.trouble["open"] = ConnectionError(
        "API request to http://ann:hunter2@host:80/api: no route, /api?token=hunter2"
    )
    go_on(0)
    with tracking(session) as track:
        track(0)
    told = "trackio: ConnectionError: API request to http://***@host:80/api: no route, /api?token=***;"
    assert [line.startswith(f"  warning: {told}") for line in session.said] == [True]


def interrupted_after(session, iteration: int) -> None:
    with tracking(session) as track:
        for step in range(iteration + 1):
            track(step)
        raise KeyboardInterrupt


def test_a_run_that_was_killed_sends_only_what_is_missing(session, fake, go_on) -> None:
    for iteration in (0, 1, 2):
        go_on(iteration)
    with tracking(session) as track:
        track(1)
    step, numbers = fake.rows[1]
    fake.rows[1] = step, {name: numbers[name] for name in list(numbers)[:3]}  # as if killed while it wrote them
    with pytest.raises(KeyboardInterrupt):
        interrupted_after(session, 2)
    assert fake.calls[-1] == "stopped"
    sent = [(step, name) for step, numbers in fake.rows for name in numbers]
    assert len(sent) == len(set(sent))
    assert steps(fake) == [0, 1, 2]
    assert fake.rows[1][1] | fake.rows[2][1] == numbers


def test_what_becomes_known_of_a_step_after_later_ones_were_sent(session, fake, go_on, measure) -> None:
    """A version that was made early, and evaluated and promoted when a later one had been."""
    store, run_id = session.store, session.run.id
    for iteration in (0, 1, 2):
        go_on(iteration)
    with tracking(session) as track:
        track(2)
    before = len(fake.rows)
    measure(Split.GUARD, 1, 0.25, guard="late")
    store.policies.note_hand_over(store.policies.numbered(run_id, 1).id, 1e-5)
    for _ in range(2):
        with tracking(session) as track:
            track(2)
    assert fake.rows[before:] == [
        (0, {"policy/handover_gap": 1e-5}),
        (1, {"guard/late/pass_at_1": 0.25, "guard/late/pass_at_k": 0.5, "guard/late/mean_reward": 0.25}),
    ]


@pytest.mark.parametrize("where", ["open", "log"])
@pytest.mark.parametrize("trouble", [ConnectionError("no network\nat all"), SystemExit(1), 5.0])
def test_a_tracker_that_fails_gets_later_what_it_missed(session, fake, go_on, monkeypatch, where, trouble) -> None:
    said = "no answer within 0.2 s" if trouble == 5.0 else f"{type(trouble).__name__}: {trouble}"
    with tracking(session) as track:
        fake.trouble[where] = trouble
        if trouble == 5.0:
            monkeypatch.setattr(sending, "SECONDS", 0.2)
        for iteration in (0, 1):
            go_on(iteration)
            track(iteration)
        fake.trouble.clear()
        monkeypatch.setattr(sending, "SECONDS", 60.0)
        go_on(2)
        track(2)
    assert steps(fake) == [0, 1, 2]
    later = "the numbers are in the store, and are sent at the end of an iteration at which it answers"
    assert session.said == [f"  warning: trackio: {said}; {later}"]
    assert fake.calls[-2:] == ["close", "finished"]
    assert sys.stdout is not None


def test_a_tracker_that_cannot_end_is_only_warned_of(session, fake, go_on) -> None:
    go_on(0)
    with tracking(session) as track:
        track(0)
        fake.trouble["close"] = OSError("disk full")
    assert len(session.said) == 1
    assert "trackio: OSError: disk full" in session.said[0]


def test_one_that_fails_keeps_no_other_from_its_numbers(session, fake, go_on, track, monkeypatch) -> None:
    class Broken(Fake):
        def open(self, run: Subject) -> Held:
            raise RuntimeError("no")

    monkeypatch.setitem(TRACKERS, "wandb", Broken)
    track("wandb", "trackio")
    go_on(0)
    with tracking(session) as send:
        send(0)
    assert steps(fake) == [0]
    assert [line.partition(";")[0] for line in session.said] == ["  warning: wandb: RuntimeError: no"]


def test_without_trackers_nothing_is_asked(session, monkeypatch) -> None:
    monkeypatch.setattr(sending, "figures", None)
    with tracking(session) as track:
        track(3)  # would raise, were anything asked
    assert session.said == session.lines == []
