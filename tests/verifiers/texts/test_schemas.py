"""JSON read strictly, and schemas that neither hang nor fetch."""

import json
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeyman.verifiers.texts.json_numbers import is_multiple
from journeyman.verifiers.texts.schemas import (
    MAX_DEPTH,
    MAX_VALUES,
    SECONDS,
    BadJson,
    Schema,
    check_size,
    read_json,
    schema_of,
)

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
        (
            {"properties": {"a": {"anyOf": [{}, {"pattern": "a\\Z"}]}}},
            r"^\$\.properties\.a\.anyOf\[1\]\.pattern: expression 'a.*Z', at character 3: .*means nothing: use \$$",
        ),
        ({"properties": {"a\n": {"pattern": "\n["}}}, r"^\$\.properties\.'a\\n'\.pattern: expression '\\n\[', at char"),
        (
            {"$defs": {"a": {"patternProperties": {"(?i)a": {}}}}},
            r"^\$\.\$defs\.a\.patternProperties: expression '\(\?i\)a', at character 1: '\(\?' begins no group",
        ),
    ],
)
def test_a_bad_schema_is_told_when_it_is_made(schema, why):
    with pytest.raises(ValueError, match=why):
        Schema(schema)


def test_a_reference_that_is_only_data_is_none():
    assert Schema({"enum": [{"$ref": "https://example.org"}]}).fault({"$ref": "https://example.org"}) is None


REST = {"unevaluatedProperties": False}
DRAFT_3, DRAFT_4, DRAFT_6 = (f"http://json-schema.org/draft-0{n}/schema#" for n in (3, 4, 6))


@pytest.mark.parametrize(
    ("schema", "text", "fits"),
    [
        ('{"multipleOf": 0.01}', "300.52", True),
        ('{"multipleOf": 0.01}', "300.525", False),
        ('{"multipleOf": 0.1}', "1.4", True),
        ('{"multipleOf": 0.3}', "0.9", True),
        ('{"multipleOf": 0.1}', "0.15", False),
        ('{"multipleOf": 0.0001}', "-74.77", True),
        ('{"multipleOf": 11.0}', "9007199254740995", True),
        ('{"multipleOf": 11.0}', "9007199254740996", False),
        ('{"multipleOf": 2.0}', "9007199254740993", False),
        ('{"multipleOf": 0.01}', "12345678901234567.89", True),
        ('{"multipleOf": 0.01}', "12345678901234567.891", False),
        ('{"multipleOf": 1e-300}', "1e308", True),
        ('{"multipleOf": 3e-300}', "1e308", False),
        ('{"multipleOf": 0.123456789}', "1e308", False),
        ('{"multipleOf": 1e300}', "1e308", True),
        ('{"multipleOf": 1e308}', "1e-999999999999", False),
        ('{"multipleOf": 1e308}', "1e-99999999999999999999", True),
        ('{"exclusiveMinimum": 0}', "1e-999999999999", True),
        ('{"multipleOf": 1e-5}', "0.00075", True),
        ('{"multipleOf": 7}', "0.0", True),
        ('{"multipleOf": 1}', "1e2", True),
        (f'{{"$schema": "{DRAFT_3}", "divisibleBy": 0.01}}', "300.52", True),
        (f'{{"$schema": "{DRAFT_3}", "divisibleBy": 0.01}}', "300.525", False),
        ('{"maximum": 1e23}', "100000000000000000000000", True),
        ('{"maximum": 1e23}', "100000000000000000000001", False),
        ('{"exclusiveMinimum": 0.1}', "0.10000000000000000001", True),
        ('{"exclusiveMaximum": 972783798187987123879878123.18878137}', "972783798187987123879878123.188781369", True),
        ('{"exclusiveMaximum": 972783798187987123879878123.18878137}', "972783798187987123879878123.188781371", False),
        ('{"minimum": 9007199254740993}', "9007199254740992.0", False),
        ('{"minimum": 9007199254740993}', "9007199254740993.0", True),
        (f'{{"$schema": "{DRAFT_4}", "minimum": 1.1, "exclusiveMinimum": true}}', "1.10", False),
        (f'{{"$schema": "{DRAFT_4}", "maximum": 1.1, "exclusiveMaximum": false}}', "1.10", True),
        ('{"const": 1}', "1.0", True),
        ('{"const": 1}', "true", False),
        ('{"const": {"a": [0.1]}}', '{"a": [0.10]}', True),
        ('{"const": 9007199254740993}', "9007199254740993.0", True),
        ('{"const": 9007199254740992}', "9007199254740993", False),
        ('{"enum": [1e23, [false]]}', "100000000000000000000000", True),
        ('{"enum": [1e23, [false]]}', "[0]", False),
        ('{"uniqueItems": true}', "[1e23, 100000000000000000000000]", False),
        ('{"uniqueItems": true}', "[9007199254740992, 9007199254740993, 9007199254740993.5]", True),
        ('{"type": "integer"}', "1e3", True),
        ('{"type": "integer"}', "9007199254740993.5", False),
        (f'{{"$schema": "{DRAFT_6}", "type": "integer"}}', "1.0", True),
        (f'{{"$schema": "{DRAFT_4}", "type": "integer"}}', "1.0", False),
    ],
)
def test_numbers_are_taken_as_they_are_written(schema, text, fits):
    assert (schema_of(schema).fault(read_json(text)) is None) == fits


@given(
    st.decimals(-(10**9), 10**9, places=4), st.decimals(Decimal("0.0001"), 1000, places=4), st.integers(-(10**6), 10**6)
)
def test_a_multiple_is_one_of_fractions(number, divisor, times):
    whole = (Fraction(number) / Fraction(divisor)).denominator == 1
    assert is_multiple(read_json(f"[{number}]")[0], read_json(f"[{divisor}]")[0]) == whole
    assert is_multiple(read_json(f"[{times * divisor}]")[0], read_json(f"[{divisor}]")[0])
    assert is_multiple(read_json(f"[{number}e-9]")[0], read_json(f"[{divisor}e-9]")[0]) == whole


def test_a_number_of_the_settings_is_its_shortest_decimal():
    made = Schema({"multipleOf": 0.01, "maximum": 1e300})
    assert made.fault(300.52) is None
    assert made.fault(300.525) == "$: 300.525 is not a multiple of 0.01"
    assert made.fault(10**301) == f"$: {'1' + '0' * 139} ... {'0' * 17} is greater than the maximum of 1e+300"


@pytest.mark.parametrize("bad", ['{"minimum": NaN}', '{"maximum": 1e400}', '{"enum": [-Infinity]}'])
def test_what_is_no_number_is_none_in_a_schema_either(bad):
    with pytest.raises(ValueError, match="is not a finite number"):
        schema_of(bad)


@pytest.mark.parametrize(
    ("schema", "value", "fault"),
    [
        ({"allOf": [{"patternProperties": {r"^\p{L}\d$": True}}], **REST}, {"é1": 0}, None),
        (
            {"allOf": [{"patternProperties": {r"^\p{L}\d$": True}}], **REST},
            {"é١": 0},
            "$: 'é١' is no property it may have",
        ),
        ({"patternProperties": {"^a": True}, "unevaluatedProperties": {"type": "null"}}, {"b": 1, "ab": 1}, "$.b: 1"),
        (
            {"$ref": "#/$defs/a", "$defs": {"a": {"properties": {"b": True}}}, **REST},
            {"b": 1},
            None,
        ),
        ({"anyOf": [{"required": ["a"]}, {"properties": {"b": {}}}], **REST}, {"b": 1}, None),
        (
            {"not": {"properties": {"a": {"const": 1}}}, **REST},
            {"a": 2},
            "$: 'a' is no property",
        ),
        ({"if": {"properties": {"a": {"const": 1}}}, **REST}, {"a": 1}, None),
        (
            {"if": {"properties": {"a": {"const": 1}}}, **REST},
            {"a": 2},
            "$: 'a' is no property",
        ),
        (
            {"dependentSchemas": {"a": {"properties": {"a": {}, "b": {}}}}, **REST},
            {"a": 1, "b": 2},
            None,
        ),
    ],
    ids=range(9),
)
def test_what_other_keywords_have_evaluated_is_known(schema, value, fault):
    found = Schema(schema).fault(value)
    assert found is None if fault is None else found.startswith(fault)


def test_a_part_of_a_schema_that_names_a_draft_is_no_way_around_the_keywords():
    for draft in (DRAFT_6, "https://json-schema.org/draft/2020-12/schema"):
        whole = {"$schema": draft, "properties": {"a": {"$ref": "#"}, "b": {"pattern": r"^\d$"}}}
        assert Schema(whole).fault({"a": {"a": {"b": "1"}}}) is None
        assert Schema(whole).fault({"a": {"a": {"b": "١"}}}) == r"$.a.a.b: '١' does not match '^\\d$'"
        part = {"properties": {"a": {"$id": "https://example.org/a", "$schema": draft, "pattern": r"^\d$"}}}
        assert Schema(part).fault({"a": "١"}) == r"$.a: '١' does not match '^\\d$'"


def test_the_drafts_own_schemas_are_at_hand():
    made = Schema({"$ref": "https://json-schema.org/draft/2020-12/schema"})
    assert made.fault({"minLength": 1}) is None
    assert made.fault({"minLength": -1}) == "$.minLength: -1 is less than the minimum of 0"


def test_references_in_a_circle_are_told():
    with pytest.raises(ValueError, match="references lead in a circle"):
        Schema({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#"}}}).fault(1)


BOMB = "^(a|a)+$"


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"pattern": BOMB}, "a" * 40 + "b"),
        ({"patternProperties": {BOMB: {}}}, {"a" * 40 + "b": 1}),
        ({"patternProperties": {BOMB: {}}, "additionalProperties": False}, {"a" * 40 + "b": 1}),
        ({"propertyNames": {"pattern": BOMB}}, {"a" * 40 + "b": 1}),
        ({"allOf": [{"patternProperties": {BOMB: {}}}], **REST}, {"a" * 40 + "b": 1}),
        ({"$schema": DRAFT_6, "items": {"$ref": "#"}, "pattern": BOMB}, ["a" * 40 + "b"]),
        ({"anyOf": [{"items": {"$ref": "#"}, "type": "array"}] * 2}, read_json("[" * 60 + "1" + "]" * 60)),
    ],
    ids=range(7),
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
