"""The kinds of value that the fields of an exported row take, and what is none of them."""

from __future__ import annotations

from typing import Annotated, Any
from unicodedata import category
from uuid import UUID

from pydantic import AfterValidator, Field

from journeyman.agent.data import Json

MOST_NESTED = 256
"""Lists and objects in one another, of a goal, a payload or a call's arguments."""
MOST_LOG_PROB = 1e-3
"""Above the highest log-prob, 0, by what rounding may add."""

_INT32 = 2**31 - 1
_FLOAT32 = 3.4028234663852886e38


def _unicode(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds a lone surrogate, which is no Unicode text") from None
    return text


def _storable(text: str) -> str:
    """Columns of text hold no NUL: PostgreSQL cannot."""
    if "\0" in text:
        raise ValueError("holds a NUL character, which no column takes")
    return _unicode(text)


def _plain(name: str) -> str:
    if not name.isprintable() and any(category(character) == "Cc" for character in name):
        raise ValueError("holds a control character")
    return _unicode(name)


def _uuid(text: str) -> str:
    try:
        canonical = str(UUID(text))
    except ValueError:
        canonical = ""
    if text != canonical:
        raise ValueError("is no UUID in lower case with dashes")
    return text


def _json(value: Json) -> Json:
    """What JSON can say and every database keep: finite numbers, valid Unicode, not nested without end."""
    waiting: list[tuple[Json, int]] = [(value, 0)]
    while waiting:
        found, depth = waiting.pop()
        if depth > MOST_NESTED:
            raise ValueError(f"is nested more than {MOST_NESTED} deep")
        if isinstance(found, str):
            _unicode(found)
        elif isinstance(found, float):
            if not abs(found) < float("inf"):
                raise ValueError(f"holds {found}, which is no finite number")
        elif isinstance(found, list):
            waiting += [(item, depth + 1) for item in found]
        elif isinstance(found, dict):
            waiting += [(part, depth + 1) for item in found.items() for part in item]
        elif found is not None and not isinstance(found, bool | int):
            raise ValueError(f"holds a {type(found).__name__}, which is no JSON")
    return value


Id = Annotated[str, AfterValidator(_uuid)]
Count = Annotated[int, Field(ge=0, le=_INT32)]
Number = Annotated[int, Field(ge=1, le=_INT32)]
"""Of a policy version."""
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(ge=0)]
Said = Annotated[str, AfterValidator(_unicode)]
Text = Annotated[str, AfterValidator(_storable)]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_plain)]
Key = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_plain)]
"""A name that may be put together from several."""
Attempt = Annotated[tuple[Key, Count], Field(strict=False)]
"""An attempt's name within its run, in a file a list: its group's key, and its number."""
Value = Annotated[Any, AfterValidator(_json)]
Table = Annotated[dict[str, Any], AfterValidator(_json)]
Tokens = list[Count]
LogProb = Annotated[float, Field(ge=-_FLOAT32, le=MOST_LOG_PROB)]
