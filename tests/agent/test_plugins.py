"""Which names are imported: what is installed, what a user gave, and nothing that data says."""

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
