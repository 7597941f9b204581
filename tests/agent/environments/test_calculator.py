"""The calculator: exact values, GSM8K's way of writing them, and errors as text."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeyman.agent.data import ToolCall
from journeyman.agent.environments.calculator import MAX_LENGTH, answer_call, calculate, format_number


def shown(expression):
    return answer_call(ToolCall("calculator", {"expression": expression}))


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("48/2", "24"),
        ("12/60", "0.2"),
        (".5*2", "1"),
        ("5", "5"),
        ("5.", "5"),
        ("1/2", "0.5"),
        ("20*.01*50", "10"),
        ("20%*50", "10"),
        ("100+20%", "100.2"),
        ("$1,200.50 + $0.50", "1201"),
        ("2x3×4", "24"),
        ("8÷4", "2"),
        ("560//10", "56"),
        ("7//2", "3"),
        ("-14+-8+1", "-21"),
        ("-18/-2", "9"),
        ("1.75-(-1.25)", "3"),
        ("-$5", "-5"),
        ("10-4-3", "3"),
        ("100/10/5", "2"),
        ("2+3*4", "14"),
        ("(2+3)*4", "20"),
        ("10/3", "3.333333333"),
        ("-1/3", "-0.3333333333"),
        ("1/3000000", "0.0000003333333333"),
        ("1/8", "0.125"),
        ("0.1+0.2", "0.3"),
        ("1/1000000000000", "0.000000000001"),
        ("99999999999999999999*99999999999999999999", "9999999999999999999800000000000000000001"),
        ("123456789012345678901234567890.5+0", "123456789012345678901234567890.5"),
    ],
)
def test_results_are_exact_and_short(expression, result):
    assert shown(expression) == result


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "a number is missing at the end"),
        ("1+", "a number is missing at the end"),
        ("*2", "a number is missing before '*'"),
        ("(1+2", "a bracket is not closed"),
        ("1+2)", "unexpected ')'"),
        ("2 3", "unexpected '3'"),
        ("1,2000", "unexpected '0'"),
        ("2**3", "a number is missing before '*'"),
        ("5 apples", "cannot read 'apples'"),
        ("__import__('os')", "cannot read \"__import__('os')\""),
        ("٣+1", "cannot read '٣+1'"),
        ("1/0", "division by zero"),
        ("1//(2-2)", "division by zero"),
        ("9*" * MAX_LENGTH, "the expression is longer than 200 characters"),
        ("(" * 90 + "1" + ")" * 90, "more than 20 brackets or signs inside one another"),
        ("-" * 100 + "1", "more than 20 brackets or signs inside one another"),
    ],
)
def test_errors_are_observations(expression, message):
    assert shown(expression) == f"error: {message}"


def test_malformed_calls_are_observations():
    assert answer_call(ToolCall("calculater", {"expression": "1"})).startswith("error: there is no tool 'calculater'")
    assert answer_call(ToolCall("calculator", {"sum": "1"})) == "error: calculator takes one argument, 'expression'"
    assert answer_call(ToolCall("calculator", {"expression": 5})) == "5"
    assert answer_call(ToolCall("calculator", {"expression": None})) == "error: cannot read 'None'"


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(alphabet="0123456789.,+-*/x%$() ", max_size=40) | st.text(max_size=40))
def test_any_text_gives_a_number_or_an_error(text):
    result = shown(text)
    assert result.startswith("error: ") or calculate(result) is not None


_LEAVES = st.integers(0, 999).map(lambda n: (str(n), Fraction(n)))


def _join(children):
    def combine(parts):
        (left, a), sign, (right, b) = parts
        if sign == "/" and b == 0:
            sign = "+"
        value = {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else a}[sign]
        return f"({left}{sign}{right})", value

    return st.tuples(children, st.sampled_from("+-*/"), children).map(combine)


@settings(deadline=None)  # a busy machine is no failure
@given(st.recursive(_LEAVES, _join, max_leaves=12))
def test_values_equal_those_of_fractions(case):
    expression, value = case
    if len(expression) <= MAX_LENGTH:
        assert calculate(expression) == value


@settings(deadline=None)  # a busy machine is no failure
@given(st.decimals(-(10**9), 10**9, places=6))
def test_a_written_number_reads_back_as_itself(value):
    assert calculate(format_number(Fraction(value))) == Fraction(value)
