"""Known units, their dimensions, and what one of them is in the base unit.

The factors are those of the SI brochure and of the international yard and pound (1959).
"""

from __future__ import annotations

from fractions import Fraction

Row = tuple[Fraction, str]
"""Factor to the base unit, and the dimension."""

_ROWS = """
length 1: metre meter | 1/100: cm centimeter centimetre | 127/5000: in inch inches | 381/1250: ft foot feet
length 1143/1250: yd yard | 201168/125: mi mile
mass 1: gm gram | 1000: kilo | 45359237/100000: lb lbs pound | 45359237/1600000: oz ounce | 1000000: tonne
time 60: min mins minute | 3600: h hr hrs hour | 86400: day | 604800: week wk | 1: sec secs
months 1: month | 12: year yr yrs
volume 1: l
gallons 1: gallon gal | 1/4: quart | 1/8: pint | 1/16: cup
dollars 1: dollar USD | 1/100: cent
euros 1: euro EUR
pounds 1: GBP
radians 1: rad radian
celsius 1: °C Celsius
fahrenheit 1: °F Fahrenheit
ampere 1: amp
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
pascal: Pa pascal
mole: mol mole
volt: V volt
ampere: A ampere
ohm: ohm
kelvin: K kelvin
electronvolt: eV electronvolt
"""
_SIGNS = {"p": -12, "n": -9, "μ": -6, "µ": -6, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12}
_NAMES = {"pico": -12, "nano": -9, "micro": -6, "milli": -3, "kilo": 3, "mega": 6, "giga": 9, "tera": 12}
_TAKEN = frozenset({"pm", "min", "mol", "um"})
"""What a prefix and a unit would make of words that are something else."""


def known_units() -> dict[str, Row]:
    """Each name of a unit, with all of its prefixes."""
    found: dict[str, Row] = {}
    for line in _PREFIXED.split("\n"):
        dimension, _, names = line.partition(":")
        for name in names.split():
            word = len(name) > 2 or name in {"metre", "ohm"}
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
    return found | {
        "mph": (Fraction(1397, 3125), "speed"),
        "kmh": (Fraction(5, 18), "speed"),
        "kph": (Fraction(5, 18), "speed"),
    }
