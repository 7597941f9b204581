"""A verifier that misbehaves on every fourth attempt, in each of the ways below, and what that is to come to.

A way is a function that does it and returns what `verify` returns: None stands for the right verdict.
"""

import builtins
import ctypes
import faulthandler
import gc
import importlib
import json
import multiprocessing
import os
import pickle
import resource
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from journeyman.agent.data import Status, Task, Trajectory, Verdict
from journeyman.verifiers.isolation import frames, worker

HOME = Path.cwd()


class Way(NamedTuple):
    do: Callable[[], Any]
    status: set[Status]
    why: str
    """A pattern of the explanation."""


WAYS: dict[str, Way] = {}


def way(statuses: str, why: str = ""):
    def keep(do: Callable[[], Any]) -> Callable[[], Any]:
        WAYS[do.__name__] = Way(do, set(map(Status, statuses.split())), why)
        return do

    return keep


@dataclass(frozen=True)
class Misbehaves:
    """The right verdict tells what it finds its process to be like: that is to be the same for all attempts."""

    how: str
    name: ClassVar[str] = "misbehaves"
    version: ClassVar[str] = "1"

    def verify(self, task: Task, trajectory: Trajectory) -> Verdict:
        number = int(trajectory.final_text)
        found = WAYS[self.how].do() if number % 4 == 3 else None
        return right(number) if found is None else found


@dataclass(frozen=True)
class MisbehavesWhenMade:
    """Misbehaves where it is imported, so to speak, and never after."""

    how: str
    name: ClassVar[str] = "misbehaves when made"
    version: ClassVar[str] = "1"

    def __post_init__(self) -> None:
        WAYS[self.how].do()

    def verify(self, task: Task, trajectory: Trajectory) -> Verdict:
        return right(int(trajectory.final_text))


CLEAN = {
    "folder": True,
    "path": False,
    "environment": None,
    "depth": 1000,
    "umask": 0o22,
    "files": True,
    "alarm": 0.0,
    "handler": True,
    "blocked": [],
    "threads": 1,
    "children": "",
}
"""A process that nobody has spoilt."""


def right(number: int) -> Verdict:
    return Verdict(Status.OK, number / 10, number * 1e300, (0.1, number / 10), str(number), json.dumps(state()))


def state() -> dict[str, Any]:
    print("told")
    umask = os.umask(0o22)
    os.umask(umask)
    return {
        "folder": Path.cwd() == HOME,
        "path": "/nowhere" in sys.path,
        "environment": os.environ.get("MISBEHAVED"),
        "depth": sys.getrecursionlimit(),
        "umask": umask,
        "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 100,
        "alarm": signal.getitimer(signal.ITIMER_REAL)[0],
        "handler": signal.getsignal(signal.SIGALRM) is signal.SIG_DFL,
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "threads": threading.active_count(),
        "children": Path("/proc/self/task", str(os.getpid()), "children").read_text(),
    }


def highest() -> int:
    """The highest descriptor that is a socket or a pipe."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the listing's own
            mode = os.fstat(int(link.name)).st_mode
            if stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode):
                found.append(int(link.name))
    return max(found)


def token() -> bytes:
    """Of the question that this process is at: nothing in it is out of reach."""
    frame = sys._getframe()
    while frame.f_code is not worker.serve.__code__:
        frame = frame.f_back
    return frame.f_locals["token"]


def answer(score: float = 0.9) -> bytes:
    return frames.packed(frames.Answer(Verdict(Status.OK, score), 1.0, False))


def daemon(act: Callable[[], Any]) -> None:
    """By double fork, in a session of its own."""
    first = os.fork()
    if first == 0:
        os.setsid()
        if os.fork() == 0:
            act()
        os._exit(0)
    os.waitpid(first, 0)


def sleep() -> None:
    time.sleep(1000)


def spin() -> None:
    while True:
        pass


# --- processes


@way("ok")
def forks_and_sleeps():
    if os.fork() == 0:
        sleep()


@way("ok")
def forks_and_lets_both_return():
    os.fork()


@way("ok")
def forks_and_the_child_raises():
    if os.fork() == 0:
        raise ValueError("in the child")


@way("ok")
def starts_a_daemon():
    daemon(sleep)


@way("ok")
def starts_a_daemon_that_ignores_signals():
    def act():
        for one in range(1, 32):
            if one not in (9, 19):
                signal.signal(one, signal.SIG_IGN)
        sleep()

    daemon(act)


@way("ok")
def starts_a_daemon_that_starts_others():
    def act():
        end = time.monotonic() + 20  # it moves on as long as it is let
        while time.monotonic() < end:
            if os.fork():
                os._exit(0)
            os.setsid()

    daemon(act)


@way("timeout", "took over 2 s")
def starts_a_daemon_and_hangs():
    daemon(sleep)
    sleep()


@way("error", "was killed by SIGKILL")
def starts_a_daemon_and_is_killed():
    daemon(sleep)
    os.kill(os.getpid(), signal.SIGKILL)


@way("ok")
def leaves_a_subprocess():
    subprocess.Popen(["sleep", "1000"], start_new_session=True, env={"PATH": os.environ["PATH"], "TRIAL": TRIAL})


@way("ok")
def starts_a_helper():
    """Fine where the verifier is made: it lives as long as its worker."""
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
    threading.Thread(target=sleep).start()


@way("ok")
def leaves_a_shell_in_the_background():
    subprocess.run(["sh", "-c", "sleep 1000 & (trap '' TERM; sleep 1000) &"], check=True)


@way("ok")
def leaves_a_process_pool():
    multiprocessing.get_context("fork").Pool(2)


@way("ok")
def forks_by_libc():
    if ctypes.CDLL(None).fork() == 0:
        time.sleep(1000)


@way("ok")
def forks_in_a_thread():
    thread = threading.Thread(target=lambda: os.fork() or sleep())
    thread.start()
    thread.join()


@way("ok")
def a_child_writes_noise():
    if os.fork() == 0:
        os.write(highest(), b"x" * 40)
        sleep()


@way("ok error", "|wrote noise")
def a_child_by_libc_writes_noise():
    if ctypes.CDLL(None).fork() == 0:
        ctypes.CDLL(None).write(highest(), b"x" * 40, 40)
        ctypes.CDLL(None)._exit(0)
    time.sleep(0.1)


@way("error", "ended with code 0")
def becomes_another_program():
    os.execvp("true", ["true"])


@way("error", "closed its process's pipe")
def becomes_another_program_that_sleeps():
    os.execvp("sleep", ["sleep", "1000"])


# --- ends


@way("error", "ended with code 0")
def exits_at_once():
    os._exit(0)


@way("error", "was killed by SIGABRT")
def aborts():
    os.abort()


@way("error", "was killed by SIGSEGV")
def reads_address_0():
    faulthandler.disable()
    ctypes.string_at(0)


@way("error", "was killed by signal 40")
def kills_itself_by_a_signal_without_a_name():
    os.kill(os.getpid(), 40)


@way("error", "was killed by SIGKILL")
def kills_its_group():
    os.killpg(os.getpgrp(), signal.SIGKILL)


@way("error", "ended the processes that guard its own")
def kills_its_parents_group():
    os.killpg(os.getpgid(os.getppid()), signal.SIGKILL)
    sleep()


@way("error", "ended the processes that guard its own")
def terminates_its_parent_leaving_a_daemon():
    daemon(sleep)
    os.kill(os.getppid(), signal.SIGTERM)
    sleep()


@way("timeout", "took over 2 s")
def stops_its_parent_leaving_a_daemon():
    daemon(sleep)
    os.kill(os.getppid(), signal.SIGSTOP)
    sleep()


@way("error", "ended the processes that guard its own")
def kills_its_parent_leaving_a_daemon():
    daemon(sleep)
    os.kill(os.getppid(), signal.SIGKILL)
    sleep()


@way("error", "KeyboardInterrupt")
def interrupts():
    raise KeyboardInterrupt


@way("error", "SystemExit: 0")
def exits():
    sys.exit(0)


@way("error", "GeneratorExit")
def raises_what_is_no_exception():
    raise GeneratorExit


@way("error", "Own: ")
def raises_a_base_exception_of_its_own():
    raise type("Own", (BaseException,), {})


@way("error", "Own: shown")
def raises_what_cannot_be_pickled():
    def refuse(self):
        raise TypeError

    raise type("Own", (Exception,), {"__reduce__": refuse})("shown")


@way("timeout", "took over 2 s")
def raises_what_hangs_when_printed():
    raise type("Own", (Exception,), {"__str__": lambda self: sleep()})


@way("error", "Own, whose text raises ZeroDivisionError")
def raises_what_raises_when_printed():
    raise type("Own", (Exception,), {"__str__": lambda self: 1 / 0})


@way("error", "RecursionError")
def recurses():
    def again():
        again()

    again()


@way("error timeout", "was killed by SIGSEGV|RecursionError|MemoryError|took over 2 s")
def recurses_without_a_limit():
    sys.setrecursionlimit(10**9)
    nested: list[Any] = []
    for _ in range(10**6):
        nested = [nested]
    repr(nested)


# --- time and memory


@way("timeout", "took over 2 s")
def ignores_sigterm_and_sleeps():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sleep()


@way("timeout", "took over 2 s")
def stops_itself():
    os.kill(os.getpid(), signal.SIGSTOP)


@way("timeout", "took over 2 s")
def holds_the_interpreter():
    ctypes.PyDLL(None).sleep(1000)


@way("timeout", "took over 2 s")
def hangs_while_something_is_imported():
    importlib.import_module("hangs_when_imported")


@way("timeout", "took over 2 s")
def catches_everything():
    while True:
        with suppress(BaseException):
            sleep()


@way("ok timeout error", "took over 2 s|can't start new thread")
def starts_threads_that_spin():
    for _ in range(50):
        threading.Thread(target=spin, daemon=True).start()


@way("ok")
def leaves_a_thread():
    threading.Thread(target=sleep).start()


@way("ok")
def leaves_a_timer_that_exits():
    threading.Timer(0.05, os._exit, [3]).start()


@way("error timeout", "MemoryError|took over 2 s")
def allocates_until_refused():
    kept = []
    while True:
        kept.append(bytearray(2**24))


@way("error timeout", "MemoryError|took over 2 s")
def keeps_what_it_allocates():
    while True:
        KEPT.append(bytearray(2**20))


@way("ok")
def hangs_when_the_process_exits():
    import atexit

    atexit.register(sleep)


# --- the socket


@way("error", "closed its process's pipe")
def closes_descriptors():
    os.closerange(3, 4096)


@way("error", "closed its process's pipe")
def closes_descriptors_and_sleeps():
    os.closerange(3, 4096)
    sleep()


@way("error timeout", "closed its process's pipe|ended with code 0|took over 2 s")
def puts_something_else_in_its_place():
    os.dup2(os.open(os.devnull, os.O_RDWR), highest())


@way("error", "closed its process's pipe")
def shuts_it_down():
    socket.socket(fileno=os.dup(highest())).shutdown(socket.SHUT_RDWR)


@way("ok")
def prints():
    print("x" * 10**6)
    print("y" * 10**6, file=sys.stderr)
    os.write(1, frames.frame(token(), answer()))
    os.write(2, b"z" * 10**6)


@way("error", "wrote noise")
def writes_noise():
    os.write(highest(), b"\0\x01\xff" * 13 + b"x")


@way("error", "wrote noise")
def writes_a_pickled_answer():
    data = pickle.dumps((3, Verdict(Status.OK, 0.9), 1.0))
    os.write(highest(), struct.pack("!i", len(data)) + data)


@way("timeout error", "took over 2 s|wrote noise")
def writes_half_a_head_and_sleeps():
    os.write(highest(), b"jm")
    sleep()


@way("timeout", "took over 2 s")
def writes_half_a_frame_and_sleeps():
    os.write(highest(), frames.frame(token(), answer())[:-5])
    sleep()


@way("error", "what is no answer")
def writes_half_a_frame_and_answers():
    os.write(highest(), frames.frame(token(), answer())[:-5])


@way("timeout", "took over 2 s")
def drips():
    for byte in frames.frame(token(), answer()):
        os.write(highest(), bytes([byte]))
        time.sleep(0.1)


@way("error", "a frame of 4294967295 bytes")
def announces_a_huge_frame():
    os.write(highest(), frames.HEAD.pack(b"jmv1", 2**32 - 1, token()))


@way("error", "wrote noise")
def writes_a_frame_of_another_version():
    os.write(highest(), b"jmv2" + frames.frame(token(), answer())[4:])


@way("error", "an answer that nobody asked for")
def writes_an_answer_to_no_question():
    os.write(highest(), frames.frame(bytes(16), answer()))


@way("ok")
def writes_its_answer_twice():
    os.write(highest(), frames.frame(token(), answer()))
    time.sleep(0.1)


@way("ok")
def writes_many_answers():
    for _ in range(10):
        os.write(highest(), frames.frame(token(), answer()))


@way("ok error", "|wrote noise|what is no answer")
def writes_an_answer_and_noise():
    os.write(highest(), frames.frame(token(), answer()))
    time.sleep(0.1)
    os.write(highest(), b"noise" * 10)


@way("error", "what is no answer")
def writes_what_is_no_json():
    os.write(highest(), frames.frame(token(), b"\xff{"))


@way("error", "what is no answer")
def writes_deep_json():
    os.write(highest(), frames.frame(token(), b"[" * 10**5))


@way("error", "what is no proper verdict|what is no answer")
def writes_a_score_of_7():
    os.write(highest(), frames.frame(token(), answer().replace(b"0.9", b"7.0")))


@way("error", "what is no answer")
def writes_nan():
    os.write(highest(), frames.frame(token(), answer().replace(b"1.0,false", b"NaN,false")))


@way("error", "an answer before|what is no answer")
def says_that_it_is_loading():
    os.write(highest(), frames.frame(token(), b"loading"))
    os.write(highest(), frames.frame(token(), b"loading"))


@way("ok error timeout")
def reads_the_next_questions():
    os.set_blocking(highest(), False)
    try:
        os.read(highest(), 2**20)
    except BlockingIOError:
        os.set_blocking(highest(), True)


@way("ok")
def a_thread_writes_noise_later():
    end = highest()
    threading.Timer(0.05, lambda: os.write(end, b"noise")).start()


# --- state


@way("ok")
def changes_directory_and_path():
    os.chdir("/")
    sys.path = ["/nowhere", *sys.path]
    sys.path.insert(0, "/nowhere")


@way("ok")
def works_in_a_folder_that_is_gone():
    os.chdir(folder := tempfile.mkdtemp())
    Path(folder).rmdir()
    return Verdict(Status.OK, 0.5)


@way("ok")
def changes_environment_and_umask():
    os.environ["MISBEHAVED"] = "yes"
    os.umask(0o777)


@way("ok")
def sets_an_alarm():
    signal.alarm(1)
    signal.setitimer(signal.ITIMER_PROF, 0.01)


@way("ok")
def handles_and_blocks_signals():
    signal.signal(signal.SIGALRM, lambda *_: os._exit(9))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM, signal.SIGUSR1})


@way("ok")
def lowers_limits():
    sys.setrecursionlimit(200)
    for what in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC):
        resource.setrlimit(what, (10, 10))


@way("ok")
def lowers_its_memory():
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (2**26, hard))


@way("ok")
def replaces_the_streams():
    sys.stdout = sys.stderr = sys.stdin = None
    os.close(1)
    os.close(2)


@way("ok")
def closes_the_streams():
    sys.stdout.close()
    sys.__stderr__.close()
    return Verdict(Status.OK, 0.5)


@way("ok error", "broke its worker")
def patches_the_library():
    def refuse(*_, **__):
        raise RuntimeError("patched")

    for module, names in ((json, "dumps loads"), (pickle, "dumps loads"), (os, "read write getpid waitpid _exit dup2")):
        for name in names.split():
            setattr(module, name, refuse)
    builtins.print = builtins.open = refuse
    return Verdict(Status.OK, 0.5)


@way("error", "broke its worker")
def patches_the_worker():
    worker.frames = None


@way("ok")
def turns_the_collector_off():
    gc.disable()


@way("ok")
def changes_the_task():
    frame = sys._getframe(1)
    object.__setattr__(frame.f_locals["task"], "goal", "another")
    object.__setattr__(frame.f_locals["trajectory"], "turns", ())


@way("ok")
def changes_its_name_and_version():
    Misbehaves.name, Misbehaves.version = "another", "2"


# --- what it returns


class Lies(float):
    """Is in range whoever asks."""

    def __ge__(self, other):
        return True

    __le__ = __lt__ = __gt__ = __eq__ = __ge__
    __hash__ = float.__hash__

    def __float__(self):
        return 0.5

    def __repr__(self):
        return "0.5"


class Sub(Verdict):
    @property
    def __class__(self):
        return Verdict


@way("error", "verify.. returned coroutine, not a Verdict")
def returns_a_coroutine():
    async def verify():
        return right(3)

    return verify()


@way("error", "verify.. returned dict, not a Verdict")
def returns_a_dict():
    return {"status": "ok", "score": 1.0}


@way("ok")
def returns_100_mb():
    return Verdict(Status.OK, 1.0, explanation="\ud800" * 10**8)


@way("error", "is not in .0, 1.")
def returns_a_float_that_lies():
    return Verdict(Status.OK, Lies(7.0))


@way("timeout", "took over 2 s")
def returns_endless_steps():
    def steps():
        yield 0.5
        sleep()

    return Verdict(Status.OK, 1.0, step_scores=steps())


@way("error", "step_scores has more than 10,000 numbers")
def returns_unending_steps():
    return Verdict(Status.OK, 1.0, step_scores=iter(lambda: 0.5, None))


@way("timeout", "took over 2 s")
def returns_what_hangs_when_printed():
    return Verdict(Status.OK, type("Own", (), {"__repr__": lambda self: sleep()})())


@way("error", "ZeroDivisionError")
def returns_what_raises_when_printed():
    return Verdict(Status.OK, type("Own", (), {"__repr__": lambda self: 1 / 0})())


@way("error", "explanation is list, not text")
def returns_deep_nesting():
    nested: list[Any] = []
    for _ in range(10**5):
        nested = [nested]
    return Verdict(Status.OK, 1.0, explanation=nested)


@way("error", "AttributeError")
def returns_half_a_verdict():
    return object.__new__(Verdict)


@way("ok")
def returns_a_subclass_of_numpy_numbers():
    return Sub(Status.OK, np.float32(0.5), np.int64(3), np.array([0.25, 1.0]))


KEPT: list[bytearray] = []
TRIAL = os.environ.get("TRIAL", "")
