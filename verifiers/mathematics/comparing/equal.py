"""Whether an answer says what the gold answer says. The gold decides the form; docs/math.md has the rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from journeyman.verifiers.mathematics.comparing.assigned import assigned, name_of
from journeyman.verifiers.mathematics.comparing.exact import NotExact, exact
from journeyman.verifiers.mathematics.comparing.forms import VALUES, is_plain, is_solved, unfinished
from journeyman.verifiers.mathematics.comparing.matrices import has_matrix, rows_of
from journeyman.verifiers.mathematics.comparing.sets import FLIPPED, as_reals, same_reals, same_relation, substitute
from journeyman.verifiers.mathematics.comparing.settled import LISTS, domains, settled
from journeyman.verifiers.mathematics.comparing.values import same_value
from journeyman.verifiers.mathematics.reading.clock import same_time
from journeyman.verifiers.mathematics.reading.nodes import Node, minus, number, quotient, symbols, told
from journeyman.verifiers.mathematics.reading.read import Reading, read
from journeyman.verifiers.mathematics.reading.tokens import Unreadable
from journeyman.verifiers.mathematics.reading.units import Unit
from journeyman.verifiers.mathematics.reading.words import OPERATORS, SYMMETRIC

MAX_ITEMS = 50
"""Members of a set or list, of either side."""
_REALS = frozenset(
    {
        "interval", "reals", "empty", "union", "intersection", "minus", "builder", "relation", "all", "any", "set",
        "tuple",
    }
)  # fmt: skip


@lru_cache(maxsize=4096)
def reading(text: str) -> Reading:
    """The answer read, in the form that is compared; raises Unreadable with the reason."""
    found = read(text)
    return Reading(settled(found.node), found.unit, found.time, found.node)


def equal(gold: Reading, answer: Reading) -> bool:  # noqa: PLR0911 - one return for each form
    """The verdict. Raises Unreadable where the values are too large to compare, and the like."""
    if gold.time and answer.time:
        return same_time(gold.time, answer.time)
    if (gold.time and gold.time.sure) or (answer.time and answer.time.sure):
        return False
    if not (_retold(gold.written or gold.node, answer.written or answer.node) and _same_domains(gold, answer)):
        return False
    answer = _renamed(gold, _consequence(gold, answer))
    (names, said), (other_names, other) = assigned(gold.node), assigned(answer.node)
    asked, given = Reading(said, gold.unit), Reading(other, answer.unit)
    if names and other_names:
        if names != other_names and (_stems(names) == {*other_names} or _stems(other_names) == {*names}):
            return _same(_unordered(names, asked), _unordered(other_names, given))
        if names == other_names or _one_curve(names, said, other_names, other):
            return _same(asked, given)
        return gold.node.op == answer.node.op == "relation" and len(symbols(gold.node)) > 1 and _same(gold, answer)
    if names:
        if answer.node.op == "relation" and given.node.op == "relation":
            return _same(gold, answer) if len(symbols(gold.node)) > 1 or gold.node.value == ("in",) else False
        return _same(asked, _in_order(names, said, given))
    if other_names and not (said.op in {"relation", "all", "any"} and symbols(said)):
        return _same(asked, _unordered(other_names, given) if said.op in {"list", "set"} else given)
    chains = [reading.node.op == "relation" and not symbols(reading.node) for reading in (gold, answer)]
    return _same(asked if chains[0] else gold, given if chains[1] else answer)


def _same_domains(gold: Reading, answer: Reading) -> bool:
    """False where both say what a letter may be and it is not the same."""
    ours, theirs = (domains(reading.written or reading.node) for reading in (gold, answer))
    return not (ours and theirs) or sorted(ours.values()) == sorted(theirs.values())


def _consequence(gold: Reading, answer: Reading) -> Reading:
    r"""What an answer `x + 3 = 5 \Rightarrow x = 2` comes to, where the gold answer is no implication itself."""
    if gold.node.op == "statement" or answer.node.op != "statement" or answer.node.value != "=>":
        return answer
    return Reading(answer.node.args[-1], answer.unit)


def _renamed(gold: Reading, answer: Reading) -> Reading:
    """The answer with the gold's letter for any integer (k in Z), and for what a function is of."""
    renamed = dict[str, str]()
    ours, theirs = (domains(reading.written or reading.node) for reading in (gold, answer))
    if len(ours) == len(theirs) == 1:
        renamed[next(iter(theirs))] = next(iter(ours))
    if gold.node.op == answer.node.op == "relation":
        left, right = gold.node.args[0], answer.node.args[0]
        if left.op == right.op == "apply" and left.value == right.value and len(left.args) == len(right.args):
            pairs = list(zip(right.args, left.args, strict=True))
            of = [arg.value for arg in left.args if arg.op == "symbol"]
            bound = all(name.islower() or name in symbols(gold.node.args[-1]) for name in of)  # P(A) = 1/2 is of A
            if bound and left.value[:-2] not in OPERATORS and all(arg.op == "symbol" for pair in pairs for arg in pair):
                renamed |= {old.value: new.value for old, new in pairs}
    renamed = {old: new for old, new in renamed.items() if old != new}
    if not renamed or symbols(answer.node) & set(renamed.values()):
        return answer
    node = answer.node
    for old, new in renamed.items():
        node = substitute(node, old, Node("symbol", (), new))
    return Reading(node, answer.unit, answer.time, answer.written)


def _stems(names: tuple[str, ...]) -> frozenset[str]:
    """The names without their indices."""
    return frozenset(name.partition("_")[0] for name in names)


def _retold(gold: Node, answer: Node) -> bool:
    """False where both are chains of so many values (`2 + 3 = 5`) and one has another value, or other terms, in it."""
    if not gold.op == answer.op == "relation" or len(gold.args) != len(answer.args) or symbols(gold) or symbols(answer):
        return True
    return set(gold.value) != {"="} or all(told(p) == told(q) for p, q in zip(gold.args, answer.args, strict=True))


def _one_curve(names: tuple[str, ...], said: Node, other_names: tuple[str, ...], other: Node) -> bool:
    """Whether one side says `y =` and the other `f(x) =`, of the same symbols."""
    if len(names) != 1 or len(other_names) != 1 or not symbols(said) or symbols(said) != symbols(other):
        return False
    (name,), (other_name,) = names, other_names
    return (name == "y" and other_name.endswith(")")) or (other_name == "y" and name.endswith(")"))


def _in_order(names: tuple[str, ...], said: Node, answer: Reading) -> Reading:
    """Bare values of several names, in the names' order."""
    if said.op == "tuple" and answer.node.op == "list" and len(names) == len(answer.node.args):
        return Reading(Node("tuple", answer.node.args), answer.unit)
    return answer


def _unordered(names: tuple[str, ...], answer: Reading) -> Reading:
    """The values of `x_1, x_2` as a set."""
    if answer.node.op == "tuple" and len(_stems(names)) == 1 and all("_" in name for name in names):
        return Reading(Node("set", answer.node.args), answer.unit)
    return answer


# forms compared


def _same(gold: Reading, answer: Reading) -> bool:  # noqa: C901, PLR0911 - one return for each form
    a, b = gold.node, answer.node
    if "approx" in {a.op, b.op}:
        sides = [node.args if node.op == "approx" else (node,) for node in (a, b)]
        if a.op == b.op:  # what they round has to be the same
            sides = [side[:1] for side in sides]
        return any(_same(Reading(p, gold.unit), Reading(q, answer.unit)) for p in sides[0] for q in sides[1])
    if has_matrix(a) or has_matrix(b):
        return _same_matrix(a, b)
    if gold.unit and answer.unit and not _same_unit(gold.unit, answer.unit, converted=_is_value(a) and _is_value(b)):
        return False
    if a.op in {"set", "list", "any"} and b.op in {"set", "list", "any"} and not _relations(a, b):
        return _same_members(a.args, b.args) and (a.op != "list" or _repeated_alike(a.args, b.args))
    if _is_value(a) and _is_value(b):
        return _same_amount(gold, answer)
    if {a.op, b.op} <= {"set", "list", "any"} | VALUES and "relation" not in {part.op for part in (*a.args, *b.args)}:
        return _same_members(*(node.args if node.op in LISTS else (node,) for node in (a, b)))
    if a.op == b.op == "tuple":
        return len(a.args) == len(b.args) and all(map(_same_nodes, a.args, b.args))
    if a.op == b.op == "ratio":
        return _same_ratio(a, b)
    if a.op == b.op == "statement":
        return a.value == b.value and all(map(_same_nodes, a.args, b.args))
    if a.op == b.op == "builder" and len(a.args) == len(b.args) == 2:
        return all(map(_same_nodes, a.args, b.args))
    if a.op == b.op == "congruent":
        return _same_congruence(a, b)
    return _same_solutions(a, b)


def _same_unit(gold: Unit, answer: Unit, *, converted: bool) -> bool:
    """Whether both measure the same thing; where values are not converted, in the same unit."""
    return gold.fits(answer) and (converted or gold.size(answer) == answer.size(gold))


def _same_congruence(a: Node, b: Node) -> bool:
    """The same left side and modulus, and residues that differ by a multiple of it."""
    if not (same_value(a.args[0], b.args[0]) and same_value(a.args[2], b.args[2])):
        return False
    try:
        return exact(quotient(minus(a.args[1], b.args[1]), a.args[2]), {}).denominator == 1
    except NotExact:
        return same_value(a.args[1], b.args[1])


def _is_value(node: Node) -> bool:
    return node.op in VALUES or node.op == "infinity"


def _relations(a: Node, b: Node) -> bool:
    return any(part.op == "relation" for part in (*a.args, *b.args))


def _same_nodes(a: Node, b: Node) -> bool:
    return _same(_part(a), _part(b))


def _part(node: Node) -> Reading:
    return Reading(node.args[0], node.value) if node.op == "measure" else Reading(node)


def _same_ratio(a: Node, b: Node) -> bool:
    """Proportional ones; with a zero nothing but the same terms, since cross products would all be equal."""
    if len(a.args) != len(b.args):
        return False
    pairs = list(zip(a.args, b.args, strict=True))
    if any(same_value(term, number(0)) for pair in pairs for term in pair):
        return all(same_value(p, q) for p, q in pairs)
    (first, other), *rest = pairs
    return all(same_value(Node("mul", (first, q)), Node("mul", (p, other))) for p, q in rest)


def _repeated_alike(a: Sequence[Node], b: Sequence[Node]) -> bool:
    """Where the gold list says a member twice (`1, 1, 2, 3`), whether the answer has each as often."""
    if len(set(a)) == len(a):
        return True
    return Counter(_times(p, a) for p in a) == Counter(_times(p, b) for p in a) and len(a) == len(b)


def _times(member: Node, members: Sequence[Node]) -> int:
    return sum(_same_nodes(member, other) for other in members)


def _same_matrix(a: Node, b: Node) -> bool:
    if b.op == "tuple" and has_matrix(a):
        return _same_vector(a, b)
    if a.op == "tuple" and has_matrix(b):
        return _same_vector(b, a)
    if not (has_matrix(a) and has_matrix(b)):
        return False
    left, right = rows_of(a), rows_of(b)
    if (len(left), len(left[0])) != (len(right), len(right[0])):
        return False
    return all(
        same_value(p, q) for row, other in zip(left, right, strict=True) for p, q in zip(row, other, strict=True)
    )


def _same_vector(matrix: Node, vector: Node) -> bool:
    rows = rows_of(matrix)
    items = [item for row in rows for item in row]
    return (
        1 in {len(rows), len(rows[0])} and len(items) == len(vector.args) and all(map(same_value, items, vector.args))
    )


def _same_members(a: Sequence[Node], b: Sequence[Node]) -> bool:
    if max(len(a), len(b)) > MAX_ITEMS:
        raise Unreadable(f"a set of more than {MAX_ITEMS} members")
    return all(any(_same_nodes(p, q) for q in b) for p in a) and all(any(_same_nodes(p, q) for p in a) for q in b)


def _same_amount(gold: Reading, answer: Reading) -> bool:  # noqa: PLR0911 - one return for each case
    a, b = gold.node, answer.node
    if "infinity" in {a.op, b.op}:
        return a == b
    if is_plain(a) and unfinished(b):
        return False
    bases = _bases(a), _bases(b)
    if all(bases) and bases[0] != bases[1]:
        return False
    if gold.unit and answer.unit:
        sizes = gold.unit.size(answer.unit), answer.unit.size(gold.unit)
        return same_value(*(Node("mul", (node, number(size))) for node, size in zip((a, b), sizes, strict=True)))
    (kind, bare), (other_kind, other_bare) = _told_in(a), _told_in(b)
    if kind and other_kind:
        return kind == other_kind and same_value(bare, other_bare)
    if (kind and answer.unit and answer.unit.dimensions) or (other_kind and gold.unit):
        return False
    if same_value(a, b):
        return True
    if other_kind == "percent" and _is_share(a):
        return False
    return bool(kind or other_kind) and same_value(bare, other_bare)


def _bases(node: Node) -> frozenset[int]:
    """The bases that its numbers are written in, where they say so."""
    own = frozenset({node.value}) if node.op == "based" else frozenset[int]()
    return own.union(*map(_bases, node.args))


def _told_in(node: Node) -> tuple[str, Node]:
    """The word "percent" or "degrees" and the number before it, where it is that; else nothing and the node."""
    if node.op in {"percent", "degrees"}:
        return node.op, node.args[0]
    if node.op == "mul" and len(node.args) == 2 and node.args[1].op in {"percent", "degrees"}:
        return node.args[1].op, Node("mul", (node.args[0], node.args[1].args[0]))
    return "", node


def _is_share(node: Node) -> bool:
    """Whether a number without a sign is rather 0.5 than 50 percent."""
    try:
        value = exact(node, {})
    except NotExact:
        return True
    return abs(value) < 1 and value != 0


def _same_sides(a: Node, b: Node) -> bool:
    """The same relation of the same sides, in either order where that says the same."""
    if a.value != b.value:
        return False
    sides = [b.args, b.args[::-1]] if a.value[0] in SYMMETRIC else [b.args]
    return any(all(_same_side(*pair) for pair in zip(a.args, other, strict=True)) for other in sides)


def _same_side(a: Node, b: Node) -> bool:
    names = name_of(a, b), name_of(b, a)
    return names[0] == names[1] if any(names) else _same_nodes(a, b)


def _same_solutions(a: Node, b: Node) -> bool:
    """Sets of reals, equations and inequalities; only the gold ones are solved."""
    if symbols(a) and symbols(b) and symbols(a) != symbols(b):
        return False
    solved = is_solved(b, gold=a)
    if not solved and is_solved(a, gold=a):
        return False
    if solved and a.op in _REALS and b.op in _REALS:
        left, right = as_reals(a), as_reals(b)
        if left is not None or right is not None:
            return left is not None and right is not None and same_reals(left, right)
    if a.op == b.op == "relation" and len(a.args) == len(b.args) == 2:
        return same_relation(a, b) if a.value[0] in FLIPPED else _same_sides(a, b)
    if a.op == b.op and a.op in {"all", "any", "list"} and len(a.args) == len(b.args):
        return _same_members(a.args, b.args)
    return a == b
