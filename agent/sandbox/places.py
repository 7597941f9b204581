"""What a sandbox sees of the file system, as bubblewrap's arguments."""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path, PurePosixPath


@cache
def system() -> tuple[str, ...]:
    """Namespaces, and the read-only part of the file system."""
    prefix = os.path.realpath(sys.base_prefix)
    arguments = ["--die-with-parent", "--new-session", "--hostname", "sandbox"]
    if os.geteuid() == 0:
        arguments += ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
        arguments += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]  # for `_launcher`
    else:
        arguments += ["--unshare-all", "--as-pid-1"]
    folders = [
        Path(root, name)
        for root in dict.fromkeys(("/", "/usr", prefix))
        for name in ("bin", "sbin", "lib", "lib32", "lib64", "libexec")
    ]
    for folder in [*folders, *map(Path, ("/usr/share/zoneinfo", "/etc/ld.so.cache", "/etc/alternatives"))]:
        if folder.is_symlink():
            arguments += [*_ancestors(folder), "--symlink", os.readlink(folder), str(folder)]  # noqa: PTH115
        elif folder.exists():
            arguments += [*_ancestors(folder), "--ro-bind", str(folder), str(folder)]
    for folder in map(Path, site.getsitepackages([prefix])):
        if folder.is_dir():
            arguments += ["--perms", "0555", "--size", "4096", "--tmpfs", str(folder)]
    return (*arguments, "--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev")


def places(files: Mapping[str, int], readable: Sequence[str], disk: int) -> Iterator[str]:
    """What one command finds beside the system: its /tmp with its files, and host paths."""
    yield from ("--perms", "1777", "--size", str(disk), "--tmpfs", "/tmp")  # noqa: S108
    for name, end in files.items():
        inside = PurePosixPath(name)
        if inside.is_absolute() or ".." in inside.parts:
            raise ValueError(f"a file in the sandbox needs a name relative to its folder, not {name!r}")
        yield from _ancestors(place := Path("/tmp", inside))  # noqa: S108
        yield from ("--perms", "0666", "--file", str(end), str(place))
    for path in readable:
        yield from (*_ancestors(Path(path)), "--ro-bind", path, path)
    yield from ("--remount-ro", "/")


def _ancestors(path: Path) -> list[str]:
    """Folders above the path, made so that all may enter them: bubblewrap's own choice is its user alone."""
    return [word for folder in reversed(path.parents[:-1]) for word in ("--dir", str(folder))]
