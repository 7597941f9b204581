"""The keywords of JSON schema, made stoppable.

Two things can make a plain validator hang: the regular expressions of `pattern`, `patternProperties` and
`additionalProperties`, which Python's `re` may take for ever over, and schemas that refer to themselves more than once.
Here all keywords share one clock, expressions are those of the package `regex`, which can be stopped, and `uniqueItems`
takes linear time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import regex

from journeyman.agent.data import Json

Keyword: TypeAlias = Callable[[Any, Any, Any, Any], Any]
"""How `jsonschema` checks a keyword: (validator, the keyword's value, instance, schema) -> errors or None."""


class Keywords:
    """Keywords that raise TimeoutError once the time is up, which begins with `restart` (each thread has its own)."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._clock = threading.local()

    def restart(self) -> None:
        """The time begins anew for this thread."""
        self._clock.end = time.monotonic() + self._seconds

    def over(self, keywords: Mapping[str, Keyword]) -> dict[str, Keyword]:
        """All of `keywords` under the clock, and four of them replaced."""
        own: dict[str, Keyword] = {
            "pattern": self._pattern,
            "patternProperties": self._pattern_properties,
            "additionalProperties": self._additional_properties,
            "uniqueItems": self._unique_items,
        }
        return {name: self._timed(own.get(name, keyword)) for name, keyword in keywords.items()}

    def _timed(self, keyword: Keyword) -> Keyword:
        def check(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
            self._left()
            return keyword(validator, value, instance, schema)

        return check

    def _left(self) -> float:
        seconds: float = self._clock.end - time.monotonic()
        if seconds <= 0:
            raise TimeoutError(f"the check took over {self._seconds} s")
        return seconds

    def _found(self, expression: str, text: str) -> bool:
        try:
            return regex.search(expression, text, timeout=self._left()) is not None
        except TimeoutError:
            raise TimeoutError(f"the check took over {self._seconds} s") from None

    def _pattern(self, validator: Any, value: str, instance: Json, schema: Json) -> Iterator[Any]:
        if isinstance(instance, str) and not self._found(value, instance):
            yield _error(f"{instance!r} does not match {value!r}")

    def _pattern_properties(
        self, validator: Any, value: Mapping[str, Json], instance: Json, schema: Json
    ) -> Iterator[Any]:
        for expression, inner in value.items() if isinstance(instance, dict) else ():
            for name in instance:
                if self._found(expression, name):
                    yield from validator.descend(instance[name], inner, path=name, schema_path=expression)

    def _additional_properties(self, validator: Any, value: Json, instance: Json, schema: Json) -> Iterator[Any]:
        known, expressions = schema.get("properties", ()), schema.get("patternProperties", ())
        for name in instance if isinstance(instance, dict) else ():
            if name not in known and not any(self._found(expression, name) for expression in expressions):
                if value is False:
                    yield _error(f"{name!r} is no property it may have")
                elif value is not True:
                    yield from validator.descend(instance[name], value, path=name)

    def _unique_items(self, validator: Any, value: bool, instance: Json, schema: Json) -> Iterator[Any]:
        if value and isinstance(instance, list) and len(set(map(_hashable, instance))) < len(instance):
            yield _error("an item stands twice")


def _error(message: str) -> Exception:
    from jsonschema import ValidationError

    error: Exception = ValidationError(message)
    return error


def _hashable(value: Json) -> object:
    """Equal for values that JSON schema takes for equal: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, dict):
        return frozenset((name, _hashable(item)) for name, item in value.items())
    if isinstance(value, list):
        return tuple(map(_hashable, value))
    return (bool, value) if isinstance(value, bool) else value
