"""What crosses between a program and its tests, each in a sandbox of its own: lines of JSON, plain values by value.

Nothing that is read here is ever executed: a line makes None, booleans, numbers, texts, bytes, the built-in containers,
a few values of the standard library, and references. A reference names an object that stays on the other side.
This file is copied into both sandboxes and imports the standard library alone.
"""

from __future__ import annotations

import collections
import importlib
import json
import operator
from collections.abc import Callable
from typing import Any, BinaryIO

MAX_LINE = 32 * 2**20
"""Bytes of one message."""

_PLAIN: dict[type, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {  # how each is told by simpler ones, and read
    int: (hex, lambda text: int(text, 16)),  # only large ones
    dict: (lambda value: [list(item) for item in value.items()], dict),
    tuple: (list, tuple),
    set: (list, set),
    frozenset: (list, frozenset),
    collections.deque: (list, collections.deque),
    complex: (lambda value: [value.real, value.imag], lambda parts: complex(*parts)),
    bytes: (bytes.hex, bytes.fromhex),
    bytearray: (bytearray.hex, bytearray.fromhex),
    range: (lambda value: [value.start, value.stop, value.step], lambda parts: range(*parts)),
    slice: (lambda value: [value.start, value.stop, value.step], lambda parts: slice(*parts)),
}
_READERS = {kind.__name__: read for kind, (_, read) in _PLAIN.items()}
_LIBRARY = {  # name of a type, its module, what makes it of its text
    "Decimal": ("decimal", "Decimal"),
    "Fraction": ("fractions", "Fraction"),
    "date": ("datetime", "date.fromisoformat"),
    "datetime": ("datetime", "datetime.fromisoformat"),
    "time": ("datetime", "time.fromisoformat"),
}
PLAIN = (type(None), bool, float, str, list, *_PLAIN)
"""Types of which exact instances cross by value."""
_SUBCLASSED = tuple(kind for kind in PLAIN if kind not in (type(None), bool, range, slice))


class Broken(BaseException):
    """The other side is gone, or wrote what is no message: it is not an Exception, so that few tests catch it."""


def encode(value: Any, refer: Callable[[Any], Any]) -> Any:
    """The value as JSON; `refer` makes the JSON of what is not exactly plain, or raises."""
    kind = type(value)
    if kind in PLAIN:
        return _encode(kind, value, refer)
    if kind.__name__ in _LIBRARY and kind.__module__ == _LIBRARY[kind.__name__][0]:
        return {kind.__name__: str(value.isoformat() if hasattr(value, "isoformat") else value)}
    return refer(value)


def held(value: Any, refer: Callable[[Any], Any]) -> Any:
    """The JSON of the plain value that an instance of a plain type's subclass is; None where it is none."""
    kind = next((kind for kind in _SUBCLASSED if isinstance(value, kind)), None)
    return None if kind is None else _encode(kind, value, refer)


def _encode(kind: type, value: Any, refer: Callable[[Any], Any]) -> Any:
    if kind is list:
        return [encode(item, refer) for item in value]
    if kind in (type(None), bool, float, str) or (kind is int and abs(value) < 2**63):
        return value
    return {kind.__name__: encode(_PLAIN[kind][0](value), refer)}


def decode(data: Any, resolve: Callable[[str, Any], Any]) -> Any:
    """The inverse of `encode`; `resolve` makes what a reference (its tag, its JSON) stands for."""
    if isinstance(data, list):
        return [decode(item, resolve) for item in data]
    if not isinstance(data, dict):
        return data
    [(tag, inner)] = data.items()
    if tag in _READERS:
        return _READERS[tag](decode(inner, resolve))
    if tag in _LIBRARY:
        module, path = _LIBRARY[tag]
        return operator.attrgetter(path)(importlib.import_module(module))(inner)
    return resolve(tag, inner)


class Line:
    """Messages to and from the other side, each a JSON object on a line."""

    def __init__(self, descriptor: int) -> None:
        self._read: BinaryIO = open(descriptor, "rb", closefd=False)  # noqa: SIM115 - open to the end
        self._write: BinaryIO = open(descriptor, "wb", buffering=0, closefd=False)  # noqa: SIM115

    def send(self, message: dict[str, Any]) -> None:
        """Raises Broken where the other side is gone."""
        text = json.dumps(message).encode() + b"\n"
        try:
            while text:
                text = text[self._write.write(text) :]
        except OSError:
            raise Broken("it ended before the tests did") from None

    def receive(self) -> dict[str, Any]:
        """The next message; raises Broken where none comes, or something else."""
        text = b""
        try:
            text = self._read.readline(MAX_LINE)
            message = json.loads(text) if text.endswith(b"\n") else None
        except (OSError, ValueError, RecursionError, MemoryError):
            message = None
        if not isinstance(message, dict):
            raise Broken("it wrote noise to the tests" if text else "it ended before the tests did")
        return message
