"""What is sent of an iteration, by name."""

from __future__ import annotations

from journeyman.agent.data import Split
from journeyman.workflows.stages import evaluate as evaluating
from journeyman.workflows.stages.evaluate import evaluate
from journeyman.workflows.stages.generate import generate
from journeyman.workflows.stages.promote import promote
from journeyman.workflows.stages.report import iteration_row
from journeyman.workflows.stages.score import score
from journeyman.workflows.tracking.figures import figures


def test_everything_that_is_stored_has_a_name(session, go_on, measure) -> None:
    store, run_id = session.store, session.run.id
    for iteration in (0, 1, 2):
        go_on(iteration)
    store.policies.note_hand_over(store.policies.numbered(run_id, 3).id, 1e-5)
    attempts = dict.fromkeys(("attempts/made", "attempts/broken", "attempts/relabels", "attempts/demonstrations"), 0)
    found = figures(store, run_id, 2)
    assert found.pop("seconds/iteration") >= 0
    assert found == attempts | {
        "learner/loss": 0.5,
        "learner/approx_kl": 2.5e-4,
        "policy/number": 3,
        "policy/promoted": 0,
        "policy/handover_gap": 1e-5,
        "validation/pass_at_1": 0.375,
        "validation/pass_at_k": 0.75,
        "validation/mean_reward": 0.375,
        "guard/words/pass_at_1": 0.5,
        "guard/words/pass_at_k": 1.0,
        "guard/words/mean_reward": 0.5,
        "audit/validation/repetition": 0.125,
    }
    assert all(type(value) is float for value in found.values())
    first = figures(store, run_id, 0)
    assert (first["policy/number"], first["policy/promoted"], first["validation/pass_at_1"]) == (1, 1, 0.25)
    assert "policy/handover_gap" not in first
    measure(Split.TEST, 2, 0.125, number=1)
    measure(Split.TEST, 2, 0.375, number=2)
    added = {n: v for n, v in figures(store, run_id, 2).items() if n.startswith("test/")}
    assert added == {
        "test/pass_at_1": 0.375,
        "test/pass_at_k": 0.75,
        "test/mean_reward": 0.375,
        "test/warm_start/pass_at_1": 0.125,
        "test/warm_start/pass_at_k": 0.25,
        "test/warm_start/mean_reward": 0.125,
    }
    go_on(3)  # as by `journeyman finetune --promote`, after the run's end
    assert store.policies.newest_promoted(run_id).number == 4
    assert {n: v for n, v in figures(store, run_id, 2).items() if n.startswith("test/")} == added


def test_they_agree_with_the_table_of_the_run(watched) -> None:
    """One iteration with real attempts: the first version solves half of the tasks, the second all."""
    session = watched.open(generate={"attempts": 2, "tasks": 4})
    watched.candidate(session, 0, lambda a, b: "answer" if a % 2 else "no")
    for stage, iteration in ((evaluate, 0), (generate, 1), (score, 1)):
        stage(session.ref, iteration)
    watched.candidate(session, 1, lambda a, b: "answer")
    for stage in (evaluate, promote):
        stage(session.ref, 1)
    evaluating.test(session.ref)
    row, found = iteration_row(session, 1), figures(session.store, session.run.id, 1)
    assert (row["attempts"], found["attempts/made"], found["train/pass_at_1"]) == (8, 8, 0.5)
    assert (row["validation pass@1"], found["validation/pass_at_1"]) == (1.0, 1.0)
    assert found["test/pass_at_1"] == 1.0
    first = figures(session.store, session.run.id, 0)
    assert first["validation/pass_at_1"] == 0.5
    assert "train/pass_at_1" not in first
