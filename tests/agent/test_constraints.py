"""Constraints as data: what each kind asks, takes and refuses."""

import json
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.agent.constraints import (
    KINDS,
    canonical_constraints,
    lines_of,
    satisfied,
    sentence_of,
    sentences_of,
    words_of,
)
from journeyman.agent.errors import DataError, UnknownNameError


def holds(text, **constraint):
    (canonical,) = canonical_constraints([constraint])
    return satisfied([canonical], text) == [canonical]


@pytest.mark.parametrize(
    ("constraint", "sentence", "right", "wrong"),
    [
        ({"kind": "words", "count": 2}, "Write exactly 2 words.", ["a b", '{"A": "b"}'], ["a", "a b c", "a-b"]),
        ({"kind": "words", "count": 1}, "Write exactly 1 word.", ["don't", "well-known."], ["a b", "..."]),
        ({"kind": "min_words", "count": 2}, "Write at least 2 words.", ["a b", "a b c"], ["a", ""]),
        ({"kind": "max_words", "count": 2}, "Write at most 2 words.", ["a", "a, b!"], ["a b c", "", "!"]),
        ({"kind": "use", "word": "Cat"}, "Use the word cat.", ["a cat.", "CAT", '"cat"'], ["cats", "concat", ""]),
        ({"kind": "avoid", "word": "cat"}, "Do not use the word cat.", ["cats", "dog"], ["a Cat.", ""]),
        ({"kind": "starts_with", "word": "a"}, "Begin with the word a.", ["A b", '{"a": 1}'], ["ab", "b a", ""]),
        ({"kind": "ends_with", "word": "a"}, "End with the word a.", ["b a.", '{"b": "a"}'], ["ba", "a b", ""]),
        ({"kind": "case", "case": "upper"}, "Write in upper case.", ["A B1."], ["A b", "1", ""]),
        ({"kind": "case", "case": "lower"}, "Write in lower case.", ["a b1."], ["A b", "1", ""]),
        (
            {"kind": "json"},
            "Answer in JSON.",
            ['"a"', " [1]\n", "3"],
            ["a", "{}", "NaN", "[" * 99999 + "1", "1" * 5000],
        ),
        ({"kind": "json", "key": "a"}, "Answer in JSON with the key a.", ['{"a": 1}'], ['"a"', '{"A": 1}', '["a"]']),
        ({"kind": "sentences", "count": 2}, "Write 2 sentences.", ["A. B", "a!? b.", "3.5. b"], ["a.", "a. b. c"]),
        ({"kind": "sentences", "count": 1}, "Write 1 sentence.", ["a", "a...", "3.5"], ["a. b", "."]),
        ({"kind": "lines", "count": 2}, "Write 2 lines.", ["a\nb", "\na\n\n b\n"], ["a", "a\nb\nc"]),
    ],
)
def test_kinds(constraint, sentence, right, wrong):
    assert sentence_of(canonical_constraints([constraint])[0]) == sentence
    assert [holds(text, **constraint) for text in right] == [True] * len(right)
    assert [holds(text, **constraint) for text in wrong] == [False] * len(wrong)


def test_every_kind_has_a_row_in_the_table_of_the_documents():
    from pathlib import Path

    page = (Path(__file__).parents[2] / "docs" / "environments.md").read_text()
    table = page.split("| kind | arguments | the text |")[1].split("\n\n")[0]
    assert [kind for kind in KINDS if f"`{kind}`" not in table] == []


def test_the_order_is_canonical_and_repeats_are_dropped():
    some = [{"count": 3, "kind": "words"}, {"kind": "use", "word": "Sun"}, {"kind": "use", "word": "cat"}]
    expected = [{"kind": "use", "word": "cat"}, {"kind": "use", "word": "sun"}, {"kind": "words", "count": 3}]
    for order in permutations(some):
        found = canonical_constraints([*order, {"kind": "use", "word": "SUN"}])
        assert json.dumps(found) == json.dumps(expected)
        assert canonical_constraints(found) == found


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        ({"kind": "word", "count": 3}, "unknown kind of constraint 'word': did you mean 'words'?"),
        ({"kind": "words", "cuont": 3}, "constraint 'words' takes no argument 'cuont': did you mean 'count'?"),
        ({"kind": "words"}, "constraint 'words' lacks its argument 'count'"),
        ({"kind": "words", "count": 0}, "constraint 'words': 'count' must be a whole number of at least 1, got 0"),
        ({"kind": "words", "count": True}, "'count' must be a whole number of at least 1, got True"),
        ({"kind": "lines", "count": "2"}, "'count' must be a whole number of at least 1, got '2'"),
        ({"kind": "use", "word": "two words"}, "constraint 'use': 'word' must be one word, got 'two words'"),
        ({"kind": "case", "case": "Upper"}, "'case' must be 'upper' or 'lower', got 'Upper'"),
        ({"kind": "json", "key": ""}, "'key' must be text of at least one character, got ''"),
        ({"count": 3}, "a constraint must be an object with a 'kind'"),
        ("words", "a constraint must be an object with a 'kind'"),
    ],
)
def test_what_is_no_constraint_is_refused(constraint, message):
    with pytest.raises((DataError, UnknownNameError)) as caught:
        canonical_constraints([{"kind": "json"}, constraint])
    assert message in str(caught.value)


@pytest.mark.parametrize("goal", [[], None, {"kind": "json"}, "json"])
def test_what_is_no_list_of_constraints_is_refused(goal):
    with pytest.raises(DataError, match="must be a list with at least one in it"):
        canonical_constraints(goal)


@given(st.text())
def test_any_text_can_be_judged(text):
    count = len(words_of(text))
    goal = [{"kind": kind, "count": max(count, 1)} for kind in ("words", "min_words", "max_words")]
    constraints = canonical_constraints([*goal, {"kind": "json"}, {"kind": "case", "case": "upper"}])
    kept = satisfied(constraints, text)
    assert [c for c in constraints if c in kept] == kept
    assert (len(kept) >= 3) == (count > 0)
    assert (sentences_of(text) > 0) == (lines_of(text) > 0 and count > 0)
