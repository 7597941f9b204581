"""One model of all settings: the TOML file, `--set` on the command line and Prefect's parameters at once."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import Field, ValidationError, field_validator

from journeyman.agent.data import Json
from journeyman.agent.errors import SettingsError, UsageError, suggestion
from journeyman.storage.database import parse_url
from journeyman.storage.runs import RunInfo
from journeyman.verifiers.rubric import Term
from journeyman.workflows.sections import (
    AuditSettings,
    CurriculumSettings,
    DaggerSettings,
    EvaluateSettings,
    FinetuneSettings,
    GenerateSettings,
    GuardSettings,
    ModelSettings,
    NoveltySettings,
    OptimizerSettings,
    RelabelSettings,
    ReplaySettings,
    RunSettings,
    SamplerSettings,
    Section,
    StoreSettings,
    TaskSettings,
    Terms,
    VerificationSettings,
    WarmStartSettings,
)


class Settings(Section):
    """All settings of a run."""

    run: RunSettings = RunSettings()
    store: StoreSettings = StoreSettings()
    environment: Mapping[str, Json] = {"name": "countdown"}
    """`name` is a plugin or a "module:object"; the rest are its options."""
    rubric: Terms = Field(default={})
    """Verifier names with a weight, or a table of `weight`, `gate` and `shaping`; empty takes the environment's."""
    verifiers: Mapping[str, Mapping[str, Json]] = {}
    """Options by verifier name."""
    verification: VerificationSettings = VerificationSettings()
    tasks: TaskSettings = TaskSettings()
    model: ModelSettings = ModelSettings()
    sampler: SamplerSettings = SamplerSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    warm_start: WarmStartSettings = WarmStartSettings()
    generate: GenerateSettings = GenerateSettings()
    curriculum: CurriculumSettings = CurriculumSettings()
    novelty: NoveltySettings = NoveltySettings()
    relabel: RelabelSettings = RelabelSettings()
    dagger: DaggerSettings = DaggerSettings()
    replay: ReplaySettings = ReplaySettings()
    finetune: FinetuneSettings = FinetuneSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    audit: AuditSettings = AuditSettings()
    guard: tuple[GuardSettings, ...] = ()

    @field_validator("guard")
    @classmethod
    def _names_differ(cls, guards: tuple[GuardSettings, ...]) -> tuple[GuardSettings, ...]:
        names = [guard.name for guard in guards]
        if len(set(names)) < len(names):
            raise ValueError(f"two guards have the same name among {names}")
        return guards

    def anchored(self, folder: str) -> Settings:
        """The same settings with every path of ours absolute, relative ones taken from `folder`."""
        store, run, start, model = self.store, self.run, self.warm_start, self.model
        url = store.url
        if (parsed := parse_url(url)).get_backend_name() == "sqlite":
            url = parsed.set(database=str(Path(folder, parsed.database or ""))).render_as_string()
        file = start.file and str(Path(folder, start.file))
        changes: dict[str, Any] = {
            "environment": _anchored(self.environment, folder),
            "verifiers": {name: _anchored(options, folder) for name, options in self.verifiers.items()},
            "model": model.model_copy(
                update={"name": model.name if model.name == "tiny" else _absolute(model.name, folder)}
            ),
            "guard": tuple(g.model_copy(update={"environment": _anchored(g.environment, folder)}) for g in self.guard),
            "store": store.model_copy(update={"url": url, "artifacts": str(Path(folder, store.artifacts))}),
            "run": run.model_copy(update={"output": str(Path(folder, run.output))}),
            "warm_start": start.model_copy(update={"file": file}),
        }
        return self.model_copy(update=changes)


def _anchored(options: Mapping[str, Json], folder: str) -> dict[str, Json]:
    """Options with files made absolute; `name` is an environment's plugin."""
    return {option: value if option == "name" else _absolute(value, folder) for option, value in options.items()}


def _absolute(value: Json, folder: str) -> Json:
    """An option with the files it names made absolute: a text counts where such a file, or a model's folder, exists."""
    if isinstance(value, list):
        return [_absolute(item, folder) for item in value]
    if not isinstance(value, str) or not value:
        return value
    path = os.path.join(folder, value)  # noqa: PTH118 (Path.is_file raises where a text is too long to be a name)
    exists = any(map(os.path.isfile, (path, os.path.join(path, "config.json"))))  # noqa: PTH118 (the same)
    return str(Path(path)) if exists else value


def load_settings(path: str, overrides: Sequence[str] = ()) -> Settings:
    """Settings from a TOML file, with `a.b=value` overrides (values in TOML, bare words are strings).

    Raises SettingsError naming file, setting and remedy.
    """
    file = Path(path)
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        near = suggestion(file.name, [p.name for p in file.parent.glob("*.toml")] if file.parent.is_dir() else [])
        raise SettingsError(f"there is no settings file {path}: {near}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {error}") from None
    return parse_settings(overridden(values, overrides), path)


def parse_settings(values: Mapping[str, Any], where: str) -> Settings:
    """Checked settings; `where` is what an error says they come from."""
    try:
        return Settings.model_validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        raise SettingsError("; ".join(_explain(problem, where) for problem in error.errors()[:5])) from None


def settings_of(run: RunInfo) -> Settings:
    """Those that the stored run was started with; raises UsageError for an imported run that has none."""
    if not run.settings:
        raise UsageError(
            f"run {run.id} ({run.name}) was imported without settings, which say what its tasks and tokens mean: "
            "import it anew with --settings FILE.toml"
        )
    return parse_settings(run.settings, f"run {run.id}")


def overridden(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The values with `a.b=value` overrides written into them; raises SettingsError for what is none."""
    for override in overrides:
        _override(values, override)
    return values


def _override(values: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    if not equals or not name.strip():
        raise SettingsError(f"--set {override!r} is not NAME=VALUE, e.g. --set run.seed=1")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *tables, last = name.strip().split(".")
    for table in tables:
        inner = values.setdefault(table, {})
        if not isinstance(inner, dict):
            raise SettingsError(f"--set {override!r}: {table!r} is a value, not a table")
        values = inner
    values[last] = value


def _explain(problem: Any, where: str) -> str:
    path = [str(part) for part in problem["loc"]]
    if problem["type"] == "extra_forbidden":
        section: Any = Settings
        for part in path[:-1]:
            section = get_args(section)[0] if part.isdigit() else section.model_fields[part].annotation
        return f"{where}: unknown setting {'.'.join(path)!r}: {suggestion(path[-1], section.model_fields)}"
    if problem["type"] == "unexpected_keyword_argument":
        return f"{where}: unknown setting {'.'.join(path)!r}: {suggestion(path[-1], Term.__dataclass_fields__)}"
    if path[0] == "rubric" and problem["type"] == "dataclass_type":
        term = "{weight = 1.0, gate = 0.5, shaping = true}"
        return f"{where}: setting {'.'.join(path)!r} is {problem['input']!r}: write a weight, or parts of {term}"
    return f"{where}: setting {'.'.join(path)!r}: {problem['msg']}, got {problem['input']!r}"
