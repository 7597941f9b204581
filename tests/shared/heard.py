"""A reporter that a test reads afterwards."""

from __future__ import annotations

from journeyman.workflows.console import Reporter


class Heard(Reporter):
    """Keeps its lines."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)
