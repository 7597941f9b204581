"""A chosen few of what updates say of themselves are in the run's table, in `status` and in the summary."""

from __future__ import annotations

import json

import pytest

from journeyman.storage.runs.policies import NewPolicy
from journeyman.workflows.cli import main
from journeyman.workflows.stages.evaluate import evaluate
from journeyman.workflows.stages.promote import promote
from journeyman.workflows.stages.report import LEARNED, iteration_row, summarise

STATS = {"loss": 0.5, "entropy": 1.25, "grad_norm": 0.75, "tokens_per_second": 12345.6, "rows": 64.0}
POLICY = {"approx_kl": 2.5e-4, "clip_fraction": 0.03125, "kl": 0.0625}

MORE = {"approx_kl": 2.5e-4, "groups_without_contrast": 0.25, "steps_unweighed": {"none": 1}}


def run_of_one_update(watched, stats: dict, **sections):
    session = watched.open(**sections)
    watched.candidate(session, 0, lambda a, b: f"answer {a + b}")
    evaluate(session.ref, 0)
    session.store.runs.begin_iteration(session.run.id, 1)
    parent = session.store.policies.numbered(session.run.id, 1)
    session.store.policies.add(session.run.id, NewPolicy(2, parent.id, 1, "grpo", "x1", stats))
    evaluate(session.ref, 1)
    promote(session.ref, 1)
    return session


@pytest.mark.parametrize(
    ("sections", "stats", "shown"),
    [
        ({}, STATS | POLICY, {"kl": 2.5e-4, "clipped": 0.03125, "entropy": 1.25, "grad norm": 0.75}),
        (
            {"kl": {"weight": 0.1}},
            STATS | POLICY,
            {"kl": 2.5e-4, "kl to v1": 0.0625, "clipped": 0.03125, "entropy": 1.25},
        ),
        ({"finetune": {"policy_weight": 0.0}}, STATS, {"entropy": 1.25, "grad norm": 0.75, "tokens/s": 12346}),
        ({}, {"steps": 0.0}, dict.fromkeys(("kl", "clipped", "entropy", "grad norm", "tokens/s"))),
    ],
)
def test_the_table_has_the_columns_that_the_settings_ask_for(watched, sections, stats, shown) -> None:
    session = run_of_one_update(watched, stats, **sections)
    first, second = (iteration_row(session, iteration) for iteration in (0, 1))
    assert list(first) == list(second)
    assert list(second)[-1] == "promoted"
    assert all(first[column] is None for column in first if column in LEARNED)
    assert {column: second[column] for column in shown} == shown
    absent = {"kl to v1": "kl" not in sections, "kl": "finetune" in sections}
    assert not [column for column, missing in absent.items() if missing and column in second]


def test_status_and_summary_show_them(watched, capsys) -> None:
    session = run_of_one_update(watched, STATS | MORE)
    store = ["--store", session.ref.store_url]
    assert main(["status", "--json", *store]) == 0
    found = json.loads(capsys.readouterr().out)["updates"]
    expected = {"policy": "v2", "loss": 0.5, "kl": 2.5e-4, "entropy": 1.25, "grad norm": 0.75, "no contrast": 0.25}
    assert found == [expected | {"tokens/s": 12346}]
    assert main(["status", *store]) == 0
    shown = capsys.readouterr().out
    assert "what the updates say of themselves" in shown
    assert "2.5e-4" in shown
    (told,) = summarise(session)["updates"]
    assert told == {"policy": 2, **STATS, **MORE}
