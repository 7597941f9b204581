"""The program's side of the line: objects of the tests that the program holds by reference.

An instance of a class that the tests define stays with the tests: here is an object with its class's name, of which
each attribute that is read or set, and each operation that its class has, is a message.
This file is copied into the sandbox and imports the standard library alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

SPECIALS = frozenset(
    f"__{name}__"
    for name in (
        *("len", "iter", "next", "bool", "str", "repr", "int", "float", "index", "hash", "call", "contains"),
        *(
            "neg",
            "pos",
            "abs",
            "invert",
            "reversed",
            "getitem",
            "setitem",
            "delitem",
            "eq",
            "ne",
            "lt",
            "le",
            "gt",
            "ge",
        ),
        *("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift"),
    )
)
"""Operations that reach the tests' object."""


class Theirs:
    """An object of the tests."""

    __slots__ = ("_ask", "_told")

    def __init__(self, told: list[Any], ask: Callable[..., Any]) -> None:
        object.__setattr__(self, "_told", told)
        object.__setattr__(self, "_ask", ask)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return _do(self, "getattr", name)

    def __setattr__(self, name: str, value: Any) -> None:
        _do(self, "setattr", name, value)


def _do(theirs: Theirs, what: str, *args: Any, **options: Any) -> Any:
    ask = object.__getattribute__(theirs, "_ask")
    return ask(what, object.__getattribute__(theirs, "_told")[0], *args, **options)


@cache
def kind_of(name: str, specials: tuple[str, ...], like: type | None) -> type[Theirs]:
    """A class after the tests' own, with its operations; `like` is what `isinstance` takes its instances for."""
    body: dict[str, Any] = {"__slots__": (), **{special: _special(special) for special in specials}}
    if like is not None:
        body["__class__"] = property(lambda _: like)
    return type(name, (Theirs,), body)


def _special(special: str) -> Callable[..., Any]:
    def method(self: Theirs, *args: Any, **options: Any) -> Any:
        found = _do(self, special, *args, **options)
        return iter(found) if special in ("__iter__", "__reversed__") else found

    return method
