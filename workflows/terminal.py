r"""The way out: every line that a person or another program gets to see leaves the process here, or by the console.

Texts of models, of plugins, of files and of names are shown as what they are: plain, no markup is read in them, and
what a terminal would obey or not show is written out, an escape as `\x1b`. Only the standard library is imported here.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import signal
import sys
import threading
import traceback
import unicodedata
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn, TextIO

from journeyman.agent.errors import UsageError

STOPPED = 130
"""Exit code after Ctrl-C."""
_JOINERS = "\u200c\u200d"
_JOINED = {"Lo", "Mn", "Mc", "So", "Sk"}  # of scripts without capitals, and of emoji
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")  # letters and marks that show nothing


def visible(text: str, *, block: bool = False) -> str:
    r"""The text on one line, or with its own lines and tabs as a `block`: what is no character to see is written out.

    So are control characters (as `\x1b`; a line's end in one line as `\n`), those that turn the direction of writing,
    characters without width, and lone surrogates (`\ud800`). Joiners stay where scripts and emoji need them.
    """
    if text.isascii() and text.isprintable():
        return text
    kept = "\n\t" if block else ""
    return "".join(c if c in kept or _shows(text, i) else _written_out(c) for i, c in enumerate(text))


def _shows(text: str, i: int) -> bool:
    c = text[i]
    if c in _JOINERS:
        before, after = text[i - 1 : i], text[i + 1 : i + 2]
        return bool(before and after) and {unicodedata.category(before), unicodedata.category(after)} <= _JOINED
    if c in _BLANK or "\ufe00" <= c <= "\ufe0d" or "\U000e0100" <= c <= "\U000e01ef":
        return False
    return c.isprintable() or unicodedata.category(c) == "Zs"


def _written_out(c: str) -> str:
    if c == "\n":
        return "\\n"
    code = ord(c)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def say(text: str, *, block: bool = False) -> None:
    """A line, or a block of lines, on stdout: what was asked for."""
    print(visible(text, block=block))


def kept_stdout() -> TextIO:
    """This process's stdout for `pass_on` alone: whatever else prints there from now on, in any language, is on stderr.

    So a plugin's `print` is no line that the process which reads along would take for one of ours.
    """
    kept = os.fdopen(os.dup(1), "w", encoding="utf-8")
    sys.stdout.flush()
    os.dup2(2, 1)
    sys.stdout = sys.stderr  # in the order in which it is printed
    return kept


def pass_on(value: Any, to: TextIO) -> None:
    """The value in one line and at once, for a process of ours that reads along; `to` is what `kept_stdout` gave."""
    print(json.dumps(value), file=to, flush=True)


def say_json(value: Any) -> None:
    """The value on stdout for another program to read."""
    print(json.dumps(value, indent=2))


def tell(text: str, *, block: bool = False) -> None:
    """A line, or a block of lines, on stderr: what else is to be known."""
    if sys.stderr is not None:  # `print` would take stdout instead, which is a machine's
        print(visible(text, block=block), file=sys.stderr)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person looks at the stream; there may be none, where it was closed."""
    return stream is not None and stream.isatty()


def ask(question: str) -> bool:
    """Whether the person at the terminal says yes; raises UsageError where nobody can be asked."""
    if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        raise UsageError(f"{visible(question)} There is no terminal to ask at: say --yes")
    print(f"{visible(question)} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def open_out() -> None:
    """Prepares this process's ways out: streams of any encoding, log records, what is raised to the end, Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    logging.setLogRecordFactory(_record)
    sys.excepthook = _raised
    ours = threading.current_thread() is threading.main_thread()
    if (
        ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ):  # else somebody has decided: a shell's `&`
        signal.signal(signal.SIGINT, _interrupted)
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # runs last: the exit code is decided by then


def closed() -> None:
    """What stdout is once its reader has gone: the rest goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _record(*arguments: Any, **more: Any) -> logging.LogRecord:
    """A log record whose message is visible, if it is ours: it may tell what a plugin or a model said."""
    record = logging.LogRecord(*arguments, **more)
    if record.name.startswith("journeyman"):
        record.msg, record.args = visible(record.getMessage()), ()
    return record


def _raised(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    """An error of our own, with its traceback."""
    tell("".join(traceback.format_exception(kind, error, where)).rstrip("\n"), block=True)


def _interrupted(number: int, frame: FrameType | None) -> None:
    """Ctrl-C stops in order, what is under way given back; once more, while that is going on, ends at once."""
    signal.signal(signal.SIGINT, _interrupted_again)
    signal.default_int_handler(number, frame)


def _interrupted_again(_number: int, _frame: FrameType | None) -> None:
    os.write(2, b"journeyman: stopped at once\n")
    _end()


def stopped(line: str) -> None:
    """The last line after Ctrl-C; another one from now on has nothing more to say."""
    signal.signal(signal.SIGINT, lambda *_: _end())
    exec("")  # noqa: S102 (where it interrupted an `exec`, the interpreter would kill itself, but for a later one)
    tell(line)


def leave(code: int) -> NoReturn:
    """Ends this process at once, when what it has said is out."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _end() -> NoReturn:
    """Ends this process and its children at once, whatever their state is."""
    with suppress(OSError):
        for listed in Path("/proc/self/task").glob("*/children"):
            for child in listed.read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(child), signal.SIGKILL)
    os._exit(STOPPED)
