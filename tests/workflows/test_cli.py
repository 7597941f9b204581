"""The command line, as a person uses it: what it prints, where it puts things, how it says no."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest


def test_help_is_quick() -> None:
    times = []
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "journeyman.workflows.cli", "--help"], check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    assert min(times) < 0.5


def test_a_run_leaves_a_summary_a_plot_and_a_way_on(small_run) -> None:
    path = Path(small_run.folder, small_run.stdout.splitlines()[-1])
    summary = json.loads(path.read_text())
    assert set(summary["test_pass_at_1"]) == {"warm_start", "final"}
    assert all(0 <= value <= 1 for value in summary["test_pass_at_1"].values())
    assert [row["iteration"] for row in summary["validation"]] == [0, 1, 2]
    assert summary["trajectories"]["policy"] == 2 * 16 * 4
    assert [(row["policy"], row["split"]) for row in summary["audit"]] == [(n, "validation") for n in (1, 2, 3)]
    assert (summary["guards"], summary["stopped"]) == ([], [])
    assert Path(small_run.folder, summary["plot"]).read_bytes().startswith(b"\x89PNG")
    shown = small_run.stderr
    assert "validation pass@1" in shown
    assert "warm start" in shown
    assert "journeyman inspect" in shown
    assert "\x1b[" not in shown  # no terminal, no colours


def test_status_shows_the_lineage(small_run) -> None:
    found = json.loads(small_run("status", "--json").stdout)
    assert [run["state"] for run in found["runs"]] == ["finished"]
    assert [v["policy"] for v in found["versions"]] == ["v1", "v2", "v3"]
    assert found["versions"][1]["parent"] == "v1"
    assert [row["policy"] for row in found["watched"]] == ["v1", "v2", "v3"]
    signs = ["policy", "length", "length vs warm start", "length vs parent", "repetition", "verifier failures"]
    assert list(found["watched"][2]) == signs
    assert found["watched"][0]["length vs warm start"] is None
    assert "guards and audits" in small_run("status", "small").stdout
    assert "policy versions" in small_run("status", "small").stdout


def test_inspect_lists_and_shows_a_trajectory(small_run) -> None:
    listed = json.loads(small_run("inspect", "--json").stdout)
    assert len(listed) == 20
    shown = small_run("inspect", listed[0]["trajectory"]).stdout
    assert "<|user|>reach" in shown
    assert "»" in shown
    assert "goal" in shown
    details = json.loads(small_run("inspect", listed[0]["trajectory"], "--json").stdout)
    assert details["scores"][0]["verifier"] == "goal/1"


def test_weights_are_kept_as_the_setting_says(small_run) -> None:
    versions = json.loads(small_run("status", "--json").stdout)["versions"]
    run = next(Path(small_run.folder, "runs", "artifacts").glob("*-*-*-*-*"))
    kept = {f"v{int(p.name[1:])}" for p in run.iterdir() if p.is_dir()}
    assert kept == {v["policy"] for v in versions if v["weights"] != "deleted"}
    assert {v["policy"] for v in versions if v["promoted"] == "yes"} <= kept


def test_a_version_is_evaluated_and_exported(small_run, small: str, tmp_path: Path) -> None:
    found = json.loads(small_run("evaluate", "small", "--policy", "v1", "--split", "validation", "--json").stdout)
    assert (found["policy"], found["tasks"], found["k"]) == (1, 20, 4)
    small_run("export-policy", "small", str(tmp_path / "out"), "--policy", "v1")
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model.config.hidden_size == 64
    elsewhere = ["--set", f"store.url=sqlite:///{tmp_path}/other.db", "--set", f"store.artifacts={tmp_path}/artifacts"]
    wanted = ["--model", str(tmp_path / "out"), "--set", "evaluate.attempts=2", "--set", "tasks.test=10", *elsewhere]
    found = json.loads(small_run("evaluate", small, *wanted, "--json").stdout)
    assert (found["tasks"], found["k"]) == (10, 2)
    assert "go with a settings file" in small_run("evaluate", "small", "--set", "evaluate.attempts=2", code=2).stderr
    again = small_run("export-policy", "small", str(tmp_path / "out"), code=2)
    assert "exists already" in again.stderr


def test_plugins_and_doctor(small_run) -> None:
    names = {row["name"] for row in json.loads(small_run("plugins", "--json").stdout)}
    assert {"countdown", "gridworld", "gsm8k", "goal", "number"} <= names
    assert "transformers" in small_run("doctor").stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--set", "environment.name=countdwn"], "unknown environment 'countdwn': did you mean 'countdown'?"),
        (["--set", "environment.max_valeu=3"], "has no option 'max_valeu': did you mean 'max_value'?"),
        (["--set", "environment.max_value=many"], "environment 'countdown', option 'max_value'"),
        (["--set", "rubric.gaol=1.0"], "unknown verifier 'gaol': did you mean 'goal'?"),
        (["--set", "run.sed=1"], "unknown setting 'run.sed': did you mean 'seed'?"),
        (["--set", "generate.attempts=x"], "setting 'generate.attempts'"),
        (["--set", "model.name=no/such-model"], "no/such-model"),
        (["--set", "model.name=./nowhere"], "./nowhere"),
        (["--set", "warm_start.file=none.jsonl"], "there is no file none.jsonl"),
        (["--set", 'environment={name="dataset", train="none.jsonl"}'], "none.jsonl"),
        (["--set", "store.url=sqlit:///x.db"], "is not a database URL"),
        (["--set", "store.url=sqlite:////proc/x/y.db"], "cannot be made"),
        (["--set", "store.artifacts=/proc/x"], "/proc/x"),
        (["--set", "run.seed"], "is not NAME=VALUE"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(cli, small, arguments: list[str], says: str) -> None:
    result = cli("run", small, "--engine", "none", *arguments, code=2)
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("journeyman: ")]
    assert len(errors) == 1


FULL_DISK = """
import resource, sys
from journeyman.workflows.cli import main

limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
sys.exit(main())
"""


@pytest.mark.parametrize(("limit", "says"), [(20_000, "refused"), (1_000_000, "cannot be written")])
def test_a_disk_without_room_is_named(cli, small, limit: int, says: str) -> None:
    """No file may grow beyond `limit`: first the database hits it, then the weights."""
    result = cli(str(limit), "run", small, "--engine", "none", script=FULL_DISK, code=2)
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(cli.folder.rglob("*.partial"))


def test_a_refused_run_leaves_nothing_behind(cli, small) -> None:
    cli("run", small, "--set", "environment.name=countdwn", code=2)
    cli("run", "missing.toml", code=2)
    cli("status", code=2)
    cli("resume", code=2)
    assert list(cli.folder.iterdir()) == []


def test_broken_toml_is_named_with_its_line(cli) -> None:
    (cli.folder / "broken.toml").write_text("[run]\nname = \n")
    assert "broken.toml is not TOML" in cli("run", "broken.toml", code=2).stderr


def test_nothing_to_resume(small_run) -> None:
    assert "every run is finished" in small_run("resume", code=2).stderr
    assert "unknown run 'smal': did you mean 'small'?" in small_run("resume", "smal", code=2).stderr
