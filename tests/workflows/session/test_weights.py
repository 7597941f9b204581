"""Damaged weights through the command line: one line with the version to go back to, exit code 2, nothing loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from journeyman.storage.runs.policies import NewPolicy
from journeyman.storage.store import ReplayStore
from journeyman.workflows.cli import main
from journeyman.workflows.console import Reporter
from journeyman.workflows.session.runs import start_run
from journeyman.workflows.session.session import lend
from journeyman.workflows.settings.loading import parse_settings
from journeyman.workflows.stages.prepare import prepare

WEIGHTS, ADAPTER = "model.safetensors", "adapter_model.safetensors"


class Versions:
    """A run whose versions v1 (promoted), v2 (promoted), v3 (not) and v4 (promoted, of v2) nobody has trained."""

    def __init__(self, folder: Path, rank: int = 0, *, finished: bool = True) -> None:
        self.url = f"sqlite:///{folder}/store.db"
        values = {
            "run": {"name": "versions", "engine": "none", "output": str(folder)},
            "store": {"url": self.url, "artifacts": str(folder / "artifacts")},
            "environment": {"name": "countdown"},
            "tasks": {"train": 4, "validation": 2, "test": 2},
            "model": {"hidden": 32, "layers": 1, "lora_rank": rank},
            "sampler": {"kind": "transformers"},
        }
        ref = start_run(parse_settings(values, "the test"))
        self.run_id = ref.run_id
        self.folder = folder / "artifacts" / ref.run_id
        with lend(ref, Reporter(quiet=True)) as session:
            self.base = Path(session.base_model)
            learner, ids = session.base_learner(), {0: None}
            for number, parent, promoted in ((1, 0, True), (2, 1, True), (3, 2, False), (4, 2, True)):
                path = f"{ref.run_id}/v{number:04d}"
                learner.save(session.artifacts / path, number, f"{ref.run_id}/v{parent:04d}" if parent else None)
                kind = "grpo" if parent else "warm_start"
                new = NewPolicy(number, ids[parent], number - 1, kind, path, {}, promoted=promoted)
                session.store.policies.add(ref.run_id, new)
                ids[number] = session.store.policies.numbered(ref.run_id, number).id
            prepare(ref)
            if finished:
                session.store.runs.finish(ref.run_id)

    def file(self, number: int, name: str) -> Path:
        return self.folder / f"v{number:04d}" / name


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    return Versions(tmp_path)


@pytest.fixture
def says(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """`says("evaluate", ...)`: the one line of a command that exits with 2."""
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", None)  # whoever loads fails

    def run(*arguments: str) -> str:
        assert main(list(arguments)) == 2
        said = capsys.readouterr().err.splitlines()
        assert [line for line in said if line.startswith("journeyman: ")] == said[-1:]
        return said[-1]

    return run


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def test_every_command_names_the_version_to_go_back_to(versions, says, tmp_path) -> None:
    cut(versions.file(4, WEIGHTS))
    store, out = ("--store", versions.url), str(tmp_path / "out")
    for command in (
        ["evaluate", "versions"],
        ["export-policy", "versions", out],
        ["export-policy", "versions", out, "--policy", "v4"],
        ["train-reward-model", "versions", "--output", out],
    ):
        said = says(*command, *store)
        assert f"policy {versions.folder}/v0004 is not loaded: model.safetensors has " in said
        assert "restore it from a copy, or go back to v2, which is whole: " in said
        assert f"`journeyman export-policy {versions.run_id} FOLDER --policy v2`" in said
    assert not Path(out).exists()


def test_a_run_is_not_resumed_with_damaged_weights(tmp_path, cli) -> None:
    """In a process of its own, as a user sees it."""
    versions = Versions(tmp_path, finished=False)
    cut(versions.file(1, "config.json"))
    ended = cli("resume", "--engine", "none", "--store", versions.url, code=2)
    assert f"journeyman: policy {versions.folder}/v0001 is not loaded: config.json has " in ended.stderr
    assert "Traceback" not in ended.stderr
    store = ReplayStore(versions.url)
    run = store.runs.find(versions.run_id)
    store.close()
    assert (run.state, run.stage) == ("failed", "evaluate 0")
    assert "config.json has" in run.reason


def test_the_way_back_leads_to_the_newest_promoted_ancestor_that_is_whole(versions, says, tmp_path) -> None:
    export = "export-policy", "versions", str(tmp_path / "out"), "--store", versions.url, "--policy"
    cut(versions.file(4, WEIGHTS))
    versions.file(2, "learner/optimizer.safetensors").unlink()
    assert "go back to v1, which is whole" in says(*export, "v4")  # not v3, which nobody promoted
    assert "optimizer.safetensors is missing; restore it from a copy, or go back to v1" in says(*export, "v2")
    shutil.rmtree(versions.folder / "v0001")
    assert "the folder is missing; restore it from a copy, or start a new run, since no promoted" in says(*export, "v1")
    assert "since no promoted version before it is whole" in says(*export, "v4")


def test_what_is_whole_is_exported_after_all(versions, tmp_path) -> None:
    cut(versions.file(4, WEIGHTS))
    assert main(["export-policy", "versions", str(tmp_path / "out"), "--store", versions.url, "--policy", "v2"]) == 0
    assert (tmp_path / "out" / WEIGHTS).is_file()


@pytest.fixture
def adapters(tmp_path: Path) -> Versions:
    return Versions(tmp_path, rank=2)


def test_an_adapter_of_another_base(adapters, says, tmp_path) -> None:
    versions = adapters
    export = "export-policy", "versions", str(tmp_path / "out"), "--store", versions.url
    shutil.copy(versions.file(2, ADAPTER), versions.file(4, ADAPTER))  # equal: nobody has trained
    cut(versions.file(4, "adapter_config.json"))
    assert "adapter_config.json has" in says(*export)
    cut(versions.base / WEIGHTS)
    said = says(*export)
    assert f"policy {versions.base} is not loaded: model.safetensors has " in said
    assert "delete the folder: it is made again" in said


def test_db_check_reads_the_weights_too(versions, capsys) -> None:
    assert main(["db", "check", "--store", versions.url]) == 0
    cut(versions.file(3, WEIGHTS))
    versions.file(1, "manifest.json").unlink()
    capsys.readouterr()
    assert main(["db", "check", "--json", "--store", versions.url]) == 2
    found = json.loads(capsys.readouterr().out)
    assert [(p["what"], p["where"].split()[0]) for p in found] == [("damaged weights", "v1"), ("damaged weights", "v3")]
    assert "`journeyman db seal RUN`" in found[0]["why"]
    assert "model.safetensors has" in found[1]["why"]


def test_weights_that_are_older_than_manifests_are_sealed_by_command(versions, tmp_path, says, capsys) -> None:
    export = "export-policy", "versions", str(tmp_path / "out"), "--store", versions.url
    seal = "db", "seal", "versions", "--store", versions.url, "--yes"
    for number in (2, 4):
        versions.file(number, "manifest.json").unlink()
    assert "`journeyman db seal RUN` takes a folder of earlier days as it is, or go back to v1" in says(*export)
    cut(versions.file(2, "learner/optimizer.safetensors"))
    assert "learner/optimizer.safetensors is cut or no such file" in says(*seal)
    shutil.copy(versions.file(1, "learner/optimizer.safetensors"), versions.file(2, "learner/optimizer.safetensors"))
    assert main(list(seal)) == 0
    assert "v2, v4 of run" in capsys.readouterr().out
    told = json.loads(versions.file(4, "manifest.json").read_text())
    assert (told["parent"], told["kind"]) == (f"{versions.run_id}/v0002", "full")
    assert "without a manifest" in says(*seal)
    assert main(["db", "check", "--store", versions.url]) == 0


def test_nothing_is_sealed_without_a_yes(versions, says, monkeypatch) -> None:
    versions.file(2, "manifest.json").unlink()
    monkeypatch.setattr("journeyman.workflows.commands.database.ask", lambda question: False)
    assert "nothing was sealed" in says("db", "seal", "versions", "--store", versions.url)
    assert not versions.file(2, "manifest.json").exists()


def test_ancestors_reach_into_the_run_that_is_continued(versions) -> None:
    store = ReplayStore(versions.url)
    fourth = store.policies.numbered(versions.run_id, 4)
    run = store.runs.create("versions", {}, [])
    store.policies.add(run.id, NewPolicy(1, fourth.id, 0, "continued", fourth.path, {}, promoted=True))
    found = store.policies.ancestors(store.policies.numbered(run.id, 1))
    store.close()
    assert [(p.run_id, p.number) for p in found] == [(versions.run_id, n) for n in (4, 2, 1)]
