"""What a text is made of, counted: words, sentences, lines, paragraphs, bullets, highlights, ...

A word is a run of letters and digits, with hyphens, apostrophes and underscores inside it; words are compared without
regard to case. So in `{"cat": "a red sun"}` there are four words, and the first is `cat`. What Markdown puts around a
thing (`**`, `_`, `>`, `#`) changes no count. Every count takes time linear in the text. Sentences are counted in
agent/constraints/sentences.py.
"""

from __future__ import annotations

import re

_WORD = re.compile(r"[^\W_]+(?:(?:_+|[-'’])[^\W_]+)*")
_BLANK_LINES = re.compile(r"\n\s*\n")
_BULLET = re.compile(r"^[ \t>]*[-*+•][ \t][^\n]*?[^\W_]", re.MULTILINE)
_HIGHLIGHT = re.compile(r"(?<![*\\0-9A-Za-z])(\*{1,3})(?![*\s])[^*\n]*[^*\s\\]\1(?![*0-9A-Za-z])")
_PLACEHOLDER = re.compile(r"\[([^\[\]\n]+)\]")
_TITLE = re.compile(r"<<((?:(?!<<|>>)[^\n])+)>>")


def is_word(text: str) -> bool:
    """Whether the whole text is one word."""
    return _WORD.fullmatch(text) is not None


def has_word(text: str) -> bool:
    """Whether there is a word in the text."""
    return _WORD.search(text) is not None


def words_of(text: str) -> list[str]:
    """The text's words in order, case folded, e.g. ["cat's", "3"] of "Cat's: 3!"."""
    return [folded(word) for word in _WORD.findall(text)]


def folded(text: str) -> str:
    """What words and phrases are compared by: case folded, every apostrophe as '."""
    return text.casefold().replace("’", "'")


def uses_of(text: str, phrase: str) -> int:
    """How often a folded word or phrase stands in the text whole, with any blanks or line breaks between its words.

    So `cat` does not stand in `cats`, `cat's` or `wild-cat`, and `mona lisa` not in `Mona. Lisa`.
    """
    parts = r"[*_`]*\s++[*_`]*".join(map(re.escape, phrase.split()))
    before = r"(?<![^\W_])(?<![^\W_][-'_])" if is_word(phrase[0]) else ""
    behind = r"(?!_*[^\W_])(?![-'][^\W_])" if is_word(phrase[-1]) else ""
    return sum(1 for _ in re.finditer(before + parts + behind, folded(text)))


def last_word_at(text: str) -> int:
    """Where the last word begins; -1 where there is none."""
    return max((found.start() for found in _WORD.finditer(text)), default=-1)


def capitals_of(text: str) -> int:
    """How many words are in capitals from their first letter to their last, e.g. 2 in "AI is an OK thing": not "A1"."""
    return sum(1 for word in _WORD.findall(text) if word.isupper())


def lines_of(text: str) -> int:
    """How many lines are not blank."""
    return sum(1 for line in text.splitlines() if line.strip())


def paragraphs_of(text: str, divider: str = "") -> list[str]:
    """The paragraphs with a word in them, which blank lines divide, or lines that hold the `divider` alone."""
    line = re.compile(rf"^[ \t]*{re.escape(divider)}[ \t]*$", re.MULTILINE) if divider else _BLANK_LINES
    return [part.strip() for part in line.split("\n".join(text.splitlines())) if has_word(part)]


def bullets_of(text: str) -> int:
    """How many lines begin with a bullet (`-`, `*`, `+` or `•`), a blank and then a word: not a line in `**bold**`."""
    return len(_BULLET.findall(text))


def highlights_of(text: str) -> int:
    """How many stretches of a line stand between asterisks as Markdown has it: `*so*`, `**so**`."""
    return len(_HIGHLIGHT.findall(text))


def placeholders_of(text: str) -> int:
    """How many words or phrases stand in square brackets, e.g. `[address]`."""
    return sum(map(has_word, _PLACEHOLDER.findall(text)))


def has_title(text: str) -> bool:
    """Whether a line holds a title in double angular brackets, e.g. `<<A red sun>>`."""
    return any(map(has_word, _TITLE.findall(text)))
