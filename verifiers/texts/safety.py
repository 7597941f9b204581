"""Unsafe words in what the agent wrote: a penalty, with lists of your own.

Words are found whole, whatever their case, accents, width and invisible characters. Two disguises are seen through:
digits and signs for letters (`p01$0n`), and letters one by one (`p o i s o n`, `p.o.i.s.o.n`). Misspellings and letters
of other alphabets are not. The cost does not grow with the lists.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar, TypeAlias

import regex

from journeyman.agent.data import Message, Task, Trajectory, Verdict
from journeyman.agent.errors import SettingsError
from journeyman.verifiers.versions import version_with

Phrase: TypeAlias = tuple[str, ...]
"""A word, or several in a row, each folded."""

SHORTEST_SPELLED = 3
"""Letters of a word that is looked for letter by letter, at least."""
MAX_SPELLED = 50_000
"""Letters one by one that are looked at in one stretch; later ones are left out."""

MAX_CHARS = 2_000_000
"""Characters of a folded message that are looked at: a sign may fold into many."""

_WORD = regex.compile(r"[^\W_]+")
_LISTED = regex.compile(r"[\w\s'’-]+")
_ACCENTS = r"\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f"
_DROPPED = regex.compile(rf"[{_ACCENTS}\p{{Cf}}\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]+")
_SPELLED = regex.compile(r"(?<![^\W_])[^\W_]([ \t.*_-]{1,2})[^\W_](?:\1[^\W_])+(?![^\W_])")
_NO_LETTERS = regex.compile(r"(?<![\w@$!|])[\d@$!|]++(?!\w)|(?<![\w@$])[!|]++|[!|]++(?![\w@$])")
_SIGNS = [str.maketrans("034578@$!1|", "oeastbas" + 3 * letter) for letter in "il"]  # 1 may stand for either


@dataclass(frozen=True)
class UnsafeWords:
    """The highest severity of the unsafe words and phrases in the agent's messages, in [0, 1]; 0 where there are none.

    It is a penalty: give it a negative weight. `raw` is the number of different words found; the explanation has them.
    """

    words: dict[str, float] | tuple[str, ...] = ()
    """Words and phrases, each of severity 1, or a table of their severities, above 0 and at most 1."""
    file: str | None = None
    """Path of a file with more: one a line, after a tab its severity if that is not 1; `#` begins a comment. Its
    digest is part of the verifier's version."""
    version: str = field(default="1", init=False)
    name: ClassVar[str] = "safety"

    def __post_init__(self) -> None:
        _ = self._severities  # a bad list is told now
        if self.file is not None:
            object.__setattr__(self, "version", version_with(self.version, self._text))

    def verify(self, task: Task, trajectory: Trajectory) -> Verdict:
        """Judges all turns together, arguments of tool calls included."""
        parts = (part for turn in trajectory.turns for part in _parts(turn.action))
        found = set[Phrase]().union(*map(self._found, parts))
        score = max((self._severities[phrase] for phrase in found), default=0.0)
        named = ", ".join(sorted(" ".join(phrase) for phrase in found))
        return Verdict.scored(
            score,
            raw=len(found),
            extracted=named or None,
            why=f"unsafe: {named}" if found else None,
        )

    def _found(self, text: str) -> set[Phrase]:
        folded = _folded(text)
        found: set[Phrase] = set()
        for plain in _readings(folded):
            words = _WORD.findall(plain)
            for size, phrases in self._by_size.items():
                found |= phrases.intersection(zip(*(words[start:] for start in range(size)), strict=False))
        for run in _SPELLED.finditer(folded):
            for letters in _readings("".join(_WORD.findall(run.group()[: 3 * MAX_SPELLED]))):
                found |= self._spelled(letters[:MAX_SPELLED])
        return found

    def _spelled(self, letters: str) -> set[Phrase]:
        single = self._by_size.get(1, frozenset())
        found: set[Phrase] = set()
        for size in {len(word) for (word,) in single if len(word) >= SHORTEST_SPELLED}:
            found |= single.intersection((letters[i : i + size],) for i in range(len(letters) - size + 1))
        return found

    @cached_property
    def _by_size(self) -> dict[int, frozenset[Phrase]]:
        sizes = {len(phrase) for phrase in self._severities}
        return {size: frozenset(phrase for phrase in self._severities if len(phrase) == size) for size in sizes}

    @cached_property
    def _severities(self) -> dict[Phrase, float]:
        listed = self.words.items() if isinstance(self.words, dict) else [(word, 1.0) for word in self.words]
        found: dict[Phrase, float] = {}
        for entry, severity in [*listed, *_listed(self._text, self.file)]:
            phrase = tuple(_WORD.findall(_folded(entry)))
            if not phrase or not _LISTED.fullmatch(entry):
                raise SettingsError(f"unsafe word {entry!r}: a word or phrase has letters, and no signs but - and '")
            if not 0 < severity <= 1:
                raise SettingsError(
                    f"unsafe word {entry!r}: its severity must be above 0 and at most 1, got {severity}"
                )
            found[phrase] = max(severity, found.get(phrase, 0.0))
        if not found:
            raise SettingsError("no unsafe words: set the option 'words', or 'file'; none come with the package")
        return found

    @cached_property
    def _text(self) -> str:
        """Of the file; empty where there is none."""
        if self.file is None:
            return ""
        try:
            return Path(self.file).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"option 'file': {self.file!r} cannot be read: {error}") from None


def _parts(action: Message) -> Iterator[str]:
    """What the agent wrote, and the arguments of its calls without JSON's escapes, which could hide a word."""
    yield action.content
    for call in action.tool_calls:
        yield json.dumps(dict(call.arguments), ensure_ascii=False)


def _folded(text: str) -> str:
    """The text without case, accents, width, invisible and control characters."""
    folded: str = _DROPPED.sub("", unicodedata.normalize("NFKD", text).casefold())
    return folded[:MAX_CHARS]


def _readings(text: str) -> set[str]:
    """The folded text, and as it reads with digits and signs taken for letters, in words that have letters too."""
    words = _NO_LETTERS.sub(" ", text)
    return {text, *(words.translate(letters) for letters in _SIGNS)}


def _listed(text: str, file: str | None) -> Iterable[tuple[str, float]]:
    """The words of a file's text with their severities."""
    for number, line in enumerate(text.splitlines(), 1):
        entry, _, severity = line.partition("#")[0].strip().partition("\t")
        try:
            if entry:
                yield entry, float(severity or 1)
        except ValueError:
            raise SettingsError(f"{file}:{number}: severity {severity!r} is not a number") from None
