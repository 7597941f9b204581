r"""Names: letters with an index or primes (`x_1`, `a_{n+1}`, `y'`), functions (`f(x)`, `P(A|B)`), accents, figures."""

from __future__ import annotations

from abc import abstractmethod

from journeyman.verifiers.mathematics.reading.nodes import Node, number, told
from journeyman.verifiers.mathematics.reading.tokens import Unreadable
from journeyman.verifiers.mathematics.reading.words import ACCENTS, APPLIED, CONDITIONED, FIGURES, GREEK, Cursor


class Names(Cursor):
    """Reads one name and what makes it another one."""

    @abstractmethod
    def group(self) -> Node:
        """What `{...}` holds, or one token."""

    @abstractmethod
    def united(self) -> Node:
        """A value or a set."""

    def symbol(self, name: str) -> Node:
        """A letter with its index and primes, applied to what stands in brackets, or one of the constants e and i."""
        if name in {"e", "i"} and self.peek() not in {"_", "'"}:
            return Node(name)
        if name == "m" and self.peek()[1:] in FIGURES:  # the measure of an angle
            self.at += 1
            return self.figure(self.peek(-1)[1:])
        if self.take("_"):
            name = f"{name}_{self.index()}"
        while self.take("'"):
            name += "'"
        return self.applied(name) or Node("symbol", (), name)

    def index(self) -> str:
        """What `_` is followed by, in one spelling."""
        start, depth = self.at, self.depth
        try:
            self.deeper(1)
            node = self.group()
            self.deeper(-1)
            ordered = node.op == "mul" and not any(arg.op == "number" for arg in node.args)  # x_{ij} is not x_{ji}
            if node.op in {"number", "symbol", "mul", "add", "i", "e"} and not ordered:
                return told(node)
        except Unreadable:
            pass
        self.at, self.depth = start, depth
        return self.raw()

    def raw(self) -> str:
        """The texts of the tokens in `{...}`, or the next one's."""
        if not self.take("{"):
            if self.kind() not in {"name", "word", "number"}:
                raise Unreadable(f"that index is not read: {self.peek()[:20]!r}")
            self.at += 1
            return self.peek(-1)
        texts, open_braces = "", 1
        while open_braces and self.peek():
            open_braces += {"{": 1, "}": -1}.get(self.peek(), 0)
            texts += self.peek() if open_braces else ""
            self.at += 1
        if open_braces:
            raise Unreadable("} is missing at the end")
        return texts

    def applied(self, name: str) -> Node | None:
        """The application of a function, where that is what `name(` begins; a product otherwise."""
        start = self.at
        if name in {"f", "g"} and self.take("^"):  # f^{-1}(x)
            inverse = self.peek() in {"{", "-"} and self.group_or_sign() == number(-1) and self.peek() == "("
            if not inverse:
                self.at = start
                return None
            name += "^-1"
        if self.peek() != "(" or not (name[0] in APPLIED or name.endswith("'") or self.is_argument(name)):
            return None
        self.at += 1
        self.deeper(1)
        bars, self.bars = self.bars, int(name in CONDITIONED)
        args, given = [self.united()], ""
        while sign := self.take(",", "|", "\\mid"):
            given += "|" if sign != "," else ""
            args.append(self.united())
        self.want(")")
        self.bars = bars
        self.deeper(-1)
        return Node("apply", tuple(args), f"{name}{given}()")

    def group_or_sign(self) -> Node | None:
        """An exponent that is a group or `-1`; None where that is not read."""
        try:
            return number(-1) if self.take("-") and self.group() == number(1) else self.group()
        except Unreadable:
            return None

    def is_argument(self, name: str) -> bool:
        """Whether a letter's bracket holds symbols alone, as `x(t)` and `S(A, B)` do, or what an event may be."""
        at, upper = 1, name[0].isupper()
        if name in CONDITIONED and self.kind(1) == "name" and self.peek(1).isupper():
            return True
        while True:
            at += self.peek(at) == "-"
            word = self.peek(at)[1:] in GREEK
            if not (word or self.kind(at) in {"name", "number"}):
                return False
            if self.peek(at + 1) != ",":
                return self.peek(at + 1) == ")" and (
                    word or self.kind(at) == "name" or upper or self.peek(at + 2) == "="
                )
            at += 2

    def accented(self, accent: str) -> Node:
        r"""The rest of `\vec`, `\overline` and the like. A line over two corners is their side."""
        letters = self.raw()
        if accent in {"overline", "overleftrightarrow"} and len(letters) == 2 and letters.isupper():
            return Node("mul", tuple(Node("symbol", (), letter) for letter in letters))
        name = f"{ACCENTS[accent]} {letters}"
        if self.take("_"):
            name = f"{name}_{self.index()}"
        return self.applied(name) or Node("symbol", (), name)

    def figure(self, command: str) -> Node:
        r"""The rest of `\angle` and `\triangle`: the corners, with their indices and primes."""
        opened = self.take("{")
        corners: list[str] = []
        while self.kind() in {"name", "number"} or self.peek()[1:] in GREEK:
            corner = self.peek()
            self.at += 1
            if self.take("_"):
                corner = f"{corner}_{self.index()}"
            while self.take("'"):
                corner += "'"
            corners.append(corner)
            if corner.isdigit():
                break
        if not corners:
            raise Unreadable(f"nothing behind {command}")
        if opened:
            self.want("}")
        if len(corners) > 1:
            corners = min(corners, corners[::-1]) if command.endswith("angle") else corners
        return Node("symbol", (), FIGURES[command] + "".join(corners))
