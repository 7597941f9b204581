"""Step-level advantages in the loop: token by token as worked out by hand, and a policy that they move."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from journeyman.agent.data import (
    Message,
    ScoreRecord,
    Segment,
    Source,
    Split,
    Status,
    StopReason,
    Trajectory,
    Turn,
    Verdict,
)
from journeyman.agent.errors import SettingsError
from journeyman.agent.learning.rows import Stream
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.rows import NewTrajectory
from journeyman.storage.trajectories.trajectories import StoredTrajectory
from journeyman.workflows.attempts.attempts import attempts_of
from journeyman.workflows.console import Reporter
from journeyman.workflows.expert_iteration import expert_iteration
from journeyman.workflows.session.checking import check
from journeyman.workflows.session.engines import open_task_set
from journeyman.workflows.session.runs import start_run
from journeyman.workflows.session.session import RunRef, Session
from journeyman.workflows.settings.loading import parse_settings
from journeyman.workflows.settings.settings import Settings
from journeyman.workflows.updates.lessons import Lesson, lessons
from journeyman.workflows.updates.material import Groups

STEPS = "step_plugins:LikesL"
A = 0.5 / (3**-0.5 + 1e-4)
"""Outcome advantage of one of two successes in a group of four."""
B = 0.5 / (0.5 + 1e-4)
"""Of step scores 1, 0 and 0.5, the normalised first."""


@pytest.fixture(autouse=True)
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1])


def settings_in(folder: Path, **sections) -> Settings:
    values = {
        "store": {"url": f"sqlite:///{folder}/store.db", "artifacts": str(folder / "artifacts")},
        "environment": {"name": "step_plugins:Letters"},
        "rubric": {"pattern": 1.0, STEPS: 0.0},
        "verifiers": {"pattern": {"pattern": "^[LR]\n[LR]$"}},
        "model": {"hidden": 64, "layers": 2},
        "sampler": {"kind": "transformers"},
        "finetune": {"step_verifier": STEPS},
    }
    return parse_settings(values | sections, "the test")


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    settings = settings_in(tmp_path, finetune={"step_verifier": STEPS, "step_weight": 2.0})
    store = ReplayStore(settings.store.url)
    run = store.runs.create("r", settings.model_dump(mode="json"))
    yield Session(RunRef("", run.id), store, Reporter(quiet=True), "the test")
    store.close()


def store_group(session: Session, attempts: list[tuple[str, Verdict, Verdict]]) -> None:
    """A group of attempts: what was said, the pattern's verdict, the steps'."""
    task = next(open_task_set(session.settings).tasks(Split.TRAIN, 0))
    session.store.tasks.add(session.run.id, [task], origin="generated")
    pattern, steps = (criterion.id for criterion in session.rubric.criteria)
    rows = []
    for number, (text, outcome, judged) in enumerate(attempts):
        ids = np.array([*session.renderer.encode(text), session.renderer.end_id], np.int32)
        segment = Segment(ids[:1], ids, np.ones(len(ids), np.bool_), np.zeros(len(ids), np.float32))
        turn = Turn(Message("assistant", text))
        made = Trajectory(task.hash, Source.POLICY, (turn,), (segment,), StopReason.TERMINATED, number)
        scores = (ScoreRecord(pattern, outcome, 0.0), ScoreRecord(steps, judged, 0.0))
        rows.append(NewTrajectory("g", made, 1, None, scores=scores))
    session.store.trajectories.add(session.run.id, rows)


def outcome(score: float) -> Verdict:
    return Verdict(Status.OK, score)


def of_steps(*scores: float) -> Verdict:
    return Verdict(Status.OK, 0.0, step_scores=scores)


def advantages(lesson: Lesson) -> list[float]:
    (row,) = lesson.rows(policy_weight=1.0)
    return row.weights(Stream.POLICY).tolist()


def found_in(session: Session) -> list[Lesson]:
    return lessons(session, 1, None, attempts_of(session, 1), [])


def test_token_advantages_are_those_worked_out_by_hand(session: Session) -> None:
    failed = Verdict(Status.ERROR, explanation="out of memory")
    store_group(
        session,
        [
            ("L\nR", outcome(1.0), of_steps(1.0, 0.0)),  # tokens: L, newline | R, end
            ("日", outcome(0.0), of_steps(0.5)),  # three bytes, end
            ("LL", outcome(0.0), failed),
            ("R\nR", outcome(1.0), Verdict.abstain("too short")),
        ],
    )
    first, second, third, fourth = found_in(session)
    np.testing.assert_allclose(advantages(first), [A, A, A - 2 * B, A - 2 * B], rtol=1e-6)
    assert first.mean_advantage == pytest.approx(A - B)
    np.testing.assert_allclose(advantages(second), [-A] * 4, rtol=1e-6)
    np.testing.assert_allclose(advantages(third), [-A] * 3, rtol=1e-6)
    np.testing.assert_allclose(advantages(fourth), [A] * 4, rtol=1e-6)
    assert [x.unweighed for x in (first, second, third, fourth)] == [None, None, "error", "abstain"]


def test_what_cannot_be_weighed_is_masked_and_says_why(session: Session, caplog: pytest.LogCaptureFixture) -> None:
    store_group(
        session,
        [
            ("L\nR", outcome(1.0), of_steps(1.0, 0.0)),
            ("L", outcome(0.0), of_steps(0.5)),
            ("R", outcome(0.0), of_steps(0.9, 0.9, 0.9)),
            ("L!\nR", outcome(1.0), of_steps(0.9, 0.9)),
            ("R\nL", Verdict(Status.TIMEOUT), of_steps(0.9, 0.9)),
        ],
    )
    found = found_in(session)
    np.testing.assert_allclose(advantages(found[0]), [A, A, A - 2 * B, A - 2 * B], rtol=1e-6)
    assert [lesson.unweighed for lesson in found] == [
        None, None, "3 step scores of 1 steps", "steps_of() raised RuntimeError: no idea", "no reward",
    ]  # fmt: skip
    assert [set(advantages(lesson)) for lesson in found[2:]] == [{np.float32(-A)}, {np.float32(A)}, {0.0}]
    assert "3 step scores of 1 steps of verifier likes_l/1: trajectory" in caplog.text


def test_steps_that_are_no_pieces_of_the_text_are_masked_and_say_why(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    store_group(
        session,
        [
            ("L\nR", outcome(1.0), of_steps(1.0, 0.0)),
            ("L", outcome(0.0), of_steps(0.5)),
            ("twice\nR", outcome(0.0), of_steps(0.9, 0.9)),
            ("R\nbackwards", outcome(1.0), of_steps(0.9, 0.1)),
            ("L\nbeyond", outcome(0.0), of_steps(0.2, 0.1)),
        ],
    )
    found = found_in(session)
    mean = [lesson.mean_advantage for lesson in found[2:]]
    np.testing.assert_allclose(advantages(found[0])[::2], [mean[1], mean[1] - 2 * B], rtol=1e-6)
    assert [set(advantages(lesson)) for lesson in found[2:]] == [{np.float32(value)} for value in mean]
    assert [lesson.unweighed for lesson in found] == [None] * 2 + ["steps out of order or beyond the text"] * 3
    assert "a step begins at character 1000 of a turn whose tokens are only" in caplog.text


def test_without_a_step_verifier_rows_are_as_before(session: Session) -> None:
    store_group(session, [("L\nR", outcome(1.0), of_steps(1.0, 0.0)), ("L", outcome(0.0), of_steps(0.5))])
    session.settings = settings_in(Path(), finetune={})
    half = 0.5 / (0.5**0.5 + 1e-4)
    assert [lesson.mean_advantage for lesson in found_in(session)] == pytest.approx([half, -half])
    assert [lesson.step_terms for lesson in found_in(session)] == [(), ()]


def test_what_groups_are_made_of_has_the_step_scores_in_it(session: Session) -> None:
    store_group(session, [("L\nR", outcome(1.0), of_steps(1.0, 0.0)), ("L", outcome(0.0), of_steps(0.5))])
    steps = session.rubric.criteria[1].id

    def key() -> object:
        return Groups(attempts_of(session, 1), []).key(session)

    before, unscored = key(), attempts_of(session, 1)[1].id
    assert before == key()
    session.store.verdicts.add([(unscored, ScoreRecord(steps, of_steps(0.25), 0.0))])
    assert before != key()
    session.settings = settings_in(Path(), finetune={})
    told = key()
    session.store.verdicts.add([(unscored, ScoreRecord(steps, of_steps(0.75), 0.0))])
    assert told == key()  # nobody weighs them


def test_the_step_verifier_must_be_in_the_rubric_and_score_steps(tmp_path: Path) -> None:
    check(settings_in(tmp_path))
    with pytest.raises(SettingsError, match=r"not in the rubric, .*did you mean 'pattern'.*weight 0"):
        check(settings_in(tmp_path, finetune={"step_verifier": "patern"}))
    with pytest.raises(SettingsError, match="'pattern' scores no steps"):
        check(settings_in(tmp_path, finetune={"step_verifier": "pattern"}))


@pytest.mark.slow
def test_a_step_verifier_moves_the_policy_its_way(tmp_path: Path) -> None:
    settings = settings_in(
        tmp_path,
        run={"iterations": 2, "engine": "none", "output": str(tmp_path)},
        tasks={"train": 64, "validation": 8, "test": 0},
        warm_start={"demonstrations": 64, "max_epochs": 40, "check_every": 40, "batch": 16, "learning_rate": 1e-2},
        generate={"tasks": 16, "attempts": 8, "max_tokens": 8},
        relabel={"strategies": []},
        replay={"groups": 0},
        finetune={"step_verifier": STEPS, "bc_weight": 0.0, "batch": 8, "learning_rate": 1e-2},
        evaluate={"attempts": 4, "margin": -1.0},
    )
    ref = start_run(settings)
    expert_iteration(ref, Reporter(quiet=True))
    store = ReplayStore(settings.store.url)
    before = attempts(store, ref, Split.TRAIN, 1)
    assert 0.3 < share_of_l(before) < 0.7
    assert share_of_l(attempts(store, ref, Split.VALIDATION, 2)) > 0.9
    judged = next(v for one, v in before[0].verdicts.items() if one.name == "likes_l")
    assert judged.step_scores == tuple(float(line == "L") for line in before[0].trajectory.final_text.split())
    assert "steps_unweighed" not in store.policies.numbered(ref.run_id, 2).stats
    store.close()


def attempts(store: ReplayStore, ref: RunRef, split: Split, iteration: int) -> list[StoredTrajectory]:
    return store.trajectories.of(ref.run_id, split=split, iterations=[iteration], source=Source.POLICY, tokens=False)


def share_of_l(found: list[StoredTrajectory]) -> float:
    said = "".join(stored.trajectory.final_text for stored in found)
    return said.count("L") / (said.count("L") + said.count("R"))
