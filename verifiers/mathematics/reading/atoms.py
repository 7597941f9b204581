"""Atoms of mathematics: numbers, names, and what stands in brackets or bars."""

from __future__ import annotations

from abc import abstractmethod
from fractions import Fraction

from journeyman.verifiers.mathematics.reading.names import Names
from journeyman.verifiers.mathematics.reading.nodes import Node, bracketed, number, quotient
from journeyman.verifiers.mathematics.reading.tokens import Token, Unreadable
from journeyman.verifiers.mathematics.reading.words import CLOSERS, ENDS, NO_FACTORS


class Atoms(Names):
    """Reads one atom; what may stand inside it, and after it, is the operators' to read (`parse`)."""

    @abstractmethod
    def joined(self) -> Node:
        """Parts joined by commas, "and" or "or"."""

    @abstractmethod
    def sum(self) -> Node:
        """A sum of products."""

    @abstractmethod
    def power(self) -> Node:
        """An atom with what is written behind it."""

    @abstractmethod
    def command(self, word: str) -> Node:
        """What a word that begins with a backslash stands for."""

    def starts_factor(self) -> bool:
        """Whether a factor follows without a sign.

        A number does behind a closed bracket, and with an exponent behind a letter (`n 2^n`); `2 3` would be a guess.
        """
        text = self.peek()
        if self.kind() == "number":
            before = self.peek(-1)
            return before in {")", "}"} or (self.kind(-1) in {"name", "word"} and self.peek(1) in {"^", "**"})
        if not text or text in ENDS or text.startswith("\\end{"):
            return False
        if text in {"|", "\\|"}:
            return self.bars == 0
        if self.kind() == "name":
            return True
        if self.kind() == "sign":
            return text in {"(", "[", "{", "\\{"}
        return text not in NO_FACTORS

    def atom(self) -> Node:
        """The next atom; raises Unreadable where none begins."""
        if self.at >= len(self.tokens):
            raise Unreadable("it ends too soon")
        token = self.tokens[self.at]
        if token.kind == "number":
            return self.mixed()
        if token.kind == "name":
            self.at += 1
            return self.symbol(token.text)
        if token.text in {"|", "\\lvert", "\\|"}:
            return self.bar()
        if token.text in CLOSERS or (token.text == "]" and self.at == 0):
            return self.bracket()
        if token.kind == "word":
            self.at += 1
            return self.command(token.text)
        raise Unreadable(f"{token.text[:20]!r} is not expected there")

    def mixed(self) -> Node:
        """A number, with a fraction right after a whole number it is a mixed one."""
        token = self.tokens[self.at]
        self.at += 1
        if token.base:
            return Node("based", (number(token.value),), token.base)
        whole = number(token.value)
        if token.value.denominator != 1 or "." in token.text:
            return whole
        start = self.at
        if self.peek() == "\\frac":
            self.at += 1
            part = self.fraction()
            if part.op == "mul" and all(a.op == "number" for a in (part.args[0], part.args[1].args[0])):
                return Node("add", (whole, part))
        elif (
            self.kind() == "number" and self.tokens[self.at].spaced and self.peek(1) == "/" and self.kind(2) == "number"
        ):
            top, bottom = self.tokens[self.at].value, self.tokens[self.at + 2].value
            if top.denominator == bottom.denominator == 1 and bottom:
                self.at += 3
                return number(token.value + top / bottom)
        self.at = start
        return whole

    def group(self) -> Node:
        """What `{...}` holds, or one token as LaTeX takes it (a number is cut into digits)."""
        if self.take("{"):
            self.deeper(1)
            node = self.sum()
            self.deeper(-1)
            self.want("}")
            return node
        token = self.tokens[self.at] if self.at < len(self.tokens) else Token("", "")
        if token.kind == "number" and token.text.isdigit():
            rest = token.text[1:]
            first = number(int(token.text[0]))
            self.tokens[self.at : self.at + 1] = [Token("number", rest, Fraction(rest))] if rest else []
            return first
        return self.atom()

    def bar(self) -> Node:
        """What stands in bars: an absolute value, of a matrix the determinant."""
        opened = self.peek()
        self.at += 1
        self.bars += opened != "\\lvert"
        self.deeper(1)
        node = self.sum()
        self.deeper(-1)
        self.want("\\rvert" if opened == "\\lvert" else opened)
        self.bars -= opened != "\\lvert"
        return Node("determinant", (node,)) if node.op == "matrix" else Node("call", (node,), "abs")

    def bracket(self) -> Node:
        """Whatever stands in brackets: a group, a tuple, an interval, a set, rows of a matrix."""
        opened = self.peek()
        self.at += 1
        self.deeper(1)
        bars, self.bars = self.bars, 0
        if opened == "\\{" and (built := self.builder()):
            return self.leave(bars, built)
        if opened in {"{", "\\{"} and self.take("}", "\\}"):
            return self.leave(bars, Node("empty"))
        inner = self.joined()
        closers = CLOSERS.get(opened, "[")
        closed = self.want(*(closers if opened in {"(", "["} else [closers]))
        return self.leave(bars, bracketed(opened, inner, closed))

    def leave(self, bars: int, node: Node) -> Node:
        """The node, with the bars open that were open outside."""
        self.bars = bars
        self.deeper(-1)
        return node

    def builder(self) -> Node | None:
        r"""The rest of `\{x : x > 0\}`, where that is what it is."""
        start = self.at
        if self.kind() == "name":
            self.at += 1
            domain = self.atom() if self.take("\\in") else Node("reals")
            if self.take(":", "\\mid", "|"):
                condition = self.joined()
                self.want("\\}")
                return Node("builder", (condition,) if domain.op == "reals" else (condition, domain))
        self.at = start
        return None

    def fraction(self) -> Node:
        r"""The rest of a `frac`; `\frac{dy}{dx}` is one name."""
        start = self.at
        for sign in ("d", "\\partial"):
            texts = []
            while self.peek() == "{" and self.peek(1) == sign and self.kind(2) != "sign":
                texts.append(self.raw())
            if len(texts) == 2:
                return Node("symbol", (), "/".join(texts))
            self.at = start
        return quotient(self.group(), self.group())

    def root(self, name: str) -> Node:
        """The rest of a `sqrt`, with or without a degree, `cbrt` or `surd`."""
        self.deeper(1)
        degree = number(3) if name == "cbrt" else number(2)
        if self.take("["):
            degree = self.sum()
            self.want("]")
        radicand = self.atom() if name == "surd" else self.group()
        node = Node("call", (radicand, degree), "root")
        self.deeper(-1)
        return node
