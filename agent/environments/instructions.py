"""Instructions with several constraints: "Write exactly 5 words. Use the word sun. Answer in JSON.", in one turn.

Hindsight is exact: an answer that satisfies only some of the constraints is a full answer to the instruction that has
only those (hindsight instruction relabelling: Zhang et al. 2023, "The Wisdom of Hindsight Makes Language Models Better
Instruction Followers", section 4).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle, islice
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from journeyman.agent.chance import keyed_rng
from journeyman.agent.constraints.constraints import Constraint, canonical_constraints, satisfied, sentence_of
from journeyman.agent.constraints.sentences import sentences_of
from journeyman.agent.constraints.text_units import words_of
from journeyman.agent.data import Achieved, Episode, Json, Message, Split, Task, Trajectory, canonical_hash
from journeyman.agent.environments.dataset import SingleTurn
from journeyman.agent.errors import SettingsError

_FAMILIES = ("length", "use", "use", "avoid", "starts_with", "ends_with", "case", "form", "sentences")
"""What a task draws from without replacement: members of different families do not contradict one another."""
_LENGTHS = ("words", "min_words", "max_words")
_NAMING = ("use", "avoid", "starts_with", "ends_with")
_MOST_NAMED = 5  # different words that one task names, an avoided one included


@dataclass(frozen=True)
class Instructions:
    """Random sets of constraints without end, all of which can be satisfied. Sizes are inclusive."""

    words: tuple[str, ...] = ("red", "cat", "sun", "tea", "owl", "map", "sky", "bee", "ice", "fox")
    """What the constraints name and the demonstrations are made of: at least 6 different ones, in lower case."""
    fewest: Annotated[int, Field(ge=1)] = 2
    """Constraints of a task, at least."""
    most: Annotated[int, Field(le=len(_FAMILIES))] = 4
    """Constraints of a task, at most."""
    max_words: Annotated[int, Field(ge=4)] = 6
    """The highest number of words that a task asks for."""
    rubric: Mapping[str, float] = field(default_factory=lambda: {"constraints": 1.0})
    max_turns: ClassVar[int] = 1
    instant: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.fewest > self.most:
            raise SettingsError(f"option 'fewest' is {self.fewest}, above 'most', which is {self.most}")
        for word in self.words:
            if words_of(word) != [word]:
                raise SettingsError(f"option 'words': {word!r} is not one word in lower case")
            if sentences_of(f"{word}. {word}.") != 2:
                raise SettingsError(f"option 'words': after {word!r} and a full stop no sentence ends; leave it out")
        if len(set(self.words)) != len(self.words) or len(self.words) <= _MOST_NAMED:
            raise SettingsError(f"option 'words' must hold {_MOST_NAMED + 1} words or more, none of them twice")

    def tasks(self, split: Split, seed: int) -> Iterator[Task]:
        """Endless; how many constraints, of which families and with which words is uniform."""
        rng = keyed_rng(seed, "instructions", split)
        while True:
            yield instruction_task(self._draw(rng), split)

    def demonstrate(self, task: Task, after: Sequence[Message] = ()) -> Sequence[Message] | None:
        """A shortest text that satisfies all constraints, for every task of this set and every relabel of one.

        None after an answer, which is the last.
        """
        return None if after else [Message("assistant", compose(canonical_constraints(task.goal), self.words))]

    def open(self, task: Task) -> InstructionsEpisode:
        """A fresh single-turn episode."""
        return InstructionsEpisode(task)

    def _draw(self, rng: np.random.Generator) -> list[Constraint]:
        size = int(rng.integers(self.fewest, self.most + 1))
        families = sorted(rng.choice(_FAMILIES, size=size, replace=False).tolist())
        names = iter(rng.permutation(self.words).tolist())
        found: list[Constraint] = [{"kind": name, "word": next(names)} for name in families if name in _NAMING]
        if "case" in families:
            found.append({"kind": "case", "case": str(rng.choice(["upper", "lower"]))})
        if "sentences" in families:
            found.append({"kind": "sentences", "count": _parts(rng)})
        if "form" in families:
            keyless = "starts_with" in families or "case" in families  # a key is the first word, and as it is written
            as_json: Constraint = {"kind": "json"} if keyless else {"kind": "json", "key": next(names)}
            found.append(as_json if rng.integers(2) else {"kind": "lines", "count": _parts(rng)})
        if "length" in families:
            count = int(rng.integers(least_words(found), self.max_words + 1))
            found.append({"kind": str(rng.choice(_LENGTHS)), "count": count})
        return found


class InstructionsEpisode(SingleTurn):
    """One attempt; a GoalEnvironment, since what an answer satisfies of the constraints is a goal it reached."""

    def achieved_goals(self, trajectory: Trajectory) -> list[Achieved]:
        """The satisfied constraints as one goal; none where no constraint is satisfied."""
        kept = satisfied(canonical_constraints(self._task.goal), trajectory.final_text)
        return [Achieved(kept, 0)] if kept else []

    def relabel(self, trajectory: Trajectory, goal: Json, start_turn: int) -> Episode:
        """The same answer to an instruction that has only the constraints of `goal`, whether or not it satisfies them.

        Raises UnknownNameError and DataError as `canonical_constraints` does.
        """
        task = instruction_task(goal, Split.TRAIN)
        return Episode(task, (replace(trajectory.turns[0], observation=()),), start_turn)


def instruction_task(constraints: Json, split: Split) -> Task:
    """The task with these constraints, a sentence a line, in the one order that equal sets have.

    Raises UnknownNameError and DataError as `canonical_constraints` does.
    """
    goal = canonical_constraints(constraints)
    prompt = Message("user", "\n".join(sentence_of(c) for c in goal))
    return Task("instructions", goal, (prompt,), split, canonical_hash("instructions", goal))


def _parts(rng: np.random.Generator) -> int:
    """How many sentences or lines to ask for."""
    return int(rng.integers(2, 4))


def least_words(constraints: Sequence[Constraint]) -> int:
    """How many words a text needs at least: for those it must hold, and one for each sentence and line.

    The key of a JSON object is one of the words, and no sentence of its own.
    """
    keys = _values(constraints, "json", "key")
    named = {*_values(constraints, "use", "word"), *_values(constraints, "starts_with", "word"), *keys}
    named.update(_values(constraints, "ends_with", "word"))
    sentences: int = sum(_values(constraints, "sentences", "count"))
    lengths: list[int] = [c["count"] for c in constraints if c["kind"] in ("words", "min_words", "lines")]
    parts = max(len(named), sentences + len(keys))  # what is not broken by a full stop: several words can be one
    return max(1, parts - len(named) + _words_in(named), *lengths)


def compose(constraints: Sequence[Constraint], words: Sequence[str]) -> str:
    """The expert's text: the first word, the words to use, then `words` in their order without avoided ones, the last.

    It satisfies every set of constraints that `Instructions` draws and every part of one; of others it may miss some.
    """
    keys = _values(constraints, "json", "key")
    last = _values(constraints, "ends_with", "word")
    begin = [*keys, *_values(constraints, "starts_with", "word"), *_values(constraints, "use", "word")]
    avoided = _values(constraints, "avoid", "word")
    fillers = cycle(word for word in words if word not in avoided)
    missing = max(0, least_words(constraints) - _words_in(begin) - _words_in(last))
    chosen = [*begin, *islice(fillers, missing), *last]
    sentences, lines = (sum(_values(constraints, kind, "count")) for kind in ("sentences", "lines"))
    body = _punctuated(chosen[len(keys) :], sentences, lines)
    if "upper" in _values(constraints, "case", "case"):
        body = body.upper()
    if not any(c["kind"] == "json" for c in constraints):
        return body
    return json.dumps({keys[0]: body} if keys else body, ensure_ascii=False)


def _words_in(names: Iterable[str]) -> int:
    return sum(len(words_of(name)) for name in names)


def _punctuated(words: Sequence[str], sentences: int, lines: int) -> str:
    """The words with so many full stops (none for 0) and line breaks, all but the last as early as can be."""
    text = ""
    for i, word in enumerate(words, 1):
        stop = "." if sentences and (i < sentences or i == len(words)) else ""
        gap = "" if i == len(words) else "\n" if i < lines else " "
        text += word + stop + gap
    return text


def _values(constraints: Sequence[Constraint], kind: str, argument: str) -> list[Json]:
    """The argument of all constraints of the kind that have it."""
    return [c[argument] for c in constraints if c["kind"] == kind and argument in c]
