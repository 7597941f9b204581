"""The system calls that a sandbox refuses, as a seccomp filter in the kernel's classic BPF.

Namespaces and resource limits leave gaps that this closes: memory that no limit of a process counts (SysV shared
memory, memfd, a tmpfs mounted in a namespace of one's own), sockets that no network namespace holds (vsock), other
processes' memory, the kernel's larger attack surfaces (bpf, io_uring, keys), escaping the death of the parent, and
giving way to others (a lower priority), which would look like a machine that keeps the command from running.
"""

from __future__ import annotations

import errno
import platform
import struct

from journeyman.agent.errors import SandboxError

# numbers of the calls that differ: (x86_64, aarch64), from the kernel's unistd.h
_NUMBERS = {
    "add_key": (248, 217),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "finit_module": (313, 273),
    "init_module": (175, 105),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "mount": (165, 40),
    "mq_open": (240, 180),
    "msgget": (68, 186),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "perf_event_open": (298, 241),
    "pivot_root": (155, 41),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "request_key": (249, 218),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "semget": (64, 190),
    "setns": (308, 268),
    "setpriority": (141, 140),
    "shmget": (29, 194),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
}
_NEW = (*range(425, 434), 438, 442)  # io_uring, the mount calls from 5.2 on, pidfd_getfd: the same everywhere
_CLONE, _PRCTL, _SOCKET = (56, 220), (157, 167), (41, 198)
_FORKS = ((57, 58), ())  # fork and vfork; aarch64 has only clone
_CLONE3 = 435
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_CLONE_THREAD, _CLONE_NAMESPACES = 0x00010000, 0x7E020000
_PR_SET_PDEATHSIG, _SIGKILL = 1, 9
_FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET and AF_INET6, which the network namespace holds
_X32 = 0x40000000

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_AT, _SECOND_AT = 0, 4, 16, 24  # in struct seccomp_data, low halves
_KILL, _ALLOW, _FAIL = 0x80000000, 0x7FFF0000, 0x00050000


def seccomp_filter(*, forks: bool) -> bytes:
    """The compiled filter for this machine; without `forks` a process may start threads, and no other process.

    Refused calls fail with EPERM, so a program sees an error like any other. Raises SandboxError on a machine whose
    call numbers are not known here.
    """
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise SandboxError(f"no sandbox on {machine}: system calls are filtered on {' and '.join(_ARCHITECTURES)} only")
    at = list(_ARCHITECTURES).index(machine)
    refused = [numbers[at] for numbers in _NUMBERS.values()] + list(_NEW) + ([] if forks else list(_FORKS[at]))
    lines = [_line(_LOAD, _ARCHITECTURE_AT), _line(_EQUAL, _ARCHITECTURES[machine], 1, 0), _line(_RETURN, _KILL)]
    lines += [_line(_LOAD, _NUMBER_AT), _line(_AT_LEAST, _X32, 0, 1), _line(_RETURN, _KILL)]
    for number in refused:
        lines += _on(number, [_fail(errno.EPERM)])
    lines += _on(_CLONE3, [_fail(errno.ENOSYS)])  # its flags are out of a filter's sight; libraries then take clone
    lines += _on(_CLONE[at], _clone(forks=forks))
    lines += _on(_PRCTL[at], _prctl())
    lines += _on(_SOCKET[at], _socket())
    return b"".join([*lines, _line(_RETURN, _ALLOW)])


def _clone(*, forks: bool) -> list[bytes]:
    body = [_line(_LOAD, _FIRST_AT), _line(_ANY_BIT, _CLONE_NAMESPACES, 0, 1), _fail(errno.EPERM)]
    if not forks:
        body += [_line(_ANY_BIT, _CLONE_THREAD, 1, 0), _fail(errno.EPERM)]
    return [*body, _line(_RETURN, _ALLOW)]


def _prctl() -> list[bytes]:
    body = [_line(_LOAD, _FIRST_AT), _line(_EQUAL, _PR_SET_PDEATHSIG, 0, 3)]
    body += [_line(_LOAD, _SECOND_AT), _line(_EQUAL, _SIGKILL, 1, 0), _fail(errno.EPERM)]
    return [*body, _line(_RETURN, _ALLOW)]


def _socket() -> list[bytes]:
    body = [_line(_LOAD, _FIRST_AT)]
    for left, family in zip(range(len(_FAMILIES), 0, -1), _FAMILIES, strict=True):
        body.append(_line(_EQUAL, family, left, 0))
    return [*body, _fail(errno.EAFNOSUPPORT), _line(_RETURN, _ALLOW)]


def _on(number: int, body: list[bytes]) -> list[bytes]:
    return [_line(_EQUAL, number, 0, len(body)), *body]


def _fail(code: int) -> bytes:
    return _line(_RETURN, _FAIL | code)


def _line(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)
