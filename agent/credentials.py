"""What errors show of a text that a user gave, or a library wrote: never the credentials in it, however malformed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_WRITTEN = re.compile(r"://|:[^@]*@")
"""In a text that is, or might have been meant as, a URL."""
_URL = re.compile(r"[A-Za-z][\w+.-]*://")
_BEHIND = re.compile(r"""['")\]}>,.;:!]*$""")
"""What stands behind a URL in a sentence."""
_NAMED = re.compile(r"([?&;#]([^\s=?&;#]*)=)[^\s&;#]*")
"""A value in a query or a fragment, behind its name."""
_DATABASES = ("postgresql", "postgres", "mysql", "mariadb", "mssql", "oracle")
"""Schemes whose URLs name a user, who is no secret without a password."""
_SECRET = re.compile(r"pass|pwd|secret|token|credential|api[_-]?key", re.IGNORECASE)


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


def holds_secret(url: str) -> bool:
    """Whether a password, a key or a token is in the URL, or in what might have been meant as one.

    Anybody before an @ is a secret, but for the user of a database.

    >>> [holds_secret(url) for url in ("https://key@host/x", "https://host/x?token=y", "postgresql://ann@host/x")]
    [True, True, False]
    """
    before, mark, rest = url.partition("//")
    scheme = (before if mark else url).partition(":")[0].partition("+")[0].lower()
    is_path = scheme in ("file", "sqlite") and (not mark or rest.startswith("/"))
    user, at, _ = url.rpartition("@")
    user = user.removeprefix(before + mark) if mark else user
    meant = mark or _WRITTEN.search(url)
    if at and meant and not is_path and (":" in user or scheme not in _DATABASES):
        return True
    return any(_SECRET.search(named[2]) for named in _NAMED.finditer(url))


def without_credentials(text: str) -> str:
    """A text in words, as an exception's, with the credentials in its URLs hidden.

    >>> without_credentials("API request to 'http://ann:secret@host:80/runs' failed: /runs?token=secret&n=3")
    "API request to 'http://***@host:80/runs' failed: /runs?token=***&n=3"
    """
    return re.sub(r"\S+", lambda found: _word(found[0]), text)


def _word(word: str) -> str:
    body = _BEHIND.sub("", word)
    url = _URL.search(body)
    first = url.start() if url else 0
    return body[:first] + _text(body[first:]) + word[len(body) :]


def _text(text: str) -> str:
    text = hidden(text) if _WRITTEN.search(text) else text
    return _NAMED.sub(lambda named: f"{named[1]}***" if _SECRET.search(named[2]) else named[0], text)


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
        return _text(value)
    if isinstance(value, Mapping):
        return {
            key: "***" if _SECRET.search(str(key)) and not isinstance(item, harmless) else _without(item, harmless)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return type(value)(_without(item, harmless) for item in value)
    return value
