"""JSON read strictly, and checked against JSON schemas without ever hanging or fetching anything."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

import regex

from journeyman.agent.data import Json
from journeyman.verifiers.texts.schema_keywords import Keywords

MAX_CHARS = 1_000_000
"""Characters of a JSON text."""
MAX_VALUES = 20_000
"""Values in a JSON text, those inside others counted too."""
MAX_DEPTH = 64
"""Arrays and objects inside one another."""
SECONDS = 0.5
"""How long one check may take."""


class BadJson(ValueError):  # noqa: N818 (it says what is wrong with a text, and is no failure of ours)
    """The text is not JSON, or more of it than is read."""


def read_json(text: str) -> Json:
    """The value of a JSON text (RFC 8259): no key twice in an object, every number within a double's range.

    Raises BadJson for any other text, and for one beyond the limits above.
    """
    if len(text) > MAX_CHARS:
        raise BadJson(f"longer than {MAX_CHARS} characters")
    try:
        value = json.loads(
            text, parse_float=_number, parse_int=_whole, parse_constant=_number, object_pairs_hook=_without_repeats
        )
    except RecursionError:
        raise BadJson(f"deeper than {MAX_DEPTH}") from None
    except ValueError as error:  # JSONDecodeError is one
        raise BadJson(str(error)) from None
    check_size(value)
    return value


def check_size(value: Json) -> None:
    """Raises BadJson for a value beyond the limits of depth and number."""
    level, depth, values = [value], 0, 1
    while outer := [item for item in level if isinstance(item, dict | list)]:
        level = [inner for item in outer for inner in (item.values() if isinstance(item, dict) else item)]
        depth, values = depth + 1, values + len(level)
        if depth > MAX_DEPTH or values > MAX_VALUES:
            raise BadJson(f"deeper than {MAX_DEPTH}" if depth > MAX_DEPTH else f"more than {MAX_VALUES} values")


class Schema:
    """One JSON schema, of the draft that its `$schema` names, else 2020-12; checked when it is made.

    `format` is an annotation, as the standard has it by default: nothing is checked by it.
    """

    def __init__(self, schema: Json) -> None:
        """Raises ValueError, with where and what, for a schema that is none, and for one that cannot be used here.

        That is one with a `$ref` that leads out of it (nothing is fetched), with an expression that `regex` does not
        know, or with `unevaluatedProperties` beside `patternProperties`, whose check could not be stopped.
        """
        from jsonschema import Draft202012Validator, SchemaError
        from jsonschema.validators import extend, validator_for
        from referencing.jsonschema import DRAFT202012, EMPTY_REGISTRY, specification_with

        if not isinstance(schema, dict | bool):
            raise ValueError(f"a JSON schema is an object, got {type(schema).__name__}")
        base: Any = validator_for(schema, default=Draft202012Validator)
        try:
            base.check_schema(schema)
        except SchemaError as error:
            raise ValueError(f"{error.json_path}: {_short(error.message)}") from None
        draft = specification_with(str(base.META_SCHEMA["$schema"]).rstrip("#"), default=DRAFT202012)
        resource = draft.create_resource(schema)
        _check_usable(resource, EMPTY_REGISTRY.resolver_with_root(resource))
        self._keywords = Keywords(SECONDS)
        self._validator: Any = extend(base, self._keywords.over(base.VALIDATORS))(schema, registry=EMPTY_REGISTRY)

    def fault(self, value: Json) -> str | None:
        """The first place where the value does not fit, e.g. "$.age: 'x' is not of type 'integer'"; None for none.

        Raises TimeoutError after `SECONDS`.
        """
        from jsonschema.exceptions import best_match

        self._keywords.restart()
        first = islice(self._validator.iter_errors(value), 1)  # all of them could be many
        error = best_match(first)  # goes into the alternatives of an `anyOf`
        return None if error is None else f"{error.json_path}: {_short(error.message)}"


@lru_cache(maxsize=256)
def schema_of(text: str) -> Schema:
    """The schema with this JSON text, made once a process. Raises ValueError as `Schema` does."""
    return Schema(json.loads(text))


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is not a finite number")
    return number


def _whole(text: str) -> int:
    _number(text)
    return int(text)


def _without_repeats(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in an object")
    return found


def _short(message: str) -> str:
    return message if len(message) <= 200 else f"{message[:140]} ... {message[-55:]}"


def _check_usable(resource: Any, resolver: Any) -> None:
    """Raises ValueError as `Schema` says; `resource` and `resolver` are `referencing`'s."""
    from referencing.exceptions import Unresolvable

    schema = resource.contents
    if isinstance(schema, Mapping):
        for reference in (schema.get("$ref"), schema.get("$dynamicRef")):
            try:
                _ = reference is None or resolver.lookup(reference)
            except Unresolvable:
                raise ValueError(f"{reference!r} is not in the schema, and nothing is fetched") from None
        for expression in [*schema.get("patternProperties", ()), schema.get("pattern", "")]:
            try:
                regex.compile(expression)
            except regex.error as error:
                raise ValueError(f"expression {expression!r}: {error}") from None
        if "patternProperties" in schema and "unevaluatedProperties" in schema:
            raise ValueError("'unevaluatedProperties' beside 'patternProperties': use 'additionalProperties'")
    for inner in resource.subresources():
        _check_usable(inner, resolver.in_subresource(inner))
