"""What crosses the socket between the pool and a worker: frames of one length, one format and one identity each.

A frame is a mark, the length of its content, and the token of the question that it belongs to, which nobody could know
before the question was asked. Questions are pickled by the pool, whom workers trust; what a worker says is plain JSON
of a few known fields, of limited size, each checked again here: nothing that it sends can run anything in the pool's
process.
"""

from __future__ import annotations

import json
import math
import struct
from typing import NamedTuple

from journeyman.agent.data import Status, Verdict
from journeyman.verifiers.isolation.boundary import proper

MOST_BYTES = 2**20
"""Of an answer: its texts and step scores are cut before."""
NOBODY = bytes(16)
"""The token of a frame that answers no question."""
READY, LOADING, MADE = b"ready", b"loading", b"made"
"""A worker has started; it imports the verifier, which may take long and is no attempt's fault; it has it."""

HEAD = struct.Struct("!4sI16s")
"""Mark, length and token."""
_MARK = b"jmv1"
_FIELDS = ("status", "score", "raw", "step_scores", "extracted", "expected", "explanation")


class NoFrameError(ValueError):
    """What came is no frame, or says what no worker says."""


class Answer(NamedTuple):
    """What a worker found."""

    verdict: Verdict
    milliseconds: float
    last: bool
    """Whether the worker is to be replaced: the attempt left something in it that later ones might suffer from."""


def frame(token: bytes, content: bytes) -> bytes:
    """The bytes to send."""
    return HEAD.pack(_MARK, len(content), token) + content


class Inbox:
    """Makes frames of bytes, which may come in any pieces."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def __len__(self) -> int:
        """How many bytes have come of a frame that is not whole, or has not been taken."""
        return len(self._bytes)

    def add(self, data: bytes) -> None:
        """Puts what was read behind what is there."""
        self._bytes += data

    def take(self) -> tuple[bytes, bytes] | None:
        """Token and content of the next frame; None where it is not whole yet. Raises NoFrameError where it is none."""
        if not _MARK.startswith(self._bytes[: len(_MARK)]):
            raise NoFrameError("noise")
        if len(self._bytes) < HEAD.size:
            return None
        _, length, token = HEAD.unpack_from(self._bytes)
        if length > MOST_BYTES:
            raise NoFrameError(f"a frame of {length} bytes")
        end = HEAD.size + length
        if len(self._bytes) < end:
            return None
        content = bytes(self._bytes[HEAD.size : end])
        del self._bytes[:end]
        return token, content


def packed(answer: Answer) -> bytes:
    """The content of an answer's frame."""
    fields = [getattr(answer.verdict, name) for name in _FIELDS]
    return _encode([*fields, answer.milliseconds, answer.last]).encode()


def unpacked(content: bytes) -> Answer:
    """The answer; raises NoFrameError where it is none, or its verdict no proper one."""
    try:
        *fields, milliseconds, last = json.loads(content.decode())
        status, score, raw, steps, *texts = fields
        if type(steps) not in (list, type(None)):
            raise TypeError(steps)
        verdict = Verdict(Status(status), score, raw, None if steps is None else tuple(steps), *texts)
    except (ValueError, TypeError, RecursionError) as error:
        raise NoFrameError("what is no answer") from error
    if type(milliseconds) is not float or not 0 <= milliseconds < math.inf or type(last) is not bool:
        raise NoFrameError("what is no answer")
    if (plain := proper(verdict)) != verdict:
        raise NoFrameError("what is no proper verdict")
    return Answer(plain, milliseconds, last)


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
"""Taken before any verifier is imported."""
