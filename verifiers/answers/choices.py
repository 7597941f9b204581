"""Which letter of a choice a sentence gives: none where another is offered, or it is denied or doubted."""

from __future__ import annotations

import re

from journeyman.verifiers.answers.doubts import denied

_PLAIN = re.compile(
    r"(?:(?:option|choice|answer)\s+)?(?:\(([A-Ja-j])\)|([A-Ja-j])(?=[).:]|$)[).:]?)(?P<rest>.*)",
    re.DOTALL | re.IGNORECASE,
)
_OTHER = re.compile(
    r"(?<![A-Za-z])[A-J](?![A-Za-z])|(?<![A-Za-z])[a-j]\)|n't\b|"
    r"\b(?:or|not|wrong|incorrect|maybe|perhaps|possibly|probably|might|guess|unsure|doubt\w*|"
    r"ruled out|eliminated|excluded)\b"
)
_UNSURE = re.compile(
    r"n't\b|\?|\b(?:or|not|no|none|nor|neither|never|cannot|wrong\w*|incorrect\w*|false|maybe|perhaps|possibly|probably|"
    r"might|may|could|guess\w*|unsure|uncertain|doubt\w*|unlikely|hardly|impossible|if|unless|whether|except|but|"
    r"instead|however|although|though|suppos\w*|assum\w*|some|many|most (?:people|students|of)|others?|first|initially|"
    r"originally|previously|earlier|thought|seem\w*|looks?|almost|nearly|rul\w+ out|eliminat\w*|exclud\w*|reject\w*|"
    r"discard\w*|avoid|refus\w*|hesitat\w*)\b",
    re.IGNORECASE,
)
_ARTICLE = re.compile(
    r"(?<![A-Za-z(])A\s+(?!(?:is|was|are|must|has|because|since|as|for|which|that|and|with|will|should|gives|holds|matches|"
    r"fits)\b)(?=[a-z])"
)
_PRONOUN = re.compile(r"(?<![A-Za-z(])I(?:'(?:m|ll|d|ve)\b|\s+(?!is\b|because\b|since\b|as\b)(?=[a-z]))")
_LETTER = r"(?:\((?P<a>[A-Ja-j])\)|(?P<b>(?-i:[A-J]))(?![A-Za-z0-9'^_=+*/<>-]|\s?[=+*/^<>])\)?)"
_MENTION = re.compile(r"\(([A-Ja-j])\)|(?<![A-Za-z0-9'\\_^=+*/<>-])([A-J])(?![A-Za-z0-9'])")
_DRESS = re.compile(r"\*\*|__|`|[{}$]|\\[()\[\]]")
_NOUN = r"(?:option|choice|answer|letter|statement|alternative)"
_GOOD = (
    r"(?:(?:clearly|therefore|thus|hence|indeed|definitely|then|also)\s+)?(?:the|our|my)?\s*(?:only\s+)?"
    r"(?:(?:most\s+)?(?:correct|right|true|best|final|appropriate|accurate|valid|suitable|proper)\b"
    r"(?:\s+(?:one|answer|option|choice|statement|alternative)\b)?|(?:answer|one|choice|option)\b)"
)
_LEAD = r"(?:.*[\s,;:.*(])?"
_END = r"[\s).:,;*!]*(?:$|[,.;:!)]\s.*|(?<=\))\s.*|\s(?:because|since|as|for)\s.*)"
_VERB = (
    r"(?:choose|chose|choosing|pick|picked|select|selected|go with|going with|answer with|opt for|opting for|mark|take)"
)
_SO = r"(?:(?:so|thus|hence|therefore|then|ergo|finally)[,:]?\s+)?(?:it\s+is\s+|it's\s+)?(?:the\s+)?"
_FRAMES = [
    re.compile(pattern, re.DOTALL | re.IGNORECASE)
    for pattern in (
        rf"{_LEAD}(?:{_NOUN}\s+)?{_LETTER}[^.?!]{{0,60}}?\s(?:is|must be|has to be|should be)\s+{_GOOD}{_END}",
        rf"{_LEAD}{_VERB}\s+(?:the\s+)?(?:{_NOUN}\s+)?{_LETTER}{_END}",
        rf"(?:{_LEAD}(?:is|be|it's|that's|with|to)|.*[:=→⇒])\s*(?:{_NOUN}\s+)?{_LETTER}{_END}",
        rf"{_SO}(?:{_NOUN}\s*:?\s+)?{_LETTER}{_END}",
    )
]


def letter(plain: str) -> str | None:
    """The letter that a plain line gives as the answer, a capital from A to J; None where that is not clear."""
    match = _PLAIN.fullmatch(plain)
    if match is not None:
        clear = not _OTHER.search(match["rest"]) and not denied("", match["rest"])
        return (match[1] or match[2]).upper() if clear else None
    apart = _PRONOUN.sub(" ", _ARTICLE.sub(" ", _DRESS.sub("", plain)))
    letters = {(first or second).upper() for first, second in _MENTION.findall(apart)}
    if len(letters) != 1 or _UNSURE.search(plain):
        return None
    for frame in _FRAMES:
        if (match := frame.fullmatch(apart)) is not None:
            return (match["a"] or match["b"]).upper()
    return None
