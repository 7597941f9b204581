"""Programs judged by unit tests and by their output; and programs that cheat."""

import asyncio
import contextlib
import ctypes
import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judged import attempt, judge

from journeyman.agent.data import Status
from journeyman.agent.errors import SettingsError
from journeyman.agent.plugins import VERIFIERS, load_plugin
from journeyman.verifiers.isolation.pool import PoolLimits, VerifierPool
from journeyman.verifiers.isolation.worker import Recipe
from journeyman.verifiers.programs.sandboxed.crossing import decode, encode

_CORPUS = Path(__file__).with_name("program_attacks.txt").read_text()
ATTACKS = dict(part.split("\n", 1) for part in _CORPUS.removeprefix("==== ").split("\n==== "))
"""Programs that solve nothing and try to be scored all the same, to break out, or to break something; by name."""
ATTACKS |= {"no source at all": "\x00", "half a character": "x = '\ud800'"}

HONEST = "def double(x): return 2 * x\ndef is_even(n): return n % 2 == 0\n"
TESTS = {
    "tests": """
assert is_even(4) is True
assert double(2) == 4
assert double(-7) == -14
assert all(double(n) == 2 * n for n in range(5))
assert not is_even(7)
"""
}
CASES = {"cases": [{"stdin": "2\n", "stdout": "4\n"}, {"stdin": "-7\n", "stdout": "-14\n"}]}


def children():
    return [pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()]


@pytest.fixture
def nothing_left():
    """Whatever outlives a sandbox becomes a child of this process, and would be seen."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    before = set(children())
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    yield
    assert set(children()) <= before
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors
    assert not [path for path in ("/etc/owned", "/usr/bin/owned", "/owned") if Path(path).exists()]


LIMITS = {"seconds": 5.0, "case_seconds": 1.0, "cpu_seconds": 1.0}


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_attack_is_scored(attack, nothing_left):
    start = time.monotonic()
    verdict = judge(TESTS, ATTACKS[attack], extract="whole", **LIMITS)
    assert (verdict.status, verdict.score) == (Status.OK, 0)
    assert verdict.explanation
    assert time.monotonic() - start < 30


PRINTED = {
    "the secret's form": 'print(\'{"secret": "", "passed": 2, "total": 2, "why": null}\')',
    "nothing": "",
    "exit": "import os\nos._exit(0)",
    "the right thing, but it fails": "print(2 * int(input()))\nraise SystemExit(3)",
    "an early answer": "print(4)",
    "the answers of others": "import glob\nfor path in glob.glob('/tmp/**', recursive=True): print(path)",
    "a flood": "while True: print('x' * 10**6)",
    "a fork that answers": "import os\nif not os.fork(): print(4)",
    "too slow": "import time\ntime.sleep(1000)",
    "its command line": "print(open('/proc/1/cmdline').read(), open('/proc/self/environ').read())",
}


@pytest.mark.parametrize("attack", PRINTED)
def test_no_output_is_scored_but_the_right_one(attack, nothing_left):
    assert judge(CASES, PRINTED[attack], **LIMITS).score == 0


def test_the_corpus_is_large_and_the_honest_pass(nothing_left):
    assert len(ATTACKS) + len(PRINTED) >= 80
    assert judge(TESTS, HONEST).score == 1
    verdict = judge(CASES, "print(2 * int(input()))")
    assert (verdict.score, verdict.explanation) == (1, "2 of 2 passed")


def test_a_share_may_count():
    half = "def double(x): return 4\ndef is_even(n): return True\n"
    verdict = judge(TESTS, half, score="share")
    assert (verdict.score, verdict.explanation) == (2 / 5, "2 of 5 passed; line 4: AssertionError")
    assert judge(CASES, "print(4)", score="share").score == 0.5
    assert judge(TESTS, "import os\nos._exit(0)", score="share").score == 0
    assert judge(TESTS, half + "def double(x): raise ValueError", score="share").score == 1 / 5


def test_the_program_is_a_block_of_the_answer():
    text = f"```python\ndef double(x): return 0\n```\nNo:\n```python\n{HONEST}```\nUse:\n```\ndouble(3)\n```"
    assert judge(TESTS, text).score == 1
    assert judge(TESTS, text, block="first").score == 0
    assert judge(TESTS, text, extract="whole").score == 0
    assert judge(TESTS, " ").explanation == "no program"


STACK = """
class Empty(LookupError): pass
class Stack:
    def __init__(self, items=()): self.items = list(items)
    def push(self, item): self.items.append(item)
    def pop(self):
        if not self.items: raise Empty("nothing there")
        return self.items.pop()
    def __len__(self): return len(self.items)
    def __eq__(self, other): return self.items == other.items
def apply(function, x): return function(x)
def count(n): yield from range(n)
def turn(rows): rows.reverse(); rows[0].append("x")
def point():
    from collections import namedtuple
    return namedtuple("Point", "x y")(1, 2)
def half(x):
    from fractions import Fraction
    return Fraction(x, 2)
LIMIT = 10**30
"""
HONEST_TESTS = {
    "objects": "s = Stack([1])\ns.push('a')\nassert len(s) == 2 and s.pop() == 'a'\nassert s.items == [1]",
    "their equality": "assert Stack([1]) == Stack([1])\nassert Stack([1]) != Stack([2])\nassert Stack() != []",
    "their classes": "assert isinstance(Stack(), Stack) and not isinstance(3, Stack)",
    "their truth": "assert not Stack()\nassert Stack([1])",
    "exceptions": "try:\n    Stack().pop()\n    assert False\nexcept Empty as e:\n    assert 'nothing' in str(e)",
    "built-in ones": "try:\n    Stack().pop()\n    assert False\nexcept LookupError:\n    pass",
    "functions of the tests": "assert apply(lambda x: x + 1, 2) == 3\nassert apply(len, [1, 2]) == 2",
    "generators": "assert list(count(3)) == [0, 1, 2]\nassert sum(count(4)) == 6",
    "changed arguments": "rows = [[1], [2]]\nturn(rows)\nassert rows == [[2, 'x'], [1]]",
    "plain values of other types": "assert point() == (1, 2)\n"
    "from fractions import Fraction\nassert half(3) == Fraction(3, 2)",
    "constants": "assert LIMIT == 10**30",
    "the library": "assert math.isclose(float(half(3)), 1.5)",
    "check": "def check(candidate):\n    assert candidate(len, 'ab') == 2",
    "functions": "def test_apply():\n    assert apply(abs, -1) == 1",
    "unittest": "import unittest\nclass T(unittest.TestCase):\n    def setUp(self): self.s = Stack()\n"
    "    def test_it(self):\n        with self.assertRaises(Empty): self.s.pop()\n"
    "        self.assertEqual(len(self.s), 0)\n"
    "if __name__ == '__main__': unittest.main()",
    "unittest, started": "import unittest\nclass T(unittest.TestCase):\n"
    "    def test_it(self): self.assertEqual(LIMIT, 10**30)\nunittest.main()",
    "a main block": "def main():\n    assert LIMIT == 10**30\nif __name__ == '__main__':\n    main()",
    "the end of iteration": "g = count(1)\nassert next(g) == 0\ntry:\n    next(g)\n    assert False\n"
    "except StopIteration:\n    pass",
}


@pytest.mark.parametrize("kind", HONEST_TESTS)
def test_what_tests_may_do(kind):
    spec = {"tests": HONEST_TESTS[kind]} | ({"entry_point": "apply"} if kind == "check" else {})
    verdict = judge(spec, STACK)
    assert verdict.score == 1, verdict.explanation


BOMB = """
class Fraction:
    def __str__(self): return "1e999999999"
Fraction.__module__ = "fractions"
def f(x): return Fraction()
"""


@pytest.mark.parametrize(
    ("test", "program"),
    [
        ("assert f(2) - 1.5 < 1e-6", "class A:\n    def __sub__(s, o): return 0.0\ndef f(x): return A()"),
        ("assert abs(f(2) - 1.5) < 1e-6", "class A:\n    def __sub__(s, o): return 0.0\ndef f(x): return A()"),
        ("assert f(2) > 1.5", "class A:\n    def __gt__(s, o): return True\ndef f(x): return A()"),
        ("assert 3 in f(2)", "class A:\n    def __contains__(s, o): return True\ndef f(x): return A()"),
        ("assert f(2).startswith('a')", "class A:\n    def startswith(s, o): return True\ndef f(x): return A()"),
        ("assert math.isclose(f(2), 1.5)", "class math:\n    def isclose(*_): return True\ndef f(x): return 0"),
        ("assert isinstance(f(2), int)", "class A:\n    __class__ = int\ndef f(x): return A()"),
        ("try:\n    f(2)\nexcept:\n    pass\nelse:\n    assert 0", "import os\ndef f(x): os._exit(0)"),
        ("def test(): assert f(2) == 3", "def f(x): return 2"),
        ("assert all(map(f, [2, 3, 5]))\nassert not any(map(f, [4, 6]))", "def f(x): raise StopIteration"),
        ("for x, y in zip(map(f, [2, 3]), [4, 6]):\n    assert x == y", "def f(x): raise StopIteration"),
        (
            "assert all(f(x).y for x in [2, 3])",
            "class A:\n    @property\n    def y(s): next(iter(()))\ndef f(x): return A()",
        ),
        ("assert all(map(f, [2]))", "class Mine(StopIteration): pass\ndef f(x): raise Mine"),
        ("assert f(1) == 1\nif __name__ == '__main__':\n    assert f(2) == 3", "def f(x): return x"),
        ("x = f(2)\nassert x == 3", "def f(x): raise ImportError('of the program')"),
        ("assert f(2) == 3", BOMB),
        (
            "import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(f(2), 3)",
            "def f(x): return 2",
        ),
    ],
)
def test_the_program_is_never_its_own_judge(test, program):
    assert judge({"tests": test}, program, cpu_seconds=1).score == 0


def test_a_task_without_tests_is_no_matter_of_programs():
    assert judge(None, HONEST).status is Status.ABSTAIN
    assert judge(TESTS, HONEST, source="hidden").status is Status.ABSTAIN
    assert judge(None, HONEST, payload={"hidden": ["assert double(1) == 2"]}, source="hidden").score == 1


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        ({"tests": "assert ("}, "no Python"),
        ({"tests": "import nothing_like_it\nassert double(1) == 2"}, "import what is not there"),
        ({"tests": "assert 1 == 1"}, "check nothing"),
        ({"tests": "def check(candidate):\n    assert candidate(1) == 2"}, "check nothing"),
        ({"tests": "assert double(1) == 2\nasync def test_two(): assert double(2) == 4"}, "test_two is async"),
        ({"tests": "assert double(1) == 2\ndef test_two():\n    yield\n    assert double(2) == 4"}, "or a generator"),
        ({"tests": "class T:\n    async def test_two(self): assert double(2) == 4"}, "test_two is async"),
        ({"tests": "async def check(candidate): assert candidate(2) == 4", "entry_point": "double"}, "check is async"),
        ({"tests": "assert double(1) == 2\nreturn"}, "no Python"),
        ({"tests": []}, "must be a text"),
        (3, "must be a text"),
        ({"cases": []}, "at least one"),
        ({"cases": [{"stdin": "1"}]}, "at least one"),
        (
            {"cases": [{"stdout": "x" * 2**25}]},
            "case 1 expects more output than a program may print: raise `output_mb`",
        ),
    ],
)
def test_bad_tests_are_an_error_and_no_zero(goal, message):
    with pytest.raises(ValueError, match=message):
        judge(goal, HONEST)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seconds": 0}, "option 'seconds' must be from 0.1 to 86400, got 0.0"),
        ({"case_seconds": float("inf")}, "option 'case_seconds' must be from 0.1 to 86400, got inf"),
        ({"cpu_seconds": float("nan")}, "option 'cpu_seconds' must be from 0.1 to 86400, got nan"),
        ({"memory_mb": 1}, "option 'memory_mb' must be from 64 to 65536, got 1"),
        ({"output_mb": 1000}, "option 'output_mb' must be from 0.001 to 64, got 1000.0"),
        ({"tolerance": -1e-6}, "option 'tolerance' must be from 0 to 0.1, got -1e-06"),
        ({"prelude": "competiton"}, "option 'prelude': unknown name 'competiton': did you mean 'competition'?"),
        ({"prelude": "import ("}, "option 'prelude' is no Python: invalid syntax (prelude, line 1)"),
        ({"prelude": "x = '\0'"}, "option 'prelude' is no Python: source code string cannot contain null bytes"),
        ({"block": "second"}, "verifier 'program', option 'block': Input should be 'last', 'first' or 'longest'"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(SettingsError) as caught:
        load_plugin(VERIFIERS, "program", options)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_packages_are_there_only_where_asked_for():
    program = "import numpy\ndef double(x): return int(numpy.int64(x) * 2)\ndef is_even(n): return n % 2 == 0"
    assert "ModuleNotFoundError" in judge(TESTS, program).explanation
    verdict = judge(TESTS, program, packages=True, memory_mb=2048, seconds=60.0)
    assert verdict.score == 1, verdict.explanation


def test_the_same_verdict_from_thread_and_event_loop(nothing_left):
    found = []
    thread = threading.Thread(target=lambda: found.append(judge(TESTS, HONEST).score))
    thread.start()
    thread.join()

    async def several():
        return await asyncio.gather(*(asyncio.to_thread(judge, TESTS, program) for program in (HONEST, "", "x = 1")))

    found += [verdict.score for verdict in asyncio.run(several())]
    assert found == [1, 1, 0, 0]


def test_in_a_worker_that_is_killed_nothing_survives(nothing_left):
    recipe = Recipe("program", '{"seconds": 1000.0, "cpu_seconds": 1000}')
    before = set(children())
    with VerifierPool(PoolLimits(seconds=2.5, workers=1)) as pool:
        slow = pool.verify_all(recipe, [attempt(TESTS, "import time\ntime.sleep(1000)")])
    with VerifierPool(PoolLimits(seconds=60.0, cpu_seconds=60, workers=1)) as pool:
        others = pool.verify_all(recipe, [attempt(TESTS, HONEST), attempt(TESTS, "x = 1"), attempt(CASES, "print(4)")])
    deadline = time.monotonic() + 10  # what a killed process leaves dies at once, but not in the same moment
    while set(children()) - before and time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        time.sleep(0.01)
    assert [judged.verdict.status for judged in slow] == [Status.TIMEOUT]
    assert [judged.verdict.score for judged in others] == [1, 0, 0]


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.fractions()
    | st.dates()
    | st.decimals(allow_nan=False)
    | st.sampled_from([2**200, -(2**63), 1j, range(3), frozenset({1})]),
    lambda inner: st.one_of(
        st.lists(inner), st.tuples(inner, inner), st.dictionaries(st.text() | st.integers(), inner)
    ),
    max_leaves=10,
)


@settings(deadline=None, max_examples=50)
@given(PLAIN)
def test_plain_values_cross_as_they_are(value):
    def no(*_):
        raise AssertionError("not plain")

    again = decode(encode(value, no), no)
    assert again == value
    assert type(again) is type(value)
