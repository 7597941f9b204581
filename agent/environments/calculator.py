"""A pocket calculator for agents: exact arithmetic by a small parser, never by `eval`.

Grammar, loosest binding first (blanks between tokens are ignored):

    sum     = product (("+" | "-") product)*
    product = factor (("*" | "x" | "×" | "/" | "÷" | "//") factor)*
    factor  = ("+" | "-" | "$") factor | atom "%"*
    atom    = number | "(" sum ")"
    number  = digits with thousands commas or without, with a decimal part or without: 1,200  .5  12.50

`%` divides by 100 (so 100+20% is 100.2), `//` rounds the quotient down, `$` says nothing.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from decimal import Context, Decimal
from fractions import Fraction

from journeyman.agent.data import Tool, ToolCall

CALCULATOR = Tool(
    "calculator",
    "Works out an arithmetic expression, e.g. (48+24)/2.",
    {
        "type": "object",
        "properties": {"expression": {"type": "string", "description": "numbers with + - * / % and brackets"}},
        "required": ["expression"],
    },
)
MAX_LENGTH = 200
"""Characters in an expression; it bounds the digits of every number on the way too, for there is no power."""
MAX_DEPTH = 20
"""Brackets and signs inside one another."""

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+)|(?P<sign>//|[-+*x×/÷()%$]))"
)
_EXACT = Context(prec=2 * MAX_LENGTH + 12)
_ROUNDED = Context(prec=10)
_PRODUCTS: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    "*": operator.mul,
    "x": operator.mul,
    "×": operator.mul,
    "/": operator.truediv,
    "÷": operator.truediv,
    "//": lambda left, right: Fraction(left // right),
}


def calculate(expression: str) -> Fraction:
    """The exact value. Raises ValueError, with a sentence the agent can use, for anything that is no expression."""
    if len(expression) > MAX_LENGTH:
        raise ValueError(f"the expression is longer than {MAX_LENGTH} characters")
    parser = _Parser(_tokens(expression))
    value = parser.sum(depth=0)
    if parser.peek() != "":
        raise ValueError(f"unexpected {parser.peek()!r}")
    return value


def format_number(value: Fraction) -> str:
    """The value as GSM8K writes numbers: exact where at most 12 decimals do it, else to 10 significant digits.

    E.g. 72, 0.2, -2.5, 3.333333333; no thousands commas, no trailing zeros, no exponent.
    """
    if value.denominator == 1:
        return str(value.numerator)
    context = _EXACT if (value * 10**12).denominator == 1 else _ROUNDED
    digits = format(context.divide(Decimal(value.numerator), Decimal(value.denominator)), "f")
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def answer_call(call: ToolCall) -> str:
    """What the agent sees after a call: the number, or "error: ..." for a call that cannot be worked out."""
    if call.name != CALCULATOR.name:
        return f"error: there is no tool {call.name!r}; the one tool is {CALCULATOR.name!r}"
    if list(call.arguments) != ["expression"]:
        return "error: calculator takes one argument, 'expression'"
    try:
        return format_number(calculate(str(call.arguments["expression"])))
    except ValueError as error:
        return f"error: {error}"


def _tokens(expression: str) -> list[str]:
    found, position, text = [], 0, expression.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"cannot read {text[position:].strip()[:20]!r}")
        found.append(match.group().strip())
        position = match.end()
    return found


class _Parser:
    def __init__(self, tokens: list[str]) -> None:
        self._tokens = [*tokens, ""]  # the empty token marks the end
        self._at = 0

    def peek(self) -> str:
        return self._tokens[self._at]

    def _take(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1]

    def sum(self, depth: int) -> Fraction:
        value = self._product(depth)
        while self.peek() in {"+", "-"}:
            sign = -1 if self._take() == "-" else 1
            value += sign * self._product(depth)
        return value

    def _product(self, depth: int) -> Fraction:
        value = self._factor(depth)
        while self.peek() in _PRODUCTS:
            operate = _PRODUCTS[self._take()]
            right = self._factor(depth)
            if right == 0 and operate is not operator.mul:
                raise ValueError("division by zero")
            value = operate(value, right)
        return value

    def _factor(self, depth: int) -> Fraction:
        if depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} brackets or signs inside one another")
        if self.peek() in {"+", "-", "$"}:
            sign = -1 if self._take() == "-" else 1
            return sign * self._factor(depth + 1)
        value = self._atom(depth)
        while self.peek() == "%":
            self._take()
            value /= 100
        return value

    def _atom(self, depth: int) -> Fraction:
        found = self._take()
        if found == "(":
            value = self.sum(depth + 1)
            if self._take() != ")":
                raise ValueError("a bracket is not closed")
            return value
        if found[-1:] in "-+*x×/÷)%$":  # the empty end mark too
            raise ValueError(f"a number is missing before {found!r}" if found else "a number is missing at the end")
        return Fraction(found.replace(",", "").rstrip("."))
