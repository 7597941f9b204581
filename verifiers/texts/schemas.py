"""JSON read strictly, and checked against JSON schemas without ever hanging or fetching anything."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from journeyman.agent.data import Json
from journeyman.verifiers.texts.ecma_patterns import compiled
from journeyman.verifiers.texts.json_numbers import read_float, read_int
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
    value = _loads(text)
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

        That is one with a `$ref` that leads out of it (nothing is fetched), or with an expression that is not
        ECMA-262's.
        """
        from jsonschema import Draft3Validator, Draft202012Validator, SchemaError
        from jsonschema.validators import validator_for
        from jsonschema_specifications import REGISTRY
        from referencing.jsonschema import DRAFT202012, specification_with

        if not isinstance(schema, dict | bool):
            raise ValueError(f"a JSON schema is an object, got {type(schema).__name__}")
        base: Any = validator_for(schema, default=Draft202012Validator)
        try:
            base.check_schema(schema, format_checker=None)  # whose "regex" would be Python's
        except SchemaError as error:
            raise ValueError(f"{error.json_path}: {_short(error.message)}") from None
        draft = specification_with(str(base.META_SCHEMA["$schema"]).rstrip("#"), default=DRAFT202012)
        resource = draft.create_resource(schema)
        _check_usable(resource, REGISTRY.resolver_with_root(resource), schema)
        self._keywords = Keywords(SECONDS)
        self._with_best = base is not Draft3Validator  # in whose types, which can be schemas, `best_match` fails
        self._validator: Any = self._keywords.validator(base)(schema, registry=REGISTRY)

    def fault(self, value: Json) -> str | None:
        """The first place where the value does not fit, e.g. "$.age: 'x' is not of type 'integer'"; None for none.

        Raises TimeoutError after `SECONDS`; ValueError where the schema refers to itself in a circle.
        """
        from jsonschema.exceptions import best_match

        self._keywords.restart()
        try:
            first = next(self._validator.iter_errors(value), None)  # all of them could be many
            error = best_match([first]) if first and self._with_best else first  # of the alternatives of an `anyOf`
        except RecursionError:
            raise ValueError("the schema's references lead in a circle: let one go into a property or item") from None
        return None if error is None else f"{error.json_path}: {_short(error.message)}"


@lru_cache(maxsize=256)
def schema_of(text: str) -> Schema:
    """The schema with this JSON text, made once a process. Raises ValueError as `Schema` does, and for other text."""
    return Schema(_loads(text))


def _loads(text: str) -> Json:
    try:
        return json.loads(
            text,
            parse_float=read_float,
            parse_int=read_int,
            parse_constant=read_float,
            object_pairs_hook=_without_repeats,
        )
    except RecursionError:
        raise BadJson(f"deeper than {MAX_DEPTH}") from None
    except ValueError as error:  # JSONDecodeError is one
        raise BadJson(str(error)) from None


def _without_repeats(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in an object")
    return found


def _short(message: str) -> str:
    return message if len(message) <= 200 else f"{message[:140]} ... {message[-55:]}"


def _check_usable(resource: Any, resolver: Any, whole: Json) -> None:
    """Raises ValueError as `Schema` says; `resource` and `resolver` are `referencing`'s, of a part of `whole`."""
    from referencing.exceptions import Unresolvable

    schema = resource.contents
    if isinstance(schema, Mapping):
        for reference in (schema.get("$ref"), schema.get("$dynamicRef")):
            try:
                _ = reference is None or resolver.lookup(reference)
            except Unresolvable:
                raise ValueError(f"{reference!r} is not in the schema, and nothing is fetched") from None
        for keyword in ("pattern", "patternProperties"):
            for expression in [schema[keyword]] if keyword == "pattern" in schema else schema.get(keyword, ()):
                try:
                    compiled(expression)
                except ValueError as error:
                    raise ValueError(f"{_place(whole, schema, '$')}.{keyword}: {_short(str(error))}") from None
    for inner in resource.subresources():
        if isinstance(inner.contents, str):
            continue  # a name: draft 3's `extends` with one schema is not read right by `referencing`
        _check_usable(inner, resolver.in_subresource(inner), whole)


def _place(value: Json, part: Json, path: str) -> str:
    """The path of a part of a value, itself and no other that is equal; "" where it is not in it."""
    if value is part:
        return path
    if isinstance(value, dict):
        named = ((item, name if re.fullmatch(r"[$\w-]+", name) else repr(name)) for name, item in value.items())
        inner = ((item, f"{path}.{name}") for item, name in named)
    else:
        inner = ((item, f"{path}[{index}]") for index, item in enumerate(value if isinstance(value, list) else ()))
    return next(filter(None, (_place(item, part, place) for item, place in inner)), "")
