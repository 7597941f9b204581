"""Where sentences end, told by rules: a compact stand-in for a trained splitter, which takes time linear in the text.

A mark (. ! ? …, or a full stop of another script) ends a sentence where a blank or the end of the text comes next, its
closing quotation marks, brackets and asterisks aside. It does not where what is before or behind it says otherwise:
`Dr. Brown`, `5 p.m. on`, `U.S. Army`, `J. K. Rowling`, `No. 5`, a list's number, `well... yes`, `"Late?" he asked`.
After a plain word it does even before a small letter: many write so, and so does the environment `instructions`. Line
ends alone end nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import starmap
from typing import NamedTuple


def _set_of(words: str) -> frozenset[str]:
    return frozenset(words.split())


_MARKS, _FULL_STOPS = ".!?…‽", "。！？｡．।॥؟۔"
_OPENERS, _CLOSERS = "\"'“‘„«‹([{*_~`#>-–—•「『（¿¡", "\"'”’“»›)]}*_~`」』）"
_CHUNK = re.compile(r"(\s*)((?:(?![^\W_])\S)*+([^\W_]*+(?:['’][^\W_]++)*+)\S*)")
_FULL_STOP = re.compile(rf"[{_FULL_STOPS}]+[{re.escape(_CLOSERS)}]*")
_CITED = re.compile(r"(?<=[.!?…])(?:\[\d{1,3}\])+(?=\s|$)")
_SPACED_POSTSCRIPT = re.compile(r"\bP\. (?=(?:P\. ?)?S\b)", re.IGNORECASE)
_JSON_STRING_END = re.compile(r'(?<=[.!?…])"(?=[\s\]}]*,\s*["{\[])')
_DOTTED = re.compile(r"\d*(?:[^\W\d_]{1,3}\.)+[^\W\d_]{1,3}")
_ROMAN, _SMALL_LABEL = re.compile(r"[IVX]{1,5}"), re.compile(r"[a-z]|[ivx]{2,4}")
_SPOKEN = re.compile(
    r"(?:\w+ ){0,3}?(?:said|says|asked|asks|replied|replies|answered|cried|called|shouted|yelled|whispered|exclaimed"
    r"|added|wondered|thought|muttered|murmured|screamed|sighed|laughed|begged|demanded|continued|inquired|repeated)\b",
    re.IGNORECASE,
)
_SPOKEN_ELSEWHERE = re.compile(r"(?:と|って)|[^，。！？]{0,8}?[说說问問道喊答叫]")
_RANKS = _set_of(
    """Rev Hon Gen Col Capt Cpt Lt Sgt Maj Cmdr Adm Sen Rep Gov Pres Supt Insp Messrs Mme Mlle Sr Sra Srta Fr Mt Ft
    St"""
)
_NEVER_LAST = _set_of("mr mrs ms mx dr prof v e.g i.e cf vs viz approx ca resp incl bzw evtl")
_BEFORE_NUMBERS = _set_of(
    """no nos nr p pp fig figs eq eqs vol vols ch sec art ref refs para ex jan feb mar apr jun jul aug sep sept oct
    nov dec"""
)
_MAYBE_LAST = _set_of(
    """inc ltd co corp jr bros ave rd blvd dept est govt al assn univ st sr mt ft usw lb lbs oz hr hrs mins secs yr yrs
    tbsp tsp"""
)
_DATES = _set_of("Jan Feb Apr Aug Sep Sept Oct Nov Dec Mon Tue Tues Wed Thu Thur Thurs Fri")
_LABELS = _set_of(
    """step part chapter section rule tip day week question figure table example reason point phase stage item level
    lesson task note act scene round option number"""
)
_AFTER_HOURS = _set_of(
    """monday tuesday wednesday thursday friday saturday sunday january february march april may june july august
    september october november december est edt et cst cdt ct mst mdt mt pst pdt pt gmt utc bst cet cest ist jst"""
)
_STARTERS = _set_of(
    """a an the this that these those he she it we they you i there then when where while what who why how but and so
    or yet in on at for from with after before if although though because however meanwhile finally later next his
    her its our their my your no not yes one some many most each every all both as by to is are was were do did
    does can could will would should let please also perhaps maybe now here once since until nobody everyone
    someone nothing everything something"""
)


class _Chunk(NamedTuple):
    """A stretch of text without blanks."""

    gap: str
    """The blanks before it."""
    text: str
    first_word: str
    """The first word in it, or ""."""


def sentences_of(text: str) -> int:
    """How many sentences with a word in them the text has; one without a mark at its end counts too."""
    text = _JSON_STRING_END.sub('"。', _CITED.sub("", _SPACED_POSTSCRIPT.sub("P.", text)))
    chunks = list(starmap(_Chunk, _CHUNK.findall(_FULL_STOP.sub(r"\g<0> ", text).strip())))
    count, words, start, listed = 0, False, 0, 0
    for at, chunk in enumerate(chunks):
        words = words or chunk.first_word != ""
        bare = chunk.text.rstrip(_CLOSERS)
        if not bare or bare[-1] not in _MARKS + _FULL_STOPS:
            continue
        number = _list_number(chunks, at, start, listed) if bare[-2:-1].isdecimal() else None
        if number is not None:
            listed = number
        elif _ends(chunks, at, bare, start):
            count, words, start = count + words, False, at + 1
    return count + words


def _list_number(chunks: Sequence[_Chunk], at: int, start: int, listed: int) -> int | None:
    """The number where the chunk is one of a list (`2.`, `Step 2.`): first in its line or sentence, or in a row."""
    core = chunks[at].text.strip(_OPENERS + _CLOSERS)
    if not (core.endswith(".") and core[:-1].isdecimal() and len(core) <= 4):
        return None
    number = int(core[:-1])
    before = chunks[at - 1].text if at else ""
    said = [chunk.first_word for chunk in chunks[start:at] if chunk.first_word] if at - start < 4 else [core, core]
    first = not said or (len(said) == 1 and said[0][0].isupper() and said[0].casefold() in _LABELS)
    in_row = number == listed + 1 and (listed > 0 or before.endswith((":", ";")))
    return number if first or in_row or "\n" in chunks[at].gap else None


def _ends(chunks: Sequence[_Chunk], at: int, bare: str, start: int) -> bool:
    """Whether the marks at the end of a chunk end a sentence; `bare` is the chunk without closing marks behind them."""
    following = chunks[at + 1 : at + 5]
    after = following[0] if following and following[0].first_word else None
    after = after or next((chunk for chunk in following if chunk.first_word), None)
    if after is None:
        return True
    stem, behind = bare.rstrip(_MARKS), following[0].text
    closed = len(bare) < len(chunks[at].text) or behind[0] in "»›”—–"  # French puts a blank before it
    marks, word = bare[len(stem) :], after.first_word
    if bare[-1] in _FULL_STOPS:
        return not (closed and _SPOKEN_ELSEWHERE.match(after.text))
    if closed and (word[0].islower() or _SPOKEN.match(" ".join(chunk.text for chunk in following))):
        return False
    if set(marks) <= {".", "…"} and marks != ".":
        return word[0].isupper() and re.split("['’]", word)[0] != "I"
    core = stem if stem[:1].isalpha() else stem.lstrip(_OPENERS)
    if marks != "." or not core:
        return bool(core) or bare[-1] in "!?‽"
    at_start = at == start or "\n" in chunks[at].gap
    return _after_word(core, following, after, at_start=at_start)


def _after_word(core: str, following: Sequence[_Chunk], after: _Chunk, *, at_start: bool) -> bool:
    """Whether a single full stop behind the word `core` ends a sentence; `after` is the next with a word in it."""
    word, small = after.first_word, core.casefold()
    starts = _starts(word)
    new_line = "\n" in after.gap and not word[0].islower()
    before_small = core in _DATES and word[0].islower()
    if small in _NEVER_LAST or before_small or (small in _BEFORE_NUMBERS and word[0].isdecimal()):
        return False
    if core[0].isupper() and core.capitalize() in _RANKS and word[0].isupper() and not starts:
        return new_line
    if small == "etc" or small.endswith(("a.m", "p.m")):
        return starts or new_line or (word[0].isupper() and word[1:].islower() and word.casefold() not in _AFTER_HOURS)
    if small in _MAYBE_LAST or _DOTTED.fullmatch(core):
        return not at_start and (starts or new_line)
    if len(core) == 1 and core.isupper() and (core != "I" or at_start):
        name = next((chunk.first_word for chunk in following if len(chunk.first_word) > 1), "")
        return not (_is_name(name) or word[0].islower()) or (starts and not at_start)
    labelled = _ROMAN.fullmatch(core) or (_SMALL_LABEL.fullmatch(core) and word[0].isupper())
    return not (at_start and labelled)


def _starts(word: str) -> bool:
    """Whether it is a capitalised word that many sentences begin with; all in capitals shows nothing."""
    shows = word[0].isupper() and (len(word) == 1 or not word.isupper())
    return shows and re.split("['’]", word)[0].casefold() in _STARTERS


def _is_name(text: str) -> bool:
    """Whether it is written as a name is: `Rowling`, `O'Neill`."""
    return text[0:1].isupper() and (text[1:2].islower() or text[1:2] in "'’")
