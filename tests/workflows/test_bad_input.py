"""A user's mistake is one line on stderr and exit code 2, and nothing is stored."""

from __future__ import annotations

import json
import shutil
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import errors
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from journeyman.agent.chat.rendering import Renderer
from journeyman.agent.errors import SettingsError
from journeyman.agent.models import load_tokenizer, make_tiny
from journeyman.workflows.cli import main
from journeyman.workflows.console import Reporter
from journeyman.workflows.session.checking import check
from journeyman.workflows.session.runs import start_run
from journeyman.workflows.session.session import lend
from journeyman.workflows.settings.loading import load_settings
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
        ("learner.processes=0", "setting 'learner.processes'"),
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


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("models") / "tiny", 0, hidden=32, layers=2, heads=1, intermediate=32)


def configured(**changes: object) -> Callable[[Path], None]:
    return lambda folder: rewrite(folder / "config.json", lambda told: json.dumps(json.loads(told) | changes))


def rewrite(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text()))


def cut(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-100])


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def a_shard_of_two(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    save_file(weights, folder / names[0], {"format": "pt"})
    places = {key: names[i % 2] for i, key in enumerate(sorted(weights))}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (configured(model_type="marvin"), "model type `marvin` but Transformers does not recognize this architecture"),
        (configured(model_type=None), "cannot be loaded (ValueError"),
        (configured(model_type="clip"), "is a 'clip', no language model that goes on with a text"),
        (configured(model_type="t5"), "is a 't5', no language model that goes on with a text"),
        (configured(hidden_size="wide"), "Field 'hidden_size' expected int, got str"),
        (configured(num_attention_heads=3), "not a multiple of the number of attention heads"),
        (configured(pad_token_id=9999), "Padding_idx must be within num_embeddings"),
        (configured(hidden_size=64), "is of another shape than config.json says (and "),
        (configured(vocab_size=300), "is of another shape than config.json says (and 1 more)"),
        (configured(num_hidden_layers=3), "model.layers.2.input_layernorm.weight is missing (and 8 more)"),
        (configured(num_hidden_layers=1), "model.layers.1.input_layernorm.weight is one more than config.json speaks"),
        (cut("config.json"), "cannot be loaded (OSError: "),
        (cut("model.safetensors"), "file not fully covered"),
        (a_shard_of_two, "cannot be loaded ("),
        (without("model.safetensors"), "has no weights (*.safetensors)"),
        (without("config.json"), "the folder holds no config.json"),
        (cut("tokenizer.json"), "cannot be loaded ("),
        (without("chat_template.jinja"), "has no chat template: take a chat or instruct model"),
        (configured(max_position_embeddings=100), "sampler.max_context is 1024, and model 'model' holds 100 tokens"),
    ],
)
def test_models_that_cannot_work(
    mistaken: Mistaken, small: str, tiny: Path, damage: Callable[[Path], None], says: str
) -> None:
    shutil.copytree(tiny, "model")
    damage(Path("model"))
    assert says in mistaken("run", small, "--engine", "none", "--set", "model.name=model")


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("GatedRepoError", "it is gated: accept its terms at https://huggingface.co/some/model, then set HF_TOKEN"),
        ("RepositoryNotFoundError", "the hub has no model of that name, or it is private"),
        ("LocalEntryNotFoundError", "it is not in the cache, and the hub is out of reach"),
        ("EntryNotFoundError", "its repository holds no config.json"),
    ],
)
def test_models_that_the_hub_does_not_give(
    mistaken: Mistaken, small: str, monkeypatch: pytest.MonkeyPatch, kind: str, says: str
) -> None:
    error = getattr(errors, kind)
    refusal = error.__new__(error, "401 Client Error\nand more")

    def refuse(*_: object) -> None:
        raise refusal

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    said = mistaken("run", small, "--engine", "none", "--set", "model.name=some/model")
    assert "unknown model 'some/model': " in said
    assert says in said


def test_a_tokenizer_of_another_model(mistaken: Mistaken, small: str, tiny: Path) -> None:
    """Its prompts hold tokens that the model has no embedding of."""
    shutil.copytree(tiny, "model")
    config = LlamaConfig.from_pretrained("model", vocab_size=260, pad_token_id=None, bos_token_id=0, eos_token_id=1)
    LlamaForCausalLM(config).save_pretrained("model")
    said = mistaken("run", small, "--engine", "none", "--set", "model.name=model")
    assert "has embeddings of 260 tokens, and its tokenizer writes token 26" in said
    assert "take the tokenizer that the model was trained with" in said


def test_no_padding_token_and_embeddings_of_more_tokens_than_there_are_do_no_harm(
    small: str, tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "model"))
    config = LlamaConfig.from_pretrained(folder, vocab_size=320, pad_token_id=None)
    LlamaForCausalLM(config).save_pretrained(folder)
    rewrite(folder / "tokenizer_config.json", lambda told: json.dumps(json.loads(told) | {"pad_token": None}))
    check(load_settings(small, [f"model.name={folder}"]))
    assert [r.getMessage().partition(": the others")[0] for r in caplog.records] == [
        f"model '{folder}' knows 320 tokens and its tokenizer 265"
    ]
    renderer = Renderer(load_tokenizer(str(folder)))
    assert renderer.tokenizer.pad_token is None
    assert renderer.decode([104, 300, 105]) == renderer.decode([104, 105])


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


def test_several_processes_where_one_is_needed(mistaken: Mistaken, small: str) -> None:
    told = ["--set", "learner.processes=2", "--set", "optimizer.kind=trust_region"]
    assert "a trust-region step is made by one: set it to 1" in mistaken("run", small, "--engine", "none", *told)


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
    session = watched.open(environment=numbers)
    watched.candidate(session, 0, lambda a, b: f"answer {a + b}")
    sampler = session.settings.sampler.model_copy(update={"max_context": 16})
    session.settings = session.settings.model_copy(update={"sampler": sampler})
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
