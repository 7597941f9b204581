"""The keywords of JSON schema, made stoppable.

Two things can make a plain validator hang: the regular expressions of `pattern`, `patternProperties` and
`additionalProperties`, which Python's `re` may take for ever over, and schemas that refer to themselves more than once.
Here all keywords share one clock, expressions are ECMA-262's, run by the package `regex`, which can be stopped, and
`uniqueItems` takes linear time. Numbers are compared and divided as they are written, not as doubles.
"""

from __future__ import annotations

import operator
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from journeyman.agent.data import Json
from journeyman.verifiers.texts.ecma_patterns import compiled
from journeyman.verifiers.texts.json_numbers import exact, hashable, is_multiple, is_whole

Keyword: TypeAlias = Callable[[Any, Any, Any, Any], Any]
"""How `jsonschema` checks a keyword: (validator, the keyword's value, instance, schema) -> errors or None."""


class Keywords:
    """Keywords that raise TimeoutError once the time is up, which begins with `restart` (each thread has its own)."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._clock = threading.local()
        self._validators: dict[Any, Any] = {}

    def restart(self) -> None:
        """The time begins anew for this thread."""
        self._clock.end = time.monotonic() + self._seconds

    def validator(self, base: Any) -> Any:
        """The validator class `base` of `jsonschema` with these keywords.

        A part of a schema that names a draft by `$schema` is judged by these keywords of that draft: the package's own
        way (`evolve`) would go over to its plain validators there, which cannot be stopped.
        """
        from jsonschema.validators import extend, validator_for

        if base not in self._validators:
            types = base.TYPE_CHECKER
            whole = types.redefine("integer", lambda _, value: types.is_type(value, "integer") and is_whole(value))
            made = extend(base, self._over(base.VALIDATORS), type_checker=whole)

            def evolve(validator: Any, **changes: Any) -> Any:
                now = {"schema": validator.schema, "registry": validator._registry, "_resolver": validator._resolver}
                now.update(changes)
                return self.validator(validator_for(now["schema"], default=base))(**now)

            made.evolve = evolve
            self._validators[base] = made
        return self._validators[base]

    def _over(self, keywords: Mapping[str, Keyword]) -> dict[str, Keyword]:
        """All of `keywords` under the clock, those of numbers, expressions and equality replaced."""
        own: dict[str, Keyword] = {
            **_BOUNDS,
            "multipleOf": self._multiple_of,
            "divisibleBy": self._multiple_of,  # its name in draft 3
            "const": self._const,
            "enum": self._enum,
            "pattern": self._pattern,
            "patternProperties": self._pattern_properties,
            "additionalProperties": self._additional_properties,
            "unevaluatedProperties": self._unevaluated_properties,
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
            return compiled(expression).search(text, timeout=self._left()) is not None
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

    def _unevaluated_properties(self, validator: Any, value: Json, instance: Json, schema: Json) -> Iterator[Any]:
        if not isinstance(instance, dict):
            return
        known = self._evaluated(validator, instance, {**schema, "unevaluatedProperties": None})
        for name in instance.keys() - known if value is False else ():
            yield _error(f"{name!r} is no property it may have")
        for name in () if value is False else instance:
            if name not in known:
                yield from validator.descend(instance[name], value, path=name)

    def _evaluated(self, validator: Any, instance: dict[str, Json], schema: Json) -> set[str]:
        """The properties that a schema which the instance fits has evaluated (JSON schema 2020-12, core, 11.3)."""
        from referencing.jsonschema import lookup_recursive_ref

        self._left()
        if not isinstance(schema, dict):
            return set()
        if any(schema.get(rest) is not None for rest in ("additionalProperties", "unevaluatedProperties")):
            return set(instance)  # whatever the rest was, they evaluated it
        found: set[str] = instance.keys() & schema.get("properties", {}).keys()
        found |= {name for name in instance if any(self._found(it, name) for it in schema.get("patternProperties", ()))}
        for keyword in ("$ref", "$dynamicRef", "$recursiveRef"):
            if keyword in schema:
                recursive = keyword == "$recursiveRef"
                resolver = validator._resolver
                target = lookup_recursive_ref(resolver) if recursive else resolver.lookup(schema[keyword])
                there = validator.evolve(schema=target.contents, _resolver=target.resolver)
                found |= self._evaluated(there, instance, target.contents)
        for inner in self._in_place(validator, instance, schema):
            found |= self._evaluated(validator, instance, inner)
        return found

    def _in_place(self, validator: Any, instance: dict[str, Json], schema: Json) -> Iterator[Json]:
        """The schemas inside one that are about the same instance, and which it fits."""

        def fits(inner: Json) -> bool:
            return bool(validator.evolve(schema=inner).is_valid(instance))

        yield from schema.get("allOf", ())
        for keyword in ("anyOf", "oneOf"):
            yield from filter(fits, schema.get(keyword, ()))
        yield from (inner for name, inner in schema.get("dependentSchemas", {}).items() if name in instance)
        if "if" in schema and fits(schema["if"]):
            yield schema["if"]
            yield schema.get("then", True)
        elif "if" in schema:
            yield schema.get("else", True)

    def _unique_items(self, validator: Any, value: bool, instance: Json, schema: Json) -> Iterator[Any]:
        if value and isinstance(instance, list) and len(set(map(hashable, instance))) < len(instance):
            yield _error("an item stands twice")

    def _const(self, validator: Any, value: Json, instance: Json, schema: Json) -> Iterator[Any]:
        if hashable(instance) != hashable(value):
            yield _error(f"{value!r} was expected")

    def _enum(self, validator: Any, value: list[Json], instance: Json, schema: Json) -> Iterator[Any]:
        if hashable(instance) not in set(map(hashable, value)):
            yield _error(f"{instance!r} is not one of {value!r}")

    def _multiple_of(self, validator: Any, value: float, instance: Json, schema: Json) -> Iterator[Any]:
        if validator.is_type(instance, "number") and not is_multiple(instance, value):
            yield _error(f"{instance!r} is not a multiple of {value!r}")


def _error(message: str) -> Exception:
    from jsonschema import ValidationError

    error: Exception = ValidationError(message)
    return error


def _bound(fails: Callable[[Any, Any], bool], words: str, strict: str = "") -> Keyword:
    """A keyword that compares numbers; `strict` is the one by which drafts 3 and 4 make it exclusive, as a flag."""

    def check(validator: Any, value: float, instance: Json, schema: Json) -> Iterator[Any]:
        if validator.is_type(instance, "number"):
            one, other = exact(instance), exact(value)
            if fails(one, other) or (schema.get(strict) is True and one == other):
                yield _error(f"{instance!r} is {words} of {value!r}")

    return check


_BOUNDS: Mapping[str, Keyword] = {
    "minimum": _bound(operator.lt, "less than the minimum", strict="exclusiveMinimum"),
    "maximum": _bound(operator.gt, "greater than the maximum", strict="exclusiveMaximum"),
    "exclusiveMinimum": _bound(operator.le, "less than or equal to the minimum"),
    "exclusiveMaximum": _bound(operator.ge, "greater than or equal to the maximum"),
}
