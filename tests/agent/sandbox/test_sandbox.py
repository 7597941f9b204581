"""Untrusted commands: what they have, what they have not, and that nothing of them is left."""

import asyncio
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from journeyman.agent.errors import SandboxError, UsageError
from journeyman.agent.sandbox import sandbox
from journeyman.agent.sandbox.sandbox import PYTHON, Limits, Sandbox, run

ROOT = Path(__file__).parents[3]


def python(code, **options):
    return run([*PYTHON, "-c", code], **options)


def children():
    return {pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


def alive(marker):
    """Processes with the marker on their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if marker.encode() in words:
            found.append(int(path.parent.name))
    return found


def test_a_command_has_its_input_its_files_and_its_exit_code():
    files = {"a.txt": b"there", "sub/b.txt": b"\x00\xff"}
    outcome = python(
        "import sys; print(sys.stdin.read(), open('a.txt').read(), open('sub/b.txt', 'rb').read()); sys.exit(3)",
        stdin=b"hello",
        files=files,
    )
    assert (outcome.exit_code, outcome.limit, outcome.stderr) == (3, None, b"")
    assert outcome.stdout == b"hello there b'\\x00\\xff'\n"
    assert 0 < outcome.seconds < 10
    assert python("import sys; print('no', file=sys.stderr)").stderr == b"no\n"
    assert run(["/bin/sh", "-c", "exit 7"]).exit_code == 7


def test_it_may_write_where_it_is_and_nowhere_else():
    code = "open('a.txt', 'a').write('!'); print(open('a.txt').read())"
    assert python(code, files={"a.txt": b"there"}).stdout == b"there!\n"
    for path in ("/x", "/usr/bin/x", "/dev/x", "/etc/x", f"{sys.base_prefix}/lib/x", "/proc/sys/kernel/hostname"):
        assert b"Error" in python(f"open({path!r}, 'w')").stderr, path
    with pytest.raises(ValueError, match="relative"):
        run(["true"], files={"../x": b""})
    with pytest.raises(ValueError, match="relative"):
        run(["true"], files={"/x": b""})


def test_it_sees_nothing_of_the_host():
    os.environ["JOURNEYMAN_SECRET"] = "42"
    told = python(
        "import os, sys, socket, glob\n"
        "print(os.listdir('/'), dict(os.environ), sys.path, socket.gethostname())\n"
        "print([os.path.exists(p) for p in ('/etc/passwd', '/home', '/work', '/sys', '/var', '/run')])\n"
        "print(len(glob.glob('/proc/[0-9]*')), sorted(os.listdir('/proc/self/fd')), os.getuid() != 0)"
    ).stdout.decode()
    first, second, third = told.splitlines()
    assert "JOURNEYMAN_SECRET" not in first
    assert "site-packages" not in first
    assert "'sandbox'" not in first
    assert first.endswith("sandbox")
    assert second == str([False] * 6)
    assert third == f"{2 if os.geteuid() == 0 else 1} ['0', '1', '2', '3'] True"  # 3 is the listing itself
    assert str(ROOT) not in told
    assert not python(f"import os; print(os.path.exists({str(ROOT)!r}))").stdout.startswith(b"True")


def test_readable_paths_are_readable_only(tmp_path):
    (tmp_path / "data").write_text("seen")
    tmp_path.chmod(0o755)
    place = tmp_path / "data"
    outcome = python(f"print(open({str(place)!r}).read()); open({str(place)!r}, 'w')", readable=[str(place)])
    assert outcome.stdout == b"seen\n"
    assert b"Error" in outcome.stderr
    assert place.read_text() == "seen"


def test_there_is_no_network():
    code = (
        "import socket\nfor f in (2, 10, 40, 16, 17):\n    try: s = socket.socket(f, 1)\n    except OSError: print(f)"
    )
    assert python(code).stdout == b"40\n16\n17\n"
    assert b"unreachable" in python("import socket; socket.create_connection(('1.1.1.1', 53), 1)").stderr


@pytest.mark.parametrize(
    "call",
    ["unshare(0x10000000)", "ptrace(16, 1, 0, 0)", "shmget(0, 4096, 0o1600)", "memfd_create(b'x', 0)", "chroot(b'/')",
     "prctl(1, 0, 0, 0, 0)", "nice(1)", "sched_setaffinity(0, 8, b'1234567')",
     "mount(b'x', b'/tmp', b'tmpfs', 0, 0)", "fork()", "setuid(0)"],
)  # fmt: skip
def test_system_calls_are_refused(call):
    code = f"import ctypes; c = ctypes.CDLL(None, use_errno=True); print(c.{call}, ctypes.get_errno())"
    assert python(code).stdout == b"-1 1\n"


def test_limits_are_met_and_told():
    outcome = python("import time; print('a', flush=True); time.sleep(1000)", limits=Limits(seconds=1.0))
    assert (outcome.limit, outcome.exit_code, outcome.stdout) == ("seconds", 137, b"a\n")
    assert 1 <= outcome.seconds < 10
    outcome = python("while True: pass", limits=Limits(seconds=60.0, cpu_seconds=1))
    assert (outcome.limit, outcome.exit_code) == ("cpu_seconds", 137)
    outcome = python("while True: print('x' * 99)", limits=Limits(output=1000))
    assert (outcome.limit, len(outcome.stdout)) == ("output", 1000)
    assert b"MemoryError" in python("bytearray(2**28)", limits=Limits(memory=2**27)).stderr
    assert b"No space" in python("open('x', 'wb').write(b'x' * 2**19)\nopen('y', 'wb').write(b'x' * 2**20)",
                                 limits=Limits(disk=2**20)).stderr  # fmt: skip
    assert b"File too large" in python("open('x', 'wb').write(b'x' * 2**21)", limits=Limits(disk=2**20)).stderr
    start = "threading.Thread(target=time.sleep, args=(9,), daemon=True).start()"
    code = f"import threading, time\nfor n in range(99):\n    {start}"
    assert b"can't start new thread" in python(code + "\nprint(n)", limits=Limits(tasks=8)).stderr


def test_a_watch_may_end_it():
    asked = []
    with Sandbox([*PYTHON, "-c", "import time; print('a', flush=True); time.sleep(1000)"]) as sandbox:
        outcome = sandbox.wait(lambda: asked.append(sandbox.processes()) or len(asked) == 3)
    assert (outcome.limit, outcome.exit_code, outcome.stdout) == ("watch", 137, b"a\n")
    assert len(asked[-1]) == (2 if os.geteuid() == 0 else 1)
    assert 0.15 <= outcome.seconds < 10
    with Sandbox(["sleep", "1000"]) as sandbox:
        sandbox.kill()
        assert (sandbox.wait().exit_code, sandbox.processes()) == (137, [])


def test_processor_time_is_told():
    assert 0.3 <= python("import time\nwhile time.process_time() < 0.3: pass").cpu_seconds < 0.6
    assert python("import time\ntime.sleep(0.3)").cpu_seconds < 0.25


def test_processes_only_where_allowed_and_counted():
    assert run(["/bin/sh", "-c", "/bin/true & wait; echo done"], limits=Limits(forks=True)).stdout == b"done\n"
    assert b"done" not in run(["/bin/sh", "-c", "/bin/true & wait; echo done"]).stdout
    bomb = "import os, time\ntry:\n    while True: os.fork()\nexcept OSError: time.sleep(1000)"
    assert python(bomb, limits=Limits(forks=True, tasks=16, seconds=2.0)).limit == "seconds"


def test_nothing_is_left():
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # what loses its parent becomes this process's child
    before = children()
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    run(["/bin/sh", "-c", "(setsid sleep 98765.1 &) ; sleep 98765.1 & exit 0"], limits=Limits(forks=True))
    python("import time; time.sleep(98765.1)", limits=Limits(seconds=1.0))
    with Sandbox(["sleep", "98765.1"]):
        pass
    assert alive("98765.1") == []
    assert children() <= before
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors


def test_it_ends_with_a_caller_that_is_killed():
    code = "from journeyman.agent.sandbox.sandbox import *; run(['sleep', '87654.3'], limits=Limits(seconds=1000))"
    caller = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not any(Path(f"/proc/{pid}/comm").read_text() == "sleep\n" for pid in alive("87654.3")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    caller.send_signal(signal.SIGKILL)
    caller.wait()
    while alive("87654.3") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive("87654.3") == []


def test_threads_and_event_loops_may_start_them():
    found = []
    threads = [threading.Thread(target=lambda n=n: found.append(python(f"print({n})").stdout)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    async def several():
        return await asyncio.gather(*(asyncio.to_thread(python, f"print({n})") for n in range(4, 8)))

    found += [outcome.stdout for outcome in asyncio.run(several())]
    assert sorted(found) == [f"{n}\n".encode() for n in range(8)]


def test_without_bubblewrap_there_is_an_error_with_the_remedy(monkeypatch):
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SandboxError, match=r"`bwrap` is not on the PATH.*apt install bubblewrap") as caught:
        run(["true"])
    assert isinstance(caught.value, UsageError)
    monkeypatch.setattr(shutil, "which", lambda name: "/no/such/bwrap")
    with pytest.raises(FileNotFoundError):
        run(["true"])
    assert len(list(Path("/proc/self/fd").iterdir())) <= descriptors


def test_a_bubblewrap_that_cannot_start_is_an_error_too(tmp_path, monkeypatch):
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError, match=r"could not start a sandbox: bwrap: No permissions.*apt install"):
        run(["true"])


def test_whether_sandboxes_work_is_tried_once_a_process(tmp_path):
    fake, tried = tmp_path / "bwrap", tmp_path / "tried"
    fake.write_text(f"#!/bin/sh\necho >> {tried}\nexit 1\n")
    fake.chmod(0o755)
    code = (
        "from journeyman.agent.sandbox import sandbox\n"
        "for _ in range(3):\n"
        "    try: sandbox.check()\n"
        "    except sandbox.SandboxError as error: print(error)\n"
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:/bin"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.count("bubblewrap could not start a sandbox: ; install bubblewrap") == 3, done
    assert tried.read_text() == "\n"
    sandbox.check()  # in this process it works


def test_an_unknown_command_is_the_commands_failure():
    assert run(["no-such-command"]).exit_code == 127
