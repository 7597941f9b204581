"""What the tests' text says: which cases there are, before anything of it or of the program runs.

So a share has one denominator, whatever ends a run early. And tests that a program in another interpreter cannot be
judged by are found here: they would fail a right program, or pass a wrong one.
This file is copied into the sandbox and imports the standard library alone.
"""

from __future__ import annotations

import ast
import sys
import types
from collections.abc import Iterator
from typing import NamedTuple

_COMPOUND = (ast.If, ast.Match, ast.For, ast.While, ast.With, ast.Try)
_UNRUN = 0x20 | 0x80 | 0x200  # a code's flags for generators, coroutines, async generators; `inspect` is slow to import
_OPTIMIZED = 0x1  # that of functions, and not of classes
_SHARED = {
    "asyncio": "runs coroutines",
    "concurrent": "runs threads",
    "inspect": "looks into the program",
    "multiprocessing": "starts processes",
    "pickle": "copies objects",
    "resource": "measures its own process",
    "subprocess": "starts processes",
    "tempfile": "writes files",
    "threading": "runs threads",
    "tracemalloc": "measures its own process",
}
"""Modules that need the program in the tests' own interpreter, and why."""
_PATCHES = (".patch", ".redirect_stdout", ".redirect_stderr")
_WRITES = ("os.mkdir", "os.makedirs", "os.environ.update", "os.putenv", "os.chdir")


class BadTests(Exception):  # noqa: N818 - a verdict on the tests
    """The tests cannot judge any program, or not one that runs apart from them."""


class Listing(NamedTuple):
    """The tests' statements, and the cases that are functions."""

    body: list[ast.stmt]
    """Without those that start unittest; those under `if __name__ == "__main__":` stand in its place."""
    functions: list[tuple[str, str]]
    """As (class of unittest cases or "", name), in order; `check` too where an entry point was given."""
    classes: frozenset[str]
    """Names of the classes that the tests define, those of cases apart."""

    @property
    def total(self) -> int:
        """How many cases there are."""
        return sum(map(is_case, self.body)) + len(self.functions)


def listing(tests: str, entry_point: str | None) -> Listing:
    """Reads the tests; raises BadTests for what is no Python, tests nothing, or cannot be judged from here."""
    try:
        tree = ast.parse(tests, "tests.py")
        unrun = [name for node in tree.body for name in _unrun(compiled(node))]
    except (SyntaxError, ValueError) as error:  # a null byte
        raise BadTests(f"the tests are no Python: {error}") from error
    if unrun:
        raise BadTests(f"{unrun[0]} is async or a generator: a call of it runs nothing, so it tests nothing")
    for why in _unjudged(tree):
        raise BadTests(f"{why}: the program runs in an interpreter of its own, so this cannot be judged")
    body: list[ast.stmt] = []
    for node in tree.body:
        body += node.body if isinstance(node, ast.If) and is_main_block(node) else [node]
    body = [node for node in body if not _starts_unittest(node)]
    classes = {node.name: node for node in body if isinstance(node, ast.ClassDef)}
    named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    functions = [found for node in body for found in _functions(node, classes, named, entry_point)]
    own = frozenset(name for name, node in classes.items() if not _is_unittest(node, classes))
    return Listing(body, functions, own)


def is_main_block(node: ast.stmt) -> bool:
    """Whether it is `if __name__ == "__main__":`."""
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"


def is_case(node: ast.stmt) -> bool:
    """Whether a statement at the top checks something, rather than preparing for that."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call)
    if isinstance(node, _COMPOUND):
        blocks = (part for part in ast.iter_child_nodes(node) if not isinstance(part, ast.expr | ast.withitem))
        return any(isinstance(below, ast.Assert | ast.Raise | ast.Call) for part in blocks for below in _here(part))
    return isinstance(node, ast.Assert)


def compiled(node: ast.stmt) -> types.CodeType:
    """The code of one statement."""
    return compile(ast.Module([node], []), "tests.py", "exec")


def _here(node: ast.AST) -> Iterator[ast.AST]:
    """The node and those below it, but those of functions and classes, which do not run where they stand."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
        yield node
        for child in ast.iter_child_nodes(node):
            yield from _here(child)


def _unrun(code: types.CodeType) -> Iterator[str]:
    """Names of test functions, in classes too, of which a call only makes a coroutine or a generator."""
    for inner in code.co_consts:
        if not isinstance(inner, types.CodeType):
            continue
        if not inner.co_flags & _OPTIMIZED:
            yield from _unrun(inner)
        elif inner.co_flags & _UNRUN and (inner.co_name == "check" or inner.co_name.startswith("test")):
            yield inner.co_name


def _functions(
    node: ast.stmt, classes: dict[str, ast.ClassDef], named: set[str], entry_point: str | None
) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.FunctionDef) and node.name == "check" and entry_point:
        yield "", node.name
    elif isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
        least = len(node.args.posonlyargs) + len(node.args.args) - len(node.args.defaults)
        if least == 0 and None not in node.args.kw_defaults:
            yield "", node.name
        elif node.name not in named:
            raise BadTests(f"{node.name} wants arguments, and nothing gives them: it would test nothing")
    elif isinstance(node, ast.ClassDef):
        methods = list(dict.fromkeys(_methods(node, classes)))
        if _is_unittest(node, classes):
            yield from ((node.name, method) for method in methods)
        elif node.name.startswith("Test") and methods and node.name not in named:
            raise BadTests(f"{node.name} is no unittest.TestCase, and nothing calls it: it would test nothing")


def _methods(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> Iterator[str]:
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id in classes and classes[base.id] is not node:
            yield from _methods(classes[base.id], classes)
    yield from (part.name for part in node.body if isinstance(part, ast.FunctionDef) and part.name.startswith("test"))


def _is_unittest(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> bool:
    names = [ast.unparse(base) for base in node.bases]
    above = [classes[name] for name in names if name in classes and classes[name] is not node]
    return any(name.endswith("TestCase") for name in names) or any(_is_unittest(base, classes) for base in above)


def _starts_unittest(node: ast.stmt) -> bool:
    """Whether a statement runs unittest's own search, which would find nothing: the cases are found here."""
    call = node.value if isinstance(node, ast.Expr) else None
    return isinstance(call, ast.Call) and ast.unparse(call.func) == "unittest.main"


def _unjudged(tree: ast.Module) -> Iterator[str]:
    """What in the tests does not reach the program: patches of modules, files, redirected output, threads."""
    nodes = list(ast.walk(tree))
    names = dict(_imports(nodes))
    bound = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    owners = {node.value.id for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)}
    names |= {name: name for name in owners & sys.stdlib_module_names - bound - names.keys()}  # as `_meet` gives them
    for node in nodes:
        where = f"line {getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            whole = names.get(node.id, "")
            if (module := whole.split(".")[0]) in _SHARED:
                yield f"{where} {_SHARED[module]} ({module})"
            if whole.endswith(_PATCHES):
                yield f"{where} patches with {node.id}"
        elif isinstance(node, ast.Attribute) and _whole(node, names).endswith(_PATCHES):
            yield f"{where} patches with {node.attr}"
        elif isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
            module = _whole(node, names).split(".")[0]
            if module in sys.stdlib_module_names and module != "unittest":
                yield f"{where} patches {ast.unparse(node)}"
        elif isinstance(node, ast.Call) and _writes(node, names):
            yield f"{where} writes what the program would read"


def _imports(nodes: list[ast.AST]) -> Iterator[tuple[str, str]]:
    """Names that imports bind, with what they stand for in full."""
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.split(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (first, first)
        elif isinstance(node, ast.ImportFrom):
            yield from ((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)


def _whole(node: ast.expr, names: dict[str, str]) -> str:
    """The dotted name in full, through items too, where it begins at a module; else nothing."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute | ast.Subscript):
        parts += [node.attr] if isinstance(node, ast.Attribute) else []
        node = node.value
    first = names.get(node.id, "") if isinstance(node, ast.Name) else ""
    return ".".join([first, *reversed(parts)]) if first else ""


def _writes(call: ast.Call, names: dict[str, str]) -> bool:
    """Whether it makes a file, or changes what a process of one's own has (its environment, its folder)."""
    name = call.func.id if isinstance(call.func, ast.Name) else _whole(call.func, names)
    mode = call.args[1] if len(call.args) > 1 else next((k.value for k in call.keywords if k.arg == "mode"), None)
    if name in ("open", "io.open") and isinstance(mode, ast.Constant) and isinstance(mode.value, str):
        return not {"w", "a", "x", "+"}.isdisjoint(mode.value)
    made = call.func.value if isinstance(call.func, ast.Attribute) else None
    if isinstance(made, ast.Call) and isinstance(made.func, ast.Name):  # Path("a").write_text("b")
        return names.get(made.func.id) == "pathlib.Path" and call.func.attr.startswith("write_")  # type: ignore[attr-defined]
    return name in _WRITES
