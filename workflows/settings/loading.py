"""Settings from a TOML file, from `--set` on the command line and from a stored run, with errors a user can act on."""

from __future__ import annotations

import copy
import json
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from journeyman.agent.credentials import shown
from journeyman.agent.errors import SettingsError, UsageError, suggestion
from journeyman.agent.plugins import ENVIRONMENTS, ESTIMATORS, VERIFIERS, check_options, look_in
from journeyman.storage.runs.runs import RunInfo
from journeyman.verifiers.rubric import Term
from journeyman.workflows.settings.section import Section
from journeyman.workflows.settings.settings import Settings


def load_settings(path: str, overrides: Sequence[str] = ()) -> Settings:
    """Settings from a TOML file, with `a.b=value` overrides (values in TOML, bare words are strings, null the default).

    `run.modules` is the file's own folder where it is not set. Raises SettingsError naming file, setting and remedy.
    """
    file = Path(path)
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        near = suggestion(file.name, [p.name for p in file.parent.glob("*.toml")] if file.parent.is_dir() else [])
        raise SettingsError(f"there is no settings file {shown(path)}: {near}") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {error}") from None
    except (OSError, ValueError) as error:  # not UTF-8, or no name that a file can have
        raise SettingsError(f"{path} cannot be read: {error}") from None
    folder = str(file.absolute().parent)
    look_in(folder)
    overridden(values, overrides, check_setting)
    if isinstance(run := values.setdefault("run", {}), dict):
        run.setdefault("modules", folder)
    return parse_settings(values, path)


def parse_settings(values: Mapping[str, Any], where: str) -> Settings:
    """Checked settings, whose `run.modules` is on the import path; `where` is what an error says they come from."""
    try:
        settings = Settings.model_validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        raise SettingsError("; ".join(_explain(problem, where) for problem in error.errors()[:5])) from None
    look_in(settings.run.modules)
    return settings


def settings_of(run: RunInfo, overrides: Sequence[str] = ()) -> Settings:
    """Those that the stored run was started with, and overrides; raises UsageError for an imported run without any."""
    if not run.settings:
        raise UsageError(
            f"run {run.id} ({run.name}) was imported without settings, which say what its tasks and tokens mean: "
            "import it anew with --settings FILE.toml"
        )
    values = overridden(copy.deepcopy(dict(run.settings)), overrides, check_setting)
    return parse_settings(values, f"run {run.id}")


def settings_with(run: RunInfo, overrides: Sequence[str], tables: Sequence[str], hint: str) -> Settings:
    """Those of the stored run with what `--set` says of these tables; raises UsageError with the hint for others."""
    for override in overrides:
        if override.partition(".")[0].strip() not in tables:
            raise UsageError(f"--set {shown(override)}: {hint}")
    values = overridden(copy.deepcopy(dict(run.settings)), overrides, check_setting)
    return parse_settings(values, f"run {run.id} with --set")


def overridden(
    values: dict[str, Any], overrides: Sequence[str], check_name: Callable[[Sequence[str], Mapping[str, Any]], None]
) -> dict[str, Any]:
    """The values with `a.b=value` overrides written into them; raises SettingsError for what is none.

    `a.b=null` takes a value out, so that its default holds. `check_name` is given the parts of such a name, and the
    values, and raises where there is no such setting: without a value nobody would look for it later.
    """
    for override in overrides:
        _override(values, override, check_name)
    return values


def _override(
    values: dict[str, Any], override: str, check_name: Callable[[Sequence[str], Mapping[str, Any]], None]
) -> None:
    name, equals, text = override.partition("=")
    if not equals or not name.strip():
        raise SettingsError(f"--set {shown(override)} is not NAME=VALUE, e.g. --set run.seed=1")
    *tables, last = path = name.strip().split(".")
    value = _toml_value(text)
    if value is None:
        check_name(path, values)
    for table in tables:
        inner = values.get(table, {}) if value is None else values.setdefault(table, {})
        if not isinstance(inner, dict):
            raise SettingsError(f"--set {shown(override)}: {table!r} is a value, not a table")
        values = inner
    if value is None:
        values.pop(last, None)
    else:
        values[last] = value


def _toml_value(text: str) -> Any:
    """What the text is in TOML, None for null, which TOML has not, and the text itself where it is neither."""
    if text.strip() == "null":
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def check_setting(path: Sequence[str], values: Mapping[str, Any]) -> None:
    """Raises SettingsError or UnknownNameError where there is no setting of that name."""
    section: Any = Settings
    for depth, part in enumerate(path):
        if part not in section.model_fields:
            name = ".".join(path)
            raise SettingsError(f"--set: unknown setting {name!r}: {suggestion(part, section.model_fields)}")
        field, rest = section.model_fields[part], path[depth + 1 :]
        section = field.annotation
        if not (isinstance(section, type) and issubclass(section, Section)):
            _check_entry(path[: depth + 1], rest, field.default, values)
            return


def _check_entry(table: Sequence[str], path: Sequence[str], default: Any, values: Mapping[str, Any]) -> None:
    """The same within a table whose names are no settings of ours: options of plugins, weights of verifiers, shares."""
    where = ".".join(table)
    if not path:
        return
    if where == "environment":
        name = values.get("environment", default).get("name", default["name"])
        check_options(ENVIRONMENTS, name, [part for part in path[:1] if part not in ("name", "step_seconds")])
    elif where == "estimator":
        name = values.get("estimator", default).get("name", default["name"])
        check_options(ESTIMATORS, name, [part for part in path[:1] if part != "name"])
    elif where == "verifiers":
        check_options(VERIFIERS, path[0], path[1:2])
    elif where == "rubric":
        check_options(VERIFIERS, path[0], ())
        _check_known(where, path[1:2], Term.__dataclass_fields__)
    else:
        _check_known(where, path[:1], default if isinstance(default, Mapping) else ())


def _check_known(where: str, names: Sequence[str], known: Iterable[str]) -> None:
    for name in names:
        if name not in known:
            raise SettingsError(f"--set: {where} has no {name!r}: {suggestion(name, known)}")


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
        return f"{where}: setting {'.'.join(path)!r} is {shown(problem['input'])}: write a weight, or parts of {term}"
    return f"{where}: setting {'.'.join(path)!r}: {problem['msg']}, got {shown(problem['input'])}"
