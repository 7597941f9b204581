"""The language a text is written in, by the naive Bayes model of py3langid (Lui and Baldwin 2012, "langid.py").

It decides among the languages named here alone, since near kin of them (Macedonian, Malay, ...) would take short texts
away. A sentence is mostly enough, three words often are not; a text in two languages counts as the one with more of it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

LANGUAGES = {
    "ar": "Arabic", "bg": "Bulgarian", "bn": "Bengali", "ca": "Catalan", "cs": "Czech", "da": "Danish", "de": "German",
    "el": "Greek", "en": "English", "es": "Spanish", "et": "Estonian", "fa": "Persian", "fi": "Finnish", "fr": "French",
    "gu": "Gujarati", "he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian", "id": "Indonesian",
    "it": "Italian", "ja": "Japanese", "kn": "Kannada", "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian",
    "ml": "Malayalam", "mr": "Marathi", "ne": "Nepali", "nl": "Dutch", "no": "Norwegian", "pa": "Punjabi",
    "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sl": "Slovenian",
    "sv": "Swedish", "sw": "Swahili", "ta": "Tamil", "te": "Telugu", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian",
    "ur": "Urdu", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip
"""ISO 639-1 codes with the English names."""

PIECES, PIECE_CHARS = 20, 1_000
"""Of a longer text so many pieces of so many characters are read, evenly spread."""


def language_of(text: str) -> str | None:
    """The code of the text's language, a key of `LANGUAGES`; None where it is no language (numbers, code).

    The first call in a process loads the model: a second or two, 130 MB.
    """
    if len(text) > PIECES * PIECE_CHARS:
        starts = range(0, len(text), -(-len(text) // PIECES))
        text = " ".join(text[start : start + PIECE_CHARS] for start in starts)
    code = _identifier().classify(text)[0]
    return code if code in LANGUAGES else None


@lru_cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    identifier.set_languages([*LANGUAGES, "zxx"])  # zxx: no linguistic content
    return identifier
