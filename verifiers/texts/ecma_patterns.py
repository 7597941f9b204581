r"""Regular expressions as JSON schema has them, those of ECMA-262 in Unicode mode, run by the package `regex`.

Every construct is written anew in terms that mean the same there: `\d`, `\w`, `\s` and `\b` know ASCII (and ECMA's
blanks), `$` is the very end, the dot stops at ECMA's line ends, a reference to a group that took no part is empty.
Laxer than Unicode mode in one thing, as schemas often are: any mark may stand behind a backslash (`\-`, `\@`), and
`{`, `}` and `]` that belong to nothing stand for themselves. One difference is left: groups inside a repeated group
keep what they took in the round before.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NoReturn

import regex

from journeyman.verifiers.texts.ecma_properties import EVERY, LINE_ENDS, SHORTHANDS, WORD, property_set

_CAPTURES = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|\((?:(?!\?)|\?<(?![=!])([^>]*)>)", re.DOTALL)
_QUANTIFIER = re.compile(r"(?:[*+?]|\{([0-9]+)(?:,([0-9]*))?\})\??")
_GROUP = re.compile(r"\((?:\?(?::|<?[=!]|<[^\W\d][\w$]*>)|(?!\?))")
_CODE_POINT = re.compile(r"u\{([0-9A-Fa-f]+)\}|u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|c([A-Za-z])|(0)(?![0-9])")
_LOW_SURROGATE = re.compile(r"\\u(D[C-F][0-9A-F]{2})", re.IGNORECASE)
_CONTROL = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13}
_EDGE, _INSIDE = "(?<=[{0}])(?![{0}])|(?<![{0}])(?=[{0}])", "(?<=[{0}])(?=[{0}])|(?<![{0}])(?![{0}])"
_REMEDIES = {"A": "use ^", "Z": "use $", "z": "use $", "h": r"use [ \t]", "e": r"use \x1b", "a": r"use \x07"}


@lru_cache(maxsize=1024)
def compiled(expression: str) -> regex.Pattern[str]:
    """The expression for `search`; raises ValueError, in one line with the remedy, where ECMA-262 has no such."""
    try:
        return regex.compile(_Translation(expression).text, regex.V1)
    except regex.error as error:
        raise ValueError(f"expression {expression!r}: {error}; ask for less of it") from None
    except RecursionError:
        raise ValueError(f"expression {expression!r}: too many brackets inside one another; ask for less") from None


class _Translation:
    """One pass over an expression; `text` is its translation."""

    def __init__(self, expression: str) -> None:
        captures = [found for found in _CAPTURES.finditer(expression) if found.group().startswith("(")]
        self._source, self._at = expression, 0
        self._names = [found.group(1) for found in captures]
        self._open: list[tuple[bool, int]] = []  # (whether it may be repeated, its number or 0), innermost last
        self._groups = 0
        self._closed: set[int] = set()
        self._repeatable = False  # what was read last
        if len(named := [name for name in self._names if name]) != len(set(named)):
            self._refuse("two groups have one name: give each its own")
        pieces = []
        while self._at < len(expression):
            pieces.append(self._next())
        if self._open:
            self._refuse(r"a bracket is not closed: add ), or write \( for the character")
        self.text = "".join(pieces)

    def _next(self) -> str:
        char = self._source[self._at]
        if quantifier := _QUANTIFIER.match(self._source, self._at):
            return self._quantified(quantifier)
        if char == "(":
            return self._opened()
        if char == ")":
            return self._shut()
        self._repeatable = char not in "^$|"
        if char == "[":
            return self._class()
        self._at += 1
        if char == "\\":
            return self._escape()
        plain = {"^": r"\A", "$": r"\Z", "|": "|", ".": f"[^{LINE_ENDS}]"}
        return plain.get(char) or _literal(ord(char))

    def _quantified(self, found: re.Match[str]) -> str:
        if not self._repeatable:
            self._refuse(rf"{found.group()!r} repeats nothing: write \{found.group()[0]} for the character")
        low, high = found.group(1), found.group(2)
        if low and high and int(low) > int(high):
            self._refuse(f"{found.group()!r} has its smaller number last")
        self._at, self._repeatable = found.end(), False
        return found.group()

    def _opened(self) -> str:
        found = _GROUP.match(self._source, self._at)
        if found is None:
            named = self._source.startswith("(?P<", self._at)
            self._refuse("write a named group as (?<name>...)" if named else "'(?' begins no group: leave flags out")
        begin = found.group()
        self._at, self._repeatable = found.end(), False
        captures = begin == "(" or begin.endswith(">")
        self._groups += captures
        self._open.append((captures or begin == "(?:", self._groups if captures else 0))
        return "(" if captures else begin

    def _shut(self) -> str:
        if not self._open:
            self._refuse(r"a bracket was not opened: write \) for the character")
        self._repeatable, number = self._open.pop()
        self._closed.add(number)
        self._at += 1
        return ")"

    def _escape(self) -> str:
        """What stands behind a backslash outside of brackets."""
        char = self._source[self._at : self._at + 1]
        if char in ("b", "B"):
            self._at, self._repeatable = self._at + 1, False
            return f"(?:{(_EDGE if char == 'b' else _INSIDE).format(WORD)})"
        if char == "k" or char in tuple("123456789"):
            return self._reference()
        found = self._set()
        return _literal(self._character()) if found is None else f"[{found}]"

    def _reference(self) -> str:
        found = re.compile(r"k<([^>]*)>|([0-9]+)").match(self._source, self._at)
        if found is None:
            self._refuse(r"write a reference to a group as \k<name>")
        name = found.group(1)
        if name not in self._names if name is not None else int(found.group(2)) > len(self._names):
            self._refuse(f"there is no group {name or found.group(2)!r}: name or count the groups anew")
        number = self._names.index(name) + 1 if name is not None else int(found.group(2))
        self._at = found.end()
        return rf"(?:(?({number})\{number}))" if number in self._closed else "(?:)"  # else it has taken nothing yet

    def _class(self) -> str:
        """A class in brackets."""
        self._at += 1
        negated = self._source.startswith("^", self._at)
        self._at += negated
        parts: list[str] = []
        while not self._source.startswith("]", self._at):
            parts.append(self._item())
        self._at += 1
        if not parts:
            return f"[{EVERY}]" if negated else "(?!)"
        body = "".join(parts)
        if negated and r"\P{" in body:  # `regex` takes [^\p{L}\P{L}] for every character
            return f"[{EVERY}--[{body}]]"
        return f"[{'^' if negated else ''}{body}]"

    def _item(self) -> str:
        """A character, a set or a range of a class."""
        first = self._member()
        if isinstance(first, str) or not re.compile(r"-[^\]]", re.DOTALL).match(self._source, self._at):
            return first if isinstance(first, str) else _literal(first)
        self._at += 1
        last = self._member()
        if isinstance(last, str):
            return f"{_literal(first)}{_literal(ord('-'))}{last}"
        if last < first:
            self._refuse("a range has its smaller end last")
        return f"{_literal(first)}-{_literal(last)}"

    def _member(self) -> int | str:
        """The next character of a class, or set."""
        char = self._source[self._at : self._at + 1]
        if not char:
            self._refuse(r"a class is not closed: add ], or write \[ for the character")
        self._at += 1
        if char != "\\":
            return ord(char)
        if self._source.startswith("b", self._at):
            self._at += 1
            return 8
        found = self._set()
        return self._character() if found is None else found

    def _set(self) -> str | None:
        r"""The set behind a backslash (`\d`, `\p{L}`), if there is one."""
        char = self._source[self._at : self._at + 1]
        if char in SHORTHANDS:
            self._at += 1
            return SHORTHANDS[char]
        if char not in ("p", "P"):
            return None
        found = re.compile(r"\{([^{}]*)\}").match(self._source, self._at + 1)
        if found is None:
            self._refuse(rf"write a property in braces, as in \{char}{{L}}")
        try:
            body = property_set(found.group(1), char == "P")
        except ValueError as error:
            self._refuse(str(error))
        self._at = found.end()
        return body

    def _character(self) -> int:
        """The code point of the single character behind a backslash."""
        char = self._source[self._at : self._at + 1]
        if found := _CODE_POINT.match(self._source, self._at):
            self._at = found.end()
            braced, four, two, control, _ = found.groups()
            if control:
                return ord(control) % 32
            code = int(braced or four or two or "0", 16)
            if code > 0x10FFFF:
                self._refuse(f"{found.group()!r} is beyond Unicode's last character, 10FFFF")
            low = _LOW_SURROGATE.match(self._source, self._at) if four and 0xD800 <= code < 0xDC00 else None
            if low:
                self._at = low.end()
                code = 0x10000 + (code - 0xD800) * 0x400 + int(low.group(1), 16) - 0xDC00
            return code
        if not char or (char.isascii() and char.isalnum() and char not in _CONTROL):
            remedy = _REMEDIES.get(char, "take the backslash away, or write two for the character")
            self._refuse(f"{chr(92) + char!r} means nothing: {remedy}")
        self._at += 1
        return _CONTROL.get(char, ord(char))

    def _refuse(self, why: str) -> NoReturn:
        raise ValueError(f"expression {self._source!r}, at character {self._at + 1}: {why}")


def _literal(code: int) -> str:
    """A character that stands for itself, inside brackets and outside."""
    char = chr(code)
    return char if char.isascii() and char.isalnum() else rf"\U{code:08x}"
