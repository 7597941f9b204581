"""A reader of mathematics, LaTeX or plain, as a small tree: by recursive descent, bounded, and without evaluation."""

from __future__ import annotations

from journeyman.verifiers.mathematics.reading.atoms import Atoms
from journeyman.verifiers.mathematics.reading.nodes import Node, negative, number
from journeyman.verifiers.mathematics.reading.tokens import Unreadable, tokens
from journeyman.verifiers.mathematics.reading.words import JOINTS, RELATIONS, SET_SIGNS


def parse(plain: str) -> Node:
    """The tree of a plain text (`plain_math`); raises Unreadable with the reason."""
    reader = _Reader(tokens(plain))
    node = reader.joined()
    if reader.at < len(reader.tokens):
        raise Unreadable(f"{reader.peek()!r} is not expected there")
    return node


class _Reader(Atoms):
    """Operators, from the loosest to the tightest."""

    def joined(self) -> Node:
        """Parts joined by commas, "and" or "or"."""
        parts, joints = [self.related()], []
        while joint := self.take(*JOINTS):
            if JOINTS[joint] != "list" or self.peek() not in JOINTS:  # "1, 2, and 3"
                joints.append(JOINTS[joint])
                parts.append(self.related())
        if not joints:
            return parts[0]
        kinds = set(joints) - {"list"}
        if len(kinds) > 1:
            raise Unreadable('both "and" and "or"')
        return Node(kinds.pop() if kinds else "list", tuple(parts))

    def related(self) -> Node:
        parts, signs = [self.applied() or self.united()], []
        while sign := self.take(*RELATIONS):
            signs.append(RELATIONS[sign])
            parts.append(self.united())
        return Node("relation", tuple(parts), tuple(signs)) if signs else parts[0]

    def applied(self) -> Node | None:
        """The name of a function, where `f(x) =` comes: as a symbol."""
        if self.kind() != "name" or self.peek(1) != "(":
            return None
        end = self.at + 2
        while end < len(self.tokens) and (self.tokens[end].kind in {"name", "number"} or self.tokens[end].text == ","):
            end += 1
        if [token.text for token in self.tokens[end : end + 2]] != [")", "="]:
            return None
        name = "".join(token.text for token in self.tokens[self.at : end + 1])
        self.at = end + 1
        return Node("symbol", (), name)

    def united(self) -> Node:
        node = self.ratio()
        while sign := self.take(*SET_SIGNS):
            node = Node(SET_SIGNS[sign], (node, self.ratio()))
        return node

    def ratio(self) -> Node:
        node = self.sum()
        return Node("ratio", (node, self.sum())) if self.take(":") else node

    def sum(self) -> Node:
        self.deeper(1)
        terms: list[Node] = []
        while True:
            sign = self.take("+", "-", "\\pm", "\\mp")
            if terms and not sign:
                break
            term = self.product()
            if sign == "-":
                term = negative(term)
            elif sign in {"\\pm", "\\mp"}:
                term = Node("plusminus", (term if sign == "\\pm" else negative(term),))
            terms.append(term)
        self.deeper(-1)
        return terms[0] if len(terms) == 1 else Node("add", tuple(terms))

    def product(self) -> Node:
        factors = [self.signed()]
        while True:
            if self.take("*", "\\cdot", "\\times", "\\ast"):
                factors.append(self.signed())
            elif self.take("/", "\\div"):
                factors.append(Node("power", (self.signed(), number(-1))))
            elif self.starts_factor():
                factors.append(self.power())
            else:
                return factors[0] if len(factors) == 1 else Node("mul", tuple(factors))

    def signed(self) -> Node:
        self.deeper(1)
        if self.take("-"):
            node = negative(self.signed())
        elif self.take("+"):
            node = self.signed()
        else:
            node = self.power()
        self.deeper(-1)
        return node

    def power(self) -> Node:
        node = self.atom()
        while sign := self.take("!", "%", "°", "'"):
            if sign == "'":
                raise Unreadable("a prime")
            node = {
                "!": Node("call", (node,), "factorial"),
                "%": Node("percent", (node,)),
                "°": Node("degrees", (node,)),
            }[sign]
        if self.take("^", "**"):
            if self.peek() in {"T", "\\top"} or (
                self.peek() == "{" and self.peek(1) in {"T", "\\top"} and self.peek(2) == "}"
            ):
                self.at += 3 if self.peek() == "{" else 1
                return Node("transpose", (node,))
            node = Node("power", (node, self.signed()))
        return node
