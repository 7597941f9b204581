"""The rules of the house: floors, light imports, sizes, names."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("agent", "verifiers", "storage", "workflows")
FLOOR = {"agent": 1, "verifiers": 2, "storage": 2, "workflows": 3}
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
HEAVY = ("torch", "transformers", "vllm", "prefect", "sqlalchemy", "pydantic", "matplotlib", "sympy", "openai")

MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in SOURCES}
FOLDERS = sorted({path.parent for path in SOURCES})

ids = [str(path.relative_to(ROOT)) for path in SOURCES]


def imported(path: Path) -> set[str]:
    """Every module that the file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_imports_go_down_only(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    for module in imported(path):
        package, *rest = module.split(".")
        assert package not in ROOMS, f"{module}: rooms are imported as journeyman.*"
        if package == "journeyman" and rest[0] in FLOOR:
            assert rest[0] == room or FLOOR[rest[0]] < FLOOR[room], f"{path} imports {module}"
        if package == "prefect":
            assert room == "workflows", f"{path}: Prefect lives in workflows/ only"


def own_imports(path: Path) -> set[str]:
    """The modules of ours that the file imports, e.g. `storage.leases`; the command line's table counts as imports."""
    found = set()
    for name in imported(path):
        parts = name.removeprefix("journeyman.").split(".")
        found |= {".".join(parts[:n]) for n in range(1, len(parts) + 1)} & MODULES
    if path == ROOT / "workflows" / "cli.py":
        from journeyman.workflows import cli

        found |= {f"workflows.commands.{home}" for home in cli._HOMES.values()}
        assert found <= MODULES
    return found


def test_imports_make_no_circle() -> None:
    """Neither of files nor of folders; a room's own files, which name its parts, are no folder of that room."""
    needs = {".".join(path.relative_to(ROOT).with_suffix("").parts): own_imports(path) for path in SOURCES}
    assert set(TopologicalSorter(needs).static_order()) == MODULES  # raises CycleError, which names the circle
    folders: dict[str, set[str]] = {}
    for module, others in needs.items():
        folder = module.rpartition(".")[0]
        folders.setdefault(folder, set()).update({other.rpartition(".")[0] for other in others} - {folder, *ROOMS})
    assert list(TopologicalSorter(folders).static_order())


@pytest.mark.parametrize("path", sorted((ROOT / "workflows").rglob("*.py")), ids=lambda path: path.stem)
def test_nothing_is_shown_past_the_one_way_out(path: Path) -> None:
    """terminal.py and console.py make every text visible; whoever prints by another way would show what models say."""
    if path.stem in ("terminal", "console"):
        return
    shows = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    } & {"sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__"}
    called = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    shows |= {name.id for name in called if isinstance(name, ast.Name) and name.id in ("print", "input")}
    shows |= {module for module in imported(path) if module.split(".")[0] == "rich"}
    assert not shows


@pytest.mark.parametrize("folder", FOLDERS, ids=[str(folder.relative_to(ROOT)) for folder in FOLDERS])
def test_a_listing_shows_the_system(folder: Path) -> None:
    """A family of files has a folder of its own, and a folder is no heap."""
    files = [path.stem for path in SOURCES if path.parent == folder]
    families = Counter(stem.split("_")[0] for stem in files)
    assert len(files) <= 18
    assert max(families.values()) < 4, families.most_common(1)


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda path: path.stem)
def test_tests_mirror_the_folders(path: Path) -> None:
    folder = path.parent.relative_to(ROOT / "tests")
    assert (ROOT / folder).is_dir(), f"no folder {folder} for {path.name} to be about"


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 80, f"{path}:{node.lineno} {node.name}"


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_a_file_says_what_it_is_for_and_shadows_nothing(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring
    assert docstring.splitlines()[0].rstrip().endswith((".", "?", "!", ")", ":")) or "\n" in docstring
    assert path.stem not in sys.stdlib_module_names


def loaded_by(command: str) -> set[str]:
    """Which of the heavy packages a fresh interpreter has loaded after `command`."""
    code = f"import sys\n{command}\nprint([m for m in {HEAVY} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(ast.literal_eval(result.stdout.splitlines()[-1]))


def test_importing_is_light() -> None:
    assert loaded_by("import journeyman") == set()
    help_text = "from journeyman.workflows.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    assert loaded_by(help_text) == set()


def test_public_names_are_there() -> None:
    import journeyman

    data = "Achieved Episode Message Observation Source Split Status Step StopReason Task Tool ToolCall Trajectory Turn"
    protocols = "BatchVerifier Environment GoalEnvironment Retraceable StepVerifier TaskSet Verifier"
    helpers = "GoalEpisode InvalidAction SingleTurn Verdict canonical_hash keyed_rng"
    assert journeyman.__all__ == sorted(f"{data} {protocols} {helpers}".split())
    assert all(getattr(journeyman, name).__name__ == name for name in journeyman.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = journeyman.Nothing


def test_the_rooms_are_no_packages_of_their_own() -> None:
    assert not [room for room in ROOMS if (ROOT / room / "__init__.py").exists()]
    assert all((ROOT / "src" / "journeyman" / room).resolve() == ROOT / room for room in ROOMS)
