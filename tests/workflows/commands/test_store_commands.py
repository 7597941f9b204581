"""`db`, `rescore`, `retract`, `label`, `export` and `import`, as a person uses them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from journeyman.storage.schema.migrate import HEAD


@pytest.fixture
def copy(small_run, cli):
    """The command line in a folder with a copy of the small run's database."""
    (cli.folder / "runs").mkdir()
    for file in Path(small_run.folder, "runs").glob("journeyman.db*"):
        shutil.copy(file, cli.folder / "runs")
    return cli


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_finished_run_passes_the_check(copy) -> None:
    assert copy("db", "check").stdout == "sqlite:///runs/journeyman.db is whole\n"
    assert json.loads(copy("db", "check", "--json").stdout) == []
    assert f"has schema {HEAD}" in copy("db", "upgrade").stdout


def test_pruning_shrinks_the_file(copy) -> None:
    file = copy.folder / "runs" / "journeyman.db"
    copy("db", "vacuum")
    whole = file.stat().st_size
    assert "before iteration 2" in copy("db", "prune", "small", "--keep", "1").stdout
    copy("db", "vacuum")
    assert file.stat().st_size < whole
    assert "keep 1 or more" in copy("db", "prune", "small", "--keep", "0", code=2).stderr
    assert copy("db", "check").stdout.endswith("is whole\n")


def test_damage_ends_with_exit_code_2(copy) -> None:
    import sqlite3

    with sqlite3.connect(copy.folder / "runs" / "journeyman.db") as connection:
        connection.execute("DELETE FROM token_blob")
    result = copy("db", "check", code=2)
    assert "missing tokens" in result.stdout
    assert "restore a copy" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_run_goes_out_and_comes_in_again(copy, suffix: str) -> None:
    written = copy("export", "small", f"a.{suffix}").stdout
    count = int(written.split()[1])
    taken = copy("import", f"a.{suffix}", "--run", "twin", "--store", "sqlite:///twin.db").stdout
    assert taken.startswith(f"imported {count} trajectories")
    copy("export", "twin", f"b.{suffix}", "--store", "sqlite:///twin.db")
    if suffix == "jsonl":
        assert lines(copy.folder / "a.jsonl") == lines(copy.folder / "b.jsonl")
    else:
        assert (copy.folder / "a.parquet").read_bytes() == (copy.folder / "b.parquet").read_bytes()
    unknown = copy("export", "twin", "none.jsonl", "--what", "sft", "--store", "sqlite:///twin.db", code=2).stderr
    assert "was imported without settings" in unknown
    refused = copy("export", "small", f"a.{suffix}", code=2)
    assert "is there already" in refused.stderr


def test_an_imported_run_with_settings_makes_the_same_data_sets(copy, small: str) -> None:
    copy("export", "small", "all.jsonl")
    copy("import", "all.jsonl", "--run", "known", "--settings", small, "--store", "sqlite:///known.db")
    copy("export", "small", "here.jsonl", "--what", "sft")
    copy("export", "known", "there.jsonl", "--what", "sft", "--store", "sqlite:///known.db")
    here, there = (sorted(map(json.dumps, lines(copy.folder / f"{name}.jsonl"))) for name in ("here", "there"))
    assert here == there != []


def test_a_bad_file_leaves_no_run(copy) -> None:
    copy("export", "small", "good.jsonl")
    rows = lines(copy.folder / "good.jsonl")
    orphan = next(row for row in rows if row["parent"])
    wrong = {
        "bad": (b'{"format": 1}\n', "bad.jsonl, row 1: format: this is no row of layout 4"),
        "text": (b"not json\n", "text.jsonl, line 1: Expecting value"),
        "latin": (b'{"a": "\xe9"}\n', "latin.jsonl, line 1: 'utf-8' codec can't decode"),
        "empty": (b"", "there are no rows to import"),
        "orphan": (json.dumps(orphan).encode(), "is not among the rows before"),
    }
    for name, (content, says) in wrong.items():
        (copy.folder / f"{name}.jsonl").write_bytes(content)
        assert says in copy("import", f"{name}.jsonl", "--run", name, code=2).stderr
    assert "--run: setting 'run.name'" in copy("import", "good.jsonl", "--run", "../../h", code=2).stderr
    assert [run["name"] for run in json.loads(copy("status", "--json").stdout)["runs"]] == ["small"]


def test_data_sets_for_other_trainers(copy) -> None:
    copy("export", "small", "sft.jsonl", "--what", "sft")
    rows = lines(copy.folder / "sft.jsonl")
    assert [m["role"] for m in rows[0]["messages"]] == ["user", "assistant"]
    copy("export", "small", "pairs.jsonl", "--what", "preferences")
    before = lines(copy.folder / "pairs.jsonl")
    assert all(row["chosen"] != row["rejected"] and row["prompt"] for row in before)
    one, two = two_attempts(copy)
    copy("label", one, "--better-than", two, "--comment", "shorter", "--person", "ann")
    copy("export", "small", "more.jsonl", "--what", "preferences")
    assert len(lines(copy.folder / "more.jsonl")) == len(before) + 1


def two_attempts(copy) -> list[str]:
    """Ids of two attempts at one training task."""
    import sqlite3

    query = """SELECT MIN(trajectory.id), MAX(trajectory.id) FROM trajectory
        JOIN trajectory_group ON trajectory_group.id = group_id JOIN task ON task.id = task_id
        WHERE split = 'train' AND source = 'policy' GROUP BY group_id"""
    with sqlite3.connect(copy.folder / "runs" / "journeyman.db") as connection:
        return [f"{i[20:]}" for i in connection.execute(query).fetchone()]


def test_labels_are_checked(copy) -> None:
    one, _ = two_attempts(copy)
    copy("label", one, "--score", "0.25")
    assert "not in [0, 1]" in copy("label", one, "--score", "7", code=2).stderr
    assert "same task can be compared" in copy("label", one, "--tied-with", one, code=2).stderr
    assert "unknown trajectory" in copy("label", one, "--better-than", "none", code=2).stderr


def test_rescoring_goes_on_where_it_stopped_and_counts_what_came(copy) -> None:
    def rescore(*options: str) -> dict:
        return json.loads(copy("rescore", "small", "--verifier", "exact", "--json", *options).stdout)

    first = rescore("--limit", "10")
    assert (first["verifier"], first["asked"], first["ok"]) == ("exact", 10, 10)
    second = rescore()
    assert second["asked"] == second["ok"] == first["left"] > 200
    assert second["disagrees"] > 0
    assert (rescore()["asked"], rescore()["left"]) == (0, 0)
    assert (
        "it is the number of attempts" in copy("rescore", "small", "--verifier", "exact", "--limit", "0", code=2).stderr
    )


def test_rescoring_takes_options_and_calls_no_error_a_score(copy) -> None:
    options = ("rescore", "small", "--verifier", "pattern", "--set", r"verifiers.pattern.pattern='[0-9]'")
    assert json.loads(copy(*options, "--limit", "5", "--json").stdout)["ok"] == 5
    (copy.folder / "faulty.py").write_text(FAULTY)
    faulty = ("rescore", "small", "--verifier", "faulty:Faulty", "--limit", "3")
    report = json.loads(copy(*faulty, "--json").stdout)
    assert {name: report[name] for name in ("asked", "ok", "abstain", "error", "timeout")} == {
        "asked": 3,
        "ok": 0,
        "abstain": 0,
        "error": 3,
        "timeout": 0,
    }
    assert report["left"] > 200
    assert "judged 3 trajectories: 0 ok, 0 abstain, 3 error, 0 timeout" in copy(*faulty).stdout
    refused = copy(*faulty, "--set", "run.seed=1", code=2).stderr
    assert "only what a verifier goes by can be set" in refused
    assert copy("db", "check").stdout.endswith("is whole\n")


FAULTY = """
class Faulty:
    name, version = "faulty", "1"

    def verify(self, task, trajectory):
        raise ValueError("never")
"""


def test_retracting_names_who_learned(copy) -> None:
    learned = json.loads(copy("retract", "goal/1", "--reason", "a bug", "--json").stdout)
    assert {row["policy"] for row in learned} == {"v1", "v2", "v3"}
    assert all(row["trajectories"] > 0 for row in learned)
    stopped = copy("evaluate", "small", code=2).stderr
    assert "verifier goal/1 is retracted (a bug): give the mended one another version" in stopped
    assert "names no version" in copy("retract", "goal", "--reason", "a bug", code=2).stderr
    assert "did you mean 'goal/1'" in copy("retract", "gaol/1", "--reason", "a bug", code=2).stderr
