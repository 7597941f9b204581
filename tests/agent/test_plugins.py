"""Where modules of "module:object" names are found, and what a plugin's own code may raise while it is made."""

import sys

import pytest

from journeyman.agent.errors import SettingsError
from journeyman.agent.plugins import ENVIRONMENTS, load_plugin, look_in

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
    assert load_plugin(ENVIRONMENTS, "picky_plugin:Picky", {"size": 3}).size == 3
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
        load_plugin(ENVIRONMENTS, name, options)
    assert "\n" not in str(caught.value)
