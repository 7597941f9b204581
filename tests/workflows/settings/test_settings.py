"""Settings come from TOML and --set, and a mistake is one line with the remedy."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from journeyman.agent.data import VerifierId
from journeyman.agent.errors import SettingsError, UsageError
from journeyman.storage.store import ReplayStore
from journeyman.verifiers.rubric import Term
from journeyman.workflows.commands.schedule import scheduled
from journeyman.workflows.session.engines import open_rubric, open_task_set
from journeyman.workflows.session.runs import start_run, unfinished_run
from journeyman.workflows.settings.loading import load_settings, parse_settings, settings_of
from journeyman.workflows.settings.settings import Settings

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.toml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=[p.name for p in EXAMPLES])
def test_examples_are_valid_and_survive_json(path: Path) -> None:
    settings = load_settings(str(path))
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


def test_overrides_take_toml_values_or_words(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("[run]\nseed = 3\n")
    settings = load_settings(
        str(tmp_path / "a.toml"),
        ["run.seed=4", "run.name=my-run", "generate.temperature=0.7", "environment.max_value=9", "rubric.goal=1.0"],
    )
    assert (settings.run.seed, settings.run.name, settings.generate.temperature) == (4, "my-run", 0.7)
    assert settings.environment == {"max_value": 9}
    assert settings.rubric == {"goal": Term(weight=1.0)}


NULLS = """
[run]
seed = 3
[environment]
name = "countdown"
max_value = 9
[rubric]
goal = {weight = 1.0, gate = 0.5}
exact = 0.1
[verifiers.pattern]
pattern = "x"
[replay]
per_task = 7
quota = {expert = 0.5, success = 0.5}
[relabel]
per_goal = 3
"""


def test_null_restores_a_default(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(NULLS)
    names = ["run.seed", "run.name", "environment.max_value", "environment.max_target", "rubric.goal.gate"]
    names += ["rubric.exact", "verifiers.pattern.pattern", "replay.per_task"]
    names += ["replay.quota.expert", "relabel.per_goal", "sampler", "finetune.batch"]
    settings = load_settings(str(tmp_path / "a.toml"), [f"{name}=null" for name in names])
    assert settings.run == Settings().run.model_copy(update={"modules": str(tmp_path)})
    assert settings.environment == {"name": "countdown"}
    assert settings.rubric == {"goal": Term(weight=1.0)}
    assert settings.verifiers == {"pattern": {}}
    assert settings.replay.per_task == Settings().replay.per_task == 2
    assert settings.replay.quota == {"success": 0.5}
    assert (settings.relabel.per_goal, settings.sampler) == (None, Settings().sampler)
    quoted = load_settings(str(tmp_path / "a.toml"), ["run.seed=null", "run.seed=5", "run.name='null'"])
    assert (quoted.run.seed, quoted.run.name) == (5, "null")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("run.sed", r"unknown setting 'run.sed': did you mean 'seed'\?"),
        ("rnu", r"unknown setting 'rnu': did you mean 'run'\?"),
        ("run.seed.x", r"run.seed has no 'x'"),
        ("environment.max_valeu", r"environment 'countdown' has no option 'max_valeu': did you mean 'max_value'\?"),
        ("verifiers.patern.pattern", r"unknown verifier 'patern': did you mean 'pattern'\?"),
        ("verifiers.pattern.patern", r"verifier 'pattern' has no option 'patern': did you mean 'pattern'\?"),
        ("rubric.gaol", r"unknown verifier 'gaol': did you mean 'goal'\?"),
        ("rubric.goal.gaet", r"rubric has no 'gaet': did you mean 'gate'\?"),
        ("replay.quota.exprt", r"replay.quota has no 'exprt': did you mean 'expert'\?"),
    ],
)
def test_null_for_nothing_that_is_a_setting(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "a.toml").write_text(NULLS)
    with pytest.raises(UsageError, match=says):
        load_settings(str(tmp_path / "a.toml"), [f"{name}=null"])


@pytest.mark.parametrize(
    ("toml", "overrides", "says"),
    [
        ("[run", [], r"is not TOML: .*"),
        ("[run]\nsed = 1", [], r"unknown setting 'run.sed': did you mean 'seed'\?"),
        ("[rnu]\nseed = 1", [], r"unknown setting 'rnu': did you mean 'run'\?"),
        ("[run]\nseed = 'x'", [], r"setting 'run.seed': .*valid integer.*got 'x'"),
        ("[generate]\nattempts = 0", [], r"setting 'generate.attempts': .*greater than or equal to 1, got 0"),
        ("[replay.quota]\nexprt = 1", [], r"unknown kind 'exprt': did you mean 'expert'\?"),
        ("[curriculum]\nstrategy = 'ucp'", [], r"'curriculum.strategy': .*'passes', 'ucb' or 'thompson', got 'ucp'"),
        ("[finetune]\nloss = 'cispo'", [], r"'finetune.epsilon_high': .*0.28 is below 1, but loss 'cispo'.* try 5.0"),
        ("", ["run.seed"], r"--set 'run.seed' is not NAME=VALUE"),
        ("run = 3", ["run.seed=1"], r"'run' is a value, not a table"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, toml: str, overrides: list[str], says: str) -> None:
    (tmp_path / "a.toml").write_text(toml)
    with pytest.raises(SettingsError, match=says) as caught:
        load_settings(str(tmp_path / "a.toml"), overrides)
    assert "\n" not in str(caught.value)


def test_a_missing_file_suggests_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "countdown.toml").touch()
    with pytest.raises(SettingsError, match=r"no settings file .*: did you mean 'countdown\.toml'"):
        load_settings(str(tmp_path / "countdwn.toml"))


def test_anchored_paths_are_absolute() -> None:
    settings = parse_settings({"warm_start": {"file": "demos.jsonl"}}, "here").anchored("/data")
    assert settings.store.url == "sqlite:////data/runs/journeyman.db"
    assert settings.store.artifacts == "/data/runs/artifacts"
    assert (settings.run.output, settings.warm_start.file) == ("/data/runs", "/data/demos.jsonl")
    assert settings.anchored("/elsewhere") == settings


def test_files_of_the_environment_are_anchored(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch()
    options = {"name": "dataset", "train": ["a.jsonl", "b.jsonl"], "test": "a.jsonl"}
    anchored = parse_settings({"environment": options}, "here").anchored(str(tmp_path)).environment
    there = str(tmp_path / "a.jsonl")
    assert anchored == {"name": "dataset", "train": [there, "b.jsonl"], "test": there}


def test_files_and_models_of_verifiers_are_anchored(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("poison\n")
    (tmp_path / "prm").mkdir()
    (tmp_path / "prm" / "config.json").touch()
    (tmp_path / "data").mkdir()
    (tmp_path / "tiny").touch()
    (tmp_path / "smollm2").touch()
    (tmp_path / "data" / "own.gguf").touch()
    (tmp_path / "countdown").touch()
    verifiers = {
        "safety": {"file": "words.txt", "words": ["data", "poison"]},
        "prm": {"model": "prm", "reference": "somebody/model", "batch_tokens": 9},
        "judge": {"rubric": "long " * 1000, "reference": "data"},
    }
    settings = parse_settings({"verifiers": verifiers}, "here").anchored(str(tmp_path))
    assert settings.verifiers == {
        "safety": {"file": f"{tmp_path}/words.txt", "words": ["data", "poison"]},
        "prm": {"model": f"{tmp_path}/prm", "reference": "somebody/model", "batch_tokens": 9},
        "judge": verifiers["judge"],
    }
    assert (settings.model.name, settings.environment["name"]) == ("tiny", "countdown")
    named = {"prm": f"{tmp_path}/prm", "data/own.gguf": f"{tmp_path}/data/own.gguf", "smollm2": "smollm2"}
    for name, anchored in named.items():
        assert parse_settings({"model": {"name": name}}, "here").anchored(str(tmp_path)).model.name == anchored


def test_a_run_knows_its_folders_wherever_it_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("words.txt").write_text("poison\n")
    values = {"rubric": {"goal": 1.0, "safety": -1.0}, "verifiers": {"safety": {"file": "words.txt"}}}
    direct = parse_settings(values | {"sampler": {"kind": "transformers"}}, "here")
    start_run(direct)
    due = scheduled(direct)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    url = f"sqlite:///{tmp_path}/runs/journeyman.db"
    ref, stored = unfinished_run(url, None)
    assert stored == direct.anchored(str(tmp_path))
    assert ref.store_url == stored.store.url == url
    assert stored.store.artifacts == f"{tmp_path}/runs/artifacts"
    start_run(due)
    assert [criterion_ids(settings_of(run)) for run in ReplayStore(url).runs.all()] == [criterion_ids(stored)] * 2
    moved = f"sqlite:///{tmp_path}/copy.db"
    shutil.copy(tmp_path / "runs" / "journeyman.db", tmp_path / "copy.db")
    assert unfinished_run(moved, None)[1].store.url == moved


def criterion_ids(settings: Settings) -> list[VerifierId]:
    return [criterion.id for criterion in open_rubric(settings, open_task_set(settings)).criteria]


def test_modules_are_looked_for_beside_the_file_or_where_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    file = tmp_path / "game" / "game.toml"
    file.parent.mkdir()
    file.write_text('[environment]\nname = "game:Game"\n')
    assert load_settings(str(file)).run.modules == str(file.parent) == sys.path[-1]
    elsewhere = load_settings(str(file), ["run.modules=plugins"]).anchored(str(tmp_path)).run.modules
    assert elsewhere == str(tmp_path / "plugins")
    parse_settings({"run": {"modules": elsewhere}}, "a stored run")
    assert sys.path[-1] == elsewhere
