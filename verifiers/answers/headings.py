"""Lines that mark the answer: GSM8K's `#### 42`, and headings such as `## Final Answer`, which point to what follows.

A Markdown heading of four signs is no answer: "#### Step 2: conclude".
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_MARK = re.compile(r"(?<!#)####(?!#)[ \t]*([^\n]*)")
_LABEL = re.compile(
    r"[^\w\n#(\[<\\$-]{0,8}(?:(?:step\s*)?[0-9]{1,2}\s?[.:)-]\s*)?[*_]{0,3}"
    r"(?:(?:the|my|our|so,? the|thus,? the|therefore,? the)\s+)?"
    r"(?:(?:(?:final|correct|short|full|exact|numerical)\s+)?answers?|final\s+(?:result|solution|value))(?:\s+(?:is|are))?"
    r"[*_]{0,3}[\s.:=]*[*_]{0,3}[^\w\n(\[<>\\$-]{0,4}",
    re.IGNORECASE,
)
_NAMED = re.compile(r"[Aa]nswer|ANSWER|[Ff]inal|FINAL")
_LINE = re.compile(r"^[ \t>]{0,6}(#{0,6})[ \t]*([^\n]{1,80})$", re.MULTILINE)
_HEADING = re.compile(r"[ \t]{0,3}#{1,6}[ \t]")
_NEXT = re.compile(
    r"^[ \t]{0,3}(?:#{1,6}[ \t]|(?:\*\*|__)[A-Z][^\n*_=$]{2,60}(?:\*\*|__):?[ \t]*$|(?:---+|\*\*\*+|___+)[ \t]*$)",
    re.MULTILINE,
)
_ALWAYS = re.compile(
    r"(?:step|case|part|method|approach|problem|question|exercise|example|phase|stage|lemma|claim|proof|verification|"
    r"verify|check|double[- ]check|sanity check|explanation|analysis|given|setup|set up|note|notes|remark|observation|"
    r"find|compute|calculate|determine|solve|simplify|substitute|evaluate|apply|combine|count|consider|define|express|"
    r"identify|factor|expand|rewrite|use|let us|let's|how|why|what|now|next|first|second|third|finally|"
    r"(?!nothing|during|king|ring|spring|string|evening|morning)[a-z]{2,}ing)\b",
    re.IGNORECASE,
)
_NUMBERED = re.compile(
    r"(?:\(?(?:[0-9]{1,2}|[ivx]{1,4}|[a-h])[.):]|\([0-9]{1,2}\)|[IVX]{1,4}\.)\s+[*_]{0,3}[A-Za-z]{3,}"
)
_TITLE = re.compile(
    r"solution|conclusion|summary|calculations?|computations?|results?|reasoning|overview|introduction|work|steps|plan|"
    r"strategy|interpretation|recap|total|derivation|discussion",
    re.IGNORECASE,
)
_MATH = re.compile(r"\$[^$\n]*\$|\\\([^\n]*?\\\)")
_VALUE = re.compile(r"[0-9$\\=√π∞]|\b(?:is|are|equals|answer)\b", re.IGNORECASE)
_WORDS = re.compile(r"[A-Za-z]{2,}")


def headed(text: str, *, hashes: bool = False) -> tuple[int, str] | None:
    """Where the last marking line stands and what it marks; None without one. `hashes`: only those with `####`."""
    marked = _marked(text) if "####" in text else ()
    pointed = _pointed(text, hashes=hashes) if _NAMED.search(text) else ()
    return max([*marked, *pointed], default=None)


def announces(line: str) -> bool:
    """Whether the line is a heading that only names what should follow: "### Step 2"."""
    return bool(_HEADING.match(line) and _ALWAYS.match(line.strip(" \t#*_")) and "=" not in line)


def _marked(text: str) -> Iterator[tuple[int, str]]:
    """The last `####` whose line is no heading."""
    for match in reversed(list(_MARK.finditer(text))):
        if not _LABEL.fullmatch(match[1]) and not _is_heading(match[1], text[match.end() :]):
            yield match.start(), match[1].strip()
            return


def _is_heading(line: str, after: str) -> bool:
    """Whether the words after `####` announce what follows instead of being an answer."""
    words = line.strip(" \t*_`:")
    if _ALWAYS.match(words) or _NUMBERED.match(words):
        return True
    apart = _MATH.sub(" ", words)
    if _VALUE.search(apart) or not _WORDS.match(words) or not after.strip():
        return False
    more_than_one = len(_WORDS.findall(apart)) > 1 or apart != words
    titled = more_than_one or _TITLE.fullmatch(words) is not None
    return titled and re.search(r"[0-9$\\]", after) is not None


def _pointed(text: str, *, hashes: bool) -> Iterator[tuple[int, str]]:
    """What follows the last label alone on its line ("**Final Answer**"), to the next heading."""
    for match in reversed(list(_LINE.finditer(text))):
        if (match[1] == "####" or not hashes) and _LABEL.fullmatch(match[2].rstrip()):
            section = _section(text[match.end() :])
            if section or match[1]:
                yield match.start(), section
                return


def _section(text: str) -> str:
    """What stands before the next heading; a bold line is one only where something came before it."""
    text = text.lstrip("\n\t ")
    if _HEADING.match(text):
        return ""
    end = _NEXT.search(text, text.find("\n") if "\n" in text else len(text))
    return (text[: end.start()] if end else text).strip()
