r"""Displayed mathematics, made one line of what it comes to: `\[`, `$$` and the environments of several rows.

Of a derivation that is its last side (`x &= 4+5 \\ &= 9` is `x = 9`), of rows that each give a symbol its value, all.
"""

from __future__ import annotations

import re
from itertools import takewhile

_ENVIRONMENTS = (
    "align|aligned|alignat|alignedat|equation|gather|gathered|split|multline|eqnarray|flalign|displaymath|math"
)
_EDGE = re.compile(
    rf"(?<!\\)\\(?P<open>[\[(])|(?<!\\)\\(?P<close>[\])])|(?P<dollars>\$\$)|\\begin\s?\{{(?P<begin>{_ENVIRONMENTS})\*?\}}|"
    rf"\\end\s?\{{(?P<end>{_ENVIRONMENTS})\*?\}}"
)
_FRAME = re.compile(
    rf"\\(?:begin|end)\s?\{{(?:{_ENVIRONMENTS})\*?\}}(?:\{{[0-9]\}}|\[[tbc]\])?|\\(?:label|tag)\*?\s?\{{[^{{}}\n]{{0,80}}\}}|"
    r"\\(?:notag|nonumber|displaystyle)(?![A-Za-z])|(?<!\\)\\[\[\]()]|\$\$"
)
_ROWS = re.compile(r"\\begin\b|\\end\b|\\\\(?:\[[0-9.]{1,5}\s?[a-z]{2}\])?|\\.|[{}&]", re.DOTALL)
_LEAD = re.compile(
    r"(?:\s|\\q?quad(?![A-Za-z])|\\[,;:!]|\\(?:implies|therefore|iff|[Ll]ong[Rr]ightarrow|[Rr]ightarrow|to)(?![A-Za-z])|⇒|∴)+"
)
_REMARK = re.compile(r"(?:\\q?quad(?![A-Za-z])|\s)+\\text\s?\{\s?\([^{}]{0,200}\)\s?\}$")
_RELATION = re.compile(
    r"(?<![<>!:])=(?!=)|<=?|>=?|\\(?:leq?|geq?|leqslant|geqslant|neq?|lt|gt|approx|equiv|sim|simeq|in)(?![A-Za-z])"
)
_GIVES = re.compile(r"([A-Za-z](?:_\{?\w{1,4}\}?|')?)\s*=\s*(.+)", re.DOTALL)
_LITERAL = re.compile(r"[-+]?\s*(?:[0-9][0-9.,]*|\\[dt]?frac\s?\{[-0-9]+\}\s?\{[0-9]+\}|[0-9]+/[0-9]+)\s*")
_NAME = re.compile(r"\s*(?:[A-Za-z](?:_\{?\w{1,4}\}?|')?(?:\s?\([A-Za-z0-9]\))?|[A-Z]{2}|\\[a-z]{2,7})\s*")


def level(text: str) -> str:
    r"""The text with each display of several lines or rows as one line, `\[...\]`; one never closed stays as it is."""
    parts, at = [], 0
    opened: list[tuple[str, int]] = []
    for edge in _EDGE.finditer(text):
        kind, name = edge.lastgroup, edge[edge.lastgroup or 0]
        closes = {"close": "[" if name == "]" else "(", "end": name, "dollars": "$$"}.get(kind or "")
        if closes and opened and opened[-1][0] == closes:
            start = opened.pop()[1]
            if not opened:
                block = text[start : edge.end()]
                parts += [text[at:start], block if _plain(block) else rf"\[{last_value(block)}\]"]
                at = edge.end()
        elif kind in {"open", "begin"} or (kind == "dollars" and not opened):
            opened.append((name, edge.start()))
    return "".join([*parts, text[at:]])


def _plain(block: str) -> bool:
    return "\n" not in block and "\\begin" not in block and "\\\\" not in block


def last_value(block: str) -> str:
    """What the rows of a display come to, in one line, without its frame."""
    rows = [_row(row) for row in _split(_FRAME.sub(" ", block))]
    rows = [row for row in rows if row]
    if not rows:
        return ""
    values = [match for match in takewhile(bool, map(_GIVES.fullmatch, reversed(rows))) if match][::-1]
    if len(values) > 1:
        literal = all(_LITERAL.fullmatch(value[2]) for value in values)
        if literal or len({value[1] for value in values}) == len(values):
            return ", ".join(value[0] for value in values)
    first = len(rows) - 1
    while first and _RELATION.match(rows[first]):
        first -= 1
    return _chain(rows[first:])


def _chain(rows: list[str]) -> str:
    """The last side of an equation that goes on over rows, behind what it is of where that is a name."""
    if len(rows) == 1:
        return rows[0]
    whole = " ".join(rows)
    if any(sign[0] != "=" for row in rows for sign in _RELATION.finditer(row)):
        return whole
    last = _RELATION.split(rows[-1])[-1].strip()
    left = _RELATION.split(whole)[0].strip()
    return f"{left} = {last}" if _NAME.fullmatch(left) else last


def _split(text: str) -> list[str]:
    r"""The rows between the outermost `\\`, without the outermost `&`."""
    rows, row, depth, at = [], "", 0, 0
    for match in _ROWS.finditer(text):
        sign = match[0]
        if sign in {"\\begin", "{"}:
            depth += 1
        elif sign in {"\\end", "}"}:
            depth -= 1
        elif depth <= 0 and (sign == "&" or sign.startswith("\\\\")):
            row += text[at : match.start()] + " "
            at = match.end()
            if sign != "&":
                rows.append(row)
                row = ""
    return [*rows, row + text[at:]]


def _row(text: str) -> str:
    text = " ".join(text.split())
    lead = _LEAD.match(text)
    text = _REMARK.sub("", text[lead.end() :] if lead else text)
    return text.strip().rstrip(".,; ").strip()
