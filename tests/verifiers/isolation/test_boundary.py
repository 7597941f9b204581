"""What a verifier may return, and the plain verdict that it comes to, in a worker or in the caller's process."""

from __future__ import annotations

import asyncio
import math
import struct
from collections import OrderedDict
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from journeyman.agent.data import Status, Verdict
from journeyman.agent.errors import SettingsError
from journeyman.verifiers.isolation import frames
from journeyman.verifiers.isolation.boundary import MAX_STEPS, MAX_TEXT, judged, judged_together, proper
from journeyman.verifiers.isolation.frames import Answer, Inbox, NoFrameError, frame, packed, unpacked


class Lies(float):
    """Says of itself that it is in range, or not, as you like."""

    def __new__(cls, value, claim=True):
        made = super().__new__(cls, value)
        made.claim = claim
        return made

    def __ge__(self, other):
        return self.claim

    __le__ = __lt__ = __gt__ = __eq__ = __ge__
    __hash__ = float.__hash__

    def __float__(self):
        return 0.25

    def __repr__(self):
        return "a lie"


class BigInt(int):
    def __float__(self):
        return 0.5


class Text(str):
    __slots__ = ()

    def __len__(self):
        return 3

    def __getitem__(self, key):
        return "other"

    def encode(self, *_):
        raise ValueError


class Sub(Verdict):
    @property
    def extra(self):
        return 1


def same(one: float, other: float) -> bool:
    return type(one) is float and struct.pack("d", one) == struct.pack("d", other)


@pytest.mark.parametrize(
    ("score", "plain"),
    [
        (0, 0.0),
        (1, 1.0),
        (True, 1.0),
        (False, 0.0),
        (-0.0, 0.0),
        (1e-320, 1e-320),
        (math.nextafter(1, 0), math.nextafter(1, 0)),
        (Lies(0.5), 0.5),
        (Lies(0.5, claim=False), 0.5),
        (BigInt(1), 1.0),
        (np.float64(0.1), 0.1),
        (np.float32(0.1), 0.10000000149011612),
        (np.float16(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
        (np.int64(1), 1.0),
        (np.uint8(0), 0.0),
        (np.bool_(True), 1.0),
        (np.array(0.5), 0.5),
        (np.array(1), 1.0),
        (torch.tensor(0.5), 0.5),
        (Fraction(1, 3), 1 / 3),
    ],
    ids=repr,
)
def test_a_real_number_becomes_a_plain_float(score, plain) -> None:
    verdict = proper(Verdict(Status.OK, score, raw=score, step_scores=[score]))
    assert verdict.status is Status.OK
    assert same(verdict.score, plain)
    assert verdict.raw == plain
    assert type(verdict.raw) is float
    assert type(verdict.step_scores) is tuple
    assert same(verdict.step_scores[0], plain)


@pytest.mark.parametrize(
    ("score", "why"),
    [
        (math.nan, "score nan is not in [0, 1]"),
        (math.inf, "score inf is not in [0, 1]"),
        (math.nextafter(1, 2), "score 1.0000000000000002 is not in [0, 1]"),
        (-1e-320, "score -1e-320 is not in [0, 1]"),
        (2, "score 2 is not in [0, 1]"),
        (10**400, None),
        (10**5000, None),
        (Lies(7.0), "score a lie is not in [0, 1]"),
        (Lies(math.nan), "score a lie is not in [0, 1]"),
        (np.float32(1.5), None),
        (np.float64("nan"), None),
        (np.array([0.5]), "score array([0.5]) is not in [0, 1]"),
        (np.array("0.5"), None),
        (np.complex64(0.5), None),
        (0.5 + 0j, "score (0.5+0j) is not in [0, 1]"),
        ("0.5", "score '0.5' is not in [0, 1]"),
        (b"1", None),
        (Decimal("0.5"), "score Decimal('0.5') is not in [0, 1]"),
        ([0.5], "score [0.5] is not in [0, 1]"),
        (object, None),
    ],
    ids=lambda value: repr(value)[:20] if not isinstance(value, int) or value < 10**10 else "huge",
)
def test_what_is_no_number_in_range_is_an_error(score, why) -> None:
    for made in (Verdict(Status.OK, score), Verdict(Status.OK, 1.0, step_scores=(0.5, score))):
        verdict = proper(made)
        assert verdict.status is Status.ERROR
        assert (verdict.score, verdict.raw, verdict.step_scores) == (None, None, None)
    if why is not None:
        assert proper(Verdict(Status.OK, score)).explanation == why
        assert verdict.explanation == why.replace(" is not", " of step 1 is not")


@pytest.mark.parametrize(
    "raw", [math.nan, -math.inf, 10**400, "3", np.float32("inf"), Lies(math.inf)], ids=lambda r: repr(r)[:9]
)
def test_raw_is_any_finite_number(raw) -> None:
    assert proper(Verdict(Status.OK, 1.0, raw=raw)).status is Status.ERROR
    assert proper(Verdict(Status.OK, 1.0, raw=-7)).raw == -7.0


@pytest.mark.parametrize(
    ("steps", "plain"),
    [
        ((n / 4 for n in range(3)), (0.0, 0.25, 0.5)),
        (tuple(np.array([0.5, 1.0])), (0.5, 1.0)),
        (np.array([0.5, 1.0], np.float32), (0.5, 1.0)),
        (torch.tensor([0.5, 1.0]), (0.5, 1.0)),
        ([], ()),
        (range(2), (0.0, 1.0)),
        ([0.5] * MAX_STEPS, (0.5,) * MAX_STEPS),
        ([0.5] * (MAX_STEPS + 1), "step_scores has more than 10,000 numbers"),
        (iter(lambda: 0.5, None), "step_scores has more than 10,000 numbers"),
        ("01", "step_scores is str, not a sequence of numbers"),
        ({0.5, 1.0}, "step_scores is set, not a sequence of numbers"),
        (OrderedDict({0.5: 1}), "step_scores is OrderedDict, not a sequence of numbers"),
        (0.5, "step_scores is float, not a sequence of numbers"),
        ((1 / n for n in (1, 0)), "ZeroDivisionError: division by zero"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_step_scores_are_any_numbers_in_order(steps, plain) -> None:
    verdict = proper(Verdict(Status.OK, 1.0, step_scores=steps))
    assert (verdict.explanation if isinstance(plain, str) else verdict.step_scores) == plain


def test_texts_become_plain_and_short() -> None:
    verdict = proper(Sub(Status.OK, 1.0, extracted=Text("abc\0\ud800"), explanation="x" * 10**8, expected=None))
    assert type(verdict) is Verdict
    assert (type(verdict.extracted), verdict.extracted, verdict.expected) == (str, "abc\ufffd?", None)
    assert verdict.explanation == "x" * MAX_TEXT + "..."
    assert proper(verdict) == verdict
    assert proper(Verdict(Status.ABSTAIN, explanation=b"no")).explanation == "explanation is bytes, not text"


@pytest.mark.parametrize("returned", [None, {}, "ok", 1.0, Verdict, (Status.OK, 1.0), iter(())], ids=lambda value: type(value).__name__)
def test_what_is_no_verdict_is_an_error(returned) -> None:
    assert proper(returned) == Verdict(
        Status.ERROR, explanation=f"verify() returned {type(returned).__name__}, not a Verdict"
    )


class Raises:
    name = version = "1"

    def __init__(self, error):
        self.error = error

    def verify(self, task, trajectory):
        raise self.error

    def verify_all(self, attempts):
        raise self.error


class UnprintableError(Exception):
    def __str__(self):
        raise KeyError


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ValueError("x" * 10**6), "ValueError: " + "x" * (MAX_TEXT - 12) + "..."),
        (SystemExit(3), "SystemExit: 3"),
        (asyncio.CancelledError(), "CancelledError: "),
        (GeneratorExit(), "GeneratorExit: "),
        (UnprintableError(), "UnprintableError, whose text raises KeyError"),
        (ExceptionGroup("two", [ValueError(), TypeError()]), "ExceptionGroup: two (2 sub-exceptions)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_raised_is_told(error, why) -> None:
    assert judged(Raises(error), None, None) == Verdict(Status.ERROR, explanation=why)
    assert judged_together(Raises(error), [(None, None)] * 2) == [Verdict(Status.ERROR, explanation=why)] * 2


def test_in_the_callers_process_the_user_is_heard() -> None:
    assert judged(Raises(KeyboardInterrupt()), None, None).explanation == "KeyboardInterrupt: "
    for error in (KeyboardInterrupt(), SettingsError("a wrong key")):
        with pytest.raises(type(error)):
            judged_together(Raises(error), [(None, None)])


class Together:
    name = version = "1"

    def __init__(self, verdicts):
        self.verdicts = verdicts

    def verify_all(self, attempts):
        return self.verdicts


def test_batch_verifiers_numbers_are_checked_too() -> None:
    attempts = [(None, None)] * 3
    given = judged_together(Together(Verdict(Status.OK, s) for s in (np.float32(0.5), True, Lies(7.0))), attempts)
    assert [(v.status, v.score) for v in given] == [(Status.OK, 0.5), (Status.OK, 1.0), (Status.ERROR, None)]
    for returned in (None, iter(lambda: Verdict.passed(True), None), [Verdict.passed(True)] * 2, 5):
        given = judged_together(Together(returned), attempts)
        assert [v.status for v in given] == [Status.ERROR] * 3
    assert judged_together(Together(iter(lambda: 1, None)), attempts)[0].explanation == (
        "ValueError: verify_all() returned more verdicts on 3 attempts"
    )


VERDICTS = [
    Verdict(Status.OK, 0.1, -1e300, (1e-320, 1.0), "a\nb", 'é"\\', "\U0001f600"),
    Verdict(Status.OK, 1.0, step_scores=()),
    Verdict.abstain("no goal"),
    Verdict(Status.ERROR, explanation="x" * MAX_TEXT + "..."),
    Verdict(Status.TIMEOUT),
    Verdict(Status.OK, 1.0, 0.0, (1 / 3,) * MAX_STEPS, *("\x01" * MAX_TEXT + "..." for _ in range(3))),
]


@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda verdict: str(verdict)[:40])
def test_a_verdict_crosses_whole_in_any_pieces(verdict: Verdict) -> None:
    inbox, token = Inbox(), bytes(range(16))
    sent = frame(token, packed(Answer(verdict, 1.5, True))) + frame(token, b"made")
    assert len(sent) < frames.MOST_BYTES
    found = []
    for start in range(0, len(sent), max(1, len(sent) // 100)):
        inbox.add(sent[start : start + max(1, len(sent) // 100)])
        while (taken := inbox.take()) is not None:
            found.append(taken)
    assert len(inbox) == 0
    assert [token for token, _ in found] == [token] * 2
    assert unpacked(found[0][1]) == Answer(verdict, 1.5, True)
    assert found[1][1] == b"made"


ANSWER = packed(Answer(Verdict(Status.OK, 0.5, 2.0, (0.5,), "a"), 1.5, False)).decode()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"ok"', '"OK"'),
        ('"ok"', '"error"'),
        ('"ok"', "null"),
        ("0.5,2.0", "1.5,2.0"),
        ("0.5,2.0", "NaN,2.0"),
        ("0.5,2.0", '"0.5",2.0'),
        ("0.5,2.0", f"{'9' * 5000},2.0"),
        ("2.0", "1e999"),
        ("[0.5]", "0.5"),
        ("[0.5]", "[-0.5]"),
        ("[0.5]", '"0"'),
        ("[0.5]", "{}"),
        ('"a"', "[]"),
        ('"a"', '"\\ud800"'),
        ('"a"', '"' + "x" * 20_000 + '"'),
        ("1.5", "-1.0"),
        ("1.5", "Infinity"),
        ("1.5", "true"),
        ("false", "0"),
        ("false", "false,1"),
        ("[", "[" * 100_000),
        ("]", ""),
        ('["ok"', '{"ok"'),
    ],
)
def test_no_other_answer_is_taken(old: str, new: str) -> None:
    with pytest.raises(NoFrameError, match=r"no answer|no proper verdict"):
        unpacked(ANSWER.replace(old, new, 1).encode())
