"""Values that a format writes without their types: the tool's schema says what a text is."""

from __future__ import annotations

import json
from collections.abc import Mapping

from journeyman.agent.chat.formats.reading import dump, is_sound
from journeyman.agent.data import Json, Tool

_PYTHON = {"True": True, "False": False, "None": None}
_KINDS: dict[type, str] = {
    bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object", type(None): "null",
}  # fmt: skip


def schema_of(tool: Tool | None, argument: str) -> Mapping[str, Json]:
    """The schema of one argument; {} where nothing is said of it."""
    properties = tool.parameters.get("properties") if tool else None
    schema = properties.get(argument) if isinstance(properties, Mapping) else None
    return schema if isinstance(schema, Mapping) else {}


def typed(text: str, schema: Mapping[str, Json]) -> Json:
    """The value that `text` is.

    Text, where the schema allows nothing else; where it allows no text, JSON or one of Python's constants, and the
    text itself where it is neither; where it allows both or says nothing, JSON of an allowed kind, else the text.
    """
    allowed = _kinds(schema, 0)
    if allowed == {"string"}:
        return text
    stripped = text.strip()
    if allowed and "string" not in allowed and stripped in _PYTHON:
        return _PYTHON[stripped]
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    kind = _KINDS[type(value)]
    fits = not allowed or "string" not in allowed or kind in allowed or (kind == "integer" and "number" in allowed)
    return value if fits and is_sound(value) else text


def untyped(value: Json, schema: Mapping[str, Json]) -> str:
    """The text of which `typed` makes the value: text as it is, wherever it can be. Raises ValueError if not finite."""
    if isinstance(value, str) and typed(value, schema) == value:
        return value
    return dump(value)


def _kinds(schema: Mapping[str, Json], depth: int) -> set[str]:
    """The JSON types that a value may have; empty where any."""
    named = schema.get("type")
    if isinstance(named, str | list):
        return {kind for kind in ([named] if isinstance(named, str) else named) if isinstance(kind, str)}
    if isinstance(schema.get("enum"), list):
        return {_KINDS.get(type(value), "string") for value in schema["enum"]}
    if "const" in schema:
        return {_KINDS.get(type(schema["const"]), "string")}
    for choice in ("anyOf", "oneOf"):
        parts = schema.get(choice)
        if isinstance(parts, list) and depth < 4:
            found = [_kinds(part, depth + 1) if isinstance(part, Mapping) else set() for part in parts]
            return set().union(*found) if all(found) else set()
    return set()
