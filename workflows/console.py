"""What a person sees while a run goes on: progress bars and rows on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from journeyman.workflows.terminal import is_terminal, visible

PLAIN_WIDTH = 160
"""Columns where there is no terminal to ask."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leaves it to the caller, as for all that is printed, that the reader has seen enough."""
        raise BrokenPipeError


class Advance(Protocol):
    """Moves a progress bar on."""

    def __call__(self, steps: int = 1) -> None:
        """By `steps` of its total."""


class Reporter:
    """Writes to stderr, so that what `--json` prints on stdout stays a machine's; `stdout` is for what was asked.

    All texts are made `visible`, and none of them is read as markup.
    """

    def __init__(self, *, quiet: bool = False, stdout: bool = False) -> None:
        self.looked_at = is_terminal(sys.stdout if stdout else sys.stderr)
        """Whether it writes to a terminal."""
        wide = None if self.looked_at else PLAIN_WIDTH
        self._console = _Console(stderr=not stdout, quiet=quiet, highlight=False, width=wide)
        self.rows: list[Mapping[str, object]] = []
        """Rows of the table of iterations so far."""
        self._warned_of: set[str] = set()

    @classmethod
    def of_a_part(cls) -> Reporter:
        """For a stage that is run alone: quiet where nobody looks."""
        return cls(quiet=not is_terminal(sys.stderr))

    def line(self, text: str) -> None:
        """One line, whatever is in the text."""
        self._console.print(Text(visible(text)), soft_wrap=True)

    def warn(self, of: str, text: str) -> None:
        """A warning in one line, once for each `of`."""
        if of not in self._warned_of:
            self._warned_of.add(of)
            self.line(f"  warning: {text}")

    def block(self, pieces: Sequence[tuple[str, bool]]) -> None:
        """A text of several lines, in pieces, each marked or not: bold on a terminal, between » and « elsewhere."""
        text = Text()
        for piece, marked in pieces:
            shown = visible(piece, block=True)
            if marked and not self.looked_at:
                shown = f"»{shown}«"
            text.append(shown, style="bold green" if marked else "dim")
        self._console.print(text, soft_wrap=not self.looked_at)

    @contextmanager
    def progress(self, label: str, total: int) -> Iterator[Advance]:
        """A bar of `total` steps on a terminal; elsewhere a line that says what begins."""
        columns = (
            TextColumn("{task.description:<22}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        disabled = self._console.quiet or not self._console.is_terminal
        if disabled:
            self.line(f"  {label} ({total})")
        with Progress(*columns, console=self._console, transient=True, disable=disabled) as bars:
            bar = bars.add_task(visible(label), total=total)
            yield lambda steps=1: bars.advance(bar, steps)

    def iteration(self, row: Mapping[str, object]) -> None:
        """A row of the table of iterations, the head before the first one; on several lines where it is too wide."""
        self.rows.append(row)
        widths = [max(len(name), 6) for name in row]
        if len(self.rows) == 1:
            self._columns(list(row), widths)
        self._columns([as_text(value) for value in row.values()], widths)

    def _columns(self, cells: Sequence[str], widths: Sequence[int]) -> None:
        """One row, closer together where it is too wide else; what is still too much is below, right of the first cell.

        Widths decide where a line ends, so that the head and all rows are laid out alike.
        """
        gap = 2 if sum(widths) + 2 * (len(widths) - 1) <= self._console.width else 1
        lines, used = [""], -gap
        for cell, width in zip(cells, widths, strict=True):
            if used > 0 and used + gap + width > self._console.width:
                lines.append(" " * widths[0])
                used = widths[0]
            used += gap + width
            lines[-1] += f"{' ' * gap if lines[-1] else ''}{cell:>{width}}"
        for line in lines:
            self.line(line)

    def table(self, title: str, rows: Sequence[Mapping[str, object]]) -> None:
        """A table with the first row's keys as its head; what is too long for its column goes on below."""
        table = Table(title=Text(visible(title)), title_justify="left")
        for name in rows[0] if rows else ():
            left = isinstance(rows[0][name], str)
            table.add_column(Text(visible(name)), justify="left" if left else "right", overflow="fold")
        for row in rows:
            table.add_row(*(Text(visible(as_text(value))) for value in row.values()))
        self._console.print(table)


def as_text(value: object) -> str:
    """A cell's text: three digits for fractions, one with its power for very small ones, "-" for nothing."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.1e}".replace("e-0", "e-") if 0 < abs(value) < 1e-3 else f"{value:.3f}"
    return str(value)
