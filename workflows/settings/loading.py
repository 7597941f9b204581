"""Settings from a TOML file, from `--set` on the command line and from a stored run, with errors a user can act on."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from journeyman.agent.errors import SettingsError, UsageError, suggestion
from journeyman.agent.plugins import look_in
from journeyman.storage.runs.runs import RunInfo
from journeyman.verifiers.rubric import Term
from journeyman.workflows.settings.settings import Settings


def load_settings(path: str, overrides: Sequence[str] = ()) -> Settings:
    """Settings from a TOML file, with `a.b=value` overrides (values in TOML, bare words are strings).

    `run.modules` is the file's own folder where it is not set. Raises SettingsError naming file, setting and remedy.
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
    overridden(values, overrides)
    if isinstance(run := values.setdefault("run", {}), dict):
        run.setdefault("modules", str(file.absolute().parent))
    return parse_settings(values, path)


def parse_settings(values: Mapping[str, Any], where: str) -> Settings:
    """Checked settings, whose `run.modules` is on the import path; `where` is what an error says they come from."""
    try:
        settings = Settings.model_validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        raise SettingsError("; ".join(_explain(problem, where) for problem in error.errors()[:5])) from None
    look_in(settings.run.modules)
    return settings


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
