"""What a kind of constraint takes: one parser for each argument, which gives its canonical value.

A parser raises ValueError with what the argument must be, e.g. "a whole number of at least 1".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from journeyman.agent.constraints.languages import LANGUAGES
from journeyman.agent.constraints.text_units import folded, has_word, is_word
from journeyman.agent.data import Json
from journeyman.agent.errors import suggestion

Arguments: TypeAlias = Mapping[str, Json]
Argument: TypeAlias = Callable[[Json], Json]


def count(value: Json) -> int:
    """A whole number of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError("a whole number of at least 1")
    return value


def several(value: Json) -> int:
    """A whole number of at least 2."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 2:
        raise ValueError("a whole number of at least 2")
    return value


def word(value: Json) -> str:
    """One word, case folded."""
    if not isinstance(value, str) or not is_word(value):
        raise ValueError("one word")
    return folded(value)


def words(value: Json) -> str:
    """A word or several (`Mona Lisa`), case folded, blanks made alike."""
    if not isinstance(value, str) or not has_word(value):
        raise ValueError("a word, or several words")
    return " ".join(folded(value).split())


def letter(value: Json) -> str:
    """One letter (or another character that is no blank), case folded."""
    if not isinstance(value, str) or len(value) != 1 or len(value.casefold()) != 1 or value.isspace():
        raise ValueError("one letter")
    return value.casefold()


def case(value: Json) -> str:
    """`upper` or `lower`."""
    if value not in ("upper", "lower"):
        raise ValueError("'upper' or 'lower'")
    return str(value)


def text(value: Json) -> str:
    """Any text that is not empty, as it is."""
    if not isinstance(value, str) or not value:
        raise ValueError("text of at least one character")
    return value


def phrase(value: Json) -> str:
    """Text with a word in it, blanks made alike."""
    if not isinstance(value, str) or not has_word(value):
        raise ValueError("text with a word in it")
    return " ".join(value.split())


def line(value: Json) -> str:
    """Text that fits on a line, without blanks at its ends."""
    if not isinstance(value, str) or not value.strip() or len(value.splitlines()) != 1:
        raise ValueError("one line of text")
    return value.strip()


def options(value: Json) -> list[str]:
    """Two or more different phrases, sorted: their order asks for nothing else."""
    if not isinstance(value, list) or len(value) < 2:
        raise ValueError("a list of at least two texts")
    found = [phrase(option) for option in value]
    if len({option.casefold() for option in found}) != len(found):
        raise ValueError("a list of texts that differ")
    return sorted(found)


def language(value: Json) -> str:
    """The code of a language, from its code or its English name."""
    codes = {name.casefold(): code for code, name in LANGUAGES.items()} | {code: code for code in LANGUAGES}
    if not isinstance(value, str) or value.casefold() not in codes:
        raise ValueError(f"a language by its English name or code ({suggestion(str(value), LANGUAGES.values())})")
    return codes[value.casefold()]
