"""Texts compared: whether a model sees all that others said, and how far two texts are the same."""

from __future__ import annotations

import json
from collections.abc import Sequence

from journeyman.agent.data import Message


def unseen(messages: Sequence[Message], text: str) -> Message | None:
    """The first message, other than the assistant's own, that the text does not hold; None where it holds them all.

    Each must come after the one before it, but for system messages, which some templates put elsewhere. White space
    aside, which templates trim; a text may stand as JSON, as tools' results do in Llama 3.1 and gpt-oss.
    """
    squeezed, at = _squeezed(text), 0
    for message in messages:
        if message.role == "assistant":
            continue
        start = 0 if message.role == "system" else at
        ends = [found + len(form) for form in _forms(message.content) if (found := squeezed.find(form, start)) >= 0]
        if not ends:
            return message
        at = at if message.role == "system" else min(ends)
    return None


def same_beginning(one: Sequence[object], other: Sequence[object]) -> int:
    """How many characters, or tokens, both begin with alike."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def past_the_same(one: str, other: str) -> tuple[str, str]:
    """What is left of both texts after what they begin with alike but for white space."""
    i = j = at = to = 0
    while True:
        i, j = _skip(one, i), _skip(other, j)
        if i >= len(one) or j >= len(other) or one[i] != other[j]:
            break
        i, j = i + 1, j + 1
        at, to = i, j
    same = same_beginning(one[at:i], other[to:])
    return one[at + same :], other[to + same :]


def _skip(text: str, at: int) -> int:
    """The place of the next character that is no white space."""
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _forms(content: str) -> set[str]:
    quoted = [json.dumps(content, ensure_ascii=ascii_only)[1:-1] for ascii_only in (False, True)]
    escaped = [q.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026") for q in quoted]
    return {_squeezed(form) for form in (content, *quoted, *escaped)}


def _squeezed(text: str) -> str:
    return "".join(text.split())
