"""What is a case: counted in the tests' text, so that nothing that happens changes how many there are."""

import pytest
from judged import judge

from journeyman.verifiers.programs.sandboxed.listing import BadTests, listing

COUNTED = {
    "statements": ("x = 1\nassert f(1)\nf(2)\nfor i in [1]:\n    assert f(i)\nf", 3),
    "an if that raises": ("if f(1) != 2:\n    raise AssertionError\nif f(2) != 3: print('no'); exit(1)", 2),
    "a match": ("match f(1):\n    case 2: pass\n    case _: raise ValueError", 1),
    "an if that prepares": ("if True:\n    x = 1\nassert f(1)", 1),
    "a loop that prepares": (
        "for i in range(3):\n    x = i\ntry:\n    import a\nexcept E:\n    b = None\nassert f(1)",
        1,
    ),
    "functions": ("def test_a(): pass\ndef test_b(x=1): pass\ndef other(x): pass\nassert f(1)", 3),
    "unittest": (
        (
            "import unittest\nclass Mixin:\n    def test_a(self): pass\nclass T(Mixin, unittest.TestCase):\n"
            "    def test_b(self): pass\nclass U(T):\n    def test_b(self): pass\n    def helper(self): pass"
        ),
        4,
    ),
    "under main": ("if __name__ == '__main__':\n    assert f(1)\n    f(2)", 2),
}


@pytest.mark.parametrize("kind", COUNTED)
def test_cases_are_counted(kind):
    text, count = COUNTED[kind]
    assert listing(text, None).total == count


def test_check_is_a_case_where_there_is_an_entry_point():
    text = "def check(candidate): assert candidate(1)"
    assert (listing(text, "f").total, listing(text, None).total) == (1, 0)
    with pytest.raises(BadTests, match="no Python"):
        listing("assert (", None)


GOOD = "def f(x): return 2 * x\nclass Stack:\n    def __init__(self): self.n = 3\n"
TESTS = "assert f(0) == 0\nassert f(1) == 2\nif f(2) != 4: raise ValueError\ns = Stack()\n" + "".join(
    f"def test_{n}(): assert s.n == {n}\n" for n in range(10)
)


@pytest.mark.parametrize(
    ("program", "passed"),
    [
        (GOOD, 4),
        (GOOD.replace("self.n = 3", "raise ValueError"), 3),
        (GOOD.replace("self.n = 3", "raise SystemExit(0)"), 3),
        (GOOD.replace("self.n = 3", "import os; os._exit(0)"), 3),
        (GOOD.replace("2 * x", "0"), 2),
        ("def f(x): return 2 * x", 3),
        ("1 / 0", 0),
        ("import os\nos._exit(0)", 0),
        (GOOD + "class Stack:\n    def __init__(self): exec('(' * 10**6)", 3),
    ],
)
def test_no_end_of_a_program_changes_how_many_cases_there_are(program, passed):
    verdict = judge({"tests": TESTS}, program, score="share", extract="whole")
    assert verdict.score == passed / 13
    assert verdict.explanation.startswith(f"{passed} of 13 passed")


def test_tests_that_raise_or_exit_are_cases():
    tests = (
        "import sys\nif f(2) != 4:\n    raise AssertionError('four')\nif f(3) != 6:\n    print('six')\n    exit(1)\n"
    )
    tests += "def main():\n    return 0 if f(4) == 8 else 1\nsys.exit(main())"
    assert judge({"tests": tests}, GOOD).explanation == "3 of 3 passed"
    told = judge({"tests": tests}, GOOD.replace("2 * x", "4"), score="share")
    assert (told.score, told.explanation) == (1 / 3, "1 of 3 passed; line 4: SystemExit: 1")


def test_a_function_of_a_built_in_name_is_the_programs_where_nothing_else_can_be_meant():
    program = "def sum(a, b): return a + b"
    assert judge({"tests": "assert sum(1, 2) == 3"}, program).score == 1
    assert judge({"tests": "assert sum(1, 2) == 3"}, "x = 1").score == 0
    assert judge({"tests": "assert sum(1, 2) == 3"}, program.replace("+", "-")).score == 0
    tests = "def check(candidate): assert all(candidate(x, 2) == x + 2 for x in range(3))"
    checked = {"tests": tests, "entry_point": "sum"}
    assert judge(checked, program).score == 1
    assert judge(checked, program.replace("+", "-") + "\ndef all(x): return True").score == 0
