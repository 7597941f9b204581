r"""Where the final answer stands in a model's text.

First what the model says is taken (spoken.py), and what it did not take back (doubts.py). Then, in this order: the
last of its marks (`#### 42`, a heading that points to the answer, "final answer: 42", `<answer>` tags, `\boxed{}`),
what follows the last "answer is" or "answer:", the last line.
"""

from __future__ import annotations

import re
from typing import Literal

from journeyman.verifiers.answers.boxes import boxed, is_boxed
from journeyman.verifiers.answers.displays import last_value, level
from journeyman.verifiers.answers.doubts import denied, hedged, kept, reconsidered
from journeyman.verifiers.answers.headings import announces, headed
from journeyman.verifiers.answers.spoken import spoken

MAX_ANSWER = 1_000
"""Characters of an answer; a longer one is not read."""
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
    r"(?<![A-Za-z0-9])(?:ans|answers?|(?:(?:correct|right|best|final|appropriate|true|my|our|the)\s+)(?:choice|option)|"
    r"(?:correct|right|best)\s+(?:choices|options))\b"
    r"[^.:\n]{0,40}?(?:\b(?:is(?:n't)?|are(?:n't)?|equals|(?:must|should|has to|cannot|can't|may not)\s+be)\b|:)"
    r"[:*_}\s]{0,8}",
    re.IGNORECASE,
)
_DISPLAYED = re.compile(r"\\[\[(]|\$\$|\\begin")
_FINAL = re.compile(r"(?<![A-Za-z0-9])final\s+answers?\b[^.:\n]{0,20}?(?:\b(?:is|are)\b|:)[:*_}\s]{0,8}", re.IGNORECASE)
_NO_VALUE = re.compile(
    r"(?:therefore|thus|then|also)?\s*(?:given|obtained|found|computed|calculated|derived|determined|verified|confirmed|"
    r"correct|right|unique|clear|obvious|shown|stated|below|above|expressed|required|expected|supposed|rounded|"
    r"as follows|in\s+(?!fact)|the following|complete|ready|done|consistent|reasonable|valid)\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(
    r"(?<!\bMr)(?<!\bMs)(?<!\bDr)(?<!\bMrs)(?<!\bSt)(?<!\bProf)[.?](?:[*_]{0,3}\s+(?=[A-Z(\\$*])|[*_]{0,3}\s*$)"
)
_SENTENCES = re.compile(r"(?<=[.?!])\s+(?=[A-Z(\\$])|\s(?=(?:Therefore|Thus|Hence|So)\b)")
_RULES = " \t-*_=~`#.$∎□■▢"
_ENDINGS = frozenset({"", "QED", "Q.E.D", "\\qed", "\\blacksquare", "\\square", "\\Box"})
_BARE = re.compile(
    r"[*_]{0,3}(?:\\\[.*\\\]|\$.*\$|\\\(.*\\\)|[-−+]?[$€£]?[0-9][0-9.,/%]*(?:\s+[a-z]+){0,3}|\(?[A-Za-z]+\)?)[.\s*_]*",
    re.DOTALL,
)
_PLAIN = re.compile(r"[-+$]*[0-9][0-9.,]*[0-9%$]?")
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
    if (
        where == "auto"
        and "final" in said.lower()
        and (final := _told(said, _FINAL))
        and (not final[1] or _INFORMS.search(final[1]))
    ):
        found.append(final)
    if found and where == "auto" and "{" in said:  # what stands in a box is the box's
        found = [one for one in found if not is_boxed(said, one[0])]
    if where in {"auto", "boxed"} and (box := boxed(said)) and box > max(found, default=(-1, "")):
        return last_value(box[1]) if "\\begin{" in box[1] else box[1].strip()
    if not found:
        return None
    answer = max(found)[1]
    return _of_section(answer if _PLAIN.fullmatch(answer) else _CLOSE.split(answer)[0])


def tagged(text: str) -> tuple[int, str] | None:
    """Where the last answer's tag opens and what stands in it; with a closing tag alone, all before that."""
    if "<" not in text and "[" not in text:
        return None
    opens = list(_OPEN.finditer(text))
    if opens:
        close = _CLOSE.search(text, opens[-1].end())
        return opens[-1].start(), text[opens[-1].end() : close.start() if close else len(text)]
    closes = list(_CLOSE.finditer(text))
    return (0, text[: closes[-1].start()]) if closes else None


def _of_section(text: str) -> str:
    """The answer in what is marked: its box, what "answer is" says, its only telling paragraph, the first if bare."""
    text = text.strip()
    if _PLAIN.fullmatch(text):
        return text
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
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 1 and all(_BARE.fullmatch(line) for line in lines):
        return ", ".join(lines)
    if len(lines) > 1 and all("=" in line for line in lines):
        return last_value("\\\\".join(lines))
    while len(lines) > 1 and not _INFORMS.search(lines[-1]) and not hedged(lines[-1]):
        lines.pop()  # "as claimed."
    return last_line(lines[-1] if lines and _INFORMS.search(lines[-1]) else text)


def answer_told(said: str) -> str | None:
    """What the sentence of the last "answer is" says; empty where that is denied or a question. None without one."""
    found = _told(said, _ANCHOR)
    return found and found[1]


def _told(text: str, anchors: re.Pattern[str]) -> tuple[int, str] | None:
    for anchor in reversed(list(anchors.finditer(text))):
        rest = text[anchor.end() :].split("\n", 1)[0]
        if _DISPLAYED.search(rest):
            rest = level(text[anchor.end() : anchor.end() + 2 * MAX_ANSWER]).split("\n", 1)[0]
        if not rest.strip() or _NO_VALUE.match(rest):
            continue
        end = _SENTENCE.search(rest)
        if denied(text[max(0, anchor.end() - 200) : anchor.end()]) or (end and end[0].startswith("?")):
            return anchor.start(), ""
        behind = text[anchor.end() :].partition(rest[: end.end()] if end else rest)[2]
        if end and reconsidered(behind):
            return anchor.start(), last_line(behind)
        return anchor.start(), rest[: end.start()] if end else rest
    return None


def last_line(said: str) -> str:
    """The last line that is more than a rule, with a display as one line; of a long one the last telling sentence."""
    for line in reversed(level(said).splitlines()):
        if line.strip(_RULES) not in _ENDINGS:
            if announces(line):
                return ""
            text = re.sub(r"^\s*#{1,6}\s*", "", line).strip()
            return text if len(text) <= MAX_ANSWER else _last_sentence(text)
    return ""


def _last_sentence(text: str) -> str:
    for sentence in reversed(_SENTENCES.split(text)):
        if _INFORMS.search(sentence):
            return sentence
        if hedged(sentence):
            return ""
    return ""
