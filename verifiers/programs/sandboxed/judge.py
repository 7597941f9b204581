"""The tests' side: runs the tests in their own sandbox against the program in the other, and tells the verdict.

The verdict goes to stdout with the secret that came with the tests: it proves that this file came to its end. The
program cannot write there or read the secret, and nothing of it is executed here.
This file is copied into the sandbox and imports the standard library alone, beside crossing.py and remote.py.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import json
import os
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

from journeyman.verifiers.programs.sandboxed.crossing import Broken
from journeyman.verifiers.programs.sandboxed.remote import Program

_CASES = (ast.Assert, ast.Expr, ast.For, ast.While, ast.With, ast.Try)
_UNRUN = 0x20 | 0x80 | 0x200  # a code's flags for generators, coroutines, async generators; `inspect` is slow to import
_OPTIMIZED = 0x1  # that of functions, and not of classes

Case = tuple[str, Callable[[], object]]


class BadTests(Exception):  # noqa: N818 - a verdict on the tests
    """The tests cannot judge any program."""


def judge(program: Program, tests: str, entry_point: str | None, *, whole: bool) -> dict[str, Any]:
    """How many cases passed: `passed`, `total`, and `why` the first failed; without `whole` it ends there."""
    tree = _parsed(tests)
    space: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins}
    passed, total, why = 0, sum(_is_case(node) for node in tree.body), None
    try:
        program.ask("load")
        _meet(program, tree, space, entry_point)
        for case in _cases(tree, space, entry_point):
            if isinstance(case, int):
                total += case
                continue
            failure = _failure(*case)
            passed += failure is None
            why = why or failure
            if failure and not whole:
                break
    except BadTests:
        raise
    except (Exception, SystemExit) as error:  # of the program when loaded, or of the tests' set-up
        why, total = why or _told(error), total + 1
    if program.broken:
        raise program.broken
    if why is None and not (total and program.asked > 1):
        raise BadTests("the tests check nothing of the program")
    return {"passed": passed, "total": max(total, 1), "why": why}


def _parsed(tests: str) -> ast.Module:
    """The tests' statements, those of `if __name__ == "__main__":` in its place, and none that starts unittest."""
    try:
        tree = ast.parse(tests, "tests.py")
        unrun = [name for node in tree.body for name in _unrun(_compiled(node))]
    except SyntaxError as error:
        raise BadTests(f"the tests are no Python: {error}") from error
    if unrun:
        raise BadTests(f"{unrun[0]} is async or a generator: a call of it runs nothing, so it tests nothing")
    body: list[ast.stmt] = []
    for node in tree.body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'":
            body += node.body
        else:
            body.append(node)
    return ast.Module([node for node in body if not _starts_unittest(node)], [])


def _compiled(node: ast.stmt) -> types.CodeType:
    return compile(ast.Module([node], []), "tests.py", "exec")


def _unrun(code: types.CodeType) -> Iterator[str]:
    """Names of test functions, in classes too, of which a call only makes a coroutine or a generator."""
    for inner in code.co_consts:
        if not isinstance(inner, types.CodeType):
            continue
        if not inner.co_flags & _OPTIMIZED:
            yield from _unrun(inner)
        elif inner.co_flags & _UNRUN and (inner.co_name == "check" or inner.co_name.startswith("test")):
            yield inner.co_name


def _meet(program: Program, tree: ast.Module, space: dict[str, Any], entry_point: str | None) -> None:
    """Gives the tests what they name and do not define: modules of the library, and what the program has."""
    nodes = list(ast.walk(tree))
    names = [node for node in nodes if isinstance(node, ast.Name)]
    bound = {node.id for node in names if not isinstance(node.ctx, ast.Load)}
    bound |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    bound |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    bound |= {
        (a.asname or a.name).split(".")[0] for n in nodes if isinstance(n, ast.Import | ast.ImportFrom) for a in n.names
    }
    bound |= {node.name for node in nodes if isinstance(node, ast.ExceptHandler) and node.name}
    owners = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    alone = {node.id for node in names if id(node) not in owners}
    free = {node.id for node in names} - bound - set(dir(builtins))
    for name in sorted(free | {entry_point} if entry_point else free):
        if name in sys.stdlib_module_names and name not in alone and name != entry_point:
            space[name] = importlib.import_module(name)  # `math.isclose` must not be the program's
            continue
        try:
            space[name] = program.ask("name", name)
        except KeyError:
            continue  # where the tests come to it, they fail by a NameError


def _cases(tree: ast.Module, space: dict[str, Any], entry_point: str | None) -> Iterator[Case | int]:
    """Runs the set-up, and yields the cases where they stand; then test functions, with their number before them."""
    for node in tree.body:
        code = _compiled(node)
        if _is_case(node):
            yield f"line {node.lineno}", lambda code=code: exec(code, space)  # type: ignore[misc]  # noqa: S102
            continue
        try:
            exec(code, space)  # noqa: S102 - what this sandbox is for
        except ImportError as error:
            if not isinstance(node, ast.Import | ast.ImportFrom):
                raise  # of the program
            raise BadTests(f"the tests import what is not there: {error}") from error
    found = list(_functions(tree, space, entry_point))
    yield len(found)
    yield from found


def _functions(tree: ast.Module, space: dict[str, Any], entry_point: str | None) -> Iterator[Case]:
    """`check(entry_point)` in the manner of HumanEval, functions `test...` and unittest's cases."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == "check" and entry_point:
            yield "check", lambda: space["check"](space[entry_point])
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("test") and not node.args.args:
            yield node.name, space[node.name]
        elif isinstance(node, ast.ClassDef) and "unittest" in sys.modules:
            unittest = sys.modules["unittest"]
            if issubclass(space[node.name], unittest.TestCase):
                for test in unittest.defaultTestLoader.loadTestsFromTestCase(space[node.name]):
                    yield str(test), lambda test=test: _debug(test)  # type: ignore[misc]


def _debug(test: Any) -> None:
    """Runs a unittest case, raising what fails. Skipped is not passed."""
    unittest = sys.modules["unittest"]
    result = unittest.TestResult()
    unittest.TestSuite([test]).run(result)
    for _, text in [*result.failures, *result.errors]:
        raise AssertionError(text.strip().splitlines()[-1])
    if not result.wasSuccessful() or result.skipped or result.expectedFailures:
        raise AssertionError("not passed")


def _is_case(node: ast.stmt) -> bool:
    """Whether a statement at the top checks something, rather than preparing for that."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call)
    return isinstance(node, _CASES)


def _starts_unittest(node: ast.stmt) -> bool:
    """Whether a statement runs unittest's own search, which would find nothing: the cases are found here."""
    call = node.value if isinstance(node, ast.Expr) else None
    return isinstance(call, ast.Call) and ast.unparse(call.func) == "unittest.main"


def _failure(name: str, run: Callable[[], object]) -> str | None:
    try:
        run()
    except (Exception, SystemExit) as error:  # whatever a test raises, it failed
        return f"{name}: {_told(error)}"
    return None


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".strip(": ")[:500]


def main(descriptor: int) -> None:
    """Reads the tests and the secret from stdin, judges the program on the descriptor, writes the verdict."""
    job = json.loads(sys.stdin.buffer.read())
    verdict, quiet = os.dup(1), os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(quiet, standard)
    try:
        found = judge(Program(descriptor), job["tests"], job["entry_point"], whole=job["whole"])
    except BadTests as error:
        found = {"bad": str(error)}
    except Broken as error:
        found = {"passed": 0, "total": 1, "why": f"the program: {error}", "broken": True}
    os.write(verdict, json.dumps({"secret": job["secret"], **found}).encode())
    os._exit(0)
