"""Untyped texts and the types that a schema gives them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.agent.chat.formats.values import schema_of, typed, untyped
from journeyman.agent.data import Tool

STRING, INTEGER, ANY = {"type": "string"}, {"type": "integer"}, {}
MAYBE = {"anyOf": [{"type": "string"}, {"type": "null"}]}


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("3", STRING, "3"),
        ("3", INTEGER, 3),
        (" 3 ", INTEGER, 3),
        ("three", INTEGER, "three"),
        ("9" * 5000, INTEGER, "9" * 5000),
        ("NaN", {"type": "number"}, "NaN"),
        ("False", {"type": "boolean"}, False),
        ("None", {"type": ["object", "null"]}, None),
        ("null", MAYBE, None),
        ("3", MAYBE, "3"),
        ("up", {"enum": ["up", "down"]}, "up"),
        ("2", {"enum": [1, 2]}, 2),
        ("1", {"const": "1"}, "1"),
        ("[1]", ANY, [1]),
        ("[1", ANY, "[1"),
        ("[" * 5000, ANY, "[" * 5000),
        ("3", {"type": ["string", "number"]}, 3),
    ],
)
def test_a_text_has_the_type_that_its_schema_allows(text, schema, value):
    assert typed(text, schema) == value
    assert type(typed(text, schema)) is type(value)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(plain, st.sampled_from([ANY, {"type": ["string", "null", "number", "boolean", "array", "object"]}]))
def test_any_value_comes_back_where_any_is_allowed(value, schema):
    assert typed(untyped(value, schema), schema) == value


@given(st.text())
def test_texts_are_written_as_they_are(text):
    assert untyped(text, STRING) == text


def test_odd_schemas_say_nothing():
    assert schema_of(None, "a") == {}
    assert schema_of(Tool("f", "", {"properties": [1]}), "a") == {}
    assert schema_of(Tool("f", "", {"properties": {"a": True}}), "a") == {}
    assert typed("1", {"type": {}, "anyOf": [{"anyOf": [3]}]}) == 1
