"""Finds environments, verifiers and estimators: by entry point, or by a "module:object" name that a user gave.

Data chooses no code: a name that comes from a stored row, and may have come with a file, finds what is installed and
what the settings of its run name, and nothing else. Modules are looked for as Python does (installed packages,
PYTHONPATH), then in the folders of `look_in`: that of the settings file, and the current one. Those come last, so that
no file in them stands in for an installed module.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from journeyman.agent.credentials import shown
from journeyman.agent.data import Json
from journeyman.agent.errors import JourneymanError, SettingsError, UnknownNameError, UsageError, suggestion

ENVIRONMENTS = "journeyman.environments"
VERIFIERS = "journeyman.verifiers"
ESTIMATORS = "journeyman.estimators"


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """One installed plugin, e.g. `PluginInfo("countdown", "journeyman.agent...:Countdown", "journeyman 0.1.0")`."""

    name: str
    target: str
    distribution: str


def installed(group: str) -> Mapping[str, PluginInfo]:
    """The plugins of an entry-point group by name, looked for once in these folders of `sys.path`; imports nothing."""
    return _installed(group, tuple(sys.path))


@lru_cache
def _installed(group: str, _path: tuple[str, ...]) -> Mapping[str, PluginInfo]:
    found: dict[str, PluginInfo] = {}
    for point in metadata.entry_points(group=group):
        origin = f"{point.dist.name} {point.dist.version}" if point.dist else "unknown"
        found[point.name] = PluginInfo(point.name, point.value, origin)
    return dict(sorted(found.items()))


def look_in(folder: str | None) -> None:
    """Has modules be looked for in the folder too, after all other places; None is no folder."""
    if folder is not None and (place := str(Path(folder).absolute())) not in sys.path:
        sys.path.append(place)


def load_plugin(group: str, name: str, options: Mapping[str, Json], given: Collection[str] = ()) -> Any:
    """The plugin `name` of `group`, constructed with `options`, which are checked against its dataclass fields.

    `given` are the "module:object" names that may be imported beside what is installed: those that a user wrote, in
    settings or on a command line. Raises UnknownNameError for an unknown name, UsageError for a "module:object" that
    is not given, SettingsError for one that fails to import or bad options.
    """
    kind = group.rsplit(".", 1)[1].removesuffix("s")
    factory = _resolve(kind, group, name, given)
    if not (inspect.isclass(factory) and is_dataclass(factory)):
        if options:
            raise SettingsError(f"{kind} {name!r} takes no options, but {sorted(options)} are set")
        return _made(kind, name, factory) if callable(factory) else factory
    _check_options(kind, name, factory, options)
    try:
        return TypeAdapter(factory).validate_python(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{kind} {name!r}, option {where!r}: {first['msg']}, got {shown(first['input'])}") from None
    except JourneymanError:
        raise
    except (Exception, SystemExit) as error:  # a plugin's own checks of its options may raise anything
        raise SettingsError(f"{kind} {name!r} cannot be made: {type(error).__name__}: {error}") from error


def check_options(group: str, name: str, options: Iterable[str]) -> None:
    """Raises the errors of `load_plugin` for a plugin, named by a user, that is not there or has no such options."""
    kind = group.rsplit(".", 1)[1].removesuffix("s")
    factory = _resolve(kind, group, name, (name,))
    _check_options(kind, name, factory if inspect.isclass(factory) and is_dataclass(factory) else None, options)


def _check_options(kind: str, name: str, factory: Any, options: Iterable[str]) -> None:
    known = [] if factory is None else [f.name for f in fields(factory) if f.init]
    for option in options:
        if option not in known:
            raise SettingsError(f"{kind} {name!r} has no option {option!r}: {suggestion(option, known)}")


def _made(kind: str, name: str, factory: Callable[[], Any]) -> Any:
    try:
        return factory()
    except (Exception, SystemExit) as error:  # whatever was named: a function that wants arguments, say
        why = f"{type(error).__name__}: {error}"
        raise SettingsError(f"{kind} {name!r} cannot be made ({why}): name a class of the kind") from error


_environments: ContextVar[frozenset[str]] = ContextVar("given_environments", default=frozenset())


@contextmanager
def given_environments(names: Collection[str]) -> Iterator[None]:
    """Within it `load_named_environment` takes these "module:object" names, those of the settings of a run."""
    token = _environments.set(frozenset(names))
    try:
        yield
    finally:
        _environments.reset(token)


def load_named_environment(name: str) -> Any:
    """The task set, without options, of the environment that a task names: installed, or given by settings.

    Raises UsageError for any other, and what `load_plugin` raises.
    """
    return _named_environment(name, _environments.get())


@lru_cache
def _named_environment(name: str, given: frozenset[str]) -> Any:
    return load_plugin(ENVIRONMENTS, name, {}, given)


def _resolve(kind: str, group: str, name: str, given: Collection[str]) -> Any:
    known = installed(group)
    if ":" in name:
        if name not in given and all(name != info.target for info in known.values()):
            raise UsageError(
                f"{kind} {name!r} is not installed, and no stored row chooses what is imported: where you trust it, "
                "name it in the settings of the run (of an imported one: `journeyman import --settings FILE`)"
            )
        target = name
    else:
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
