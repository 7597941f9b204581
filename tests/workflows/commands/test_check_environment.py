"""`journeyman check-environment`: what is whole passes, and each fault is found where it is, in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from journeyman.workflows.cli import main
from journeyman.workflows.commands.check_environment import examine

ROOT = Path(__file__).parents[3]
PUBLISHED = {
    "question": "Ann had 48 nuts and gave half away, then she found as many again. How many has she?",
    "answer": "She kept 48/2 = <<48/2=24>>24 nuts.\nShe has 24+24 = $<<24+24=48>>48 now.\n#### 48",
}


def found(name: str, *overrides: str, seconds: float = 10.0, context: int | None = None) -> dict[str, str]:
    """What is not as it should be: the line of each."""
    findings = list(examine(name, list(overrides), seconds, context))
    assert findings
    return {f.what: f"{f.says}: {f.remedy}" for f in findings if not f.ok}


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("countdown", []),
        ("countdown_steps", []),
        ("gridworld", []),
        ("bit_flipping", []),
        ("instructions", []),
        ("reasoning_gym", ["dataset=basic_arithmetic"]),
    ],
)
def test_bundled_environments_are_whole(name: str, overrides: list[str]) -> None:
    assert found(name, *overrides) == {}


def test_data_sets_are_whole(tmp_path: Path) -> None:
    files = {}
    for split, number in (("train", 48), ("validation", 60), ("test", 80)):
        row = json.dumps(PUBLISHED).replace("48", str(number)).replace("24", str(number // 2))
        (tmp_path / f"{split}.jsonl").write_text(row)
        files[split] = f"{split}={tmp_path}/{split}.jsonl"
    assert found("gsm8k", *files.values()) == {}
    assert found("dataset", *files.values(), r"answer_pattern=#### (\d+)") == {}


def test_examples_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The template as `pip install` would have it, and the guessing game as it lies there."""
    installed = tmp_path / "locks_environment-0.1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: locks-environment\nVersion: 0.1.0\n")
    (installed / "entry_points.txt").write_text("[journeyman.environments]\nlocks = locks_environment:Locks\n")
    template = ROOT / "examples" / "environment-plugin"
    assert 'locks = "locks_environment:Locks"' in (template / "pyproject.toml").read_text()
    for folder in (tmp_path, template / "src", ROOT / "examples" / "guessing"):
        monkeypatch.syspath_prepend(str(folder))
    assert found("locks", "wheels=2") == {}
    assert found("guessing:Guessing") == {}


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    return "broken_plugins:Walk"


def test_the_broken_environment_without_its_faults_is_whole(broken: str) -> None:
    assert found(broken) == {}


@pytest.mark.parametrize(
    ("fault", "what", "says"),
    [
        ("no turns", "plugin", "max_turns is 0"),
        ("no rubric", "plugin", "rubric is empty"),
        ("rubric raises", "plugin", "RuntimeError: no rubric today"),
        ("unknown verifier", "verifiers", "did you mean 'goal'"),
        ("tasks raise", "train tasks", "OSError: no such disk"),
        ("no tests", "test tasks", "set tasks.test = 0"),
        ("no task", "train tasks", "str is no Task"),
        ("other split", "train tasks", "they say split"),
        ("other name", "train tasks", "environment='broken_plugins:Walk'"),
        ("goals are sets", "train tasks", "no JSON"),
        ("equal prompts", "prompts", "90 of 90 different tasks share"),
        ("one hash", "hashes", "different tasks share the hash 'same'"),
        ("goal not hashed", "relabels", "has the hash of the old one"),
        ("one part", "hashes", "train and validation share 30 of 30"),
        ("chance", "repeated", "other train and validation and test tasks the second time"),
        ("hash of the split", "repeated", "the second time"),
        ("salted hash", "repeated", "in another process"),
        ("goals are tuples", "data", "goal (3,) comes back from the store as [3]"),
        ("long prompts", "sizes", "a context of 1024 has no room"),
        ("tools are none", "tools", "TypeError"),
        ("bad tool", "tools", "no JSON schema of"),
        ("tool requires more", "tools", "requires ['by']"),
        ("open raises", "tools", "open: ConnectionError: refused"),
        ("expert raises", "expert", "ZeroDivisionError"),
        ("expert wrong", "expert", "does not solve it: arrived says 0.0"),
        ("expert speaks as the user", "expert", "role ['user']"),
        ("too few turns", "expert", "it takes 3 turns, and max_turns is 2"),
        ("expert begins anew", "expert, later", "over after 3 of its 4 actions"),
        ("start raises", "expert", "start: KeyError: 'board'"),
        ("close raises", "expert", "close: OSError: gone"),
        ("step raises", "garbage", "IndexError: no such action"),
        ("step exits", "garbage", "SystemExit: 3"),
        ("all pass", "garbage", "'' passes at"),
        ("achieved goals raise", "goals", "LookupError: which?"),
        ("achieved none", "goals", "achieved_goals: TypeError"),
        ("turns out of range", "goals", "the attempt has the turns 0 to"),
        ("goals of several states", "goals", "reached '1' twice"),
        ("states are short", "goals", "states for"),
        ("relabel raises", "goals", "relabel: ValueError: not this time"),
        ("relabel of another goal", "relabels", "the task's goal is -1"),
        ("relabel shows the old", "relabels", "is told as ['at home'], and shows"),
        ("achieved too much", "relabels", "does not pass arrived"),
    ],
)
def test_each_fault_is_found_where_it_is(broken: str, fault: str, what: str, says: str) -> None:
    wrong = found(broken, f"fault={fault}")
    assert says in wrong[what]


@pytest.mark.parametrize("method", ["tasks", "open", "start", "step"])
def test_what_hangs_is_told_in_time(broken: str, method: str) -> None:
    wrong = found(broken, f"fault={method} hangs", seconds=0.3)
    assert any(f"{method}" in line and "no answer within 0.3 s" in line for line in wrong.values()), wrong


def test_the_command_prints_a_line_each_and_exits_with_2(broken: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-environment", broken, "--set", "fault=one part", "--json"]) == 2
    printed = capsys.readouterr()
    findings = {row["what"]: row for row in json.loads(printed.out)}
    assert (findings["hashes"]["ok"], findings["expert"]["ok"]) == (False, True)
    assert printed.err == f"journeyman: environment '{broken}': 1 of {len(findings)} checks say NO: hashes\n"
    assert main(["check-environment", "no_such_module:Walk"]) == 2
    printed = capsys.readouterr()
    assert printed.out.startswith("NO  plugin")
    assert printed.err.count("\n") == 1
