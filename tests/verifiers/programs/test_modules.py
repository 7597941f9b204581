"""The program is the module `__main__`, with a prelude before it; what its tests may be to it, and it to them."""

import pytest
from judged import judge

from journeyman.agent.errors import SettingsError
from journeyman.agent.plugins import VERIFIERS, load_plugin

MAIN = {
    "its module": ("import sys\nprint(sys.modules['__main__'].__dict__ is globals(), __name__)", "True __main__"),
    "imported": ("import __main__\nx = 5\nprint(__main__.x)", "5"),
    "its file": ("print(__file__, len(open(__file__).read()))", "/tmp/program.py 43"),
    "pickle": ("import pickle\nclass A: x = 1\nprint(pickle.loads(pickle.dumps(A())).x)", "1"),
    "annotations": (
        (
            "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom typing import ClassVar, "
            "get_type_hints\n@dataclass\nclass Node:\n    v: int\n"
            "    left: Node | None = None\n    n: ClassVar[int] = 0\n"
            "print(get_type_hints(Node)['left'] == Node | None, Node(1))"
        ),
        "True Node(v=1, left=None)",
    ),
    "the block for a person": ("if __name__ == '__main__':\n    print('here')", "here"),
    "nothing else": ("print(sorted(n for n in globals() if n[:2] != '__'))", "[]"),
    "its arguments": ("import sys\nprint(sys.argv)", "['program.py']"),
}


@pytest.mark.parametrize("kind", MAIN)
def test_a_program_is_the_module_main(kind):
    program, printed = MAIN[kind]
    verdict = judge({"cases": [{"stdout": printed}]}, program)
    assert verdict.score == 1, verdict.explanation


def test_so_it_is_to_tests_that_call_it():
    program = (
        "from __future__ import annotations\nimport __main__, pickle, sys\nfrom dataclasses import dataclass\n"
        "from typing import ClassVar, get_type_hints\n@dataclass\nclass A:\n    x: int\n    n: ClassVar[int] = 0\n"
        "def f(): return [A.__module__, __main__.f is f, sys.modules['__main__'].__file__, sys.argv, "
        "pickle.loads(pickle.dumps(A(1))).x, sorted(get_type_hints(A)), seen]\n"
        "if __name__ == '__main__':\n    seen = sorted(n for n in globals() if n[0] != '_')"
    )
    names = ["A", "ClassVar", "annotations", "dataclass", "f", "get_type_hints", "pickle", "sys"]
    expected = ["__main__", True, "/tmp/program.py", ["program.py"], 1, ["n", "x"], names]
    verdict = judge({"tests": f"assert f() == {expected!r}"}, program)
    assert verdict.score == 1, verdict.explanation


def test_the_block_for_a_person_may_fail():
    program = (
        "def f(): return 1\nif __name__ == '__main__':\n    f.x = 2\n    print(input())\n    raise SystemExit(3)\n"
    )
    assert judge({"tests": "assert f() == 1 and f.x == 2"}, program).score == 1


def test_the_lines_of_an_error_are_the_programs_own():
    program = "from __future__ import annotations\nimport traceback\ntry:\n    1 / 0\nexcept Exception as e:\n"
    program += "    print(e.__traceback__.tb_lineno, Counter('aab')['a'], inf)"
    assert judge({"cases": [{"stdout": "4 2 inf"}]}, program, prelude="competition").score == 1
    verdict = judge({"cases": [{"stdout": ""}]}, "x = 1\n  y = 2", prelude="competition")
    assert verdict.explanation.startswith("0 of 1 passed; case 1: exit code 1, IndentationError: unexpected indent")


COMPETITION = """
class Solution:
    def f(self, xs: List[int], s: Optional[str] = None) -> Dict[str, int]:
        heap = [*xs]
        heapq.heapify(heap)
        heappush(heap, -1)
        d = defaultdict(list)
        q = deque(xs)
        @lru_cache(None)
        def up(n): return 0 if n == 0 else 1 + up(n - 1)
        return [heappop(heap), bisect.bisect_left(xs, 2), bisect_left(xs, 2), Counter("aab")["a"], gcd(4, 6), inf > 1,
                pow(2, 3, 5), list(accumulate(xs)), math.comb(4, 2), reduce(lambda a, b: a + b, xs), up(9000), sqrt(4),
                string.ascii_lowercase[:2], len(list(permutations(xs))), abs(-1), sum(xs), len(re.findall("a", "aa")),
                copy.copy(xs), deepcopy(xs), Fraction(1, 2), datetime.date(2020, 1, 2).year, max(xs), sys.maxsize > 1]
"""


def test_the_usual_imports_of_contests():
    tests = (
        "r = [-1, 1, 1, 2, 2, True, 3, [1, 3, 6], 6, 6, 9000, 2.0, 'ab', 6, 1, 6, 2, [1, 2, 3], [1, 2, 3], "
        "Fraction(1, 2), 2020, 3, True]\nassert Solution().f([1, 2, 3]) == r"
    )
    verdict = judge({"tests": tests}, COMPETITION, prelude="competition")
    assert verdict.score == 1, verdict.explanation
    assert judge({"tests": tests}, COMPETITION).score == 0


def test_what_tests_name_of_a_prelude_is_their_own():
    options = {"prelude": "competition"}
    counted = {"tests": "assert Counter(f()) == Counter('aab')"}
    assert judge(counted, "def f(): return 'aba'", **options).score == 1
    assert judge(counted, "from collections import Counter\ndef f(): return 'ab'", **options).score == 0
    gcd = {"tests": "assert gcd(4, 6) == 2"}
    assert judge(gcd, "def gcd(a, b): return 2", **options).score == 1
    assert judge(gcd, "def gcd(a, b): return 1", **options).score == 0
    assert judge(gcd, "x = 1", **options).explanation == "0 of 1 passed; it has nothing of what the tests name"
    prelude = "def same(a, b): return a == b"
    cheat = "def same(a, b): return True\ndef f(): return 1"
    assert judge({"tests": "assert same(f(), 2)"}, cheat, prelude=prelude).score == 0


def test_a_prelude_that_fails_is_found_before_the_run():
    verifier = load_plugin(VERIFIERS, "program", {"prelude": "import nothing_like_it"})
    with pytest.raises(
        SettingsError, match=r"option 'prelude' fails before any program: ModuleNotFoundError: .*like_it'"
    ):
        verifier.check()


LINKED = """class ListNode:
    def __init__(self, val=0, next=None):
        self.val = val
        self.next = next
"""
LINKED_TESTS = """
def linked(xs):
    head = None
    for x in reversed(xs):
        head = ListNode(x, head)
    return head
def values(node):
    found = []
    while node:
        found.append(node.val)
        node = node.next
    return found
assert values(turn(linked([1, 2, 3]))) == [3, 2, 1]
assert values(turn(None)) == []
"""
IN_PLACE = """
def turn(head):
    before = None
    while head:
        head.next, before, head = before, head, head.next
    return before
"""
ANEW = """
def turn(head: ListNode) -> ListNode:
    before = None
    while head:
        assert isinstance(head, ListNode)
        before = ListNode(head.val, before)
        head = head.next
    return before
"""
POINT = "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Point:\n    x: int\n    y: int\n"
LIAR = """
class Liar:
    def __eq__(self, other): return True
class Point:
    def __init__(self, *_): self.x = self.y = Liar()
    def __eq__(self, other): return True
"""


def test_objects_of_the_tests_stay_with_them_and_are_passed_by_reference():
    assert judge({"tests": LINKED + LINKED_TESTS}, IN_PLACE).score == 1
    assert judge({"tests": LINKED + LINKED_TESTS}, "def turn(head): return head").score == 0
    assert judge({"tests": LINKED_TESTS}, IN_PLACE, prelude=LINKED).score == 1
    assert judge({"tests": LINKED_TESTS}, ANEW, prelude=LINKED).score == 1
    assert judge({"tests": LINKED_TESTS}, LINKED + ANEW, prelude=LINKED).score == 1
    tests = {"tests": "assert f(Point(1, 2)) == Point(2, 1)\nassert len({Point(1, 2), g(Point(1, 2))}) == 1"}
    program = "def f(p): return Point(p.y, p.x)\ndef g(p): return p if p == p and hash(p) else None"
    assert judge(tests, program, prelude=POINT).score == 1
    assert judge(tests, POINT + program, prelude=POINT).score == 1
    assert judge(tests, program.replace("p.y, p.x", "p.x, p.y"), prelude=POINT).score == 0
    assert judge(tests, LIAR + program, prelude=POINT).score == 0
    assert judge({"tests": POINT + tests["tests"]}, LIAR + program).score == 0


SECRETS = """
class Case:
    answer = 42
    def __init__(self): self.given, self._hidden = 1, 42
    def right(self, x): return x == 42
"""


@pytest.mark.parametrize(
    "program",
    [
        "def f(c): return c._hidden",
        "def f(c): return c.__class__.answer",
        "def f(c): return c.right.__globals__['Case'].answer",
        "def f(c):\n    c.right = lambda x: True\n    return 0",
        "def f(c): return c.__init__.__globals__",
        "def f(c): return type(c).mro()[0].answer",
        "import __main__\ndef f(c): return __main__.Case.answer",
    ],
)
def test_a_reference_to_the_tests_shows_what_they_gave_and_no_more(program):
    tests = SECRETS + "c = Case()\nassert f(c) == 42 or c.right(0)"
    assert judge({"tests": tests}, program).score == 0


def test_callables_of_the_tests_may_be_passed():
    tests = "from unittest.mock import Mock\nm = Mock(return_value=3)\nassert f(m) == 3\nm.assert_called_once_with(1)\n"
    tests += "from functools import partial\nassert f(partial(pow, 2)) == 2\ns = Stack()\nassert s[1:] == [4, 5]"
    program = "def f(g): return g(1)\nclass Stack:\n    def __getitem__(self, at): return [3, 4, 5][at]"
    assert judge({"tests": tests}, program).score == 1
    assert judge({"tests": tests}, program.replace("g(1)", "3")).score == 0


UNJUDGED = {
    "a patched built-in": ("from unittest.mock import patch\nwith patch('builtins.input'): assert f() == 1", "patches"),
    "a patch as decorator": (
        "from unittest import mock\n@mock.patch.object(f, 'x')\ndef test(): assert f()",
        "patches",
    ),
    "a patched module": ("import time\ntime.sleep = lambda s: None\nassert f() == 1", "patches time.sleep"),
    "a patched stream": ("import sys, io\nsys.stdout = io.StringIO()\nassert f() == 1", "patches sys.stdout"),
    "one not imported": ("sys.stdout = io.StringIO()\nassert f() == 1", "patches sys.stdout"),
    "the environment": ("import os\nos.environ['A'] = '1'\nassert f() == 1", "patches os.environ"),
    "redirected output": ("import contextlib\nwith contextlib.redirect_stdout(None): f()", "redirect_stdout"),
    "threads": ("import threading\nthreading.Thread(target=f).start()\nassert f() == 1", "runs threads"),
    "coroutines": ("import asyncio\nassert asyncio.run(f()) == 1", "runs coroutines"),
    "source": ("from inspect import getsource\nassert 'x' in getsource(f)", "looks into the program"),
    "files": ("with open('a', 'w') as file: file.write('x')\nassert f('a') == 1", "writes"),
    "a subclass": ("class Sub(Foo): pass\nassert Sub().x == 1", "cannot be subclassed"),
    "a type that the program needs": ("class Node: pass\nassert g() == 1", "needs Node, which the tests define"),
    "an enumeration": ("from enum import Enum\nclass C(Enum):\n    A = 1\nassert f(C.A) == 1", "a C of the tests"),
    "another object": ("import re\nassert f(re.compile('a')) == 1", "a Pattern of the tests cannot be passed"),
    "and nothing catches that": ("import re\ntry: f(re.compile('a'))\nexcept Exception: pass", "a Pattern"),
    "a fixture": ("def test_a(tmp_path): assert f() == 1", "wants arguments"),
    "a class of pytest": ("class TestA:\n    def test_a(self): assert f() == 1", "is no unittest.TestCase"),
    "tests made while they run": (
        (
            "import unittest\nclass T(unittest.TestCase):\n    def test_a(self): assert f() == 1\n"
            "T.test_b = lambda self: None"
        ),
        "made while they run",
    ),
}


@pytest.mark.parametrize("kind", UNJUDGED)
def test_what_tests_cannot_judge_is_an_error_that_says_why(kind):
    tests, message = UNJUDGED[kind]
    with pytest.raises(ValueError, match=message):
        judge({"tests": tests}, "class Foo: x = 1\ndef f(*_): return 1\ndef g(): return Node()")


def test_what_only_looks_so_is_judged():
    program = (
        "class fs:\n    def mkdir(self, a): return 1\n    def open(self, a, b): return 1\ndef inspect(x): return x\n"
    )
    tests = (
        "import threading, sys\ns = fs()\nassert s.mkdir('a') == 1 and s.open('a', 'w') == 1\nassert inspect(2) == 2\n"
    )
    tests += (
        "sys.setrecursionlimit(5000)\nimport unittest\nunittest.TestCase.maxDiff = None\ns.patch = 3\nassert s.patch"
    )
    verdict = judge({"tests": tests}, program)
    assert verdict.score == 1, verdict.explanation
