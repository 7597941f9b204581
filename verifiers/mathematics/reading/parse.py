"""A reader of mathematics, LaTeX or plain, as a small tree: by recursive descent, bounded, and without evaluation."""

from __future__ import annotations

from journeyman.verifiers.mathematics.reading.commands import Commands
from journeyman.verifiers.mathematics.reading.nodes import Node, negative, number, raised, told
from journeyman.verifiers.mathematics.reading.tokens import Unreadable, tokens
from journeyman.verifiers.mathematics.reading.words import ARROWS, JOINTS, QUANTIFIERS, RELATIONS, REVERSED, SET_SIGNS


def parse(plain: str) -> Node:
    """The tree of a plain text (`plain_math`); raises Unreadable with the reason."""
    reader = _Reader(tokens(plain))
    node = reader.statement()
    if reader.at < len(reader.tokens):
        raise Unreadable(f"{reader.peek()!r} is not expected there")
    return node


class _Reader(Commands):
    """Operators, from the loosest to the tightest."""

    def statement(self) -> Node:
        """What follows from what, what holds for all or for some; else values."""
        if quantifier := self.take(*QUANTIFIERS):
            self.deeper(1)
            bound = self.related()
            self.take(",", ":", ";")
            node = Node("statement", (bound, self.statement()), quantifier[1:])
            self.deeper(-1)
            return node
        node = self.joined()
        while sign := self.take(*ARROWS):
            node = Node("statement", (node, self.joined()), ARROWS[sign])
        return node

    def joined(self) -> Node:
        """Parts joined by commas, "and" or "or"; alternatives of several equations each are kept apart."""
        parts, joints = [self.related()], list[str]()
        while joint := self.take(*JOINTS):
            if joint in {",", ";"} and self.peek() in JOINTS:  # "1, 2, and 3"
                continue
            joints.append(joint)
            parts.append(self.related())
        return _grouped(parts, joints)

    def related(self) -> Node:
        parts, signs = [self.united()], []
        while sign := self.take(*RELATIONS, *(["\\mid"] if self.depth == 0 else [])):
            signs.append("divides" if sign == "\\mid" else RELATIONS[sign])
            parts.append(self.united())
        if len(signs) == 1 and signs[0] in REVERSED:
            parts, signs = parts[::-1], [REVERSED[signs[0]]]
        if self.take("\\pmod"):
            return self.congruent(parts, signs)
        plain = tuple("=" if sign == "≡" else sign for sign in signs)
        return Node("relation", tuple(parts), plain) if signs else parts[0]

    def congruent(self, parts: list[Node], signs: list[str]) -> Node:
        """The rest of `x = 3 (mod 5)`."""
        modulus = self.group()
        if len(parts) != 2 or not {"=", "≡"}.issuperset(signs):
            raise Unreadable("a modulus without one congruence")
        return Node("congruent", (*parts, modulus))

    def united(self) -> Node:
        node = self.ratio()
        while sign := self.take(*SET_SIGNS):
            node = Node(SET_SIGNS[sign], (node, self.ratio()))
        return node

    def ratio(self) -> Node:
        terms = [self.sum()]
        while self.take(":"):
            terms.append(self.sum())
        return Node("ratio", tuple(terms)) if len(terms) > 1 else terms[0]

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
            if sign := self.take("*", "\\cdot", "\\times", "\\ast"):
                factor = self.signed()
                if sign == "\\times" and is_vector(factors[-1]) and is_vector(factor):
                    factors[-1] = Node("apply", (factors[-1], factor), "cross()")
                else:
                    factors.append(factor)
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
        node = self.raised_atom(self.marked(self.atom()))
        return self.marked(node)

    def marked(self, node: Node) -> Node:
        """The node with the signs behind it: factorial, percent, degrees."""
        while sign := self.take("!", "%", "°", "'"):
            if sign == "'" or (sign == "!" and self.peek() == "!"):
                raise Unreadable("a prime" if sign == "'" else "a double factorial")
            node = {
                "!": Node("call", (node,), "factorial"),
                "%": Node("percent", (node,)),
                "°": Node("degrees", (node,)),
            }[sign]
        return node

    def raised_atom(self, node: Node) -> Node:
        """The node with its power, if one follows; `2^n!` is the factorial of the power."""
        if self.take("^", "**"):
            if self.peek() == "{" and self.peek(1) == "(" and self.kind(2) == "number" and self.peek(3) == ")":
                return Node("symbol", (), f"{told(node)}^{self.raw()}")  # a derivative of that order
            if self.peek() in {"T", "\\top"} or (
                self.peek() == "{" and self.peek(1) in {"T", "\\top"} and self.peek(2) == "}"
            ):
                self.at += 3 if self.peek() == "{" else 1
                return Node("transpose", (node,))
            node = raised(node, self.exponent())
        return node

    def exponent(self) -> Node:
        """What follows a `^`: one atom, with signs before it and a power of its own."""
        self.deeper(1)
        if self.take("-"):
            node = negative(self.exponent())
        elif self.take("+"):
            node = self.exponent()
        else:
            node = self.raised_atom(self.atom())
        self.deeper(-1)
        return node


def _grouped(parts: list[Node], joints: list[str]) -> Node:
    """The parts with what stands between them; raises Unreadable where both "and" and "or" join single ones."""
    if not joints:
        return parts[0]
    kinds = {JOINTS[joint] for joint in joints} - {"list"}
    outer = next((kind for kind in ("any", "all") if kind in kinds), "list")
    loose = {";"} if outer == "list" else {joint for joint in joints if JOINTS[joint] == outer}
    groups = [[parts[0]]]
    for joint, part in zip(joints, parts[1:], strict=True):
        if joint in loose:
            groups.append([part])
        else:
            groups[-1].append(part)
    if len(groups) > 1 and len(groups[0]) > 1 and all(part.op == "relation" for part in parts):
        names = {tuple(sorted(told(part.args[0]) for part in group)) for group in groups}
        if len(names) == 1:
            return Node("any", tuple(Node("all", tuple(group)) for group in groups))
    named = [group[0] for group in groups]
    if len(groups) > 1 and max(map(len, groups)) > 1 and _is_of_several_names(named, groups):
        return _by_name(named, [[group[0].args[1], *group[1:]] for group in groups])
    if len(kinds) > 1:
        raise Unreadable('both "and" and "or"')
    return Node(kinds.pop() if kinds else "list", tuple(parts))


def _is_of_several_names(named: list[Node], groups: list[list[Node]]) -> bool:
    """Whether each group is a name with its values, `x = 1, 3; y = 2, 4`."""
    rest = [part for group in groups for part in group[1:]]
    alike = all(part.op == "relation" and part.value == ("=",) for part in named)
    return alike and all(part.op != "relation" for part in rest) and len({told(part.args[0]) for part in named}) > 1


def _by_name(named: list[Node], values: list[list[Node]]) -> Node:
    """The solutions, one of each name's values after the other; where they are not as many, a set of each name's."""
    names = [part.args[0] for part in named]
    if len({len(several) for several in values}) == 1:
        rows = zip(*values, strict=True)
        return Node(
            "any",
            tuple(
                Node("all", tuple(Node("relation", pair, ("=",)) for pair in zip(names, row, strict=True)))
                for row in rows
            ),
        )
    sets = [several[0] if len(several) == 1 else Node("set", tuple(several)) for several in values]
    return Node("all", tuple(Node("relation", pair, ("=",)) for pair in zip(names, sets, strict=True)))


def is_vector(node: Node) -> bool:
    """Whether it is a vector by its accent, or a sum or multiple of such."""
    if node.op == "symbol":
        return str(node.value).startswith(("vec ", "hat "))
    return node.op in {"mul", "add", "apply"} and any(map(is_vector, node.args))
