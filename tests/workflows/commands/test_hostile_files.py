"""Files that nobody should import: each is refused in one line, by name, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from hostile_rows import BAD_LINES, BAD_ROWS, a_row, an_id, good_rows, nested

from journeyman.agent.errors import DataError
from journeyman.storage.files.checking import checked
from journeyman.storage.files.exporting import export_rows
from journeyman.storage.files.formats import read_jsonl, read_parquet, write_jsonl, write_parquet
from journeyman.storage.files.importing import import_run
from journeyman.storage.store import ReplayStore
from journeyman.workflows.cli import main


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """`refused(file)`: the line that `journeyman import` says of it, having made neither run nor database."""

    def run(file: Path, *more: str) -> str:
        store = tmp_path / "new" / "store.db"
        assert main(["import", str(file), "--run", "copy", "--store", f"sqlite:///{store}", *more]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("journeyman: ")
        assert said.err.count("\n") == 1
        assert len(said.err) < 1000
        assert said.err[:-1].isprintable()
        assert not store.parent.exists()
        return said.err

    return run


def test_the_rows_that_all_others_are_made_of_are_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = f"sqlite:///{tmp_path}/store.db"
    for name, write, read in (("a.jsonl", write_jsonl, read_jsonl), ("a.parquet", write_parquet, read_parquet)):
        write(tmp_path / name, good_rows())
        assert list(read(tmp_path / name)) == good_rows()
        assert main(["import", str(tmp_path / name), "--run", "copy", "--store", store]) == 0
        assert main(["import", str(tmp_path / name), "--run=--help", "--store", store]) == 2
        assert main(["import", str(tmp_path / name), "--run", "..", "--store", store]) == 2
    assert capsys.readouterr().out.count("imported 4 trajectories") == 2
    opened = ReplayStore(store)
    assert [(run.name, run.finished) for run in opened.runs.all()] == [("copy", True)] * 2
    assert opened.upkeep.check() == []
    opened.close()


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_bad_rows(refused: Callable[..., str], tmp_path: Path, kind: str) -> None:
    change, says = BAD_ROWS[kind]
    rows = good_rows()
    change(rows)
    write_jsonl(tmp_path / "bad.jsonl", rows)
    said = refused(tmp_path / "bad.jsonl")
    assert says in said
    assert str(tmp_path / "bad.jsonl") in said


@pytest.mark.parametrize("kind", BAD_LINES)
def test_bad_lines(refused: Callable[..., str], tmp_path: Path, kind: str) -> None:
    change, says = BAD_LINES[kind]
    content = change("".join(json.dumps(row) + "\n" for row in good_rows()))
    (tmp_path / "bad.jsonl").write_bytes(content.encode() if isinstance(content, str) else content)
    assert says in refused(tmp_path / "bad.jsonl")


def test_what_is_odd_and_good(tmp_path: Path) -> None:
    rows = good_rows()
    rows[0]["task"]["payload"] = rows[1]["task"]["payload"] = rows[2]["task"]["payload"] = {"n": nested(255)}
    rows[1]["turns"][0]["action"]["content"] = "\0\u202e\x1b[31m[/INST]"
    text = "\r\n".join(json.dumps(row) for row in rows)
    (tmp_path / "dos.jsonl").write_text(text, newline="")
    store = ReplayStore(f"sqlite:///{tmp_path}/store.db")
    done = import_run(store, "copy", {}, partial(read_jsonl, tmp_path / "dos.jsonl"), "dos.jsonl")
    assert list(export_rows(store, done.run.id)) == rows
    store.close()


@pytest.fixture(scope="module")
def parquet(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The good rows, several times over, as a Parquet file."""
    rows = [row | {"id": an_id(10 * i + j), "group": f"{row['group']}{i}"} for i in range(50) for j, row in own(i)]
    file = tmp_path_factory.mktemp("parquet") / "a.parquet"
    write_parquet(file, rows)
    return file.read_bytes()


def own(number: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """The good rows with tokens of their own, and named so that they go with other such rows."""
    for i, row in enumerate(good_rows()):
        row["segments"][0]["prompt_ids"] = list(range(number, number + 40))
        row["parent"] = row["parent"] and [f"{row['parent'][0]}{number}", row["parent"][1]]
        for label in row["labels"]:
            label["other"][0] += str(number)
        yield i, row


def test_two_flipped_bytes_anywhere_in_a_parquet_file(tmp_path: Path, parquet: bytes) -> None:
    file = tmp_path / "a.parquet"
    file.write_bytes(parquet)
    whole = list(checked(read_parquet(file)))
    noticed = 0
    for place in range(0, len(parquet) - 1, len(parquet) // 150):
        flipped = bytearray(parquet)
        flipped[place] ^= 0xFF
        flipped[place + 1] ^= 0x10
        file.write_bytes(flipped)
        try:
            assert list(checked(read_parquet(file))) == whole  # statistics, say, which no reader needs
        except DataError as error:
            noticed += str(error).isprintable()
    assert noticed > 75


def a_table(**changes: Any) -> Any:
    """The good rows as an Arrow table, with columns changed, or left out where they are None."""
    import pyarrow as pa

    columns: dict[str, Any] = {name: [row[name] for row in good_rows()] for name in good_rows()[0]}
    nested_ones = ("task", "turns", "scores", "labels", "uses", "parent")
    columns |= {name: [json.dumps(value) for value in columns[name]] for name in nested_ones}
    columns |= {name: value for name, value in changes.items() if value is not None}
    return pa.table(
        {name: value for name, value in columns.items() if name not in changes or changes[name] is not None}
    )


BAD_TABLES: dict[str, tuple[Callable[[], Any], str]] = {
    "attempts as text": (lambda: a_table(attempt=["0", "0", "1", "0"]), "row 1: attempt: Input should be a valid int"),
    "attempts as floats": (lambda: a_table(attempt=[0.0, 0.0, 1.0, 0.0]), "row 1: attempt"),
    "groups as bytes": (
        lambda: a_table(group=[b"e", b"p", b"p", b"r"]),
        "row 1: group: Input should be a valid string",
    ),
    "groups missing": (lambda: a_table(group=None), "row 1: group: Field required"),
    "a group that is null": (lambda: a_table(group=["e", None, "p", "r"]), "row 2: group"),
    "another column": (lambda: a_table(extra=[1, 2, 3, 4]), "row 1: extra: Extra inputs"),
    "seconds that are NaN": (
        lambda: a_table(seconds=[1.0, float("nan"), 1.0, 1.0]),
        "row 2: seconds: Input should be a f",
    ),
    "seconds as times": (lambda: a_table(seconds=[datetime(2026, 1, 1)] * 4), "row 1: seconds"),  # noqa: DTZ001
    "tasks as numbers": (lambda: a_table(task=[1, 2, 3, 4]), "column 'task' holds a int, not JSON text"),
    "tasks that are null": (lambda: a_table(task=["null"] * 4), "row 1: task"),
    "tasks that are no JSON": (lambda: a_table(task=["{"] * 4), "after row 0"),
    "turns 10,000 deep": (lambda: a_table(turns=["[" * 10_000 + "]" * 10_000] * 4), ""),
    "turns with a key twice": (lambda: a_table(turns=['[{"reward": 1, "reward": 2}]'] * 4), "'reward' is there twice"),
    "scores with NaN": (lambda: a_table(scores=["[NaN]"] * 4), "NaN is no number"),
    "segments as text": (lambda: a_table(segments=["[]"] * 4), "row 1: segments: Input should be a valid list"),
    "no rows": (lambda: a_table().slice(0, 0), "there are no rows to import"),
    "no columns": (lambda: a_table().select([]), "no rows"),
}


@pytest.mark.parametrize("kind", BAD_TABLES)
def test_bad_tables(refused: Callable[..., str], tmp_path: Path, kind: str) -> None:
    import pyarrow.parquet as pq

    make, says = BAD_TABLES[kind]
    pq.write_table(make(), tmp_path / "bad.parquet")
    assert says in refused(tmp_path / "bad.parquet")


NOT_IN_ARROW = re.compile(
    "token|mask of num|log-prob as|segment|missing|row with more|row of no|layout|as text|as a list|with NUL|no rows"
)
"""Rows that a column of Arrow cannot hold, or would not hold as they are; `BAD_TABLES` has its own."""


@pytest.mark.parametrize("kind", [kind for kind in BAD_ROWS if not NOT_IN_ARROW.search(kind)])
def test_bad_rows_in_parquet(refused: Callable[..., str], tmp_path: Path, kind: str) -> None:
    change, says = BAD_ROWS[kind]
    rows = good_rows()
    change(rows)
    write_parquet(tmp_path / "bad.parquet", rows)
    assert says in refused(tmp_path / "bad.parquet")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 100, bytes(range(256)), b"{}\n"])
def test_bytes_that_are_no_parquet_file(refused: Callable[..., str], tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.parquet").write_bytes(content)
    assert "no Parquet file of exported rows" in refused(tmp_path / "bad.parquet")


def test_a_parquet_file_cut_short(refused: Callable[..., str], tmp_path: Path, parquet: bytes) -> None:
    (tmp_path / "bad.parquet").write_bytes(parquet[: len(parquet) // 2])
    assert "no Parquet file" in refused(tmp_path / "bad.parquet")


def test_what_is_no_file(refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("folder.jsonl", "folder.parquet"):
        (tmp_path / name).mkdir()
        assert "is a folder, not a file" in refused(tmp_path / name)
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert "is not there" in refused(tmp_path / "none.jsonl")
    assert "is no file" in refused(tmp_path / "pipe.jsonl")
    (tmp_path / "a.csv").touch()
    assert "let it end in .jsonl or .parquet" in refused(tmp_path / "a.csv")
    (tmp_path / "a.jsonl").touch()
    monkeypatch.setattr(Path, "open", lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    assert "a.jsonl cannot be read: Permission denied" in refused(tmp_path / "a.jsonl")


def test_parquet_without_its_package(
    refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    (tmp_path / "a.parquet").touch()
    monkeypatch.setattr(metadata, "version", missing)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("journeyman.workflows.cli._version", lambda: "0")
        assert "pip install 'journeyman[parquet]'" in refused(tmp_path / "a.parquet")


def many_rows(stop: Callable[[], object]) -> Iterator[dict[str, Any]]:
    """Three pages of rows; in the last one something happens."""
    for i in range(1500):
        if i == 1200:
            stop()
        yield a_row(i, f"g{i}", "policy")


def an_error() -> None:
    raise OSError(5, "the disk is gone")


def test_an_import_that_ends_half_way_leaves_nothing(tmp_path: Path) -> None:
    store = ReplayStore(f"sqlite:///{tmp_path}/store.db")
    with pytest.raises(OSError, match="disk is gone"):
        import_run(store, "copy", {}, lambda: many_rows(an_error), "a.jsonl")
    assert store.runs.all() == []
    store.close()
    child = os.fork()
    if not child:  # killed after two pages
        forked = ReplayStore(f"sqlite:///{tmp_path}/store.db")
        import_run(forked, "copy", {}, lambda: many_rows(lambda: os.kill(os.getpid(), signal.SIGKILL)), "a.jsonl")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    store = ReplayStore(f"sqlite:///{tmp_path}/store.db")
    assert store.runs.all() == []
    assert store.upkeep.check() == []
    done = import_run(store, "copy", {}, lambda: many_rows(lambda: None), "a.jsonl")
    assert (done.rows, store.runs.find("copy").finished) == (1500, True)
    assert len(store.trajectories.of(done.run.id, tokens=False)) == 1500
    store.close()


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("chosen_a:Tasks", "countdown", "UsageError: environment 'chosen_a:Tasks' is not installed"),
        ("chosen_b:Tasks", "chosen_b:Tasks", "environment 'chosen_b:Tasks' tells no states"),
        ("http.server:test", "countdown", "UsageError: environment 'http.server:test' is not installed"),
        ("nowhere", "countdown", "UnknownNameError: unknown environment 'nowhere'"),
    ],
)
def test_no_row_of_a_file_chooses_what_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, given: str, says: str
) -> None:
    module, mark = name.partition(":")[0], tmp_path / "imported"
    (tmp_path / f"{module}.py").write_text(f"from pathlib import Path\nPath({str(mark)!r}).touch()\n{TASK_SET}")
    monkeypatch.syspath_prepend(str(tmp_path))
    rows = good_rows()
    for row in rows:
        row["task"]["environment"] = name
    write_jsonl(tmp_path / "a.jsonl", rows)
    (tmp_path / "a.toml").write_text(f'[environment]\nname = "{given}"\n[verification]\nworkers = 1\n')
    store = ("--store", f"sqlite:///{tmp_path}/store.db")
    told = ("--run", "copy", "--settings", str(tmp_path / "a.toml"))
    assert main(["import", str(tmp_path / "a.jsonl"), *told, *store]) == 0
    assert main(["rescore", "copy", "--verifier", "goal_steps", *store]) == 0
    opened = ReplayStore(store[1])
    of_all = [t.verdicts for t in opened.trajectories.of(opened.runs.find("copy").id)]
    opened.close()
    texts = [v.explanation or "" for of_one in of_all for who, v in of_one.items() if who.name == "goal_steps"]
    assert len(texts) == 4
    assert all(text.startswith(says) for text in texts)
    assert mark.exists() == (name == given)


TASK_SET = """
from dataclasses import dataclass, field
from journeyman.agent.environments.dataset import SingleTurn

@dataclass
class Tasks:
    max_turns: int = 1
    rubric: dict = field(default_factory=lambda: {"exact": 1.0})

    def tasks(self, split, seed):
        return iter(())

    def demonstrate(self, task, after=()):
        return None

    def open(self, task):
        return SingleTurn(task)
"""


def test_retractions_that_come_along_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = good_rows()
    rows[1]["scores"][0]["retracted"] = "took 1 for 7"
    write_jsonl(tmp_path / "a.jsonl", rows)
    command = ["import", str(tmp_path / "a.jsonl"), "--run", "copy", "--store", f"sqlite:///{tmp_path}/store.db"]
    told = "retracted goal/1, configuration 00, in all runs of the store: took 1 for 7"
    for said in ([told], []):  # the second time it is known
        assert main(command) == 0
        assert capsys.readouterr().out.splitlines()[1:] == said
