"""Processes that learn together: what is said of them, how they end, and that a run goes on where one was killed."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from heard import Heard

from journeyman.agent.errors import JourneymanError, MicroBatchTooLargeError
from journeyman.workflows.session.ranks import learn_in_ranks

LIMIT_S = 240.0
SHORT = [
    "learner.processes=2", "run.iterations=1", "warm_start.max_epochs=2", "warm_start.check_every=2", "tasks.test=4",
    "evaluate.attempts=1",
]  # fmt: skip


def program(*by_rank: str) -> str:
    """What each rank does; all say which processes they are."""
    cases = "".join(f"\nif rank == {rank}:\n    {does}" for rank, does in enumerate(by_rank))
    return f"import os, sys, time\nrank = int(os.environ['RANK'])\nprint(os.getpid(), file=sys.stderr){cases}"


@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("sys.exit('no\\nsuch luck\\n')", " ended with code 1; its last words: such luck; `journeyman resume` does"),
        (
            "os.kill(os.getpid(), 9)",
            r" was killed by SIGKILL; its last words: \d+; `journeyman resume` does the update",
        ),
        ("print('lower the rate', file=sys.stderr); os._exit(2)", ": lower the rate$"),
    ],
)
def test_one_that_ends_too_early_is_named_and_ends_all(does: str, says: str) -> None:
    began = time.monotonic()
    with pytest.raises(JourneymanError, match=rf"^rank 1 of the learner's 2 processes{says}"):
        learn_in_ranks(Heard(), 2, program("time.sleep(600)", does), [])
    assert time.monotonic() - began < 30


def test_one_that_was_killed_is_named_before_those_that_missed_it(tmp_path: Path) -> None:
    """At the next look both have ended."""
    killed = "open(sys.argv[1], 'w').close(); os.kill(os.getpid(), 9)"
    misses = "[time.sleep(0.005) for _ in iter(lambda: os.path.exists(sys.argv[1]), True)]; os._exit(1)"
    with pytest.raises(JourneymanError, match=r"^rank 1 of the learner's 2 processes was killed by SIGKILL"):
        learn_in_ranks(Heard(), 2, program(misses, killed), [str(tmp_path / "killed")])


def test_one_that_has_too_little_memory_says_how_much_was_too_much() -> None:
    with pytest.raises(MicroBatchTooLargeError, match=r"micro-batch of 640 tokens .*micro_batch_tokens to 320 or less"):
        learn_in_ranks(Heard(), 2, program("time.sleep(600)", "print(640, file=sys.stderr); os._exit(3)"), [])


def test_lines_of_the_first_are_shown_and_warnings_once() -> None:
    says = 'print(\'[null, "\' + sys.argv[1] + \'"]\\n["of", "much"]\\n["of", "more"]\')'
    heard = Heard()
    learn_in_ranks(heard, 2, program(says, says), ["one line"])
    assert heard.lines == ["one line", "  warning: much"]


def test_what_a_plugin_prints_is_none_of_the_lines_and_no_last_word(watched) -> None:
    ref = watched.open().ref
    prints = """
import os, sys
from journeyman.agent.errors import JourneymanError
from journeyman.workflows.session.ranks import as_rank
from journeyman.workflows.session.session import RunRef

def work(session):
    print("of a plugin")
    os.system("echo of its child")
    session.reporter.line("one line")
    print("not flushed")
    raise JourneymanError("lower the rate")

as_rank(RunRef(*sys.argv[1:]), work)
"""
    heard = Heard()
    with pytest.raises(JourneymanError, match=r"^rank 0 of the learner's 1 processes: lower the rate$"):
        learn_in_ranks(heard, 1, prints, [ref.store_url, ref.run_id])
    assert heard.lines == ["one line"]


@pytest.mark.slow
def test_a_run_goes_on_after_a_rank_was_killed_and_after_itself(cli, small: str) -> None:
    process = cli.start("run", small, "--engine", "none", *(part for setting in SHORT for part in ("--set", setting)))
    learning = wait_for_ranks(process, cli.folder)
    process.kill()
    process.wait()
    wait_for(lambda: not any(map(is_alive, learning.values())))

    process = cli.start("resume", "--engine", "none")
    learning = wait_for_ranks(process, cli.folder)
    os.kill(learning["1"], signal.SIGKILL)
    began = time.monotonic()
    assert process.wait(LIMIT_S) == 2
    assert time.monotonic() - began < 60
    said = (cli.folder / "printed.txt").read_text().splitlines()[-1]
    assert said.startswith("journeyman: rank 1 of the learner's 2 processes was killed by SIGKILL")
    assert not any(map(is_alive, learning.values()))
    run = json.loads(cli("status", "--json").stdout)["runs"][0]
    assert (run["state"], run["stage"]) == ("failed", "finetune 1")

    assert "training on" in cli("resume", "--engine", "none").stderr
    run = json.loads(cli("status", "--json").stdout)["runs"][0]
    assert run["state"] == "finished"


def wait_for_ranks(process, folder: Path) -> dict[str, int]:
    """The process ids by rank, once they learn; what was printed before is forgotten."""
    (folder / "printed.txt").write_text("")
    wait_for(lambda: "training on" in (folder / "printed.txt").read_text() or process.poll() is not None)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    found = {}
    for child in children:
        told = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        found |= {one.decode().removeprefix("RANK="): int(child) for one in told if one.startswith(b"RANK=")}
    assert sorted(found) == ["0", "1"]
    return found


def wait_for(seen) -> None:
    end = time.monotonic() + LIMIT_S
    while not seen():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
