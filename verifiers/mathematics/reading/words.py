"""The words and signs that mathematics is read by, and a cursor over its tokens."""

from __future__ import annotations

from journeyman.verifiers.mathematics.reading.tokens import Token, Unreadable

MAX_DEPTH = 40
"""Brackets, roots, powers inside each other."""

GREEK = frozenset(
    {
        "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu",
        "xi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda",
        "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega", "ell", "hbar", "mho", "partial", "nabla", "imath",
        "jmath", "odot",
    }
)  # fmt: skip
r"""Commands that are letters. Variants (`\varphi`) are their letters."""
ACCENTS = {
    "vec": "vec", "overrightarrow": "vec", "hat": "hat", "widehat": "hat", "bar": "bar", "overline": "bar",
    "tilde": "tilde", "widetilde": "tilde", "dot": "dot", "ddot": "ddot", "overleftrightarrow": "line",
    "check": "check", "acute": "acute", "overparen": "arc", "overarc": "arc",
}  # fmt: skip
"""Commands that make another name of what they stand over."""
FIGURES = {"angle": "angle ", "measuredangle": "angle ", "triangle": "triangle ", "bigtriangleup": "triangle "}
"""Commands that make a name of the corners behind them."""
FUNCTIONS = frozenset(
    {
        "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "ln",
        "log", "exp", "sqrt", "root", "abs", "floor", "ceil", "factorial", "binomial",
    }
)  # fmt: skip
OPERATORS = frozenset(
    {
        "det",
        "deg",
        "dim",
        "ker",
        "arg",
        "rank",
        "tr",
        "sgn",
        "Re",
        "Im",
        "Var",
        "Cov",
        "Res",
        "span",
        "ord",
        "card",
        "neg",
        "lnot",
    }
)
"""Names of more than a letter for functions of things that are no numbers."""
OF_SEVERAL = frozenset({"gcd", "lcm", "max", "min"})
"""Functions whose arguments have no order."""
APPLIED = frozenset("fg")
"""Letters that before a bracket are functions, whatever stands in it; others where it is one symbol."""
CONDITIONED = frozenset({"P", "E", "p"})
"""Letters of which `P(A|B)` may be asked."""
INVERSES = {"sin": "arcsin", "cos": "arccos", "tan": "arctan"}
SAME = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "tg": "tan", "ctg": "cot", "arctg": "arctan",
}  # fmt: skip
CONSTANTS = {
    "\\pi": "pi", "\\infty": "infinity", "\\inf": "infinity", "\\oo": "infinity", "\\infinity": "infinity",
    "\\emptyset": "empty", "\\varnothing": "empty", "\\oslash": "empty",
}  # fmt: skip
RELATIONS = {
    "=": "=", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "!=": "!=", "\\le": "<=", "\\leq": "<=", "\\leqslant": "<=",
    "\\ge": ">=", "\\geq": ">=", "\\geqslant": ">=", "\\lt": "<", "\\gt": ">", "\\ne": "!=", "\\neq": "!=",
    "\\in": "in", "\\notin": "not in", "\\subset": "subset", "\\subseteq": "subset or equal",
    "\\supset": "superset", "\\supseteq": "superset or equal", "\\parallel": "parallel",
    "\\perp": "perpendicular", "\\sim": "similar", "\\cong": "congruent", "\\propto": "proportional",
    "\\approx": "~", "\\simeq": "~", "\\doteq": "~", "\\equiv": "≡",
}  # fmt: skip
SYMMETRIC = frozenset({"parallel", "perpendicular", "similar", "congruent"})
"""Relations that say the same with their sides exchanged."""
REVERSED = {"superset": "subset", "superset or equal": "subset or equal"}
ARROWS = {
    "\\Rightarrow": "=>", "\\implies": "=>", "\\Longrightarrow": "=>", "\\Leftrightarrow": "<=>", "\\iff": "<=>",
    "\\Longleftrightarrow": "<=>",
}  # fmt: skip
QUANTIFIERS = frozenset({"\\forall", "\\exists", "\\nexists"})
JOINTS = {",": "list", ";": "list", "\\and": "all", "\\land": "all", "\\or": "any", "\\lor": "any"}
SET_SIGNS = {"\\cup": "union", "\\cap": "intersection", "\\setminus": "minus", "\\backslash": "minus"}
CLOSERS = {"(": ")]", "[": "])", "{": "}", "\\{": "\\}", "\\langle": "\\rangle", "\\lfloor": "\\rfloor"}
CLOSERS |= {"\\lceil": "\\rceil", "\\lvert": "\\rvert"}
NO_FACTORS = {
    *RELATIONS,
    *JOINTS,
    *SET_SIGNS,
    *ARROWS,
    *QUANTIFIERS,
    "\\pm",
    "\\mp",
    "\\cdot",
    "\\times",
    "\\ast",
    "\\div",
    "\\mid",
    "\\pmod",
}
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
