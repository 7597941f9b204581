"""The program's side: runs the program in its own sandbox, and does what the tests ask of it.

Nothing here is trusted. The program shares this interpreter and may change all of it: what it gains is what it could do
by returning other values, since the tests, what they expect and their verdict are in another sandbox.
This file is copied into the sandbox and imports the standard library alone, beside its neighbours.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import operator
import os
import site
import sys
import types
from collections.abc import Callable
from typing import Any

from journeyman.verifiers.programs.sandboxed.crossing import PLAIN, Broken, Line, decode, encode, held
from journeyman.verifiers.programs.sandboxed.listing import is_main_block
from journeyman.verifiers.programs.sandboxed.theirs import Theirs, kind_of

_CHANGEABLE = (list, dict, set, bytearray)
_ANNOTATIONS = 0x1000000  # a code's flag of `from __future__ import annotations`
_FILE = "/tmp/program.py"  # noqa: S108 - the sandbox's own


class Candidate:
    """A loaded program with the objects that the tests hold references to."""

    def __init__(self, line: Line, prelude: str) -> None:
        self._line = line
        self._prelude = prelude
        self._names = vars(sys.modules["__main__"])
        self._given: dict[str, Any] = {}
        self._kept: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._functions: dict[int, int] = {}
        self._theirs: dict[int, Theirs] = {}
        self._operations: dict[str, Callable[..., Any]] = {
            "load": self._load,
            "own": self._own,
            "name": self._names.__getitem__,
            "call": lambda function, *args, **options: function(*args, **options),
            "plain": lambda value: value,
            "state": lambda value: [type(value).__name__, dict(getattr(value, "__dict__", {}))],
        }

    def serve(self) -> Any:
        """Answers requests until the tests answer one of ours (a call of a function of theirs), and returns that."""
        while True:
            message = self._line.receive()
            if "ask" not in message:
                return self._taken(message)
            self._line.send(self._answer(message))

    def _load(self) -> None:
        """Runs the program as the module `__main__`; what fails under its `if __name__ == "__main__":` fails alone.

        That block is for a person at a terminal: it asks for input, ends the process. The names are there before it.
        """
        exec(compile(self._prelude, "prelude", "exec", dont_inherit=True), self._names)  # noqa: S102 - what this is for
        self._given = dict(self._names)
        with open(_FILE, "rb") as file:  # noqa: PTH123 - pathlib is slow to import
            tree = ast.parse(file.read(), _FILE)
        after = list(filter(is_main_block, tree.body))
        tree.body = [node for node in tree.body if not is_main_block(node)]
        code = compile(tree, _FILE, "exec", dont_inherit=True)
        exec(code, self._names)  # noqa: S102
        for node in after:
            block = compile(ast.Module([node], []), _FILE, "exec", code.co_flags & _ANNOTATIONS, dont_inherit=True)
            with contextlib.suppress(Exception, SystemExit):
                exec(block, self._names)  # noqa: S102

    def _own(self, names: list[str]) -> list[str]:
        """Those of the names that the program has bound, and not only the prelude."""
        missing = object()
        return [n for n in names if self._names.get(n, missing) is not self._given.get(n, missing)]

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        try:
            name = message["ask"]
            args = [decode(item, self._resolve) for item in message["args"]]
            options = {key: decode(item, self._resolve) for key, item in message.get("options", {}).items()}
            result = self._operation(name)(*args, **options)
            whole = name == "call" and isinstance(args[0], type) and type(result) not in PLAIN
            value = self._refer_whole(result) if whole else encode(result, self._refer)
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
        return self._refer_whole(value) if (plain := held(value, self._refer)) is None else plain

    def _refer_whole(self, value: Any) -> Any:
        if isinstance(value, Theirs):
            return {"theirs": object.__getattribute__(value, "_told")}
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
        if tag == "theirs":
            return self._their(inner)

        def function(*args: Any, **options: Any) -> Any:
            return self._ask("call", inner, *args, **options)

        self._functions[id(function)] = inner
        self._kept.append(function)
        return function

    def _their(self, told: list[Any]) -> Theirs:
        """One object of ours for each of the tests', so that `is` is true of the same."""
        number, name, specials = told
        if number not in self._theirs:
            like = self._names.get(name)
            kind = kind_of(name, tuple(specials), like if isinstance(like, type) else None)
            self._theirs[number] = kind(told, self._ask)
        return self._theirs[number]

    def _ask(self, what: str, number: int, *args: Any, **options: Any) -> Any:
        """Has the tests do something with an object of theirs: one that they passed."""
        sent = {key: encode(item, self._refer) for key, item in options.items()}
        message = {"do": what, "of": number, "args": [encode(a, self._refer) for a in args], "options": sent}
        self._line.send(message)
        return self.serve()

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
    prelude = sys.stdin.buffer.read().decode()
    quiet = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(quiet, standard)
    site.setquit()
    sys.argv = ["program.py"]
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    vars(module).update(__builtins__=builtins, __file__=_FILE)
    try:
        Candidate(Line(descriptor), prelude).serve()
    except Broken:
        os._exit(0)
