"""Manifests: which files a policy folder holds, with their checksums, and whose they are.

`seal` writes `manifest.json` last of all, so that a folder that was not finished has none; `check` is called before
anything of a policy is loaded. A checksum is sha256, which processors have instructions for and `sha256sum` prints.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from journeyman.agent.data import Json, PolicyRef
from journeyman.agent.errors import DamagedPolicyError

MANIFEST = "manifest.json"
_PARTIAL = f".{MANIFEST}.partial"
_LAYOUT = 1
_LIBRARIES = ("journeyman", "torch", "transformers", "peft", "safetensors")
_ADAPTER_CONFIG = "adapter_config.json"
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_YOUNG_S = 0.1
"""Within so many seconds of its last change a file can change again and show the same times."""


@dataclass(frozen=True, slots=True)
class FileSum:
    """What a file is known by."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a policy folder says of itself."""

    version: str
    """Its last two names, run and number, e.g. "0192.../v0003": as the store's `path` has it."""
    parent: str | None
    """The version it was trained from; None where that is the base model."""
    kind: str
    """`full` weights or a `lora` adapter."""
    rank: int | None
    """Of the adapter."""
    base: str | None
    """Folder or name of the adapter's base model."""
    base_files: Mapping[str, FileSum]
    """Configuration and weights of that base, which the adapter is worth nothing without."""
    libraries: Mapping[str, str]
    files: Mapping[str, FileSum]
    """Every other file of the folder, by its path in it."""


def version_of(folder: Path) -> str:
    """What the version in a policy folder is called, e.g. "0192.../v0003"."""
    return "/".join(folder.absolute().parts[-2:])


def seal(folder: Path, version: str, *, parent: str | None, base: str | None) -> None:
    """Writes the manifest of a folder that is complete, once all of its files are on the disk.

    `version` is what the folder is called in the end (`version_of`); `base` is the adapter's base model. Raises
    DamagedPolicyError where weights or their configuration are not there.
    """
    config = _read_json(folder / _ADAPTER_CONFIG)
    needed = _ADAPTER_CONFIG if config else "config.json"
    weights = [path for pattern in _WEIGHTS for path in folder.glob(pattern)]
    if not (folder / needed).is_file() or not weights:
        raise DamagedPolicyError(folder, f"{needed if weights else 'a file of weights (*.safetensors)'} is missing")
    manifest = Manifest(
        version,
        parent,
        "lora" if config else "full",
        config.get("r") if config else None,
        base if config else None,
        {path.name: _sum(path) for path in _base_paths(base)} if config and base else {},
        {name: metadata.version(name) for name in _LIBRARIES},
        {name: _sum(folder / name, sync=True) for name in _files(folder)},
    )
    partial = folder / _PARTIAL
    with partial.open("w", encoding="utf-8") as file:
        file.write(_text(asdict(manifest)))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / MANIFEST)
    for path in {folder, *((folder / name).parent for name in manifest.files)}:
        sync_folder(path)


def check(policy: PolicyRef) -> None:
    """Raises DamagedPolicyError unless all the policy's files are those that were saved; call it before loading.

    Every version that a run made (number 1 and up) has a manifest; a base model is checked where it has one. Of an
    adapter the base is looked at too. A file is read once in a process for as long as nothing touches it.
    """
    folder = Path(policy.adapter or policy.path)
    if policy.number == 0 and not (folder / MANIFEST).exists():
        return
    manifest = check_folder(folder, version_of(folder) if policy.number else None)
    if (manifest.kind == "lora") != (policy.adapter is not None):
        found, wanted = ("full weights", "an adapter") if policy.adapter else ("an adapter", "full weights")
        raise DamagedPolicyError(
            folder, f"it holds {found}, not {wanted}", "set model.lora_rank as it was when this version was trained"
        )
    if policy.adapter is not None and (wrong := _unlike_base(policy.path, manifest)):
        raise DamagedPolicyError(
            folder,
            f"it is an adapter of the base model {manifest.base!r}, and {policy.path!r} is another: {_told(wrong)}",
            "set model.name to the base as it was, or restore that from a copy",
        )


def check_folder(folder: Path, version: str | None) -> Manifest:
    """The manifest of the policy folder; raises DamagedPolicyError unless it is that version, its files as saved.

    `version` None is whatever it says it is.
    """
    if not folder.is_dir():
        raise DamagedPolicyError(folder, "the folder is missing")
    manifest = _read_manifest(folder)
    if version is not None and manifest.version != version:
        raise DamagedPolicyError(folder, f"{MANIFEST} and its files are those of {manifest.version}")
    wrong = [f"{name} is missing" for name in manifest.files if not (folder / name).is_file()]
    wrong += [f"{name} is no file of this version" for name in _files(folder) if name not in manifest.files]
    there = {name: folder / name for name in manifest.files if (folder / name).is_file()}
    wrong += _differences(there, manifest.files, manifest.rank)
    if wrong:
        raise DamagedPolicyError(folder, _told(wrong))
    return manifest


def sync_folder(folder: Path) -> None:
    """Has the disk know what the folder holds."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read_manifest(folder: Path) -> Manifest:
    """As it was written, to the byte; raises DamagedPolicyError."""
    path = folder / MANIFEST
    if not path.is_file():
        raise DamagedPolicyError(
            folder,
            f"{MANIFEST} is missing: the folder was not written to its end, or before policies had manifests",
            "`journeyman db seal RUN` takes a folder of earlier days as it is",
        )
    try:
        text = path.read_bytes().decode()
        told: dict[str, Any] = json.loads(text)
        layout = told.pop("layout")
        told.pop("sha256")
        if _text(told, layout) != text:
            raise ValueError("its own checksum is of something else")
        if layout != _LAYOUT:
            raise ValueError(f"its layout is {layout}, and {_LAYOUT} is read here")
        sums = {part: {name: FileSum(**of) for name, of in told.pop(part).items()} for part in ("files", "base_files")}
        return Manifest(**(told | sums))
    except OSError as error:
        raise DamagedPolicyError(folder, f"{MANIFEST} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:  # any byte may be another
        why = " ".join(str(error).split())
        raise DamagedPolicyError(folder, f"{MANIFEST} is damaged ({why})") from None


def _text(told: Mapping[str, Json], layout: int = _LAYOUT) -> str:
    """The manifest's text, with a checksum of the rest of it."""
    body = {"layout": layout} | {name: told[name] for name in sorted(told)}
    own = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return json.dumps(body | {"sha256": own}, indent=1) + "\n"


def _files(folder: Path) -> list[str]:
    """Every file below the folder but the manifest, by its path in it."""
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())
    return [name for name in found if name not in (MANIFEST, _PARTIAL)]


def _differences(paths: Mapping[str, Path], expected: Mapping[str, FileSum], rank: int | None = None) -> Iterator[str]:
    """What is wrong with each of the files; those of another size are told without reading them."""
    for name, path in paths.items():
        size, sha256 = expected[name].size, expected[name].sha256
        try:
            found = path.stat().st_size
            if name == _ADAPTER_CONFIG and _read_json(path).get("r", rank) != rank:
                yield f"{name} is of an adapter of rank {_read_json(path)['r']}, and this version's has rank {rank}"
            elif found != size:
                yield f"{name} has {found} bytes of {size}" if found < size else f"{name} has {found} bytes, not {size}"
            elif _sum(path).sha256 != sha256:
                yield f"{name} is not the file that was saved (its checksum is another)"
        except OSError as error:
            yield f"{name} cannot be read: {error.strerror}"


def _told(wrong: list[str]) -> str:
    return "; ".join(wrong[:2]) + (f"; and {len(wrong) - 2} more" if len(wrong) > 2 else "")


_known: dict[tuple[int, ...], FileSum] = {}


def _sum(path: Path, *, sync: bool = False) -> FileSum:
    """Size and checksum; `sync` waits until the file is on the disk. Read anew only where the file was touched."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        signs = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if sync:
            os.fsync(file.fileno())
        elif signs in _known:
            return _known[signs]
        young = time.time() - max(status.st_mtime, status.st_ctime) < _YOUNG_S
        found = FileSum(status.st_size, hashlib.file_digest(file, "sha256").hexdigest())
    if not young:
        _known[signs] = found
    return found


def _unlike_base(base: str, manifest: Manifest) -> list[str]:
    """What of the base model is not as it was when the adapter was trained on it."""
    from transformers.utils.hub import cached_file

    names = manifest.base_files
    try:
        local = Path(base).is_dir()
        paths = {name: Path(base, name) if local else Path(str(cached_file(base, name))) for name in names}
    except (OSError, ValueError) as error:  # of the hub's client
        return [str(error).partition("\n")[0]]
    return list(_differences(paths, names))


def _base_paths(base: str) -> list[Path]:
    """Configuration and weights of a base model that was loaded, so that its folder or the hub's cache has them."""
    from transformers.utils.hub import cached_file

    folder = Path(base) if Path(base).is_dir() else Path(str(cached_file(base, "config.json"))).parent
    weights = next((found for pattern in _WEIGHTS if (found := sorted(folder.glob(pattern)))), [])
    return [folder / "config.json", *weights]


def _read_json(path: Path) -> dict[str, Any]:
    """The object in the file; nothing where there is none."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
