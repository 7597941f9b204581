"""The program's side: runs the program in its own sandbox, and does what the tests ask of it.

Nothing here is trusted. The program shares this interpreter and may change all of it: what it gains is what it could do
by returning other values, since the tests, what they expect and their verdict are in another sandbox.
This file is copied into the sandbox and imports the standard library alone, beside crossing.py.
"""

from __future__ import annotations

import builtins
import operator
import os
import site
import sys
from collections.abc import Callable
from typing import Any

from journeyman.verifiers.programs.sandboxed.crossing import PLAIN, Broken, Line, decode, encode

_CHANGEABLE = (list, dict, set, bytearray)


class Candidate:
    """A loaded program with the objects that the tests hold references to."""

    def __init__(self, line: Line, program: str) -> None:
        self._line = line
        self._program = program
        self._names: dict[str, Any] = {"__name__": "program", "__builtins__": builtins}
        self._kept: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._functions: dict[int, int] = {}
        self._operations: dict[str, Callable[..., Any]] = {
            "load": self._load,
            "name": self._names.__getitem__,
            "call": lambda function, *args, **options: function(*args, **options),
            "plain": lambda value: value,
        }

    def serve(self) -> Any:
        """Answers requests until the tests answer one of ours (a call of a function of theirs), and returns that."""
        while True:
            message = self._line.receive()
            if "ask" not in message:
                return self._taken(message)
            self._line.send(self._answer(message))

    def _load(self) -> None:
        exec(compile(self._program, "program.py", "exec"), self._names)  # noqa: S102 - what this sandbox is for

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        try:
            name = message["ask"]
            args = [decode(item, self._resolve) for item in message["args"]]
            options = {key: decode(item, self._resolve) for key, item in message.get("options", {}).items()}
            result = self._operation(name)(*args, **options)
            whole = name == "call" and isinstance(args[0], type) and type(result) not in PLAIN
            value = self._refer(result) if whole else encode(result, self._refer)
            seen = [[at, encode(a, self._refer)] for at, a in enumerate(args) if type(a) in _CHANGEABLE]
            return {"value": value, "changed": [[at, new] for at, new in seen if new != message["args"][at]]}
        except Broken:
            raise
        except BaseException as error:  # the program may raise anything, SystemExit too
            return {"raise": [*_described(type(error)), str(error)[:2000]]}

    def _operation(self, name: str) -> Callable[..., Any]:
        found: Callable[..., Any] = (
            self._operations.get(name) or getattr(operator, name, None) or getattr(builtins, name)
        )
        return found

    def _refer(self, value: Any) -> Any:
        if type(value).__module__ in ("array", "numpy") and hasattr(type(value), "tolist"):
            return encode(value.tolist(), self._refer)
        if id(value) in self._functions:
            return {"function": self._functions[id(value)]}
        if isinstance(value, type) and issubclass(value, BaseException):
            return {"exception": _described(value)}
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self._kept)
            self._kept.append(value)
        return {"object": self._numbers[id(value)]}

    def _resolve(self, tag: str, inner: Any) -> Any:
        if tag == "object":
            return self._kept[inner]
        if tag == "builtin":
            return getattr(builtins, inner)

        def function(*args: Any, **options: Any) -> Any:
            sent = {key: encode(item, self._refer) for key, item in options.items()}
            self._line.send({"call": inner, "args": [encode(a, self._refer) for a in args], "options": sent})
            return self.serve()

        self._functions[id(function)] = inner
        self._kept.append(function)
        return function

    def _taken(self, message: dict[str, Any]) -> Any:
        if "value" in message:
            return decode(message["value"], self._resolve)
        name, text = message["raise"]
        raise getattr(builtins, name, RuntimeError)(text)


def _described(kind: type) -> list[str]:
    """A class of exceptions as its name, and the name of the nearest built-in one."""
    return [kind.__name__, next(base.__name__ for base in kind.__mro__ if base.__module__ == "builtins")]


def main(descriptor: int) -> None:
    """Loads the program from stdin and serves the tests on the descriptor until they are gone."""
    program = sys.stdin.buffer.read().decode()
    quiet = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(quiet, standard)
    site.setquit()
    try:
        Candidate(Line(descriptor), program).serve()
    except Broken:
        os._exit(0)
