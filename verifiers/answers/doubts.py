"""Words beside a value that deny it, doubt it, ask for it or only bound it."""

from __future__ import annotations

import re

_DOUBT = (
    r"unlikely|doubt\w*|guess\w*|maybe|perhaps|possibly|probably|might|impossible|never|unsure|neither|nor|"
    r"suppose|assume|no one|nobody|"
    r"(?:wrong|incorrect|false)(?=\s*:|\s+(?:that|answer|result|value|choice|option|number)\b)"
)
_HEDGE = re.compile(
    rf"\b(?:{_DOUBT}|or|not|either|cannot|wrong\w*|incorrect\w*|false|between|at least|at most)\b|n't\b|\?",
    re.IGNORECASE,
)
_DENIED = re.compile(
    rf"\b(?:{_DOUBT})|(?:\bnot|n't|\bcannot)\s*(?::|\b(?:be|equal|true|sure|certain|clear|think|believe|say|know|my|"
    r"convinced|known|claim|mean|confident|necessarily|proven|agree|the case)\b)|"
    r"(?:\bnot|n't|\bcannot)\b.*\bthat\b|\bor\s+(?:it|this|that|else|\$?[a-z]\$?)\s+(?:is|was|equals)\b|"
    r"(?:\bnot|n't|\bcannot)(?:\s+\w+)?[\s$\\(\[]*$",
    re.IGNORECASE,
)
_REVOKED = re.compile(
    r"[\s$\\)\]]*(?:\?|(?:is|was|seems|looks|would be)\s+(?:\w+\s+)?(?:wrong|incorrect|false|unlikely|impossible)\b|"
    r"(?:is|was)(?:n't|\s+not)\s+(?:it|right|correct|true|possible|the)\b)",
    re.IGNORECASE,
)
_UNSURE = re.compile(
    r"\b(?:maybe|perhaps|possibly|probably|unlikely|unsure|guess\w*|not (?:sure|certain)|no idea)\b", re.IGNORECASE
)
_BOUND = re.compile(r"\b(?:between|at least|at most|than)[\s$\\(\[]*$", re.IGNORECASE)
_TAKEN_BACK = re.compile(
    r"(?:^|[.!?:;\n])[\s*]{0,4}(?:(?:no|wait|hmm+|oh|oops|sorry|actually|hold on|but)\b[,.!\s]{1,6}){0,3}"
    r"(?:(?:that|this|it)(?:'s|\s+(?:is|was|seems|must be|cannot be|can't be))\s+(?:(?:clearly|actually|all|also)\s+)?"
    r"(?:wrong|incorrect|mistaken|false|a mistake|not\s+(?:right|correct|true|the answer))"
    r"|(?:that|this|it)\s+(?:isn't|wasn't)\s+(?:right|correct|true|the answer)"
    r"|(?:i|we)(?:'ve|\s+have)?\s+(?:just\s+)?made\s+an?\s+(?:\w+\s+)?(?:mistake|error|slip)"
    r"|scratch that|strike that)\b(?!\s*:"
    r"|\s+(?:that|to|for|when|if|unless|in|as|answer|value|result|choice|option|number)\b)",
    re.IGNORECASE,
)
_TAKEN_BACK_BY = (
    "wrong",
    "incorrect",
    "mistak",
    "false",
    "not ",
    "n't ",
    "error",
    "slip",
    "scratch that",
    "strike that",
)
_NO = re.compile(r"[\s$.)\]\\}*]*(?:no(?:\s+wait)?[,.!;]|no wait\b|scratch\b|correction\b)", re.IGNORECASE)
_SECOND_THOUGHT = re.compile(rf"{_NO.pattern}|[\s*]*(?:wait|oops|sorry|actually|hold on)\b", re.IGNORECASE)


def denied(before: str, after: str = "") -> bool:
    """Whether the words right before a value (of the same clause) or right after it deny or doubt it."""
    clause = re.split(r"[,;.!?\n]", before[-200:])[-1]
    return bool(_DENIED.search(clause) or _REVOKED.match(after[:200]))


def contradicted(after: str) -> bool:
    """Whether what follows a value begins with "No,"."""
    return _NO.match(after[:200]) is not None


def reconsidered(after: str) -> bool:
    """Whether what follows a sentence begins with "No,", "Wait" or "Actually"."""
    return _SECOND_THOUGHT.match(after[:200]) is not None


def unsure(line: str) -> bool:
    """Whether anything in it is said with doubt: "Perhaps, it is 5"."""
    return _UNSURE.search(line) is not None


def bounded(before: str) -> bool:
    """Whether the words right before a value say only where it lies: "between", "at least", "more than"."""
    return _BOUND.search(before[-200:]) is not None


def hedged(line: str) -> bool:
    """Whether it says "or", "not", "maybe", "at least" and the like, or asks, so that no part of it is an answer."""
    return _HEDGE.search(line) is not None


def kept(text: str) -> str:
    """What follows the last sentence that takes back what was said: "No wait, that is wrong.", "I made a mistake."."""
    end, lower = 0, text.lower()
    if any(word in lower for word in _TAKEN_BACK_BY):  # most texts have none, and this is fast
        for match in _TAKEN_BACK.finditer(text):
            end = match.end()
    return text[end:].lstrip(" \t.,;:!") if end else text
