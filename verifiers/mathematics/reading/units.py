r"""Units behind a number: "5 cm", "72 kilometers per hour", "3 red apples", "$18.90 a day", "2 hours 30 minutes".

Known units (lengths, masses, times, volumes, money, ...) are converted; what was counted otherwise has to be the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction

from journeyman.verifiers.mathematics.reading.plain import TEXT
from journeyman.verifiers.mathematics.reading.tokens import WORDS
from journeyman.verifiers.mathematics.reading.unit_table import known_units

Dimensions = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Unit:
    """What stands behind a number: a known unit, or just nouns."""

    factor: Fraction = Fraction(1)
    """To the base unit of its dimensions: metre, gram, second, litre, dollar, ..."""
    dimensions: Dimensions = ()
    nouns: frozenset[str] = frozenset()
    head: str = ""
    """The noun that the others describe: "apple" in "red apples from Spain"."""
    per: Unit | None = None
    """What a price, or a count, is for each of."""

    def fits(self, other: Unit) -> bool:
        """Whether both measure the same thing; "per hour" may be missing on one side."""
        if self.per and other.per and not self.per.fits(other.per):
            return False
        if not (self.nouns and other.nouns):
            return self.dimensions == other.dimensions and self.nouns == other.nouns
        described = self.head in other.nouns and other.head in self.nouns
        return described or self.nouns <= other.nouns or other.nouns <= self.nouns

    def size(self, other: Unit) -> Fraction:
        """To the base unit, for each base unit of what both are for."""
        return self.factor / self.per.factor if self.per and other.per else self.factor


_UNITS = known_units()
SCALES = {
    "ten": 10, "dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
    "bn": 10**9, "tn": 10**12, "mln": 10**6, "lakh": 10**5, "crore": 10**7,
}  # fmt: skip
_NO_NOUNS = frozenset(
    {
        "or", "and", "not", "no", "plus", "minus", "negative", "times", "over", "half", "halves", "third",
        "thirds", "quarter", "quarters", "fourth", "fourths", "fifth", "fifths", "sixth", "sixths", "seventh",
        "sevenths", "eighth", "eighths", "ninth", "ninths", "tenth", "tenths", "twelfths", "hundredth", "hundredths",
        "thousandth", "thousandths", "squared", "cubed", "factorial", "than", "if", "less", "root", "to",
        "divided", "by", "power", "more", "mod", "choose", "point", "wrong", "incorrect", "false", "unlikely",
        "maybe", "perhaps", "possibly", "probably", "impossible", "guess", "never", "nor", "either", "neither",
        "least", "most", "about", "approximately", "roughly", "almost", "but", "except", "minimum", "maximum",
    }
)  # fmt: skip
"""Words that change a number, deny it or doubt it."""
_BEFORE_NOUNS = frozenset(
    {"third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "power", "point", "root"}
)
"""Of these, those that may begin a noun: 41 fourth graders, 15 power drills."""
_EMPTY = frozenset(
    {
        "in", "total", "of", "the", "a", "an", "altogether", "all", "each", "per", "is", "are", "was", "left",
        "now", "then", "there", "have", "has", "on", "at", "for", "remaining",
    }
)  # fmt: skip
"""Words that say nothing of what was counted."""
_WORD = re.compile(r"°[CF]|[A-Za-z]+")
_PREPOSITIONS = frozenset(
    {
        "of",
        "in",
        "for",
        "to",
        "with",
        "from",
        "on",
        "at",
        "by",
        "who",
        "that",
        "which",
        "left",
        "per",
        "and",
        "after",
        "before",
    }
)
"""Words behind which the noun counted is over."""
_DESCRIBED = frozenset({"long", "tall", "wide", "high", "deep", "old", "ago", "away", "apart", "late", "early"})
_PLURAL = re.compile(r".*[a-z]{2}s|feet|inches|cm|km|mm|ft|yd|kg|mg|lbs?|oz|min|hrs?|mins|ml|mL|gal|USD")
"""Units that words may follow: a single "second" may be an adjective, "in" a preposition."""
_EACH = re.compile(r"(.*?)\s*(?:\b(?:per|for (?:each|every)|each|every|an?)\b|/)\s*(.*)", re.DOTALL)
_MIXED = re.compile(r"\s*(?:,|and|&)?\s*([0-9]+(?:\.[0-9]+)?|[0-9]{1,3}(?:,[0-9]{3})+)\s*('{1,2}|\"|[A-Za-z]+)\.?")
_POWER = re.compile(r"^\s?(?:\^?\s?\{?\s?(-?[1-4])\s?\}?|\*\*(-?[1-4]))(?![0-9])")
_RATE = re.compile(r"(?:(?:per|an?|each|every|for|in|on|of|profit|total|altogether)\b|/)[A-Za-z .'/-]*")
"""What may stand behind a sum of money."""
_COUNTED = re.compile(r"(.*[0-9%])\s*\(\s*([A-Za-z][A-Za-z .,'/-]*)\)", re.DOTALL)
"""9 (apples)"""


def split(marked: str) -> tuple[str, int, Unit | None]:
    """The number before its unit, what words such as "million" multiply it by, and the unit; none is all the text.

    What was set as text (`TEXT`) may be a unit behind anything, other words only behind a number or pi.
    """
    plain = marked.replace(TEXT, "")
    if counted := _COUNTED.fullmatch(plain):
        return counted[1], 1, parse_unit(counted[2], spaced=True) or _counted(_words(counted[2]))
    currency = re.match(r"^(-?)\s?(?:\$|€|£|\\euro)\s?(?=[-0-9.\\])", plain)
    unit = None
    if currency:
        sign = {"$": "USD", "€": "EUR", "£": "GBP"}.get(currency[0].strip(" -\\"), "EUR")
        unit, plain = parse_unit(sign, spaced=True), currency[1] + plain[currency.end() :]
        plain = re.sub(r"(?<=[0-9])\s?/\s?(?=[A-Za-z])", " per ", plain)
    else:
        for mark in re.finditer(TEXT, marked):
            head, found = marked[: mark.start()], parse_unit(marked[mark.end() :].replace(TEXT, ""), spaced=True)
            if found and head.strip(f" {TEXT}-") and (found.dimensions or re.search(r"[0-9]|\\pi", head)):
                return head.replace(TEXT, "").rstrip(" ~-"), 1, found
    head, scale, tail, spaced = _words_behind(plain)
    if not tail:
        return head, scale, unit
    found = parse_unit(tail, spaced=spaced)
    if unit and (found is None or not unit.fits(found)):
        noun = (found and found.nouns) or (_RATE.fullmatch(tail) and not _NO_NOUNS & set(re.findall("[a-z]+", tail)))
        each = _EACH.fullmatch(tail)
        per = parse_unit(each[2], spaced=True) if each and not each[1] else None
        return (head, scale, replace(unit, per=per)) if noun else (plain, 1, unit)
    return (head, scale, found) if found else (plain, 1, unit)


_SCALED = re.compile(rf"(?:({'|'.join(word for word in SCALES if word != 'ten')})s?|(?:(ten)s))\b")


def _words_behind(plain: str) -> tuple[str, int, str, bool]:
    """The number, what it is multiplied by, the words behind it, and whether they stand apart; no words is all."""
    cut = _tail(plain)
    head, tail = plain[:cut].rstrip(" ~-"), plain[cut:].strip()
    if not head.endswith((*"0123456789)}%½°", "\\pi")):
        return plain, 1, "", False
    scale = 1
    word = _SCALED.match(tail)
    if word:
        scale, tail = SCALES[word[1] or word[2]], tail[word.end() :].strip()
    spaced = plain[cut - 1 : cut].isspace() or plain[cut : cut + 1] == " " or len(tail) > 1
    return head, scale, tail, spaced and not (head.endswith("\\pi") and len(tail) == 1)


def _tail(plain: str) -> int:
    """Where the words at the end begin: after a number that has no letters in it; the length where there are none."""
    masked = re.sub(r"\\[A-Za-z]+", lambda m: "\\" * len(m[0]), plain)
    masked = re.sub(r"(?<=[0-9])[eE](?=[-+]?[0-9])", "\\\\", masked)
    first = re.search(r"°[CF]|[A-Za-z€£$]", masked)
    if first is None or not re.search(r"[0-9]|\\pi", plain[: first.start()]):
        return len(plain)
    return first.start()


def parse_unit(tail: str, *, spaced: bool) -> Unit | None:
    """The unit that a text names, or None where it is none; a letter right behind a number is a variable."""
    text = re.sub(r"\bper cent\b|\bpercent(?:age)?\b", "%", tail.strip(" ."))
    text = {"$": "USD", "€": "EUR", "£": "GBP"}.get(text, text)
    if not spaced or len(text) > 60:
        return None
    return _for_each(text) or _known(text) or _followed(text) or _nouns(text)


def read_mixed(plain: str) -> tuple[Fraction, Unit] | None:
    """`2 hours 30 minutes`, `5'6''`: the amount in the first unit, and that; None where the text is not several."""
    total, units, at = Fraction(0), list[Unit](), 0
    while match := _MIXED.match(plain, at):
        unit = _known({"'": "ft", '"': "in", "''": "in"}.get(match[2], match[2]))
        amount = Fraction(match[1].replace(",", ""))
        if unit is None or (units and (unit.dimensions != units[0].dimensions or unit.factor >= units[-1].factor)):
            return None
        if units and amount * unit.factor >= units[-1].factor:
            return None
        units.append(unit)
        total, at = total + amount * unit.factor, match.end()
    if plain[at:].strip(" .") or not (len(units) > 1 or (units and plain.rstrip().endswith("'"))):
        return None
    return total / units[0].factor, units[0]


def _for_each(text: str) -> Unit | None:
    """Prices and counts that are for each of something; units for units ("km per hour") are units themselves."""
    each = _EACH.fullmatch(text)
    if each is None or not each[1] or not each[2]:
        return None
    what, per = _known(each[1]) or _nouns(each[1]), _known(each[2]) or _followed(each[2]) or _nouns(each[2])
    if what is None or per is None or not (what.nouns or per.nouns or "dollars" in dict(what.dimensions)):
        return None
    return replace(what, per=per)


def _followed(text: str) -> Unit | None:
    """A known unit with words behind it: "feet long", "hours of work"."""
    words = text.split()
    for count in range(len(words) - 1, 0, -1):
        unit, rest = _known(" ".join(words[:count])), words[count:]
        if unit and (_PLURAL.fullmatch(words[count - 1]) or {*rest} <= _DESCRIBED):
            described = all(re.fullmatch(r"[A-Za-z'-]{2,}|a", word) for word in rest) and not _NO_NOUNS & {*rest}
            return unit if described and not SCALES.keys() & {*rest} else None
    return None


def _known(text: str) -> Unit | None:
    text = re.sub(r"\b(?:square|sq\.?)\s+([A-Za-z]+)", r"\1^2", text)
    text = re.sub(r"\bcubic\s+([A-Za-z]+)", r"\1^3", text)
    factor, dimensions, sign, at, count = Fraction(1), dict[str, int](), 1, 0, 0
    while at < len(text):
        word = _WORD.match(text, at)
        if word is None:
            joint = re.compile(r"\s*(?:/|\\cdot|\*)?\s*").match(text, at)
            if joint is None or not joint[0] or not count:
                return None
            sign, at = (-1 if "/" in joint[0] else 1), joint.end()
            continue
        at = word.end()
        if word[0] == "per":
            sign, at = -1, at + len(text[at:]) - len(text[at:].lstrip())
            continue
        row = (
            _UNITS.get(word[0])
            or _UNITS.get(word[0].lower() if len(word[0]) > 2 else "")
            or _UNITS.get(word[0].lower().removesuffix("s") if len(word[0]) > 3 else "")
        )
        if row is None:
            return None
        power = _POWER.match(text[at:])
        exponent = sign * int(power[1] or power[2]) if power else sign
        at += power.end() if power else 0
        factor, count = factor * row[0] ** exponent, count + 1
        for name, n in (("length", 1), ("time", -1)) if row[1] == "speed" else ((row[1], 1),):
            dimensions[name] = dimensions.get(name, 0) + n * exponent
    return Unit(factor, tuple(sorted((name, n) for name, n in dimensions.items() if n))) if count else None


def _nouns(text: str) -> Unit | None:
    words = _words(text)
    if (
        WORDS & {*words}
        or not re.fullmatch(r"[A-Za-z'./ -]+", text)
        or len(words) > 6
        or any(len(w) < 2 and w != "a" for w in words)
    ):
        return None
    for word, behind in zip(words, [*words[1:], ""], strict=True):
        begins = word in _BEFORE_NOUNS and behind and behind not in _EMPTY
        counted = word == "times" and words[0] == "times" and (not behind or behind in _EMPTY)
        if (word in _NO_NOUNS and not begins and not counted) or word in SCALES:
            return None
    return _counted(words)


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+(?:-[a-z]+)*", text.lower())


def _counted(words: list[str]) -> Unit:
    """The nouns, and the last one before a preposition, without the ending of the plural."""
    stems = [word.removesuffix("s") for word in words if word not in _EMPTY | _PREPOSITIONS]
    first = next((n for n, word in enumerate(words) if n and word in _PREPOSITIONS), len(words))
    heads = [word.removesuffix("s") for word in words[:first] if word not in _EMPTY]
    return Unit(nouns=frozenset(stems), head=heads[-1] if heads else "")
