"""Finds environments and verifiers: by entry point, or by a "module:object" name.

Modules are looked for as Python does (installed packages, PYTHONPATH), then in the folders of `look_in`: that of the
settings file, and the current one. Those come last, so that no file in them stands in for an installed module.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from journeyman.agent.data import Json
from journeyman.agent.errors import JourneymanError, SettingsError, UnknownNameError, suggestion

ENVIRONMENTS = "journeyman.environments"
VERIFIERS = "journeyman.verifiers"


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """One installed plugin, e.g. `PluginInfo("countdown", "journeyman.agent...:Countdown", "journeyman 0.1.0")`."""

    name: str
    target: str
    distribution: str


def installed(group: str) -> dict[str, PluginInfo]:
    """The plugins of an entry-point group by name; nothing is imported."""
    found: dict[str, PluginInfo] = {}
    for point in metadata.entry_points(group=group):
        origin = f"{point.dist.name} {point.dist.version}" if point.dist else "unknown"
        found[point.name] = PluginInfo(point.name, point.value, origin)
    return dict(sorted(found.items()))


def look_in(folder: str | None) -> None:
    """Has modules be looked for in the folder too, after all other places; None is no folder."""
    if folder is not None and (place := str(Path(folder).absolute())) not in sys.path:
        sys.path.append(place)


def load_plugin(group: str, name: str, options: Mapping[str, Json]) -> Any:
    """The plugin `name` of `group`, constructed with `options`, which are checked against its dataclass fields.

    Raises UnknownNameError for an unknown name, SettingsError for one that fails to import or bad options.
    """
    kind = group.rsplit(".", 1)[1].removesuffix("s")
    factory = _resolve(kind, group, name)
    if not (inspect.isclass(factory) and is_dataclass(factory)):
        if options:
            raise SettingsError(f"{kind} {name!r} takes no options, but {sorted(options)} are set")
        return _made(kind, name, factory) if callable(factory) else factory
    known = [f.name for f in fields(factory) if f.init]
    for option in options:
        if option not in known:
            raise SettingsError(f"{kind} {name!r} has no option {option!r}: {suggestion(option, known)}")
    try:
        return TypeAdapter(factory).validate_python(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{kind} {name!r}, option {where!r}: {first['msg']}, got {first['input']!r}") from None
    except JourneymanError:
        raise
    except (Exception, SystemExit) as error:  # a plugin's own checks of its options may raise anything
        raise SettingsError(f"{kind} {name!r} cannot be made: {type(error).__name__}: {error}") from error


def _made(kind: str, name: str, factory: Callable[[], Any]) -> Any:
    try:
        return factory()
    except (Exception, SystemExit) as error:  # whatever was named: a function that wants arguments, say
        why = f"{type(error).__name__}: {error}"
        raise SettingsError(f"{kind} {name!r} cannot be made ({why}): name a class of the kind") from error


def _resolve(kind: str, group: str, name: str) -> Any:
    if ":" in name:
        target = name
    else:
        known = installed(group)
        if name not in known:
            raise UnknownNameError(kind, name, known, "`journeyman plugins` lists them, or give a 'module:object' name")
        target = known[name].target
    module_name, _, attribute = target.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:  # a plugin's import may raise anything: name the plugin
        why = f"{type(error).__name__}: {error}"
        if isinstance(error, ModuleNotFoundError) and error.name == module_name.partition(".")[0]:
            why += "; modules are looked for beside the settings file, in the current folder and on PYTHONPATH"
        raise SettingsError(f"{kind} {name!r} ({target}) cannot be imported: {why}") from error
    return found
