"""What errors show of a text that a user gave: never the credentials in it, however malformed it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_WRITTEN = re.compile(r"://|:[^@]*@")
"""In a text that is, or might have been meant as, a URL."""
_SECRET = re.compile(r"pass|pwd|secret|token|credential|api_?key", re.IGNORECASE)


def hidden(url: str) -> str:
    """The URL without its user, password, query, and a port that is none; with too little rather than too much.

    >>> hidden("postgresql+psycopg://ann:secret@host:54x2/runs?password=y")
    'postgresql+psycopg://***@host:***?***'
    """
    scheme, mark, rest = url.partition("://")
    if not mark:
        scheme, rest = "", url
    elif not re.fullmatch(r"[\w+.-]*", scheme):
        scheme = "***"
    _, at, place = rest.rpartition("@")
    place, question, _ = place.partition("?")
    host, colon, port = place.partition("/")[0].rpartition(":")
    if colon and not port.isdigit() and not port.endswith("]"):  # a host in brackets holds colons
        place = f"{host}:***"
    return f"{scheme}{mark}{'***@' if at else ''}{place}{'?***' if question else ''}"


def shown(value: object) -> str:
    """The value as an error shows it, with the credentials in its texts hidden."""
    return repr(_without(value))


def without_secrets(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as others may read them, with the credentials in their texts hidden.

    Numbers stay: `max_tokens` is no secret.
    """
    found: dict[str, Any] = _without(settings, (int, float, type(None)))
    return found


def _without(value: Any, harmless: tuple[type, ...] = ()) -> Any:
    """`harmless` are the kinds of values that may stand under a name that sounds like a secret's."""
    if isinstance(value, str):
        return hidden(value) if _WRITTEN.search(value) else value
    if isinstance(value, Mapping):
        return {
            key: "***" if _SECRET.search(str(key)) and not isinstance(item, harmless) else _without(item, harmless)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return type(value)(_without(item, harmless) for item in value)
    return value
