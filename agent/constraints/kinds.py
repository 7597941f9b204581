"""The kinds of constraints: `KINDS` is the one place to add one, with its arguments, its sentence, its check of a text.

They are verifiable instructions (Zhou et al. 2023, "Instruction-Following Evaluation for Large Language Models", table
1): all of the paper's 25 can be said with them, and more of their sort. Where the paper's own checks are lax, these
hold to the sentence: an option must be the whole answer, a heading has its number, a divider a line of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from journeyman.agent.constraints import arguments as takes
from journeyman.agent.constraints import checks
from journeyman.agent.constraints import text_units as units
from journeyman.agent.constraints.arguments import Argument, Arguments
from journeyman.agent.constraints.languages import LANGUAGES, language_of
from journeyman.agent.constraints.sentences import sentences_of


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of constraint."""

    sentence: Callable[[Arguments], str]
    """What the prompt says of it."""
    check: Callable[[str, Arguments], bool]
    """Whether a text (that has a word) satisfies it."""
    arguments: Mapping[str, Argument]
    optional: frozenset[str] = frozenset()
    """Arguments that may be left out."""


def _kind(template: str, check: Callable[[str, Arguments], bool], **arguments: Argument) -> Kind:
    """A kind whose sentence is a template over its arguments, all of which it needs."""
    return Kind(lambda a: _said(template, a), check, arguments)


def _said(template: str, a: Arguments) -> str:
    """The template over the arguments; `{noun}` is what its word is called, which can be several."""
    return template.format_map({**a, "noun": "words" if " " in a.get("word", "") else "word"})


def _counted(
    name: str,
    template: str,
    noun: str,
    counter: Callable[[str, Arguments], int],
    *,
    exactly: str = "exactly ",
    **arguments: Argument,
) -> dict[str, Kind]:
    """Three kinds that ask for so many of a thing: exactly `count` of them, at least (`min_`), at most (`max_`)."""

    def sentence(amount: str) -> Callable[[Arguments], str]:
        def say(a: Arguments) -> str:
            many = f"{amount}{a['count']} {noun}{'' if a['count'] == 1 else 's'}"
            return _said(template, {**a, "many": many})

        return say

    counted = {**arguments, "count": takes.count}
    return {
        name: Kind(sentence(exactly), lambda text, a: counter(text, a) == a["count"], counted),
        f"min_{name}": Kind(sentence("at least "), lambda text, a: counter(text, a) >= a["count"], counted),
        f"max_{name}": Kind(sentence("at most "), lambda text, a: counter(text, a) <= a["count"], counted),
    }


KINDS: Mapping[str, Kind] = {
    # length
    **_counted("words", "Write {many}.", "word", lambda text, _: len(units.words_of(text))),
    **_counted("sentences", "Write {many}.", "sentence", lambda text, _: sentences_of(text), exactly=""),
    **_counted("lines", "Write {many}.", "line", lambda text, _: units.lines_of(text), exactly=""),
    **_counted(
        "paragraphs",
        "Write {many}, with blank lines between paragraphs.",
        "paragraph",
        lambda text, _: len(units.paragraphs_of(text)),
    ),
    **_counted(
        "parts",
        f"Write {{many}}, with lines of {checks.PARTS_DIVIDER} between parts.",
        "part",
        lambda text, _: len(units.paragraphs_of(text, checks.PARTS_DIVIDER)),
    ),
    # words and letters
    "use": _kind("Use the {noun} {word}.", lambda text, a: units.uses_of(text, a["word"]) > 0, word=takes.words),
    "avoid": _kind(
        "Do not use the {noun} {word}.", lambda text, a: units.uses_of(text, a["word"]) == 0, word=takes.words
    ),
    **_counted(
        "uses",
        "Use the {noun} {word} {many}.",
        "time",
        lambda text, a: units.uses_of(text, a["word"]),
        word=takes.words,
    ),
    **_counted(
        "letters",
        "Use the letter {letter} {many}.",
        "time",
        lambda text, a: text.casefold().count(a["letter"]),
        letter=takes.letter,
    ),
    # beginning and end
    "starts_with": _kind(
        "Begin with the word {word}.", lambda text, a: units.words_of(text)[0] == a["word"], word=takes.word
    ),
    "ends_with": _kind(
        "End with the word {word}.", lambda text, a: units.words_of(text)[-1] == a["word"], word=takes.word
    ),
    "starts_with_phrase": _kind(
        "Begin with these words: {phrase}", lambda text, a: checks.begins(text, a["phrase"]), phrase=takes.phrase
    ),
    "ends_with_phrase": _kind(
        "End with these words and nothing after them: {phrase}",
        lambda text, a: checks.ends(text, a["phrase"]),
        phrase=takes.phrase,
    ),
    "paragraph_starts_with": _kind(
        "Begin paragraph {paragraph} with the word {word}.",
        lambda text, a: checks.paragraph_begins(text, a["paragraph"], a["word"]),
        paragraph=takes.count,
        word=takes.word,
    ),
    "repeat": _kind(
        "First repeat this word for word, then go on: {text}",
        lambda text, a: checks.repeats(text, a["text"]),
        text=takes.phrase,
    ),
    "postscript": _kind(
        "At the end add a postscript that begins with {marker}",
        lambda text, a: checks.has_postscript(text, a["marker"]),
        marker=takes.line,
    ),
    "quoted": _kind("Put the whole answer in double quotation marks.", lambda text, _: checks.is_quoted(text)),
    # case, marks and language
    "case": _kind(
        "Write in {case} case.",
        lambda text, a: text.isupper() if a["case"] == "upper" else text.islower(),
        case=takes.case,
    ),
    **_counted("capitals", "Write {many} in capitals.", "word", lambda text, _: units.capitals_of(text)),
    "no_commas": _kind("Do not use commas.", lambda text, _: not checks.has_comma(text)),
    "language": Kind(
        lambda a: f"Write in {LANGUAGES[a['language']]}.",
        lambda text, a: language_of(text) == a["language"],
        {"language": takes.language},
    ),
    # form
    "json": Kind(
        lambda a: f"Answer in JSON with the key {a['key']}." if "key" in a else "Answer in JSON.",
        lambda text, a: checks.is_json(text, a.get("key")),
        {"key": takes.text},
        optional=frozenset({"key"}),
    ),
    "title": _kind(
        "Give it a title in double angular brackets, as in <<this>>.", lambda text, _: units.has_title(text)
    ),
    **_counted(
        "sections",
        "Write {many}, each under a heading of {marker} and its number, as in {marker} 1.",
        "section",
        lambda text, a: checks.sections_of(text, a["marker"]),
        marker=takes.line,
    ),
    **_counted(
        "bullets",
        "Write {many}, each a line that begins with a dash or an asterisk and a blank.",
        "bullet point",
        lambda text, _: units.bullets_of(text),
    ),
    **_counted(
        "highlights",
        "Highlight {many} of the text with asterisks, as in *this*.",
        "part",
        lambda text, _: units.highlights_of(text),
    ),
    **_counted(
        "placeholders",
        "Leave {many} in square brackets, as in [name].",
        "placeholder",
        lambda text, _: units.placeholders_of(text),
    ),
    "choice": Kind(
        lambda a: f"Answer with one of these and nothing else: {' | '.join(a['options'])}",
        lambda text, a: checks.chooses(text, a["options"]),
        {"options": takes.options},
    ),
    "answers": _kind(
        f"Give {{count}} different answers, with lines of {checks.ANSWERS_DIVIDER} between them.",
        lambda text, a: checks.are_answers(text, a["count"]),
        count=takes.several,
    ),
}
"""The kinds by name. A new one is an entry here; what the environment `instructions` draws is its own choice."""
