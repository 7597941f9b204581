"""Harmless rewrites of an answer: what it says stays, how it is written changes. A good verifier's verdict stays too.

Fenced code (```) is left as it is, since blanks and line ends may mean something there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import replace

from journeyman.agent.data import Trajectory

_FENCED = re.compile(r"(```.*?(?:```|\Z))", re.DOTALL)
COURTESY = "Thank you for the question, here is my answer."
"""The sentence that is put before; it holds no number, and none of the usual marks of an answer."""


def trailing_blanks(text: str) -> str:
    """Blanks and a line break at the end."""
    return f"{text}  \n"


def doubled_blanks(text: str) -> str:
    """Every blank between words twice."""
    return _outside_code(text, lambda part: re.sub(r"(?<=\S) (?=\S)", "  ", part))


def blank_lines(text: str) -> str:
    """Every blank line twice."""
    return _outside_code(text, lambda part: part.replace("\n\n", "\n\n\n"))


def line_ends(text: str) -> str:
    """Line ends of carriage return and line feed."""
    return _outside_code(text, lambda part: re.sub(r"(?<!\r)\n", "\r\n", part))


def normal_form(text: str) -> str:
    """The other of Unicode's canonically equal forms: NFD, or NFC where it is NFD already."""
    decomposed = unicodedata.normalize("NFD", text)
    return decomposed if decomposed != text else unicodedata.normalize("NFC", text)


def courtesy(text: str) -> str:
    """A friendly sentence in a paragraph of its own before."""
    return f"{COURTESY}\n\n{text}"


def boxed_blanks(text: str) -> str:
    r"""A blank after the brace of every `\boxed{`."""
    return text.replace("\\boxed{", "\\boxed{ ")


REWRITES: Mapping[str, Callable[[str], str]] = {
    rewrite.__name__: rewrite
    for rewrite in (trailing_blanks, doubled_blanks, blank_lines, line_ends, normal_form, courtesy, boxed_blanks)
}
"""Name -> rewrite."""


def rewritten(trajectory: Trajectory, kind: str) -> Trajectory | None:
    """The attempt with its final text rewritten; None where that changes nothing, or its last turn calls a tool."""
    if not trajectory.turns:
        return None
    last = trajectory.turns[-1]
    text = REWRITES[kind](last.action.content)
    if last.action.tool_calls or text == last.action.content:
        return None
    turn = replace(last, action=replace(last.action, content=text))
    return replace(trajectory, turns=(*trajectory.turns[:-1], turn))


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    parts = _FENCED.split(text)
    return "".join(part if i % 2 else change(part) for i, part in enumerate(parts))
