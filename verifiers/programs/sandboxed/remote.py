"""The tests' side of the line: objects of the program that the tests hold by reference.

A program could answer any test with an object that is equal to everything. So the program is never the judge between
an object of its own and a value that the tests wrote: against a plain value a reference is what plain value it holds,
or unequal; sums and orderings with one, and yes-or-no methods of built-in types (`startswith`, `issubset`), are
TypeErrors.
This file is copied into the sandbox and imports the standard library alone, beside its neighbours.
"""

from __future__ import annotations

import builtins
import enum
import operator
import time
import types
from collections.abc import Callable, ItemsView, Iterator, KeysView, ValuesView
from typing import Any, TypeAlias

from journeyman.verifiers.programs.sandboxed.crossing import Broken, Line, decode, encode, held
from journeyman.verifiers.programs.sandboxed.listing import BadTests
from journeyman.verifiers.programs.sandboxed.theirs import SPECIALS

_UNARY = (
    *("len", "iter", "bool", "str", "repr", "int", "float", "complex", "index", "hash"),
    *("neg", "pos", "abs", "invert", "round", "reversed", "getitem", "setitem", "delitem"),
)
_BINARY = (
    *("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift"),
    *("lt", "le", "gt", "ge"),
)
_PREDICATES = frozenset(
    name
    for kind in (str, bytes, list, tuple, dict, set, int, float, complex)
    for name in dir(kind)
    if name.startswith("is") or name in ("startswith", "endswith")
)

_Answer: TypeAlias = tuple[Any, Exception | None, list[Any]]
"""A value, or the error that the program raised; and the arguments that it changed, with their places."""


class Program:
    """The program behind the line. Everything asked of it returns plain values and `Remote`s, or raises."""

    def __init__(self, descriptor: int, show: Callable[[float, float], None]) -> None:
        """`show` is told `seconds`, and since when the program is being asked or 0, whenever they change."""
        self._line = Line(descriptor)
        self._show = show
        self._remotes: dict[int, Remote] = {}
        self._passed: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._exceptions: dict[str, type[Exception]] = {}
        self.asked = 0
        """Requests so far; tests that made none have tested nothing."""
        self.broken: Broken | None = None
        """What ended the line; tests that catch everything may have caught it."""
        self.unjudged: BadTests | None = None
        """What of the tests cannot be passed to the program; may have been caught too."""
        self.seconds = 0.0
        """Of processor time, spent here on asking: the program has a hand in it, by what it answers."""

    def ask(self, name: str, *args: Any, **options: Any) -> Any:
        """Has the program do one thing; lists, dicts and sets among `args` that it changed are changed here too.

        An end of iteration that is not `next`'s is a RuntimeError, as in generators (PEP 479): it would end a loop of
        the tests, and `all(map(f, values))` would be true of what was never looked at.
        """
        self.asked += 1
        before = time.process_time()
        self._show(self.seconds, before)
        try:
            value, error, changed = self._exchange(name, args, options)
        except Broken as broken:
            self.broken = broken
            raise
        finally:
            self.seconds += time.process_time() - before
            self._show(self.seconds, 0.0)
        for at, new in changed:
            _change(args[at], new)
        if isinstance(error, StopIteration | StopAsyncIteration) and name != "next":
            raise RuntimeError(f"the program raised {type(error).__name__}") from error
        if error is not None:
            raise error
        return value

    def _exchange(self, name: str, args: tuple[Any, ...], options: dict[str, Any]) -> _Answer:
        sent = {key: encode(value, self._refer) for key, value in options.items()}
        self._line.send({"ask": name, "args": [encode(a, self._refer) for a in args], "options": sent})
        while "do" in (message := self._line.receive()):
            self._line.send(self._called(message))
        return self._read(message, args)

    def _called(self, message: dict[str, Any]) -> dict[str, Any]:
        """Does for the program something with an object of the tests: one that they passed, and no other."""
        try:
            found = self._passed[message["of"]]
            args = [decode(item, self._resolve) for item in message["args"]]
            options = {key: decode(item, self._resolve) for key, item in message["options"].items()}
            return {"value": encode(_done(message["do"], found, args, options), self._refer)}
        except Exception as error:  # the program gets what its call raised
            return {"raise": [type(error).__name__, str(error)]}

    def _read(self, message: dict[str, Any], args: tuple[Any, ...]) -> _Answer:
        try:
            if "raise" in message:
                name, base, text = message["raise"]
                kind = self._exception(name, base)
                error = kind.__new__(kind)  # some built-in ones want other arguments than a text
                error.args = (str(text),)
                return None, error, []
            changed = [(at, decode(new, self._resolve)) for at, new in message["changed"]]
            if any(type(args[at]) is not type(new) for at, new in changed):
                raise TypeError("an argument has changed its type")
            return decode(message["value"], self._resolve), None, changed
        except Exception as error:
            raise Broken(f"it wrote noise to the tests ({type(error).__name__})") from error

    def _refer(self, value: Any) -> Any:
        if isinstance(value, Remote):
            return {"object": object.__getattribute__(value, "_number")}
        name = getattr(value, "__name__", None)
        if isinstance(name, str) and vars(builtins).get(name) is value:
            return {"builtin": name}
        kind = type(value)
        if kind.__module__ == "__main__" and not isinstance(value, enum.Enum | type):
            specials = [n for n in sorted(SPECIALS) if any(n in vars(base) for base in kind.__mro__[:-1])]
            return {"theirs": [self._number(value), kind.__name__, specials]}
        if (plain := held(value, self._refer)) is not None:
            return plain
        if callable(value) and not isinstance(value, type):
            return {"function": self._number(value)}
        if isinstance(value, Iterator | KeysView | ValuesView | ItemsView):
            return [encode(item, self._refer) for item in value]
        what = f"the class {name}" if isinstance(value, type) else f"a {kind.__name__}"
        self.unjudged = BadTests(f"{what} of the tests cannot be passed to the program, which runs apart from them")
        raise self.unjudged

    def _number(self, value: Any) -> int:
        """Of an object that was passed, the same for the same."""
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self._passed)
            self._passed.append(value)
        return self._numbers[id(value)]

    def _resolve(self, tag: str, inner: Any) -> Any:
        if tag == "object":
            return self._remotes.setdefault(int(inner), Remote(self, int(inner)))
        if tag == "function":
            return self._passed[inner]
        if tag == "theirs":
            return self._passed[inner[0]]
        if tag == "exception":
            return self._exception(*inner)
        raise ValueError(f"unknown tag {tag!r}")

    def _exception(self, name: str, base: str) -> type[Exception]:
        """The built-in exception of that name, or one made after the program's own; never more than an Exception."""
        found: Any = getattr(builtins, base, None)
        kind: type[Exception] = found if isinstance(found, type) and issubclass(found, Exception) else Exception
        if name == base == kind.__name__:
            return kind
        return self._exceptions.setdefault(name, type(str(name), (kind,), {"__init__": Exception.__init__}))


class Remote:
    """An object of the program."""

    __slots__ = ("_number", "_program")

    def __init__(self, program: Program, number: int) -> None:
        object.__setattr__(self, "_program", program)
        object.__setattr__(self, "_number", number)

    def __call__(self, *args: Any, **options: Any) -> Any:  # noqa: D102
        return _ask(self, "call", *args, **options)

    def __getattr__(self, name: str) -> Any:
        if name in _PREDICATES:
            raise TypeError(f"an object of the program stands where a plain value is to be asked {name!r}")
        if name.startswith("__") and name not in ("__name__", "__doc__"):
            raise AttributeError(name)
        return _ask(self, "getattr", name)

    def __setattr__(self, name: str, value: Any) -> None:
        _ask(self, "setattr", name, value)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Remote):
            return self is other or _ask(self, "eq", other) is True
        kind = type(other)
        own = kind.__module__ == "__main__" and kind.__eq__ is not object.__eq__
        same = _like(self, kind) if own else None
        plain = _ask(self, "plain") if same is None else same
        return not isinstance(plain, Remote) and bool(plain == other)

    def __hash__(self) -> int:
        return int(_ask(self, "hash"))

    def __next__(self) -> Any:
        return _ask(self, "next")

    def __enter__(self) -> Any:
        return _ask(_ask(self, "getattr", "__enter__"), "call")

    def __exit__(self, *_: object) -> None:
        _ask(_ask(self, "getattr", "__exit__"), "call", None, None, None)

    def __mro_entries__(self, bases: object) -> tuple[type, ...]:
        program: Program = object.__getattribute__(self, "_program")
        program.unjudged = BadTests("a class of the program cannot be subclassed by the tests, which run apart from it")
        raise program.unjudged

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, Remote) and _ask(instance, "isinstance", self) is True


def _ask(remote: Remote, name: str, *args: Any, **options: Any) -> Any:
    program: Program = object.__getattribute__(remote, "_program")
    return program.ask(name, remote, *args, **options)


def _like(remote: Remote, kind: type) -> object | None:
    """The program's instance of its class of that name, made anew of the tests' class; None of another object."""
    state = _ask(remote, "state")
    if not (isinstance(state, list) and len(state) == 2 and state[0] == kind.__name__ and isinstance(state[1], dict)):
        return None
    made: object = object.__new__(kind)
    for name, value in state[1].items():
        if not isinstance(getattr(kind, name, None), types.FunctionType):  # what it does is the tests' to say
            object.__setattr__(made, name, value)
    return made


def _done(what: str, found: Any, args: list[Any], options: dict[str, Any]) -> Any:
    """A call, an attribute or an operation of an object of the tests; nothing that begins with an underscore."""
    if what == "call":
        return found(*args, **options)
    if what in SPECIALS:
        function = vars(operator).get(what) or getattr(builtins, what.strip("_"))
        return function(found, *args, **options)
    name, *value = args
    if what not in ("getattr", "setattr") or name.startswith("_") or type(found).__module__ != "__main__":
        raise AttributeError(name)
    if what == "getattr":
        return getattr(found, name)
    if isinstance(getattr(type(found), name, None), types.FunctionType):
        raise AttributeError(f"{name!r} is a method of the tests")
    return setattr(found, name, *value)


def _change(old: Any, new: Any) -> None:
    if isinstance(old, list | bytearray):
        old[:] = new
    elif old != new:
        old.clear()
        old.update(new)


def _special(name: str, *, binary: bool) -> Callable[..., Any]:
    asked = f"{name}_" if name in ("and", "or") else name

    def method(self: Remote, *args: Any) -> Any:
        if binary and not isinstance(args[0], Remote):
            return NotImplemented
        return _ask(self, asked, *args)

    return method


for _name in (*_UNARY, *_BINARY):
    if _name != "hash":
        setattr(Remote, f"__{_name}__", _special(_name, binary=_name in _BINARY))
