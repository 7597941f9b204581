r"""Units behind a number: "5 cm", "72 kilometers per hour", "3 red apples", "$18.90", "20\%", "90^\circ".

Known units (lengths, masses, times, volumes, money, ...) are converted; of other words at least one must agree. The
factors are those of the SI brochure and of the international yard and pound (1959).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from journeyman.verifiers.mathematics.reading.plain import TEXT

Dimensions = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Unit:
    """What stands behind a number: a known unit, or just nouns."""

    factor: Fraction = Fraction(1)
    """To the base unit of its dimensions: metre, gram, second, litre, dollar, ..."""
    dimensions: Dimensions = ()
    nouns: frozenset[str] = frozenset()

    def fits(self, other: Unit) -> bool:
        """Whether both measure the same thing."""
        if self.nouns or other.nouns:
            return bool(self.nouns & other.nouns)
        return self.dimensions == other.dimensions


def _table() -> dict[str, tuple[Fraction, str, int]]:
    rows = """
    length 1: m meter metre | 1/100: cm centimeter centimetre | 1/1000: mm millimeter millimetre
    length 1000: km kilometer kilometre
    length 127/5000: in inch inches | 381/1250: ft foot feet | 1143/1250: yd yard | 201168/125: mi mile
    mass 1: g gram gm | 1000: kg kilogram kilo | 1/1000: mg milligram | 45359237/100000: lb lbs pound
    mass 45359237/1600000: oz ounce
    mass 1000000: tonne
    time 1: s sec second | 60: min minute | 3600: h hr hour | 86400: day | 604800: week
    months 1: month | 12: year yr
    volume 1: L l liter litre | 1/1000: mL ml milliliter millilitre
    gallons 1: gallon gal | 1/4: quart | 1/8: pint | 1/16: cup
    dollars 1: dollar USD | 1/100: cent
    euros 1: euro EUR
    pounds 1: GBP
    radians 1: rad radian
    celsius 1: °C Celsius
    fahrenheit 1: °F Fahrenheit
    newton 1: N newton
    joule 1: J joule | 1000: kJ
    watt 1: W watt | 1000: kW
    hertz 1: Hz hertz | 1000: kHz | 1000000: MHz
    pascal 1: Pa pascal | 1000: kPa
    mole 1: mol mole
    volt 1: volt
    ampere 1: amp ampere
    kelvin 1: kelvin
    electronvolt 1: eV | 1000: keV | 1000000: MeV
    units 1: unit
    """
    found = {}
    for line in rows.strip().splitlines():
        dimension, _, rest = line.strip().partition(" ")
        for group in rest.split("|"):
            factor, _, names = group.partition(":")
            for name in names.split():
                found[name] = (Fraction(factor.strip()), dimension, 1)
    found |= {
        "mph": (Fraction(1397, 3125), "speed", 1),
        "kmh": (Fraction(5, 18), "speed", 1),
        "kph": (Fraction(5, 18), "speed", 1),
    }
    return found


_UNITS = _table()
SCALES = {"dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
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
_POWER = re.compile(r"^\s?(?:\^?\s?\{?\s?(-?[1-4])\s?\}?|\*\*(-?[1-4]))(?![0-9])")
_RATE = re.compile(r"(?:(?:per|an?|each|every|for|in|on|of|profit|total|altogether)\b|/)[A-Za-z .'/-]*")
"""What may stand behind a sum of money."""
_PRICE = re.compile(r"(dollars?|cents?|euros?|USD|EUR|GBP)\s*(?:(?:per|an?|each|every|for)\b|/)")
_COUNTED = re.compile(r"(.*[0-9%])\s*\(\s*([A-Za-z][A-Za-z .,'/-]*)\)", re.DOTALL)
"""9 (apples)"""


def split(marked: str) -> tuple[str, int, Unit | None]:
    """The number before its unit, what words such as "million" multiply it by, and the unit; none is all the text.

    What was set as text (`TEXT`) may be a unit behind anything, other words only behind a number or pi.
    """
    plain = marked.replace(TEXT, "")
    if counted := _COUNTED.fullmatch(plain):
        return counted[1], 1, parse_unit(counted[2], spaced=True) or Unit(nouns=_stems(_words(counted[2])))
    currency = re.match(r"^(-?)\s?(?:\$|€|£|\\euro)\s?(?=[-0-9.\\])", plain)
    unit = None
    if currency:
        sign = {"$": "USD", "€": "EUR", "£": "GBP"}.get(currency[0].strip(" -\\"), "EUR")
        unit, plain = parse_unit(sign, spaced=True), currency[1] + plain[currency.end() :]
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
        return (head, scale, unit) if noun else (plain, 1, unit)
    return (head, scale, found) if found else (plain, 1, unit)


def _words_behind(plain: str) -> tuple[str, int, str, bool]:
    """The number, what it is multiplied by, the words behind it, and whether they stand apart; no words is all."""
    cut = _tail(plain)
    head, tail = plain[:cut].rstrip(" ~-"), plain[cut:].strip()
    if not head.endswith((*"0123456789)}%½°", "\\pi")):
        return plain, 1, "", False
    scale = 1
    word = re.match(r"(dozen|hundred|thousand|million|billion|trillion)s?\b", tail)
    if word:
        scale, tail = SCALES[word[1]], tail[word.end() :].strip()
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
    if money := _PRICE.match(text):
        text = money[1]
    if not spaced or len(text) > 60:
        return None
    return _known(text) or _nouns(text)


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
    if not re.fullmatch(r"[A-Za-z'./ -]+", text) or len(words) > 6 or any(len(w) < 2 and w != "a" for w in words):
        return None
    for word, behind in zip(words, [*words[1:], ""], strict=True):
        begins = word in _BEFORE_NOUNS and behind and behind not in _EMPTY
        counted = word == "times" and words[0] == "times" and (not behind or behind in _EMPTY)
        if (word in _NO_NOUNS and not begins and not counted) or word in SCALES:
            return None
    return Unit(nouns=_stems(words))


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+(?:-[a-z]+)*", text.lower())


def _stems(words: list[str]) -> frozenset[str]:
    return frozenset(word.removesuffix("s") for word in words if word not in _EMPTY)
