"""Whether a command computes, waits, or is kept from running."""

import os
import subprocess
import sys
import time

import pytest

from journeyman.agent.sandbox.own_time import OwnTime, descendants

BUSY = "while True: pass"
ASLEEP = "import time; time.sleep(1000)"
NAPS = "import time\nwhile True: time.sleep(0.002)"


@pytest.fixture
def start():
    started = []

    def starts(code, **options):
        started.append(subprocess.Popen([sys.executable, "-S", "-c", code], **options))
        return started[-1].pid

    yield starts
    for process in started:
        process.kill()
        process.wait()


def looked(own, seconds):
    """What it gains in that time."""
    time.sleep(0.2)  # the interpreter starts
    own.look()
    computed, waited = own.computed, own.waited
    for _ in range(round(seconds / 0.02)):
        time.sleep(0.02)
        own.look()
    return own.computed - computed, own.waited - waited


@pytest.mark.parametrize(("code", "waits"), [(BUSY, False), (ASLEEP, True), (NAPS, True)])
def test_its_doing_is_told_apart(code, waits, start):
    process = start(code)
    own = OwnTime(lambda: [process])
    computed, waited = looked(own, 0.5)
    assert (waited > 0.25) is waits
    assert (computed > 0.05) is not waits
    assert own.seconds == own.computed + own.waited


def test_what_others_do_is_no_wait_of_its_own(start):
    asleep, busy = start(ASLEEP), start(BUSY)
    own = OwnTime(lambda: [asleep], lambda: [busy])
    computed, waited = looked(own, 0.3)
    assert computed < 0.02
    assert waited < 0.1
    assert own.computed_by_others > 0.1


def test_a_loaded_processor_is_no_wait_of_its_own(start):
    def on_one():
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    commands = [start(BUSY, preexec_fn=on_one) for _ in range(6)]
    own = OwnTime(lambda: commands[:1])
    computed, waited = looked(own, 0.5)
    assert computed < 0.35
    assert waited < 0.1


def test_of_a_command_that_is_gone_nothing_is_added():
    own = OwnTime(lambda: [2**22 + 1])
    assert (own.look(), own.look()) == (0.0, 0.0)
    assert OwnTime(list).look() == 0.0
    assert descendants(2**22 + 1) == [2**22 + 1]


def test_descendants_are_all_below(start):
    process = start(
        "import subprocess, sys\nsubprocess.run([sys.executable, '-S', '-c', 'import time; time.sleep(99)'])"
    )
    deadline = time.monotonic() + 10
    while len(found := descendants(process)) < 2:
        assert time.monotonic() < deadline
    assert found[0] == process
    os.kill(found[1], 9)
