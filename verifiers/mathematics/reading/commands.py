r"""LaTeX's commands and what they take: functions, fields, accents, matrices, systems of equations."""

from __future__ import annotations

from abc import abstractmethod

from journeyman.verifiers.mathematics.reading.atoms import Atoms
from journeyman.verifiers.mathematics.reading.nodes import Node, matrix_of, negative, number, quotient
from journeyman.verifiers.mathematics.reading.tokens import Unreadable
from journeyman.verifiers.mathematics.reading.words import (
    ACCENTS,
    CONSTANTS,
    FIGURES,
    FUNCTIONS,
    GREEK,
    INVERSES,
    OF_SEVERAL,
    OPERATORS,
    RELATIONS,
    SAME,
)

_MATRICES = frozenset({"matrix", "pmatrix", "bmatrix", "vmatrix", "Bmatrix", "smallmatrix", "array"})
_SYSTEMS = frozenset({"cases", "aligned", "align", "alignedat", "gathered", "gather", "split", "equation", "dcases"})
_FIELDS = frozenset("RZNQC")


class Commands(Atoms):
    """Reads what a command stands for."""

    @abstractmethod
    def related(self) -> Node:
        """A relation, or a value."""

    def command(self, word: str) -> Node:  # noqa: C901, PLR0911 - one return for each kind
        """What a word that begins with a backslash stands for; raises Unreadable for those that are not known."""
        if word in CONSTANTS:
            return Node(CONSTANTS[word])
        name = SAME.get(word[1:], word[1:])
        if name == "frac":
            return self.fraction()
        if name == "binom":
            return Node("call", (self.group(), self.group()), "binomial")
        if name == "mathbb":
            return self.field()
        if name.startswith("begin{"):
            kind = name[6:-1]
            return self.system(kind) if kind in _SYSTEMS else self.matrix(kind)
        if name in {"sqrt", "cbrt", "surd"}:
            return self.root(name)
        if name in ACCENTS:
            return self.accented(name)
        if name in FIGURES:
            return self.figure(name)
        if name.removeprefix("var") in GREEK:
            return self.symbol(name.removeprefix("var"))
        if name in OF_SEVERAL:
            return self.function_of_several(name)
        if name in OPERATORS:
            return self.operator(name)
        if name in FUNCTIONS or name == "lg":
            return self.function(name)
        raise Unreadable(f"{word[:20]} is not read")

    def field(self) -> Node:
        r"""The rest of `\mathbb`: `\mathbb{R}`, `\mathbb{Z}^+`."""
        letter = self.raw()
        if letter not in _FIELDS:
            return self.symbol(letter)
        mark = self.take("^", "_")
        if not mark:
            return Node("reals") if letter == "R" else Node("field", (), letter)
        braces = self.take("{")
        sign = self.take("+", "-", "*", "\\ast") or (self.peek() if self.kind() in {"number", "name"} else "")
        if not sign:
            raise Unreadable(f"that power of {letter} is not read")
        self.at += sign == self.peek()
        if braces:
            self.want("}")
        signs = {"\\ast": "*"}.get(sign, sign)
        if letter in {"N", "Z"} and (signs == "+" or letter + signs == "N*"):
            return Node("field", (), "Z^+")
        return Node("field", (), letter + ("^" if signs in {"+", "-", "*"} else mark) + signs)

    def operator(self, name: str) -> Node:
        r"""The rest of `\det(A)`, `\deg f` and `\neg p`; of a matrix it is its determinant."""
        inside = self.bracket() if self.peek() == "(" else self.power()
        if name == "det" and inside.op == "matrix":
            return Node("determinant", (inside,))
        return Node(
            "apply", inside.args if inside.op == "tuple" else (inside,), f"{'neg' if name == 'lnot' else name}()"
        )

    def function(self, name: str) -> Node:
        r"""`\sin^2 2x`, `sin(2x)`, `\log_2 8`: without brackets the argument is the product that follows."""
        self.deeper(1)
        base = self.group() if self.take("_") else number(10) if name == "lg" else None
        exponent = self.group() if self.take("^", "**") else None
        if exponent == number(-1) and name in INVERSES:
            name, exponent = INVERSES[name], None
        if self.peek() in {"(", "{", "["}:
            argument = self.bracket()
        else:
            sign = self.take("-")
            factors = [self.power()]
            while self.starts_factor() and self.peek()[1:] not in FUNCTIONS and self.peek() not in {"(", "["}:
                factors.append(self.power())
            argument = factors[0] if len(factors) == 1 else Node("mul", tuple(factors))
            argument = negative(argument) if sign else argument
        if argument.op in {"tuple", "interval", "set", "list"}:
            raise Unreadable(f"{name} of several arguments")
        node = Node("call", (argument,), "ln" if name in {"log", "lg"} else name)
        if base is not None:
            node = quotient(node, Node("call", (base,), "ln"))
        self.deeper(-1)
        return node if exponent is None else Node("power", (node, exponent))

    def function_of_several(self, name: str) -> Node:
        r"""`\max(a,b)`, `\gcd\{12,18\}`."""
        if self.peek() not in {"(", "\\{", "{", "["}:
            raise Unreadable(f"{name} of nothing in brackets")
        inside = self.bracket()
        if inside.op not in {"tuple", "interval", "set"} or len(inside.args) < 2:
            raise Unreadable(f"{name} of one argument")
        return Node("call", inside.args, name)

    def matrix(self, kind: str) -> Node:
        """The rest of a `begin` of that kind."""
        if kind not in _MATRICES:
            raise Unreadable(f"begin{{{kind[:20]}}} is not read")
        end = f"\\end{{{kind}}}"
        rows: list[list[Node]] = [[]]
        while True:
            rows[-1].append(self.sum())
            if self.take("\\\\"):
                if self.peek() == end:
                    break
                rows.append([])
            elif not self.take("&"):
                break
        self.want(end)
        node = matrix_of(rows)
        return Node("determinant", (node,)) if kind == "vmatrix" else node

    def system(self, kind: str) -> Node:
        """The rest of a `begin` whose rows are relations that hold together, or one value written on in rows."""
        end = f"\\end{{{kind}}}"
        last = next((at for at in range(self.at, len(self.tokens)) if self.tokens[at].text == end), self.at)
        self.tokens[self.at : last] = [token for token in self.tokens[self.at : last] if token.text != "&"]
        rows = [self.related()]
        while True:
            self.take(",", ";")
            if not self.take("\\\\") or self.peek() == end:
                break
            rows.append(self.row(rows))
        self.want(end)
        return rows[0] if len(rows) == 1 else Node("all", tuple(rows))

    def row(self, rows: list[Node]) -> Node:
        """The next row; one that begins with a sign goes on from the last, which it takes away."""
        if self.peek() not in RELATIONS:
            return self.related()
        before = rows.pop()
        parts, signs = (before.args, before.value) if before.op == "relation" else ((before,), ())
        sign = RELATIONS[self.take(*RELATIONS)]
        rest = self.related()
        further, more = (rest.args, rest.value) if rest.op == "relation" else ((rest,), ())
        return Node("relation", (*parts, *further), (*signs, sign, *more))
