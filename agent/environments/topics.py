"""One sentence about a topic, as people ask for it: "Write one sentence about a fox. Use the word brave. ...".

A task has a topic and several constraints that can be checked (as IFEval's can); all must hold. The prompt is plain
English, so that a model which speaks it has a chance at once. Hindsight tells a sentence for what it is: one of ten
words, where eight at most were asked for, is a right answer to the same request for ten at most; one that ends with
another word, to the request for that word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from journeyman.agent.chance import keyed_rng
from journeyman.agent.constraints.constraints import Constraint, canonical_constraints, satisfied, sentence_of
from journeyman.agent.constraints.text_units import words_of
from journeyman.agent.data import Achieved, Episode, Json, Message, Split, Task, Trajectory, canonical_hash
from journeyman.agent.environments.dataset import SingleTurn
from journeyman.agent.errors import DataError, SettingsError

_PEOPLE = ("girl", "boy", "farmer", "teacher", "king", "sailor", "baker", "painter", "doctor", "singer", "gardener")
_ANIMALS = ("cat", "dog", "horse", "bird", "fox", "rabbit", "wolf", "bear", "mouse", "turtle")
_TOPICS = (*_PEOPLE, *_ANIMALS)
_QUALITIES = ("quiet", "happy", "tired", "brave", "small", "gentle", "young", "clever", "hungry", "lucky", "proud")
_PLACES = ("garden", "river", "forest", "kitchen", "market", "school", "bridge", "harbor", "mountain", "village")
_OPENINGS = ("today", "now", "sometimes", "tonight", "here", "often")
_VERBS = ("waits", "sleeps", "sings", "walks", "rests", "plays", "works", "sits")
_NEAR = ("near", "behind", "beside", "by")
_ASIDES = ("with {} friend", "after {} storm", "before {} party", "under {} tree")
"""Three words each, for a sentence that has to be longer; `{}` is the article."""
_HOW = ("slowly", "happily", "calmly", "gladly")
_KINDS = ("length", "use", "starts_with", "ends_with", "avoid", "case")
"""What a task draws from without replacement; no two contradict each other."""
_ALWAYS: Constraint = {"kind": "sentences", "count": 1}
_SHORT = (8, 9)
"""Highest numbers of words that a task asks for; the opening, an article, quality, topic, verb and place take 8."""
_LONG = (10, 12)
"""Lowest numbers of words that a task asks for, from and to."""
_LONGEST_TOLD = 20
"""Words of a sentence that hindsight asks for at most."""


@dataclass(frozen=True)
class Topics:
    """Random requests without end, all of which can be met. Sizes are inclusive."""

    fewest: Annotated[int, Field(ge=1)] = 2
    """Constraints of a task beside its topic, at least."""
    most: Annotated[int, Field(le=len(_KINDS))] = 3
    """Constraints of a task beside its topic, at most."""
    rubric: Mapping[str, float] = field(default_factory=lambda: {"constraints": 1.0})
    max_turns: ClassVar[int] = 1
    instant: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.fewest > self.most:
            raise SettingsError(f"option 'fewest' is {self.fewest}, above 'most', which is {self.most}")

    def tasks(self, split: Split, seed: int) -> Iterator[Task]:
        """Endless; topic, number and kinds of constraints and their words are uniform."""
        rng = keyed_rng(seed, "topics", split)
        while True:
            yield topic_task(self._draw(rng), split)

    def demonstrate(self, task: Task, after: Sequence[Message] = ()) -> Sequence[Message] | None:
        """A sentence by a small grammar, drawn for the task; None after an answer, and where it asks for other words.

        It meets every task of this set.
        """
        goal = canonical_constraints(task.goal)
        text = write_sentence(goal, keyed_rng(0, "topics", "expert", task.hash))
        return None if after or satisfied(goal, text) != goal else [Message("assistant", text)]

    def open(self, task: Task) -> TopicsEpisode:
        """A fresh single-turn episode."""
        return TopicsEpisode(task)

    def _draw(self, rng: np.random.Generator) -> list[Constraint]:
        size = int(rng.integers(self.fewest, self.most + 1))
        kind, (least, most) = (("max_words", _SHORT), ("min_words", _LONG))[rng.integers(2)]
        drawn: dict[str, Constraint] = {
            "length": {"kind": kind, "count": int(rng.integers(least, most + 1))},
            "use": {"kind": "use", "word": str(rng.choice(_QUALITIES))},
            "starts_with": {"kind": "starts_with", "word": str(rng.choice(_OPENINGS))},
            "ends_with": {"kind": "ends_with", "word": str(rng.choice(_PLACES))},
            "avoid": {"kind": "avoid", "word": "the"},
            "case": {"kind": "case", "case": "lower"},
        }
        topic: Constraint = {"kind": "use", "word": str(rng.choice(_TOPICS))}
        return [_ALWAYS, topic, *(drawn[kind] for kind in rng.choice(_KINDS, size=size, replace=False))]


class TopicsEpisode(SingleTurn):
    """One attempt; a GoalEnvironment, since a sentence about the topic is a right answer to some request."""

    def achieved_goals(self, trajectory: Trajectory) -> list[Achieved]:
        """The request that the sentence does meet: its own length, first and last word, and the rest where it holds.

        None for anything but one whole sentence about the topic.
        """
        text = trajectory.final_text
        goal = canonical_constraints(self._task.goal)
        if _topic_of(goal) not in words_of(text) or not text.rstrip().endswith((".", "!", "?")):
            return []
        told = satisfied([_as_it_is(c, words_of(text)) for c in goal], text)
        fit = _ALWAYS in told and len(told) > 2 and len(words_of(text)) <= _LONGEST_TOLD
        return [Achieved(told, 0)] if fit else []

    def relabel(self, trajectory: Trajectory, goal: Json, start_turn: int) -> Episode:
        """The same sentence as the answer to the request for `goal`, whether or not it meets it.

        Raises UnknownNameError and DataError as `topic_task` does.
        """
        task = topic_task(goal, Split.TRAIN)
        return Episode(task, (replace(trajectory.turns[0], observation=()),), start_turn)


def topic_task(constraints: Json, split: Split) -> Task:
    """The task with these constraints, one of which must be to use a topic's word.

    Raises UnknownNameError and DataError as `canonical_constraints` does, and DataError where no topic is among them.
    """
    goal = canonical_constraints(constraints)
    topic: Constraint = {"kind": "use", "word": _topic_of(goal)}
    asked = [sentence_of(c) for c in goal if c not in (topic, _ALWAYS)]
    prompt = Message("user", " ".join([f"Write one sentence about a {topic['word']}.", *asked]))
    return Task("topics", goal, (prompt,), split, canonical_hash("topics", goal))


def write_sentence(goal: Sequence[Constraint], rng: np.random.Generator) -> str:
    """The expert's sentence, e.g. "Today a brave fox waits calmly near a river."."""
    asked = {c["kind"]: c for c in goal if c not in (_ALWAYS, {"kind": "use", "word": _topic_of(goal)})}
    article = "a" if "avoid" in asked else "the"
    opening = [asked["starts_with"]["word"]] if "starts_with" in asked else []
    quality = [asked["use"]["word"]] if "use" in asked else []
    place = asked["ends_with"]["word"] if "ends_with" in asked else str(rng.choice(_PLACES))
    begin = [*opening, article, *quality, _topic_of(goal), str(rng.choice(_VERBS))]
    end = [str(rng.choice(_NEAR)), article, place]
    own = len(begin) + len(end)
    least, most = (asked[kind]["count"] if kind in asked else None for kind in ("min_words", "max_words"))
    longest = 3 if most is None else max(most - own, 0)
    missing = int(rng.integers(longest + 1)) if least is None else max(least - own, 0)
    asides, rest = divmod(missing, 3)
    how = [str(rng.choice(_HOW))] if rest else []
    aside = [words.format(article) for words in rng.permutation(_ASIDES)[:asides]]
    little = ["little"] if rest > 1 else []
    text = " ".join([*begin, *how, *aside, *end[:-1], *little, end[-1]]) + "."
    return text if "case" in asked else text[0].upper() + text[1:]


def _topic_of(goal: Sequence[Constraint]) -> str:
    """The topic's word; raises DataError where the goal names none, or several."""
    found = [c["word"] for c in goal if c["kind"] == "use" and c["word"] in _TOPICS]
    if len(found) != 1:
        raise DataError(f"a task of 'topics' uses exactly one topic's word ({', '.join(_TOPICS)}), got {found}")
    return str(found[0])


def _as_it_is(constraint: Constraint, words: Sequence[str]) -> Constraint:
    """The constraint with the number or the word that the sentence itself has."""
    own: Mapping[str, Json] = {
        "min_words": {"count": len(words)},
        "max_words": {"count": len(words)},
        "starts_with": {"word": words[0]},
        "ends_with": {"word": words[-1]},
    }
    return {**constraint, **own.get(constraint["kind"], {})}
