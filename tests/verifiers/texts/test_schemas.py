"""JSON read strictly, and schemas that neither hang nor fetch."""

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeyman.verifiers.texts.schemas import MAX_DEPTH, MAX_VALUES, SECONDS, BadJson, Schema, check_size, read_json

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**300), 10**300)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
TREE = {"anyOf": [{"type": "number"}, {"type": "array", "items": {"$ref": "#"}}]}


@settings(deadline=None, max_examples=50)  # the first call imports
@given(VALUES)
def test_what_json_writes_is_read(value):
    assert read_json(json.dumps(value)) == value
    assert Schema({"const": value}).fault(value) is None


@given(st.text())
def test_any_text_is_read_or_refused(text):
    with suppress(BadJson):
        value = read_json(text)
        assert json.loads(text) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Expecting value"),
        ("{'a': 1}", "double quotes"),
        ("[1] [2]", "Extra data"),
        ("NaN", "NaN is not a finite number"),
        ("[-Infinity]", "-Infinity is not a finite number"),
        ("1e400", "1e400 is not a finite number"),
        ("1" * 400, "is not a finite number"),
        ("1" * 10_000, "is not a finite number"),
        ('{"a": 1, "a": 1}', "a key stands twice"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), f"deeper than {MAX_DEPTH}"),
        ("[" * 500_000, f"deeper than {MAX_DEPTH}"),
        ('{"a":' * 100_000, f"deeper than {MAX_DEPTH}"),
        (json.dumps([0] * MAX_VALUES), f"more than {MAX_VALUES} values"),
        (json.dumps("a" * 10**6), "longer than 1000000 characters"),
    ],
    ids=range(14),
)
def test_what_is_not_json_or_too_much_is_refused(text, why, own_time):
    started = own_time()
    with pytest.raises(BadJson, match=why):
        read_json(text)
    assert own_time() - started < 1


def test_the_limits_are_the_last_that_pass():
    deep = read_json("[" * MAX_DEPTH + "1" + "]" * MAX_DEPTH)
    assert Schema(TREE).fault(deep) is None
    assert len(read_json(json.dumps([0] * (MAX_VALUES - 1)))) == MAX_VALUES - 1
    with pytest.raises(BadJson, match="deeper"):
        check_size([deep])


@pytest.mark.parametrize(
    ("schema", "value", "fault"),
    [
        ({"type": "integer"}, 1.0, None),
        ({"type": "integer"}, True, "$: True is not of type 'integer'"),
        ({"properties": {"a": {"items": {"minimum": 1}}}}, {"a": [1, 0]}, "$.a[1]: 0 is less than the minimum of 1"),
        ({"required": ["a"]}, {}, "$: 'a' is a required property"),
        ({"pattern": "^a+$"}, "aab", "$: 'aab' does not match '^a+$'"),
        ({"patternProperties": {"^a": {"type": "null"}}}, {"ab": None, "b": 1}, None),
        ({"patternProperties": {"^a": {"type": "null"}}}, {"ab": 1}, "$.ab: 1 is not of type 'null'"),
        ({"additionalProperties": False, "properties": {"a": True}}, {"a": 1}, None),
        ({"additionalProperties": False}, {"b": 1}, "$: 'b' is no property it may have"),
        ({"additionalProperties": False, "patternProperties": {"^b": True}}, {"b": 1}, None),
        ({"additionalProperties": {"type": "null"}}, {"b": 1}, "$.b: 1 is not of type 'null'"),
        ({"uniqueItems": True}, [1, True, "1", [1], {"a": 1}, {"a": True}], None),
        ({"uniqueItems": True}, [{"a": [1.0]}, {"a": [1]}], "$: an item stands twice"),
        ({"multipleOf": 0.5}, 10**308, None),
        ({"anyOf": [{"type": "null"}, {"required": ["a"]}]}, {}, "$: {} is not valid under any of the given schemas"),
        ({"$defs": {"a": {"type": "null"}}, "$ref": "#/$defs/a"}, 1, "$: 1 is not of type 'null'"),
        (
            {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "null"}]},
            [1],
            "$[0]: 1 is not of type 'null'",
        ),
        (True, [1], None),
        (False, 1, "$: False schema does not allow 1"),
    ],
)
def test_faults_say_where_and_what(schema, value, fault):
    made = Schema(schema)
    assert [made.fault(value), made.fault(value)] == [fault, fault]


def test_a_long_fault_is_cut():
    fault = Schema({"type": "null"}).fault("a" * 10**6)
    assert len(fault) < 250
    assert fault.endswith("is not of type 'null'")


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ([1], "a JSON schema is an object, got list"),
        ({"type": "strin"}, r"\$\.type: 'strin' is not valid"),
        ({"pattern": "("}, r"\$\.pattern"),
        ({"$ref": "https://example.org/schema.json"}, "'https://example.org/schema.json' is not in the schema"),
        ({"$ref": "file:///etc/passwd"}, "nothing is fetched"),
        ({"properties": {"a": {"$ref": "#/$defs/a"}}}, "'#/\\$defs/a' is not in the schema"),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"a": {"$ref": "x"}}}, "'x' is not in"),
        ({"patternProperties": {"a": {}}, "unevaluatedProperties": False}, "use 'additionalProperties'"),
    ],
)
def test_a_bad_schema_is_told_when_it_is_made(schema, why):
    with pytest.raises(ValueError, match=why):
        Schema(schema)


def test_a_reference_that_is_only_data_is_none():
    assert Schema({"enum": [{"$ref": "https://example.org"}]}).fault({"$ref": "https://example.org"}) is None


BOMB = "^(a|a)+$"


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"pattern": BOMB}, "a" * 40 + "b"),
        ({"patternProperties": {BOMB: {}}}, {"a" * 40 + "b": 1}),
        ({"patternProperties": {BOMB: {}}, "additionalProperties": False}, {"a" * 40 + "b": 1}),
        ({"propertyNames": {"pattern": BOMB}}, {"a" * 40 + "b": 1}),
        ({"anyOf": [{"items": {"$ref": "#"}, "type": "array"}] * 2}, read_json("[" * 60 + "1" + "]" * 60)),
    ],
    ids=range(5),
)
def test_what_would_take_for_ever_is_stopped(schema, value, own_time):
    made = Schema(schema)
    started = own_time()
    with pytest.raises(TimeoutError, match=f"the check took over {SECONDS} s"):
        made.fault(value)
    assert own_time() - started < 1
    assert made.fault(0 if "anyOf" not in schema else []) is None


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"uniqueItems": True}, [{"a": i} for i in range(9_000)]),
        ({"items": {"type": "string"}}, list(range(19_000))),
        ({"pattern": "^b"}, "a" * 900_000),
    ],
)
def test_much_is_checked_quickly(schema, value, own_time):
    made = Schema(schema)
    started = own_time()
    made.fault(value)
    assert own_time() - started < 0.5
