r"""The answer in the last `\boxed{}` of a text, or in several that are joined."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from journeyman.verifiers.answers.doubts import bounded, contradicted, denied

_BOX = re.compile(r"\\(?:boxed|fbox)\s?\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
MAX_BETWEEN = 120
"""Characters between two boxes that can be one answer."""
_WRAPPED = re.compile(r"\\(?:text|textbf|textit|textrm|textnormal|mathrm|mathbf|mbox|hbox)\s?\{([^{}]*)\}")
_SPACE = re.compile(
    r"\\(?:q?quad|enspace|thinspace|hfill)(?![A-Za-z])|\\hspace\*?\s?\{[^{}]{0,20}\}|(?<!\\)\\[,;:! ()\[\]]|[\s$~*]+"
)
_ROW_END = re.compile(r"\\\\(?:\[[0-9.]{1,5}\s?[a-z]{2}\])?|\\newline(?![A-Za-z])")
_NAME = r"[A-Za-z](?:_\{?\w{1,4}\}?|'{1,2})?(?:\([A-Za-z]\))?\s?=\s?"
_LABEL = re.compile(rf"({_NAME})$")
_JOINT = re.compile(
    r"\s?(?:(?!is\b|was\b|not\b|then\b|but\b|so\b|if\b|that\b)[A-Za-z]{2,20}\s|(?:for |in )?part \(?[a-z]\)? ?){0,2}"
    r"(?:[,;]\s?)?(?P<word>and also|as well as|and/or|and|or|[,;])\s?(?:and\s?|or\s?|also\s?)?"
    rf"(?P<label>{_NAME})?"
)
_ROWS = re.compile(rf"[.,;]?\s?(?P<word>\\\\)\s?(?P<label>{_NAME})")
_OPERATED = re.compile(
    r"\s?(?:[-−–+*/^<>:]|\\(?:cdot|times|div|leq?|geq?|lt|gt|pm)(?![A-Za-z])|to|through|until|vs\.?)\s?"
    r"(?:[A-Za-z]\s?(?:[<>]|\\(?:leq?|geq?|lt|gt)(?![A-Za-z]))\s?)?"
)
_WORDS = (("\\&", " and "), ("&", " "), ("\\lor", " or "), ("\\vee", " or "), ("\\land", " and "), ("\\wedge", " and "))
_MINUS = re.compile(r"(?:[=($\[]|\\[(\[]|^)\s*[-−]\s*$")


@dataclass(frozen=True)
class Box:
    """Where it begins and ends, and what is in it."""

    start: int
    end: int
    inside: str


def boxed(text: str) -> tuple[int, str] | None:
    """Where the last box begins and the answer in it; empty where that is unclear or denied. None without a box."""
    boxes = list(_boxes(text))
    if not boxes:
        return None
    group, joints = [boxes[-1]], list[re.Match[str]]()
    for box in boxes[-2::-1]:
        between = _between(text, box, group[0])
        joint = _ROWS.fullmatch(between) or _JOINT.fullmatch(" ".join(between.replace("\\\\", " ").split()))
        if _OPERATED.fullmatch(between):
            return boxes[-1].start, ""
        if joint is None:
            break
        group.insert(0, box)
        joints.insert(0, joint)
    last, before, after = boxes[-1], text[: group[0].start], text[boxes[-1].end :]
    unclear = denied(text[: last.start], after) or contradicted(after)
    if unclear or (len(group) > 1 and (bounded(before) or denied(before))):
        return last.start, ""
    return last.start, _joined(before, group, joints)


def is_boxed(text: str, at: int) -> bool:
    """Whether a place is inside of a box."""
    return any(box.start < at < box.end for box in _boxes(text))


def _joined(before: str, group: list[Box], joints: list[re.Match[str]]) -> str:
    """The boxes' contents as one; each behind its label where those differ ("x = 2, y = 3")."""
    if len(group) == 1:
        return ("-" if _MINUS.search(before[-20:]) else "") + group[0].inside
    first = _LABEL.search(_smooth(before[-60:]))
    labels = [(label or "").strip(" =") for label in (first and first[1], *(joint["label"] for joint in joints))]
    named = len({label.partition("_")[0] for label in labels} - {""}) > 1  # x_1 and x_2 are two values of one
    parts = [
        f"{label} = {box.inside}" if named and label else box.inside for label, box in zip(labels, group, strict=True)
    ]
    answer = parts[0]
    for joint, part in zip(joints, parts[1:], strict=True):
        answer += (" or " if "or" in joint["word"] else ", ") + part
    return answer


def _between(text: str, box: Box, after: Box) -> str:
    between = text[box.end : after.start]
    return _smooth(between) if len(between) <= MAX_BETWEEN else "."


def _smooth(text: str) -> str:
    """The text without what only sets it: dollars, LaTeX's spaces and its commands for words."""
    text = _SPACE.sub(" ", _WRAPPED.sub(r" \1 ", _ROW_END.sub(r" \\\\ ", text)))
    for sign, word in _WORDS:
        text = text.replace(sign, word)
    return " ".join(text.split())


def _boxes(text: str) -> Iterator[Box]:
    """The outermost boxes; one that is never closed is empty."""
    at = 0
    while match := _BOX.search(text, at):
        at = _closing(text, match.end())
        inside = text[match.end() : at - 1] if at else ""
        if inner := _BOX.match(inside.strip()):  # a box in a box
            inside = inside.strip()[inner.end() : -1]
        yield Box(match.start(), at or len(text), inside)
        at = at or len(text)


def _closing(text: str, at: int) -> int:
    """The place after the brace that closes the one before `at`; 0 where there is none."""
    depth = 1
    for match in _BRACE.finditer(text, at):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return match.end()
    return 0
