r"""Where the final answer stands in a model's text.

First what the model says is taken (spoken.py), and what it did not take back (doubts.py). Then, in this order: the
last of its marks (`#### 42`, a heading that points to the answer, `<answer>` tags, `\boxed{}`), what follows the last
"answer is" or "answer:", the last line.
"""

from __future__ import annotations

import re
from typing import Literal

from journeyman.verifiers.answers.boxes import boxed
from journeyman.verifiers.answers.displays import last_value, level
from journeyman.verifiers.answers.doubts import denied, kept
from journeyman.verifiers.answers.headings import headed
from journeyman.verifiers.answers.spoken import spoken

Where = Literal["auto", "marked", "boxed", "last"]
"""What counts: what a `####` marks, the last box, the last line, or the first of these (and more) that the text has."""

_OPEN = re.compile(
    r"<\s?(?:(?:final[_ -]?)?answer|solution)\s?>|<[|｜]begin_of_(?:box|solution)[|｜]>|\[(?:final_)?answer\]",
    re.IGNORECASE,
)
_CLOSE = re.compile(
    r"<\s?/\s?(?:(?:final[_ -]?)?answer|solution)\s?>|<[|｜]end_of_(?:box|solution)[|｜]>|\[/(?:final_)?answer\]",
    re.IGNORECASE,
)
_ANCHOR = re.compile(
    r"\b(?:answers?|(?:(?:correct|right|best|final|appropriate|true|my|our|the)\s+)(?:choice|option)|"
    r"(?:correct|right|best)\s+(?:choices|options))\b"
    r"[^.:\n]{0,40}?(?:\b(?:is|are|equals|(?:must|should|has to)\s+be)\b|:)[:*\s]{0,8}",
    re.IGNORECASE,
)
_NO_VALUE = re.compile(
    r"(?:therefore|thus|then|also)?\s*(?:given|obtained|found|computed|calculated|derived|determined|verified|confirmed|"
    r"correct|right|unique|clear|obvious|shown|stated|below|above|expressed|required|expected|supposed|rounded|"
    r"as follows|in\s+(?!fact)|the following|complete|ready|done|consistent|reasonable|valid)\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[.?!](?:[*_]{0,3}\s+(?=[A-Z(\\$*])|[*_]{0,3}\s*$)")
_RULES = " \t-*_=~`#.$∎□■▢"
_ENDINGS = frozenset({"", "QED", "Q.E.D", "\\qed", "\\blacksquare", "\\square", "\\Box"})
_BARE = re.compile(r"(?:\\\[.*\\\]|\$.*\$|\\\(.*\\\)|\S+(?:\s+\S+){0,3})[.\s*]*")
_INFORMS = re.compile(r"[0-9$\\]")


def find(text: str, where: str) -> str:
    """The text of the final answer; empty where there is none. `where` is one of `Where`."""
    said = said_last(text)
    marked = mark(said, where)
    if marked is not None:
        return marked
    if where in {"marked", "boxed"}:
        return ""
    told = answer_told(said) if where == "auto" else None
    return last_line(said) if told is None else told


def said_last(text: str) -> str:
    """What the model says to the reader and does not take back."""
    return kept(spoken(text))


def mark(said: str, where: str) -> str | None:
    """What the last mark that counts for `where` marks, empty where that is no answer; None where there is no mark."""
    found: list[tuple[int, str]] = []
    if where in {"auto", "marked"} and (heading := headed(said, hashes=where == "marked")):
        found.append(heading)
    if where == "auto" and (tag := tagged(said)):
        found.append(tag)
    if where in {"auto", "boxed"} and (box := boxed(said)) and box > max(found, default=(-1, "")):
        return last_value(box[1]) if "\\begin{" in box[1] else box[1].strip()
    if not found:
        return None
    return _of_section(max(found)[1])


def tagged(text: str) -> tuple[int, str] | None:
    """Where the last answer's tag opens and what stands in it; with a closing tag alone, all before that."""
    opens = list(_OPEN.finditer(text))
    if opens:
        close = _CLOSE.search(text, opens[-1].end())
        return opens[-1].start(), text[opens[-1].end() : close.start() if close else len(text)]
    closes = list(_CLOSE.finditer(text))
    return (0, text[: closes[-1].start()]) if closes else None


def _of_section(text: str) -> str:
    """The answer in what is marked: its box, what "answer is" says, its only telling paragraph, the first if bare."""
    text = text.strip()
    if (box := boxed(text)) is not None:
        return box[1]
    if (told := answer_told(text)) is not None:
        return told
    parts = [part for part in re.split(r"\n\s*\n", level(text)) if part.strip()]
    if not parts:
        return ""
    telling = [part for part in parts if _INFORMS.search(part)]
    if len(telling) == 1:
        return _paragraph(telling[0])
    return _paragraph(parts[0] if _BARE.fullmatch(parts[0].strip()) else parts[-1])


def _paragraph(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return last_value("\\\\".join(lines)) if len(lines) > 1 and all("=" in line for line in lines) else last_line(text)


def answer_told(said: str) -> str | None:
    """What the sentence of the last "answer is" says; empty where that is denied or a question. None without one."""
    text = level(said)
    for anchor in reversed(list(_ANCHOR.finditer(text))):
        rest = text[anchor.end() :].split("\n", 1)[0]
        if not rest.strip() or _NO_VALUE.match(rest):
            continue
        end = _SENTENCE.search(rest)
        if denied(text[max(0, anchor.end() - 200) : anchor.end()]) or (end and end[0].startswith("?")):
            return ""
        return rest[: end.start()] if end else rest
    return None


def last_line(said: str) -> str:
    """The last line that is more than a rule, with a display as one line."""
    for line in reversed(level(said).splitlines()):
        if line.strip(_RULES) not in _ENDINGS:
            return re.sub(r"^\s*#{1,6}\s*", "", line).strip()
    return ""
