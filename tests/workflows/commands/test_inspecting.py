"""`inspect`: what is listed, what became of it, and one attempt in full; counts and ids that agree everywhere."""

from __future__ import annotations

import json
import sqlite3

import pytest

from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.searching import Search
from journeyman.workflows.cli import main


@pytest.fixture(scope="module")
def store(small_run):
    opened = ReplayStore(f"sqlite:///{small_run.folder}/runs/journeyman.db")
    yield opened
    opened.close()


@pytest.fixture
def say(small_run, capsys: pytest.CaptureFixture[str]):
    """`say("inspect", ...)`: what the command says of the small run."""
    place = ("--store", f"sqlite:///{small_run.folder}/runs/journeyman.db")

    def run(*arguments: str, code: int = 0) -> str:
        assert main([*arguments, *place]) == code
        said = capsys.readouterr()
        return said.err if code else said.out

    return run


@pytest.fixture
def listed(say):
    """`listed(*arguments)`: the rows of `inspect`."""
    return lambda *arguments: json.loads(say("inspect", *arguments, "--json"))


@pytest.fixture(scope="module")
def known(store) -> dict[str, dict]:
    """What the view says of each trajectory, by id with dashes."""
    run = store.runs.find("small")
    ids = {i.replace("-", ""): i for i in store.trajectories.search(run.id, Search(limit=10**6))}
    with store.database.read() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM v_trajectory").mappings().all()
    return {ids[row["id"].replace("-", "")]: dict(row) for row in rows}


def test_each_choice_and_their_combinations(listed, known) -> None:
    def ids(**wanted) -> set[str]:
        return {i for i, row in known.items() if all(row[name] == value for name, value in wanted.items())}

    assert {row["trajectory"] for row in listed("--limit", "100000")} == set(known)
    assert len(listed()) == 20
    newest = [row["trajectory"] for row in listed("--limit", "7")]
    assert newest == sorted(known, reverse=True)[:7]
    assert {row["trajectory"] for row in listed("--iteration", "1", "--limit", "9999")} == ids(iteration=1)
    failed = {row["trajectory"] for row in listed("--failed", "--limit", "9999")}
    assert failed == ids(success=0) != set()
    task = known[newest[0]]["task"]
    assert {row["trajectory"] for row in listed("--task", task, "--limit", "9999")} == ids(task=task)
    assert {row["trajectory"] for row in listed("--task", task[-9:], "--limit", "9999")} == ids(task=task)
    fates = {row["fate"] for row in known.values()}
    for fate in fates:
        rows = listed("--fate", fate, "--run", "small", "--limit", "9999")
        assert ({row["trajectory"] for row in rows}, {row["fate"] for row in rows}) == (ids(fate=fate), {fate})
    both = listed("--failed", "--iteration", "1", "--fate", "policy loss", "--limit", "9999")
    assert {row["trajectory"] for row in both} == ids(success=0, iteration=1, fate="policy loss")
    assert listed("--failed", "--fate", "positive", "--iteration", "0") == []


def test_the_best_and_the_worst_come_first(listed, known) -> None:
    best = [known[row["trajectory"]] for row in listed("--best", "--limit", "100000")]
    worst = [known[row["trajectory"]] for row in listed("--worst", "--limit", "100000")]
    scores = [(row["success"], row["score"]) for row in best]
    assert scores == sorted(scores, reverse=True)
    assert [(row["success"], row["score"]) for row in worst] == sorted(scores)
    assert {row["success"] for row in best} == {0, 1}
    only = listed("--best", "--iteration", "2", "--limit", "1")
    assert known[only[0]["trajectory"]]["success"] == 1


def test_unknown_values_say_what_there_is(say, known) -> None:
    def says(*arguments: str) -> str:
        return say("inspect", *arguments, code=2)

    assert "there is no iteration 9: the run has trajectories of 0 to 2" in says("--iteration", "9")
    assert "there is no iteration -1" in says("--iteration", "-1")
    fates = ", ".join(repr(fate) for fate in sorted({row["fate"] for row in known.values()}))
    assert f"no trajectory of the run has the fate 'lost'; there are {fates}" in says("--fate", "lost")
    assert "unknown task 'nosuch'" in says("--task", "nosuch")
    assert "unknown run 'smal': did you mean 'small'?" in says("--run", "smal")
    assert "--failed, --limit choose what is listed" in says(next(iter(known)), "--failed", "--limit", "3")


def test_one_attempt_in_full(say, known) -> None:
    attempt = next(i for i, row in known.items() if row["fate"] == "policy loss")
    details = json.loads(say("inspect", attempt, "--json", "--logprobs"))
    assert (details["id"], details["fate"]) == (attempt, "policy loss")
    tokens = [token for segment in details["segments"] for token in segment]
    assert sum(token["trained"] for token in tokens) == known[attempt]["trained_tokens"]
    assert all((token["logprob"] <= 0) if token["trained"] else token["logprob"] is None for token in tokens)
    said = "".join(token["text"] for token in details["segments"][-1])
    assert details["turns"][-1]["action"]["content"] in said
    shown = say("inspect", attempt[-12:], "--logprobs")
    assert f"id           {attempt}\n" in shown
    assert "fate         policy loss\n" in shown
    assert shown.count("log-prob") == known[attempt]["trained_tokens"]
    assert "log-prob" not in say("inspect", attempt)
    rows = json.loads(say("inspect", "--fate", "policy", "--logprobs", "--json"))
    assert all(row["mean log-prob"] < 0 for row in rows)


def test_counts_agree_and_say_what_they_are_of(say, listed, known, tmp_path) -> None:
    (run,) = json.loads(say("status", "--json"))["runs"]
    kinds = ("attempts", "held out", "demonstrations", "relabels")
    assert run["trajectories"] == sum(run[kind] for kind in kinds) == len(known)
    assert run["held out"] == sum(row["split"] != "train" for row in known.values())
    assert run["relabels"] == sum(row["source"] == "hindsight" for row in known.values())
    told = (
        f"{run['trajectories']} trajectories ({run['attempts']} attempts, {run['held out']} held-out ones, "
        f"{run['demonstrations']} demonstrations, {run['relabels']} relabels)"
    )
    assert told in say("inspect")
    exported = say("export", "small", str(tmp_path / "counted.jsonl"))
    assert exported.startswith(
        f"wrote {run['trajectories']} rows to {tmp_path}/counted.jsonl: all {told} of run {run['run']}"
    )


def test_ids_that_are_shown_can_be_pasted(small_run, say, listed) -> None:
    (run,) = json.loads(say("status", "--json"))["runs"]
    assert len(run["run"]) == 36
    trajectory = listed("--limit", "1")[0]["trajectory"]
    for given in (run["run"], run["run"][-8:]):
        assert listed("--run", given, "--limit", "1")[0]["trajectory"] == trajectory
    table = say("inspect", "--limit", "1")
    assert trajectory[-12:] in table
    database = sqlite3.connect(small_run.folder / "runs" / "journeyman.db")
    like = "SELECT COUNT(*) FROM trajectory WHERE id LIKE ?"
    assert database.execute(like, [f"%{trajectory[-12:]}"]).fetchone() == (1,)
    database.close()
