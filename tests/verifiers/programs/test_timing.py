"""Whose time it was: the program's, the tests', or the machine's."""

import os
import subprocess
import sys

import pytest
from judged import judge

from journeyman.agent.data import Status

ONE = {"cases": [{"stdin": "", "stdout": ""}]}
TOO_LONG = {
    "computes": ("while True: pass", {"cpu_seconds": 0.4}, "cpu_seconds = 0.4"),
    "sleeps": ("import time\ntime.sleep(1000)", {"case_seconds": 0.4}, "case_seconds = 0.4"),
    "naps": ("import time\nwhile True: time.sleep(0.001)", {"case_seconds": 0.4}, "case_seconds = 0.4"),
    "waits for a lock": (("import threading\nthreading.Lock().acquire() and 0\nl = threading.Lock()\nl.acquire()\n"
                         "l.acquire()"), {"case_seconds": 0.4}, "case_seconds = 0.4"),
    "reads what does not come": ("import os\nos.read(os.pipe()[0], 1)", {"case_seconds": 0.4}, "case_seconds = 0.4"),
    "stops itself": ("import os\nos.kill(os.getpid(), 19)", {"case_seconds": 0.4}, "case_seconds = 0.4"),
    "has many threads nap": (
        ("import threading, time\ndef nap():\n    while True: time.sleep(0.005)\n"
        "for _ in range(16): threading.Thread(target=nap).start()"), {"case_seconds": 0.4}, "case_seconds = 0.4",
    ),
    "is too slow in all": ("import time\ntime.sleep(1000)", {"case_seconds": 9, "seconds": 1.2}, "seconds = 1.2"),
}  # fmt: skip


@pytest.mark.parametrize("kind", TOO_LONG)
def test_what_a_program_takes_by_its_own_doing_is_its_failure(kind):
    program, options, limit = TOO_LONG[kind]
    verdict = judge(ONE, program, **{"seconds": 20.0, **options})
    assert (verdict.status, verdict.score) == (Status.OK, 0)
    assert verdict.explanation == f"0 of 1 passed; case 1: over its limit: {limit}"


def test_each_case_has_its_time_and_all_have_theirs():
    cases = {"cases": [{"stdin": s, "stdout": ""} for s in ("0", "9", "0")]}
    verdict = judge(cases, "import time\ntime.sleep(float(input()))", case_seconds=0.4, seconds=20.0, score="share")
    assert (verdict.score, verdict.explanation) == (2 / 3, "2 of 3 passed; case 2: over its limit: case_seconds = 0.4")
    cases = {"cases": [{"stdout": ""}] * 9}
    verdict = judge(cases, "import time\ntime.sleep(0.9)", case_seconds=1.9, seconds=2.0, score="share")
    assert 1 / 9 <= verdict.score <= 2 / 9
    assert verdict.explanation.endswith("over its limit: seconds = 2")


SLEEPER = "import time\ndef f(x):\n    if x: time.sleep(1000)\n    return 1"


def test_tests_that_call_it_have_the_same_limits():
    options = {"seconds": 20.0, "case_seconds": 0.4, "cpu_seconds": 0.4}
    tests = {"tests": "assert f(0) == 1\nassert f(0) == 1\nassert f(1) == 1\nassert f(0) == 1"}
    verdict = judge(tests, SLEEPER, score="share", **options)
    assert (verdict.score, verdict.explanation) == (0.5, "2 of 4 passed; over its limit: case_seconds = 0.4")
    verdict = judge(tests, SLEEPER.replace("time.sleep(1000)", "\n        while True: pass"), **options)
    assert (verdict.score, verdict.explanation) == (0, "2 of 4 passed; over its limit: cpu_seconds = 0.4")
    verdict = judge(tests, "while True: pass", **options)
    assert (verdict.score, verdict.explanation) == (0, "0 of 4 passed; over its limit: cpu_seconds = 0.4")
    endless = "import itertools\ndef f(x): return itertools.count()"
    verdict = judge({"tests": "assert list(f(1)) == []"}, endless, **options)
    assert (verdict.score, verdict.explanation) == (0, "0 of 1 passed; over its limit: cpu_seconds = 0.4")
    many = {"tests": "\n".join(["assert f(0) == 1"] * 6)}
    verdict = judge(many, "import time\ndef f(x): return time.sleep(0.6) or 1", seconds=2.0)
    assert verdict.explanation.endswith("over its limit: seconds = 2")


@pytest.mark.parametrize("test", ["while True: pass", "import time\ntime.sleep(1000)"])
def test_what_the_tests_take_is_not_the_programs(test):
    verdict = judge({"tests": f"assert f(0) == 1\n{test}"}, SLEEPER, seconds=0.6)
    assert (verdict.status, verdict.score) == (Status.TIMEOUT, None)
    assert "0.9 s went by, and the program itself had 0." in verdict.explanation


BUSY = "while True: pass"


@pytest.fixture
def one_busy_processor():
    """This thread, and what it starts, share a processor with many others."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    others = [subprocess.Popen([sys.executable, "-S", "-c", BUSY], start_new_session=True) for _ in range(8)]
    yield
    for other in others:
        other.kill()
        other.wait()
    os.sched_setaffinity(0, before)


def test_on_a_loaded_machine_a_right_program_is_not_wrong_and_a_sleeping_one_is(one_busy_processor):
    options = {"seconds": 1.2, "case_seconds": 1.2, "cpu_seconds": 1.2}
    verdict = judge(ONE, BUSY, **options)
    assert (verdict.status, verdict.score) == (Status.TIMEOUT, None)
    assert "case 1: 1.8 s went by, and the program itself had" in verdict.explanation
    verdict = judge({"tests": "assert f() == 1"}, f"def f():\n    {BUSY}", **options)
    assert (verdict.status, verdict.score) == (Status.TIMEOUT, None)
    verdict = judge(ONE, "import time\ntime.sleep(1000)", **{**options, "case_seconds": 0.4})
    assert (verdict.status, verdict.score) == (Status.OK, 0)


def test_a_program_cannot_make_itself_wait_for_others():
    program = "import os\nfor call in (lambda: os.nice(5), lambda: os.sched_setaffinity(0, {0}),\n"
    program += "    lambda: os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))):\n"
    program += "    try: print(call())\n    except PermissionError: pass"
    assert judge(ONE, program).score == 1


def test_output_has_a_size():
    numbers = "\n".join(map(str, range(300_000)))
    assert judge({"cases": [{"stdout": numbers}]}, "print(*range(300_000), sep='\\n')").score == 1
    verdict = judge({"cases": [{"stdout": "x"}]}, "print('x' * 9999)", output_mb=0.005)
    assert (verdict.score, verdict.explanation) == (0, "0 of 1 passed; case 1: it printed too much")


@pytest.mark.parametrize(("tolerance", "score"), [(0.0, 0), (1e-6, 1)])
def test_printed_numbers_may_be_near(tolerance, score):
    assert judge({"cases": [{"stdout": "0.333333333"}]}, "print(1 / 3)", tolerance=tolerance).score == score
