"""The table of a run: its rows fold where the terminal is narrow, and no number is shown as nothing."""

from __future__ import annotations

import re

import pytest

from journeyman.workflows.console import Reporter, as_text

ROW = {
    "iteration": 12,
    "policy": "v13",
    "attempts": 2048,
    "broken": 0,
    "relabels": 512,
    "validation pass@1": 0.4215,
    "pass@8": 0.5315,
    "kl": 2.5e-4,
    "clipped": 0.031,
    "entropy": 1.25,
    "grad norm": 0.75,
    "tokens/s": 12345,
    "promoted": "yes",
}


NARROW = [
    "iteration policy attempts broken relabels validation pass@1 pass@8     kl",
    "          clipped entropy grad norm tokens/s promoted",
    "       12    v13     2048      0      512             0.421  0.531 2.5e-4",
    "            0.031   1.250     0.750    12345      yes",
]


@pytest.mark.parametrize(("columns", "width", "lines"), [(160, 129, 2), (120, 117, 2), (115, 108, 4), (80, 73, 4)])
def test_rows_fold(monkeypatch, capsys, columns: int, width: int, lines: int) -> None:
    monkeypatch.setattr("journeyman.workflows.console.PLAIN_WIDTH", columns)
    Reporter().iteration(ROW)
    said = capsys.readouterr().err.splitlines()
    assert (max(map(len, said)), len(said)) == (width, lines)
    for head, row in zip(said[: lines // 2], said[lines // 2 :], strict=True):
        ends = [found.end() for found in re.finditer("|".join(ROW), head)]
        assert ends == [found.end() for found in re.finditer(r"\S+", row)]
    if columns == 80:
        assert said == NARROW


def test_a_long_text_moves_nothing_but_itself(monkeypatch, capsys) -> None:
    monkeypatch.setattr("journeyman.workflows.console.PLAIN_WIDTH", 20)
    reporter = Reporter()
    reporter.iteration({"iteration": 1, "validation pass@1": 0.5, "promoted": "yes"})
    reporter.iteration({"iteration": 2, "validation pass@1": 0.5, "promoted": "no (guard words 0.410 -> 0.300)"})
    assert capsys.readouterr().err.splitlines() == [
        "iteration",
        "          validation pass@1",
        "          promoted",
        "        1",
        "                      0.500",
        "               yes",
        "        2",
        "                      0.500",
        "          no (guard words 0.410 -> 0.300)",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0.000"),
        (0.12345, "0.123"),
        (0.001, "0.001"),
        (0.00025, "2.5e-4"),
        (-1e-9, "-1.0e-9"),
        (12345, "12345"),
        (True, "True"),
        ("x", "x"),
        (float("nan"), "nan"),
    ],
)
def test_cells(value: object, text: str) -> None:
    assert as_text(value) == text
