"""The tests' side: runs the tests in their own sandbox against the program in the other, and tells the verdict.

The verdict goes to stdout with the secret that came with the tests: it proves that this file came to its end. The
program cannot write there or read the secret, and nothing of it is executed here.
This file is copied into the sandbox and imports the standard library alone, beside its neighbours.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import json
import mmap
import os
import re
import site
import struct
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

from journeyman.verifiers.programs.sandboxed.crossing import Broken
from journeyman.verifiers.programs.sandboxed.listing import BadTests, Listing, compiled, is_case, listing
from journeyman.verifiers.programs.sandboxed.remote import Program

BOARD = struct.Struct("<Qdd")
"""What the verifier outside sees meanwhile: the number of the case, the seconds of processor time that asking the
program has taken here, and by the clock of that time since when it is being asked, or 0."""

_TO_MEET = 2
"""Requests before the tests have anything of the program."""
_UNKNOWN = re.compile(r"name '(\w+)' is not defined.*")

Case = tuple[str, Callable[[], object]]


def judge(program: Program, job: dict[str, Any], at_case: Callable[[int], None]) -> dict[str, Any]:
    """How many cases passed: `passed`, `total`, and `why` the first failed; without `whole` it ends there.

    `job` has the `tests`, their `entry_point`, and the `prelude`. Whether they can be passed, and how many cases there
    are, is settled before the program is loaded.
    """
    listed = listing(job["tests"], job["entry_point"])
    space, given = _space(job["prelude"])
    passed, why, name, broken, wanted = 0, None, "before the tests", False, True
    try:
        program.ask("load")
        wanted = _meet(program, listed, space, given, job["entry_point"])
        for number, (name, run) in enumerate(_cases(listed, space, job["entry_point"]), 1):
            at_case(number)
            failure = _failure(name, run, listed)
            _look_at(program)
            passed += failure is None
            why = why or failure
            if failure and not job["whole"]:
                break
    except BadTests:
        raise
    except Broken as error:
        why, broken = why or f"{name}: the program: {error}", True
    except (Exception, SystemExit) as error:  # of the program when loaded, or of the tests' set-up
        _look_at(program)
        why = why or _told(error, listed)
    nothing = program.asked <= _TO_MEET
    if why is None and (listed.total == 0 or (nothing and not wanted)):
        raise BadTests("the tests check nothing of the program")
    if why is None and nothing:
        passed, why = 0, "it has nothing of what the tests name"
    return {"passed": passed, "total": max(listed.total, 1), "why": why, "broken": broken}


def _look_at(program: Program) -> None:
    """Raises what tests that catch everything may have caught."""
    if program.unjudged:
        raise program.unjudged
    if program.broken:
        raise program.broken


def _space(prelude: str) -> tuple[dict[str, Any], set[str]]:
    """The tests' module, with the prelude run in it too, and the names of what the prelude itself defines."""
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    space = vars(module)
    space["__builtins__"] = builtins
    site.setquit()
    tree = ast.parse(prelude, "prelude")
    exec(compile(tree, "prelude", "exec", dont_inherit=True), space)  # noqa: S102 - what this sandbox is for
    return space, {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def _meet(program: Program, listed: Listing, space: dict[str, Any], given: set[str], entry_point: str | None) -> bool:
    """Gives the tests what they name and do not define: modules of the library, and what the program has.

    What the prelude defines (`given`) is the tests' own, and so is what it imports, unless the program has bound the
    name anew. Returns whether they name anything of a program's.
    """
    nodes = [below for node in listed.body for below in ast.walk(node)]
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
    used = {node.id for node in names} - bound - given
    free = used - set(dir(builtins))
    free |= {entry_point} if entry_point else set()
    modules = {n for n in free & sys.stdlib_module_names if n not in alone and n != entry_point}
    space |= {name: importlib.import_module(name) for name in modules}  # `math.isclose` must not be the program's
    # where all that they name is one built-in function, a program's own of that name is meant
    meant = free - modules or (used if len(used) == 1 else set())
    for name in program.ask("own", sorted(meant)):  # where one is missing, tests that come to it fail
        space[name] = program.ask("name", name)
    return bool(free - modules)


def _cases(listed: Listing, space: dict[str, Any], entry_point: str | None) -> Iterator[Case]:
    """Runs the set-up, and yields the cases where they stand; then the cases that are functions."""
    for node in listed.body:
        code = compiled(node)
        if is_case(node):
            yield f"line {node.lineno}", lambda code=code: exec(code, space)  # type: ignore[misc]  # noqa: S102
            continue
        try:
            exec(code, space)  # noqa: S102 - what this sandbox is for
        except ImportError as error:
            if not isinstance(node, ast.Import | ast.ImportFrom):
                raise  # of the program
            raise BadTests(f"the tests import what is not there: {error}") from error
    for owner, name in listed.functions:
        if owner:
            yield f"{owner}.{name}", _unittest_case(space[owner], name, listed)
        elif name == "check":
            yield name, lambda: space["check"](space[str(entry_point)])
        else:
            yield name, space[name]


def _unittest_case(kind: Any, name: str, listed: Listing) -> Callable[[], object]:
    import unittest

    there = set(unittest.defaultTestLoader.getTestCaseNames(kind))
    if there != {method for owner, method in listed.functions if owner == kind.__name__}:
        raise BadTests(f"the tests of {kind.__name__} are made while they run: their number is not fixed")
    return lambda: _run_unittest(kind(name))


def _run_unittest(test: Any) -> None:
    """Runs a unittest case, raising what fails. Skipped is not passed."""
    import unittest

    result = unittest.TestResult()
    unittest.TestSuite([test]).run(result)
    for _, text in [*result.failures, *result.errors]:
        raise AssertionError(text.strip().splitlines()[-1])
    if not result.wasSuccessful() or result.skipped or result.expectedFailures:
        raise AssertionError("not passed")


def _failure(name: str, run: Callable[[], object], listed: Listing) -> str | None:
    try:
        run()
    except BadTests:
        raise
    except SystemExit as error:  # of the tests: of the program it would come as an Exception
        return f"{name}: {_told(error, listed)}" if error.code else None
    except Exception as error:  # whatever a test raises, it failed
        return f"{name}: {_told(error, listed)}"
    return None


def _told(error: BaseException, listed: Listing) -> str:
    """An error in a line; raises BadTests where the program lacks what only the tests have."""
    found = _UNKNOWN.fullmatch(str(error)) if isinstance(error, NameError) else None
    if found and found[1] in listed.classes:
        raise BadTests(f"the program needs {found[1]}, which the tests define: give it by the option `prelude`")
    return f"{type(error).__name__}: {error}".strip(": ")[:500]


def main(descriptor: int, board: int) -> None:
    """Reads the tests and the secret from stdin, judges the program on the descriptor, writes the verdict."""
    job = json.loads(sys.stdin.buffer.read())
    secret = job.pop("secret")
    shown = mmap.mmap(board, BOARD.size)
    verdict, quiet = os.dup(1), os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(quiet, standard)
    case = 0

    def at_case(number: int) -> None:
        nonlocal case
        case = number
        show(program.seconds, 0.0)

    def show(seconds: float, since: float) -> None:
        BOARD.pack_into(shown, 0, case, seconds, since)

    program = Program(descriptor, show)
    try:
        found = judge(program, job, at_case)
    except BadTests as error:
        found = {"bad": str(error)}
    os.write(verdict, json.dumps({"secret": secret, **found}).encode())
    os._exit(0)
