"""Which names are imported: what is installed, what a user gave, and nothing that data says; and from where."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from journeyman.agent.environments.countdown import Countdown
from journeyman.agent.errors import SettingsError, UnknownNameError, UsageError
from journeyman.agent.plugins import (
    ENVIRONMENTS,
    VERIFIERS,
    given_environments,
    load_named_environment,
    load_plugin,
    look_in,
)

MINE = "not_to_be_imported:Tasks"


@pytest.fixture
def marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that importing the module of `MINE` writes."""
    mark = tmp_path / "imported"
    code = f"from pathlib import Path\nPath({str(mark)!r}).touch()\nclass Tasks: ...\n"
    (tmp_path / "not_to_be_imported.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield mark
    sys.modules.pop("not_to_be_imported", None)


@pytest.mark.parametrize(
    "name",
    [
        MINE,
        "not_to_be_imported:",
        "not_to_be_imported:Tasks.real",
        "http.server:test",
        ":",
        "os:system",
        "builtins:exec",
    ],
)
def test_data_chooses_no_code(marked: Path, name: str) -> None:
    for group in (ENVIRONMENTS, VERIFIERS):
        with pytest.raises(UsageError, match="is not installed, and no stored row chooses what is imported") as refused:
            load_plugin(group, name, {})
        assert repr(name) in str(refused.value)
    with pytest.raises(UsageError, match="name it in the settings of the run"):
        load_named_environment(name)
    assert not marked.exists()


@pytest.mark.parametrize("name", ["not_to_be_imported", "http.server", "../x", "", "goal"])
def test_a_plain_name_is_one_that_is_installed(marked: Path, name: str) -> None:
    with pytest.raises(UnknownNameError, match="unknown environment"):
        load_named_environment(name)
    assert not marked.exists()


def test_what_is_installed_may_be_named_either_way() -> None:
    assert load_named_environment("countdown") == Countdown()
    assert load_named_environment("journeyman.agent.environments.countdown:Countdown") == Countdown()
    with pytest.raises(UsageError, match="is not installed"):  # there is such a class, and it is no environment
        load_named_environment("journeyman.verifiers.conduct.goals:GoalReached")


def test_what_settings_give_is_imported_within_them_only(marked: Path) -> None:
    with given_environments([MINE]):
        assert type(load_named_environment(MINE)).__name__ == "Tasks"
        with pytest.raises(UsageError, match="is not installed"):
            load_named_environment("http.server:test")
        with given_environments(["other:Tasks"]), pytest.raises(UsageError, match="is not installed"):
            load_named_environment(MINE)
    assert marked.exists()
    with pytest.raises(UsageError, match="is not installed"):  # though it is loaded by now
        load_named_environment(MINE)
    assert type(load_plugin(VERIFIERS, MINE, {}, [MINE])).__name__ == "Tasks"


def test_options_are_shown_without_their_credentials() -> None:
    for url in ("http//ann:secret@host", "http://ann:secret@host:x/v1", "http://ann:secret@host/v1"):
        with pytest.raises(SettingsError, match="option 'url'") as refused:
            load_plugin(VERIFIERS, "judge", {"url": url, "model": "m"})
        assert "secret" not in repr(refused.value)
    with pytest.raises(SettingsError, match="option 'url'") as refused:
        load_plugin(VERIFIERS, "judge", {"url": ["http://ann:secret@host"], "model": "m"})
    assert "secret" not in repr(refused.value)


MODULE = """
from dataclasses import dataclass

@dataclass
class Picky:
    size: int = 1
    def __post_init__(self):
        if self.size > 8:
            raise OverflowError("too much")
        if self.size > 4:
            raise ValueError("option 'size' must be at most 4")

def leave():
    raise SystemExit("bye")
"""


@pytest.fixture
def beside(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "picky_plugin.py").write_text(MODULE)
    (tmp_path / "json.py").write_text("raise RuntimeError('a file beside the settings stands in for a module')")
    look_in(str(tmp_path))
    yield tmp_path
    sys.modules.pop("picky_plugin", None)


def test_modules_are_found_in_the_folder_after_all_others(beside):
    assert load_plugin(ENVIRONMENTS, "picky_plugin:Picky", {"size": 3}, ["picky_plugin:Picky"]).size == 3
    look_in(str(beside))
    look_in(None)
    assert sys.path.count(str(beside)) == 1
    assert sys.path[-1] == str(beside)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("picky_plugin:Picky", {"size": 5}, "option 'size' must be at most 4"),
        ("picky_plugin:Picky", {"size": 9}, "cannot be made: OverflowError: too much"),
        ("picky_plugin:leave", {}, "SystemExit: bye"),
        ("pickled_plugin:Picky", {}, "beside the settings file, in the current folder and on PYTHONPATH"),
    ],
)
def test_what_a_plugin_raises_is_one_line(beside, name, options, message):
    with pytest.raises(SettingsError, match=message) as caught:
        load_plugin(ENVIRONMENTS, name, options, [name])
    assert "\n" not in str(caught.value)
