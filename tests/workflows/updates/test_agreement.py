"""Ranks compare what they have gathered before they learn from it, and all of them say who has something else."""

from __future__ import annotations

import numpy as np
import pytest
from heard import Heard

from journeyman.agent.data import Segment
from journeyman.agent.errors import JourneymanError
from journeyman.agent.learning.rows import TrainingRow
from journeyman.workflows.session.ranks import learn_in_ranks
from journeyman.workflows.updates.agreement import told_of_rows

COMPARES = """
import sys
from journeyman.agent.learning.hardware.ranks import Ranks
from journeyman.workflows.session.ranks import as_rank
from journeyman.workflows.session.session import RunRef
from journeyman.workflows.updates.agreement import agree

def work(session):
    ranks = Ranks.joined()
    agree(ranks, "words", ["a", 1])
    session.reporter.line("the same")
    agree(ranks, "numbers", [ranks.rank])

as_rank(RunRef(*sys.argv[1:]), work)
"""


def test_two_processes_that_do_not_agree_end_at_once(watched) -> None:
    ref, heard = watched.open().ref, Heard()
    says = (
        r"rank \d of the learner's 2 processes: rank 1 has other numbers to learn from than rank 0: .*the update again"
    )
    with pytest.raises(JourneymanError, match=says):
        learn_in_ranks(heard, 2, COMPARES, [ref.store_url, ref.run_id])
    assert heard.lines == ["the same"]


def test_what_is_told_of_rows() -> None:
    ids = np.arange(3, dtype=np.int32)
    segment = Segment(ids[:1], ids, np.array([True, False, True]), np.zeros(2, np.float32))
    row = TrainingRow(segment, policy=np.array([0.5, -0.5], np.float32), nll=np.array([0.0, 1.0], np.float32))
    told = told_of_rows([row])
    for other in (
        TrainingRow(segment, policy=np.array([0.5, -0.25], np.float32), nll=row.nll),
        TrainingRow(segment, policy=np.zeros(2, np.float32), nll=row.nll),
        TrainingRow(segment, policy=row.policy, nll=np.array([1.0, 1.0], np.float32)),
        TrainingRow(segment, nll=row.nll),
    ):
        assert told_of_rows([other]) != told
    assert told_of_rows([row, row]) != told
    rounded = np.array([0.5000001, -0.5], np.float32)
    assert told_of_rows([TrainingRow(segment, policy=rounded, nll=row.nll)]) == told
