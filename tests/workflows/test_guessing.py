"""The guessing game: tasks that all share one prompt, in a module beside the settings file."""

from __future__ import annotations

from pathlib import Path

from journeyman.agent.data import Source
from journeyman.storage.store import ReplayStore
from journeyman.workflows.cli import main
from journeyman.workflows.console import Reporter

ROOT = Path(__file__).parents[2]
SHORT = {
    "run.iterations": 1,
    "run.engine": "none",
    "tasks.validation": 4,
    "tasks.test": 4,
    "model.hidden": 32,
    "model.layers": 1,
    "warm_start.max_epochs": 2,
    "warm_start.check_every": 2,
    "generate.tasks": 6,
    "generate.attempts": 4,
    "finetune.batch": 8,
    "finetune.epochs": 1,
    "evaluate.attempts": 1,
}


def test_it_runs_from_anywhere_and_learns_in_several_steps(tmp_path: Path, monkeypatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(Reporter, "line", lambda _, text: said.append(text))
    monkeypatch.chdir(tmp_path)
    overrides = [part for name, value in SHORT.items() for part in ("--set", f"{name}={value}")]
    assert main(["run", str(ROOT / "examples" / "guessing" / "guessing.toml"), *overrides]) == 0
    store = ReplayStore(f"sqlite:///{tmp_path}/runs/journeyman.db")
    run = store.runs.find("guessing")
    [candidate] = [p for p in store.policies.of(run.id) if p.iteration == 1]
    attempts = store.trajectories.of(run.id, source=Source.POLICY)
    store.close()
    assert len({t.task.prompt for t in attempts}) == 1 < len({t.task.hash for t in attempts})
    assert candidate.stats["rows"] >= 24
    assert candidate.stats["steps"] == -(-candidate.stats["rows"] // 8)
    warnings = [text for text in said if "warning" in text]
    assert sum("the 4 test tasks have only 1 different prompts" in text for text in warnings) == 1
    assert sum("different prompts" in text for text in warnings) == 1
    assert not [text for text in warnings if "optimizer step" in text]
