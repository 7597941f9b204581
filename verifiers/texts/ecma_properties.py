r"""Characters by their properties: the sets that `\d`, `\w`, `\s` and `\p{...}` of ECMA-262 stand for.

Each is given as what can stand inside the brackets of a class of the package `regex`.
"""

from __future__ import annotations

import regex


def _set_of(words: str) -> frozenset[str]:
    return frozenset(words.split())


EVERY = r"\x00-\U0010ffff"
"""All characters."""
LINE_ENDS = r"\n\r\u2028\u2029"
WORD = "0-9A-Z_a-z"
SHORTHANDS = {
    "d": "0-9",
    "D": r"\x00-/:-\U0010ffff",
    "w": WORD,
    "W": r"\x00-/:-@\[-^`{-\U0010ffff",
    "s": r"\t-\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff",
    "S": r"\x00-\x08\x0e-\x1f!-\x9f\xa1-\u167f\u1681-\u1fff\u200b-\u2027\u202a-\u202e\u2030-\u205e\u2060-\u2fff"
    r"\u3001-\ufefe\uff00-\U0010ffff",
}
r"""The letter behind the backslash -> its set."""

_CATEGORIES = {
    "L": "Letter", "LC": "Cased_Letter", "Lu": "Uppercase_Letter", "Ll": "Lowercase_Letter", "Lt": "Titlecase_Letter",
    "Lm": "Modifier_Letter", "Lo": "Other_Letter", "M": "Mark Combining_Mark", "Mn": "Nonspacing_Mark",
    "Mc": "Spacing_Mark", "Me": "Enclosing_Mark", "N": "Number", "Nd": "Decimal_Number digit", "Nl": "Letter_Number",
    "No": "Other_Number", "P": "Punctuation punct", "Pc": "Connector_Punctuation", "Pd": "Dash_Punctuation",
    "Ps": "Open_Punctuation", "Pe": "Close_Punctuation", "Pi": "Initial_Punctuation", "Pf": "Final_Punctuation",
    "Po": "Other_Punctuation", "S": "Symbol", "Sm": "Math_Symbol", "Sc": "Currency_Symbol", "Sk": "Modifier_Symbol",
    "So": "Other_Symbol", "Z": "Separator", "Zs": "Space_Separator", "Zl": "Line_Separator",
    "Zp": "Paragraph_Separator", "C": "Other", "Cc": "Control cntrl", "Cf": "Format", "Cs": "Surrogate",
    "Co": "Private_Use", "Cn": "Unassigned",
}  # fmt: skip
_CATEGORY = {name: short for short, long in _CATEGORIES.items() for name in (short, *long.split())}
_BINARY = _set_of(
    """ASCII_Hex_Digit AHex Alphabetic Alpha Bidi_Control Bidi_C Bidi_Mirrored Bidi_M Case_Ignorable CI Cased
    Changes_When_Casefolded CWCF Changes_When_Casemapped CWCM Changes_When_Lowercased CWL Changes_When_Titlecased
    CWT Changes_When_Uppercased CWU Dash Default_Ignorable_Code_Point DI Deprecated Dep Diacritic Dia Emoji
    Emoji_Component EComp Emoji_Modifier EMod Emoji_Modifier_Base EBase Emoji_Presentation EPres
    Extended_Pictographic ExtPict Extender Ext Grapheme_Base Gr_Base Grapheme_Extend Gr_Ext Hex_Digit Hex
    IDS_Binary_Operator IDSB IDS_Trinary_Operator IDST ID_Continue IDC ID_Start IDS Ideographic Ideo Join_Control
    Join_C Logical_Order_Exception LOE Lowercase Lower Math Noncharacter_Code_Point NChar Pattern_Syntax Pat_Syn
    Pattern_White_Space Pat_WS Quotation_Mark QMark Radical Regional_Indicator RI Sentence_Terminal STerm
    Soft_Dotted SD Terminal_Punctuation Term Unified_Ideograph UIdeo Uppercase Upper Variation_Selector VS
    White_Space space XID_Continue XIDC XID_Start XIDS"""
)
_SCRIPT = {"Script": "sc", "sc": "sc", "Script_Extensions": "scx", "scx": "scx"}
_COMPUTED = {
    "Any": (EVERY, f"[^{EVERY}]"),
    "ASCII": (r"\x00-\x7f", r"\x80-\U0010ffff"),
    "Assigned": (r"\P{gc=Cn}", r"\p{gc=Cn}"),
}


def property_set(text: str, negated: bool) -> str:
    r"""The set of `\p{text}`, or of `\P{text}`, e.g. of "L", "Letter", "gc=Lu", "Script=Greek", "Alphabetic".

    Raises ValueError with the reason and the remedy for a name that ECMA-262 does not have.
    """
    if text in _COMPUTED:
        return _COMPUTED[text][negated]
    name, _, value = text.rpartition("=")
    if name in ("", "General_Category", "gc") and value in _CATEGORY:
        asked = f"gc={_CATEGORY[value]}"
    elif not name and value in _BINARY:
        asked = f"{value}=Yes"
    elif name in _SCRIPT and _compiles(rf"\p{{sc={value}}}"):
        asked = f"{_SCRIPT[name]}={value}"
    elif not name and _compiles(rf"\p{{sc={value}}}"):
        raise ValueError(rf"write a script as \p{{Script={value}}}")
    else:
        raise ValueError(rf"no property {text!r}: write e.g. \p{{L}}, \p{{Letter}} or \p{{Script=Greek}}")
    return rf"\{'P' if negated else 'p'}{{{asked}}}"


def _compiles(expression: str) -> bool:
    try:
        regex.compile(expression)
    except regex.error:
        return False
    return True
