"""The words and signs that mathematics is read by, and a cursor over its tokens."""

from __future__ import annotations

from journeyman.verifiers.mathematics.reading.tokens import Token, Unreadable

MAX_DEPTH = 40
"""Brackets, roots, powers inside each other."""

GREEK = frozenset(
    {
        "alpha", "beta", "gamma", "delta", "epsilon", "theta", "lambda", "mu", "nu", "rho", "sigma", "tau",
        "phi", "varphi", "omega", "psi", "ell",
    }
)  # fmt: skip
FUNCTIONS = frozenset(
    {
        "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "ln",
        "log", "exp", "sqrt", "root", "abs", "floor", "ceil", "factorial", "binomial",
    }
)  # fmt: skip
INVERSES = {"sin": "arcsin", "cos": "arccos", "tan": "arctan"}
SAME = {"asin": "arcsin", "acos": "arccos", "atan": "arctan"}
CONSTANTS = {
    "\\pi": "pi", "\\infty": "infinity", "\\inf": "infinity", "\\oo": "infinity", "\\infinity": "infinity",
    "\\emptyset": "empty", "\\varnothing": "empty",
}  # fmt: skip
RELATIONS = {
    "=": "=", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "!=": "!=", "\\le": "<=", "\\leq": "<=", "\\leqslant": "<=",
    "\\ge": ">=", "\\geq": ">=", "\\geqslant": ">=", "\\lt": "<", "\\gt": ">", "\\ne": "!=", "\\neq": "!=",
    "\\in": "in",
}  # fmt: skip
JOINTS = {",": "list", ";": "list", "\\and": "all", "\\land": "all", "\\or": "any", "\\lor": "any"}
SET_SIGNS = {"\\cup": "union", "\\cap": "intersection", "\\setminus": "minus", "\\backslash": "minus"}
CLOSERS = {"(": ")]", "[": "])", "{": "}", "\\{": "\\}", "\\langle": "\\rangle", "\\lfloor": "\\rfloor"}
CLOSERS |= {"\\lceil": "\\rceil", "\\lvert": "\\rvert"}
NO_FACTORS = {*RELATIONS, *JOINTS, *SET_SIGNS, "\\pm", "\\mp", "\\cdot", "\\times", "\\ast", "\\div", "\\mid"}
ENDS = frozenset([")", "]", "}", "\\}", "\\rangle", "\\rfloor", "\\rceil", "\\rvert", "&", "\\\\", "\\end"])


class Cursor:
    """A place among tokens, and how deep in brackets it is."""

    def __init__(self, found: list[Token]) -> None:
        self.tokens = found
        self.at = 0
        self.depth = 0
        self.bars = 0  # open |

    def peek(self, ahead: int = 0) -> str:
        """The text of a token to come; nothing after the last."""
        return self.tokens[self.at + ahead].text if self.at + ahead < len(self.tokens) else ""

    def kind(self, ahead: int = 0) -> str:
        """The kind of a token to come; nothing after the last."""
        return self.tokens[self.at + ahead].kind if self.at + ahead < len(self.tokens) else ""

    def take(self, *texts: str) -> str:
        """The next token if it is one of these, else nothing."""
        if self.at < len(self.tokens) and self.kind() != "number" and self.peek() in texts:
            self.at += 1
            return self.tokens[self.at - 1].text
        return ""

    def want(self, *texts: str) -> str:
        """The next token, which must be one of these; raises Unreadable where it is not."""
        found = self.take(*texts)
        if not found:
            raise Unreadable(f"{' or '.join(texts)} is missing before {self.peek()[:20] or 'the end'!r}")
        return found

    def deeper(self, by: int) -> None:
        """Goes so many levels in, or out; raises Unreadable beyond `MAX_DEPTH`."""
        self.depth += by
        if self.depth > MAX_DEPTH:
            raise Unreadable(f"nested deeper than {MAX_DEPTH}")
