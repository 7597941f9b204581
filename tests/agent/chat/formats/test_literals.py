"""Literals of Python and JSON, read without running anything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.agent.chat.formats.literals import Literals, MalformedError
from journeyman.agent.chat.formats.pythonic import write_pythonic

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(plain)
def test_a_value_comes_back(value):
    assert Literals(write_pythonic(value), 0).value() == value


@given(plain)
def test_it_reads_what_python_writes(value):
    assert Literals(repr(value), 0).value() == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(1, 'a',)", [1, "a"]),
        ("[true, False, null, None]", [True, False, None, None]),
        (r"'it\'s \x41B😀\q'", "it's AB😀\\q"),
        ('"two\nlines"', "two\nlines"),
        (".5", 0.5),
        ("-3e2", -300.0),
        ("{'a': {}}", {"a": {}}),
    ],
)
def test_both_ways_of_writing(text, value):
    assert Literals(text, 0).value() == value


@pytest.mark.parametrize(
    "text",
    ["", "a", "f()", "[1", "{1: 2}", "{'a' 1}", "1 if x else 2"[2:], "9" * 5000, "[" * 5000, "'a", "__import__('os')"],
)
def test_anything_else_is_malformed(text):
    with pytest.raises(MalformedError):
        Literals(text, 0).value()


@given(st.text(alphabet="f(a=1,'\"[{}])\\ .eTrue", max_size=40))
def test_no_text_breaks_it(text):
    try:
        call = Literals(text, 0).call()
    except MalformedError:
        return
    assert call.name
