"""Known units, their dimensions, and what one of them is in the base unit.

The factors are those of the SI brochure and of the international yard and pound (1959).
"""

from __future__ import annotations

from fractions import Fraction

Row = tuple[Fraction, dict[str, int]]
"""Factor to the base units, and the dimensions with their powers."""

_ROWS = """
length 1: metre meter | 1/100: cm centimeter centimetre | 127/5000: in inch inches | 381/1250: ft foot feet
length 1143/1250: yd yard | 201168/125: mi mile
mass 1: gm gram | 1000: kilo | 45359237/100000: lb lbs pound | 45359237/1600000: oz ounce | 1000000: tonne
time 60: min mins minute | 3600: h hr hrs hour | 86400: day | 604800: week wk | 1: sec secs
months 1: month | 12: year yr yrs
volume 1: l | 473176473/125000000: gallon gal | 473176473/500000000: quart | 473176473/1000000000: pint
volume 473176473/2000000000: cup
dollars 1: dollar USD | 1/100: cent
euros 1: euro EUR
pounds 1: GBP
radians 1: rad radian
celsius 1: °C Celsius
fahrenheit 1: °F Fahrenheit
ampere 1: amp
speed 1397/3125: mph | 5/18: kmh kph
units 1: unit
"""
_PREFIXED = """
length: m meter metre
mass: g gram
time: s second
volume: L liter litre
newton: N newton
joule: J joule
watt: W watt
hertz: Hz hertz
coulomb: C coulomb
tesla: T tesla
pascal: Pa pascal
mole: mol mole
volt: V volt
ampere: A ampere
ohm: ohm
kelvin: K kelvin
electronvolt: eV electronvolt
"""
_DERIVED: dict[str, Row] = {
    "volume": (Fraction(1, 1000), {"length": 3}),
    "newton": (Fraction(1000), {"mass": 1, "length": 1, "time": -2}),
    "joule": (Fraction(1000), {"mass": 1, "length": 2, "time": -2}),
    "watt": (Fraction(1000), {"mass": 1, "length": 2, "time": -3}),
    "pascal": (Fraction(1000), {"mass": 1, "length": -1, "time": -2}),
    "hertz": (Fraction(1), {"time": -1}),
    "coulomb": (Fraction(1), {"ampere": 1, "time": 1}),
    "volt": (Fraction(1000), {"mass": 1, "length": 2, "time": -3, "ampere": -1}),
    "ohm": (Fraction(1000), {"mass": 1, "length": 2, "time": -3, "ampere": -2}),
    "tesla": (Fraction(1000), {"mass": 1, "time": -2, "ampere": -1}),
    "speed": (Fraction(1), {"length": 1, "time": -1}),
}
"""What a dimension is in the base ones, metre, gram, second and ampere, and one of it in those."""
_SIGNS = {"p": -12, "n": -9, "μ": -6, "µ": -6, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12}
_NAMES = {"pico": -12, "nano": -9, "micro": -6, "milli": -3, "kilo": 3, "mega": 6, "giga": 9, "tera": 12}
_TAKEN = frozenset({"pm", "min", "mol", "um"})
"""What a prefix and a unit would make of words that are something else."""


def known_units() -> dict[str, Row]:
    """Each name of a unit, with all of its prefixes."""
    found: dict[str, tuple[Fraction, str]] = {}
    for line in _PREFIXED.strip().splitlines():
        dimension, _, names = line.partition(":")
        for name in names.split():
            word = len(name) > 2 or name == "ohm"
            found |= {
                prefix + name: (Fraction(10) ** power, dimension)
                for prefix, power in (_NAMES if word and name != "mol" else _SIGNS).items()
                if prefix + name not in _TAKEN
            }
            found[name] = (Fraction(1), dimension)
    for line in _ROWS.strip().splitlines():
        dimension, _, rest = line.partition(" ")
        for group in rest.split("|"):
            factor, _, names = group.partition(":")
            found |= dict.fromkeys(names.split(), (Fraction(factor.strip()), dimension))
    return {name: _row(*row) for name, row in found.items()}


def _row(factor: Fraction, dimension: str) -> Row:
    base, dimensions = _DERIVED.get(dimension, (Fraction(1), {dimension: 1}))
    return factor * base, dimensions
