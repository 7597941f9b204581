"""Whatever a model, a plugin or a name says, a terminal is shown it and obeys none of it."""

from __future__ import annotations

import io
import logging
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from journeyman.workflows import terminal
from journeyman.workflows.cli import main
from journeyman.workflows.console import Reporter
from journeyman.workflows.terminal import open_out, say, tell, visible

HOSTILE = (
    "[/INST] [red]not red[/red] :smile: \x1b[31m\x1b]0;title\x07 \x9b2J \u202etxt.exe\u2066 a\u200bb \x00 \ud800 \x7f"
)
SHOWN = (
    r"[/INST] [red]not red[/red] :smile: \x1b[31m\x1b]0;title\x07 \x9b2J \u202etxt.exe\u2066 a\u200bb \x00 \ud800 \x7f"
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("", ""),
        (HOSTILE, SHOWN),
        ("two\nlines\tand a tab\r", r"two\nlines\x09and a tab\x0d"),
        (
            "na\u00efve \u00a0 \u65e5\u672c\u8a9e\u3000\U0001f600",
            "na\u00efve \u00a0 \u65e5\u672c\u8a9e\u3000\U0001f600",
        ),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
        ("ad\u200cmin\u200d", r"ad\u200cmin\u200d"),
        ("soft\u00adhyphen \ufeff \u2028", r"soft\xadhyphen \ufeff \u2028"),
        ("tag\U000e0041 \U000e0100 \u3164", r"tag\U000e0041 \U000e0100 \u3164"),
    ],
)
def test_what_a_terminal_would_obey_or_hide_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_block_keeps_its_lines() -> None:
    assert visible("a\n\tb\x1b[2J\r\n", block=True) == "a\n\tb\\x1b[2J\\x0d\n"


@pytest.fixture
def printed(capfd: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What came out on stdout and stderr so far."""

    def read() -> str:
        said = capfd.readouterr()
        return said.out + said.err

    return read


@pytest.mark.parametrize(
    "show",
    [
        say,
        tell,
        Reporter.line,
        lambda reporter, text: reporter.table(text, [{text: text}]),
        lambda reporter, text: reporter.block([(text, False), (text, True)]),
        lambda reporter, text: reporter.iteration({text: text}),
        lambda reporter, text: reporter.progress(text, 3).__enter__()(3),
    ],
)
def test_every_way_out_shows_it(printed, monkeypatch: pytest.MonkeyPatch, show) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    arguments = (HOSTILE,) if show in (say, tell) else (Reporter(), HOSTILE)
    show(*arguments)
    assert SHOWN in printed()


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_no_sequence_but_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(sys, "stderr", screen)
    reporter = Reporter()
    with reporter.progress(HOSTILE, 2) as advance:
        advance()
        reporter.line(HOSTILE)
    reporter.table(HOSTILE, [{"name": HOSTILE}])
    reporter.block([(HOSTILE, True)])
    shown = screen.getvalue()
    assert shown.count(SHOWN) > 3
    assert not [bad for bad in ("\x1b]0", "\x07", "\x9b", "\u202e", "\x00", "\ud800") if bad in shown]


def test_nothing_is_cut_from_a_table(printed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("journeyman.workflows.console.PLAIN_WIDTH", 30)
    Reporter(stdout=True).table("ids", [{"trajectory": "0123456789ab" * 4, "split": "train"}])
    rows = [line.split("│")[1].strip() for line in printed().splitlines() if line.startswith("│")]
    assert "".join(rows) == "0123456789ab" * 4


def test_an_error_is_one_line_whatever_it_names(printed, tmp_path) -> None:
    store = ["--store", f"sqlite:///{tmp_path}/x.db"]
    assert main(["run", f"{HOSTILE}\nmore.toml"]) == 2
    said = printed()
    assert said.startswith("journeyman: ")
    assert said.count("\n") == 1
    assert SHOWN in said
    assert main(["db", "prune", "x", "--keep", "-1", *store]) == 2
    assert "--keep -1: the newest iteration's tokens are needed, so keep 1 or more" in printed()
    for wrong in (["run"], ["rn"], ["run", "x", "--no\x1b[1m"]):
        with pytest.raises(SystemExit) as ended:
            main(wrong)
        said = printed()
        assert (ended.value.code, said.count("\n"), "\x1b" in said) == (2, 1, False)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["inspect", "--limit", "0"], "--limit: 0 is below 1"),
        (["inspect", "--limit", "x"], "invalid whole number value: 'x'"),
        (["inspect", "--best", "--worst"], "not allowed with"),
        (["label", "x", "--score", "nan"], "nan is not in [0, 1]"),
        (["train-prm", "x", "--output", "o", "--epochs", "0"], "0 is below 1"),
        (["train-prm", "x", "--output", "o", "--lora-rank", "-1"], "-1 is below 0"),
        (["train-reward-model", "x", "--output", "o", "--learning-rate", "-1"], "-1 is not in [0, inf]"),
        (["train-reward-model", "x", "--output", "o", "--held-out", "2"], "2 is not in [0, 1]"),
    ],
)
def test_numbers_that_make_no_sense(printed, arguments: list[str], says: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert says in printed()


@pytest.fixture
def opened() -> Iterator[None]:
    """The ways out as `main` prepares them, put back afterwards."""
    factory, hook, handler = logging.getLogRecordFactory(), sys.excepthook, signal.getsignal(signal.SIGINT)
    open_out()
    yield
    logging.setLogRecordFactory(factory)
    sys.excepthook = hook
    signal.signal(signal.SIGINT, handler)


@pytest.mark.usefixtures("opened")
def test_our_log_records_and_tracebacks_are_visible(caplog: pytest.LogCaptureFixture, printed) -> None:
    logging.getLogger("journeyman.agent").warning("an environment said %s", HOSTILE)
    logging.getLogger("other").warning("%s", "\x1b")
    assert [record.getMessage() for record in caplog.records] == [f"an environment said {SHOWN}", "\x1b"]
    error = ValueError(HOSTILE)
    sys.excepthook(ValueError, error, None)
    assert f"ValueError: {SHOWN}\n" in printed()


def test_streams_that_are_not_utf8_or_not_there() -> None:
    show = "from journeyman.workflows.console import Reporter; from journeyman.workflows.terminal import *; open_out()"
    code = f"{show}; say('\u00e9 \u2192'); Reporter(stdout=True).table('\u00e9', [{{'\u00e9': '\u2192'}}])"
    environment = {"PYTHONIOENCODING": "ascii", "PATH": "", "PYTHONPATH": ":".join(sys.path)}
    command = [sys.executable, "-X", "utf8=0", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == r"\xe9 \u2192"
    assert done.stderr == ""
    program = f"{sys.executable} -m journeyman.workflows.cli"
    subprocess.run(["/bin/sh", "-c", f"{program} plugins >&-"], env=environment, check=True)
    silent = subprocess.run(["/bin/sh", "-c", f"{program} run no.toml 2>&-"], env=environment, capture_output=True)  # noqa: PLW1510
    assert (silent.returncode, silent.stdout) == (2, b"")


@pytest.mark.parametrize("more", ["", "--json"])
def test_a_reader_that_has_seen_enough_is_no_error(more: str) -> None:
    code = f"import sys; from journeyman.workflows.cli import main; sys.exit(main('plugins {more}'.split()))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert (process.wait(), process.stderr.read()) == (0, b"")


def test_a_question_needs_somebody_to_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(terminal.UsageError, match="no terminal to ask at: say --yes"):
        terminal.ask("Delete it?")
    for answer, said in (("y\n", True), ("yes\n", True), ("\n", False), ("", False), ("n\n", False)):
        screen = Screen(answer)
        monkeypatch.setattr(sys, "stdin", screen)
        monkeypatch.setattr(sys, "stderr", Screen())
        assert terminal.ask(HOSTILE) is said
