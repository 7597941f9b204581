"""A user's mistake is one line on stderr and exit code 2, and nothing is stored."""

from __future__ import annotations

import json
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from journeyman.agent.errors import SettingsError
from journeyman.workflows.cli import main
from journeyman.workflows.console import Reporter
from journeyman.workflows.session.runs import start_run
from journeyman.workflows.session.session import lend
from journeyman.workflows.stages.evaluate import evaluate
from journeyman.workflows.stages.report import report

Mistaken = Callable[..., str]


@pytest.fixture
def mistaken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Mistaken:
    """`mistaken("run", ...)`: the line that `journeyman run ...` says in a folder where it leaves no file."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        before = files(tmp_path)
        with pytest.raises(SystemExit) as ended:
            raise SystemExit(main(list(arguments)))
        said = capsys.readouterr()
        assert ended.value.code == 2, said.err
        lines = said.err.splitlines()
        assert [line for line in lines if line.startswith("journeyman: ")] == lines[-1:]
        assert "Traceback" not in said.err
        assert files(tmp_path) == before
        return lines[-1]

    return run


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("environment.count=1", "option 'count': Input should be greater than or equal to 2, got 1"),
        ("environment.max_value=0", "option 'max_value'"),
        ("environment.max_target=0", "option 'max_target'"),
        ("environment.name=3", "setting 'environment.name' is 3, not a text"),
        ('environment={name="json:dumps"}', "environment 'json:dumps' cannot be made"),
        ('rubric={"json:dumps"=1.0}', "verifier 'json:dumps' cannot be made"),
        ("verifiers.gaol.x=1", "unknown verifier 'gaol': did you mean 'goal'?"),
        ("verifiers.reward_model.x=1", "verifier 'reward_model' has no option 'x'"),
        ("model.hidden=100", "setting 'model.hidden': Value error, attention heads are 32 wide"),
        ("model.hidden=17", "attention heads are 32 wide"),
        ("run.seed=99999999999999999999999999", "setting 'run.seed'"),
        ("run.seed=true", "setting 'run.seed': Input should be a valid integer, got True"),
        ("run.seed='7'", "setting 'run.seed': Input should be a valid integer, got '7'"),
        ("rubric={goal=true}", "got True"),
        ("run.name=..", "setting 'run.name': String should match pattern"),
        ("run.name='.'", "setting 'run.name'"),
        ("run.name=.hidden", "setting 'run.name'"),
        ("run.name=--help", "setting 'run.name'"),
        ("run.name=_x", "setting 'run.name'"),
        ("run.name='a/b'", "setting 'run.name'"),
        ('guard=[{name="..", environment={name="countdown"}}]', "setting 'guard.0.name'"),
        (
            "store.url={password='secret'}",
            "setting 'store.url': Input should be a valid string, got {'password': '***'}",
        ),
        ("evaluate.margin=nan", "setting 'evaluate.margin'"),
        ("generate.temperature=inf", "setting 'generate.temperature'"),
        ("replay.quota={expert=0}", "no kind has a share above 0"),
        ("finetune.loss=cispo", "setting 'finetune.epsilon_high'"),
        ("warm_start.file=latin.jsonl", "latin.jsonl: not UTF-8 text"),
        ("warm_start.file=list.jsonl", "list.jsonl:1: a row must be a JSON object"),
        ("model.name=./empty_model", "cannot be loaded"),
        ("store.artifacts=/proc/x", "store.artifacts: /proc/x cannot be written"),
        ("run.output=/proc/x", "run.output: /proc/x cannot be written"),
        ("store.url=postgresql+psycopg://127.0.0.1:abc/x", "is not a database URL"),
        ("store.url=sqlite+aiosqlite:///a.db", "store.url"),
        ("store.url=sqlite://", "names no file, and a run needs one that stays"),
        ("store.url=sqlite:///empty_model", "is a folder"),
        ("store.url=sqlite:///other.db", "is no database of Journeyman; it holds customers"),
    ],
)
def test_settings_that_cannot_work(mistaken: Mistaken, small: str, setting: str, says: str) -> None:
    Path("latin.jsonl").write_bytes(b'{"messages": "\xe9"}\n')
    Path("list.jsonl").write_text("[]\n")
    Path("empty_model").mkdir()
    Path("empty_model", "config.json").write_text("{}")
    with sqlite3.connect("other.db") as connection:
        connection.execute("CREATE TABLE customers (name TEXT)")
    connection.close()
    assert says in mistaken("run", small, "--engine", "none", "--set", setting)


@pytest.mark.parametrize(
    "setting",
    [
        "store.url=postgresql+psycopg://ann:secret@host:abc/x",
        "store.url=postgresql//ann:secret@host/x",
        "store.url=oracle://ann:secret@host/x",
        "store=postgresql://ann:secret@host/x",
        "environment.count=http://ann:secret@host/x",
        "rubric={goal='http://ann:secret@host'}",
        "verifiers.judge={url='http//ann:secret@host', model='m'}",
        "http://ann:secret@host/x",
    ],
)
def test_no_password_is_shown(mistaken: Mistaken, small: str, setting: str) -> None:
    said = mistaken("run", small, "--engine", "none", "--set", setting)
    assert "***@host" in said or "holds a password" in said
    assert "secret" not in said


def test_the_store_of_the_environment_is_no_secret_told_by_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOURNEYMAN_STORE", "postgresql://ann:sec%20ret@host/x")
    with pytest.raises(SystemExit):
        main(["status", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "(default postgresql://***@host/x)" in said


@pytest.mark.parametrize("command", [("run",), ("serve",), ("deploy", "--pool", "p")])
def test_a_prefect_server_that_does_not_answer(
    mistaken: Mistaken, small: str, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        for url in (f"http://127.0.0.1:{free.getsockname()[1]}/api", "nonsense"):
            monkeypatch.setenv("PREFECT_API_URL", url)
            said = mistaken(command[0], small, *command[1:])
            assert f"no Prefect server answers at PREFECT_API_URL {url!r}" in said
    monkeypatch.setenv("PREFECT_API_URL", "http://ann:secret@127.0.0.1:x/api")
    said = mistaken(command[0], small, *command[1:])
    assert "at PREFECT_API_URL 'http://***@127.0.0.1:***' (it is no URL)" in said


def test_databases_of_other_programs_are_left_alone(mistaken: Mistaken) -> None:
    Path("nothing.db").touch()
    assert "is no database of Journeyman" in mistaken("status", "--store", "sqlite:///nothing.db")
    with sqlite3.connect("other.db") as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('abc')")
    connection.close()
    assert "is no database of Journeyman; it holds alembic_version" in mistaken(
        "status", "--store", "sqlite:///other.db"
    )


def test_what_a_settings_file_says_itself(mistaken: Mistaken, small: str) -> None:
    assert "--policy and --store go with a run" in mistaken("evaluate", small, "--policy", "v3")
    assert "--policy and --store go with a run" in mistaken("evaluate", small, "--store", "sqlite:///b.db")
    assert "tasks.test is 0" in mistaken("evaluate", small, "--model", "tiny", "--set", "tasks.test=0")


def test_a_schedule_is_looked_at_before_a_server_is_started(mistaken: Mistaken, small: str) -> None:
    assert "--cron '' is not a schedule" in mistaken("serve", small, "--cron", "")
    assert "--cron '0 2' is not a schedule" in mistaken("serve", small, "--cron", "0 2")


def test_doctor_knows_databases_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = {}
    for name in ("folder", "folder/a.db", "file/a.db"):
        (tmp_path / "folder").mkdir(exist_ok=True)
        (tmp_path / "file").touch()
        main(["doctor", "--json", "--store", f"sqlite:///{tmp_path}/{name}"])
        rows = json.loads(capsys.readouterr().out)
        found[name] = next(row["ok"] for row in rows if row["what"] == "database")
    assert found == {"folder": False, "folder/a.db": True, "file/a.db": False}


def test_prompts_that_fill_the_context_are_named(watched) -> None:
    numbers = {"name": "watched_plugins:Sums", "offset": 10**12}
    session = watched.open(environment=numbers, sampler={"kind": "transformers", "max_context": 16})
    watched.candidate(session, 0, lambda a, b: f"answer {a + b}")
    with pytest.raises(SettingsError, match="context is 16: none of 8 prompts leaves room"):
        evaluate(session.ref, 0)


def test_a_run_whose_summary_cannot_be_written_is_not_finished(watched) -> None:
    session = watched.open()
    watched.candidate(session, 0, lambda a, b: f"answer {a + b}")
    evaluate(session.ref, 0)
    folder = Path(session.settings.run.output, f"{session.run.name}-{session.run.id[-8:]}")
    folder.touch()
    with pytest.raises(FileExistsError):
        report(session.ref)
    assert not session.store.runs.find(session.run.id).finished
    folder.unlink()
    assert Path(report(session.ref)["summary"]).is_file()
    assert session.store.runs.find(session.run.id).finished


def test_an_error_in_a_session_is_no_lock(watched) -> None:
    ref = start_run(watched.settings())
    with pytest.raises(BlockingIOError, match="fork"), lend(ref, Reporter(quiet=True)):
        raise BlockingIOError(11, "fork")
