"""Whatever happens to a policy's files is named before anything of them is loaded, by whoever loads them."""

import asyncio
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from journeyman.agent.data import PolicyRef
from journeyman.agent.errors import DamagedPolicyError
from journeyman.agent.learning import checkpoint
from journeyman.agent.learning.checkpoint import export_merged
from journeyman.agent.learning.learner import Learner, LearnerSettings
from journeyman.agent.manifests import check, seal, version_of
from journeyman.agent.models import make_tiny
from journeyman.agent.sampling.settings import SamplerSettings
from journeyman.agent.sampling.transformers_engine import TransformersSampler
from journeyman.agent.sampling.vllm_engine import VllmSampler

FULL = LearnerSettings(device="cpu")
LORA = replace(FULL, lora_rank=2, lora_alpha=4)
RANK_4 = replace(FULL, lora_rank=4, lora_alpha=4)
WEIGHTS, OPTIMIZER, MANIFEST = "model.safetensors", "learner/optimizer.safetensors", "manifest.json"
ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"


def train(learner, seed):
    """One step that moves everything, so that the optimizer has a state."""
    chance = torch.Generator().manual_seed(seed)
    for parameter in learner.model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.randn(parameter.shape, generator=chance)
    learner.optimizer.step()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A base model, another, and runs with two versions each: `full`, `twin` (another full one), `lora` and `rank4`."""
    root = tmp_path_factory.mktemp("saved")
    for seed, name in enumerate(("base", "other")):
        make_tiny(root / name, seed, hidden=32, layers=1, heads=1, intermediate=32)
    for run, settings in (("full", FULL), ("twin", FULL), ("lora", LORA), ("rank4", RANK_4)):
        learner = Learner(PolicyRef(0, str(root / "base")), settings)
        for number in (1, 2):
            train(learner, number)
            learner.save(root / run / f"v{number}", number, f"{run}/v1" if number == 2 else None)
    return root


@pytest.fixture
def place(saved, tmp_path):
    """The same, for a test to damage."""
    return Path(shutil.copytree(saved, tmp_path / "place"))


def full(place, version="v2"):
    return PolicyRef(int(version[1:]), str(place / "full" / version))


def lora(place, version="v2"):
    return PolicyRef(int(version[1:]), str(place / "base"), str(place / "lora" / version))


def rewrite(path, change):
    path.write_bytes(change(path.read_bytes()))


def cut(file):
    return lambda place, folder: rewrite(folder / file, lambda data: data[: len(data) // 2])


def emptied(file):
    return lambda place, folder: rewrite(folder / file, lambda data: b"")


def longer(file):
    return lambda place, folder: rewrite(folder / file, lambda data: data + b"\0")


def flipped(file, at):
    """One bit of the byte at this share of the file."""

    def flip(data):
        i = min(int(len(data) * at), len(data) - 1)
        return data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :]

    return lambda place, folder: rewrite(folder / file, flip)


def missing(file):
    return lambda place, folder: shutil.rmtree(folder / file) if (folder / file).is_dir() else (folder / file).unlink()


def of(run, version, *files):
    """These files, or all of them, are those of another version."""

    def swap(place, folder):
        if files:
            for file in files:
                shutil.copy(place / run / version / file, folder / file)
        else:
            shutil.rmtree(folder)
            shutil.copytree(place / run / version, folder)

    return swap


def edited(file, **changes):
    def edit(place, folder):
        path = folder / file
        path.write_text(json.dumps(json.loads(path.read_text()) | changes, indent=2))

    return edit


def more(file, text=b"{}"):
    return lambda place, folder: (folder / file).write_bytes(text)


def forged(place, folder):
    """The weights of another version, and their checksum in the manifest."""
    of("full", "v1", WEIGHTS)(place, folder)
    told = json.loads((folder / MANIFEST).read_text())
    told["files"][WEIGHTS] = json.loads((place / "full" / "v1" / MANIFEST).read_text())["files"][WEIGHTS]
    (folder / MANIFEST).write_text(json.dumps(told, indent=1) + "\n")


def a_folder_instead(place, folder):
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).mkdir()


def leads_nowhere(place, folder):
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to(folder / "gone")


def unread(file):
    """Another file of the same size and times."""

    def swap(place, folder):
        path = folder / file
        times = path.stat().st_atime_ns, path.stat().st_mtime_ns
        flipped(file, 0.6)(place, folder)
        os.utime(path, ns=times)

    return swap


SAVED = "is not the file that was saved"
DAMAGE = {
    "weights cut": (full, cut(WEIGHTS), r"model\.safetensors has \d+ bytes of \d+"),
    "weights emptied": (full, emptied(WEIGHTS), r"model\.safetensors has 0 bytes of"),
    "weights longer": (full, longer(WEIGHTS), r"model\.safetensors has \d+ bytes, not \d+"),
    "weights' header flipped": (full, flipped(WEIGHTS, 0.0), rf"model\.safetensors {SAVED}"),
    "weights flipped": (full, flipped(WEIGHTS, 0.5), rf"model\.safetensors {SAVED}"),
    "weights' last bit flipped": (full, flipped(WEIGHTS, 1.0), rf"model\.safetensors {SAVED}"),
    "weights flipped, times kept": (full, unread(WEIGHTS), rf"model\.safetensors {SAVED}"),
    "weights missing": (full, missing(WEIGHTS), r"model\.safetensors is missing"),
    "weights a folder": (full, a_folder_instead, r"model\.safetensors is missing"),
    "weights a link to nowhere": (full, leads_nowhere, r"model\.safetensors is missing"),
    "weights of the parent": (full, of("full", "v1", WEIGHTS), rf"model\.safetensors {SAVED}"),
    "weights of another run": (full, of("twin", "v1", WEIGHTS), rf"model\.safetensors {SAVED}"),
    "config missing": (full, missing("config.json"), r"config\.json is missing"),
    "config cut": (full, cut("config.json"), r"config\.json has \d+ bytes of \d+"),
    "config edited": (full, edited("config.json", rms_norm_eps=0.1), r"config\.json has \d+ bytes"),
    "config flipped": (full, flipped("config.json", 0.5), rf"config\.json {SAVED}"),
    "optimizer missing": (full, missing(OPTIMIZER), r"learner/optimizer\.safetensors is missing"),
    "optimizer's folder missing": (full, missing("learner"), r"learner/optimizer\.safetensors is missing"),
    "optimizer cut": (full, cut(OPTIMIZER), r"learner/optimizer\.safetensors has \d+ bytes of \d+"),
    "optimizer flipped": (full, flipped(OPTIMIZER, 0.9), rf"learner/optimizer\.safetensors {SAVED}"),
    "optimizer of the parent": (full, of("full", "v1", OPTIMIZER), rf"learner/optimizer\.safetensors {SAVED}"),
    "tokenizer missing": (full, missing("tokenizer.json"), r"tokenizer\.json is missing"),
    "tokenizer flipped": (full, flipped("tokenizer.json", 0.5), rf"tokenizer\.json {SAVED}"),
    "chat template missing": (full, missing("chat_template.jinja"), r"chat_template\.jinja is missing"),
    "a shard too many": (full, more("model-00002-of-00002.safetensors"), r"model-00002.* is no file of this version"),
    "an adapter beside full weights": (full, more(ADAPTER_CONFIG), r"adapter_config\.json is no file of this version"),
    "another optimizer": (full, more("learner/state.pt"), r"learner/state\.pt is no file of this version"),
    "all of the parent": (full, of("full", "v1"), r"its files are those of full/v1"),
    "all of another run": (full, of("twin", "v2"), r"its files are those of twin/v2"),
    "the parent's manifest": (full, of("full", "v1", MANIFEST), r"its files are those of full/v1"),
    "manifest missing": (full, missing(MANIFEST), r"manifest\.json is missing.*`journeyman db seal RUN`"),
    "manifest cut": (full, cut(MANIFEST), r"manifest\.json is damaged"),
    "manifest emptied": (full, emptied(MANIFEST), r"manifest\.json is damaged"),
    "manifest flipped": (full, flipped(MANIFEST, 0.5), r"manifest\.json is damaged"),
    "manifest's first byte flipped": (full, flipped(MANIFEST, 0.0), r"manifest\.json is damaged"),
    "manifest forged": (full, forged, r"manifest\.json is damaged"),
    "manifest a list": (full, more(MANIFEST, b"[]"), r"manifest\.json is damaged"),
    "manifest no text": (full, more(MANIFEST, b"\xff\0"), r"manifest\.json is damaged"),
    "manifest too deep": (full, more(MANIFEST, b"[" * 100_000), r"manifest\.json is damaged"),
    "all missing": (full, lambda place, folder: shutil.rmtree(folder), "the folder is missing"),
    "an adapter for full weights": (full, of("lora", "v2"), r"its files are those of lora/v2"),
    "adapter cut": (lora, cut(ADAPTER), r"adapter_model\.safetensors has \d+ bytes of \d+"),
    "adapter flipped": (lora, flipped(ADAPTER, 0.7), rf"adapter_model\.safetensors {SAVED}"),
    "adapter missing": (lora, missing(ADAPTER), r"adapter_model\.safetensors is missing"),
    "adapter's config missing": (lora, missing(ADAPTER_CONFIG), r"adapter_config\.json is missing"),
    "adapter's scale edited": (lora, edited(ADAPTER_CONFIG, lora_alpha=400), r"adapter_config\.json has \d+ bytes"),
    "adapter's optimizer missing": (lora, missing(OPTIMIZER), r"learner/optimizer\.safetensors is missing"),
    "adapter of another rank": (
        lora,
        of("rank4", "v2", ADAPTER, ADAPTER_CONFIG),
        r"adapter_config\.json is of an adapter of rank 4, and this version's has rank 2",
    ),
    "all of an adapter of another rank": (lora, of("rank4", "v2"), "its files are those of rank4/v2"),
    "full weights for an adapter": (lora, of("full", "v2"), "its files are those of full/v2"),
    "base's weights of another": (
        lora,
        lambda place, folder: shutil.copy(place / "other" / WEIGHTS, place / "base" / WEIGHTS),
        rf"it is an adapter of the base model .* is another: model\.safetensors {SAVED}",
    ),
    "base flipped": (lora, lambda place, _: flipped(WEIGHTS, 0.5)(place, place / "base"), "is another: model"),
    "base cut": (lora, lambda place, _: cut(WEIGHTS)(place, place / "base"), r"is another: model.* bytes of"),
    "base's config edited": (
        lora,
        lambda place, _: edited("config.json", rms_norm_eps=0.1)(place, place / "base"),
        r"is another: config\.json",
    ),
    "base missing": (lora, lambda place, _: shutil.rmtree(place / "base"), "is another: "),
}


@pytest.fixture
def loaded(monkeypatch):
    """What is loaded from now on, of models, tokenizers and optimizers."""
    found = []
    for owner, name in ((AutoModelForCausalLM, "from_pretrained"), (AutoTokenizer, "from_pretrained")):
        monkeypatch.setattr(owner, name, lambda *args, **_: found.append(args))
    monkeypatch.setattr(checkpoint, "load_file", found.append)
    monkeypatch.setattr("journeyman.agent.sampling.vllm_engine.start_engine", lambda *args: found.append(args))
    return found


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named_and_nothing_is_loaded(place, name, loaded, tmp_path):
    ref_of, damage, says = DAMAGE[name]
    policy = ref_of(place)
    folder = Path(policy.adapter or policy.path)
    check(policy)  # it is whole, and known to be
    damage(place, folder)
    loads = (
        lambda: Learner(policy, LORA if policy.adapter else FULL),
        lambda: TransformersSampler(policy, SamplerSettings(device="cpu")),
        lambda: VllmSampler(policy, SamplerSettings()),
        lambda: export_merged(policy, tmp_path / "out"),
    )
    for load in loads:
        with pytest.raises(DamagedPolicyError, match=says) as caught:
            load()
        assert str(caught.value).startswith(f"policy {folder} is not loaded: ")
        assert "\n" not in str(caught.value)
    assert not loaded
    assert not (tmp_path / "out").exists()
    if "base" not in name:
        check(ref_of(place, "v1"))  # its parent is whole


@pytest.mark.parametrize("ref_of", [full, lora])
def test_whoever_refuses_keeps_what_it_has(place, ref_of):
    whole, broken = ref_of(place, "v1"), ref_of(place)
    learner = Learner(whole, LORA if whole.adapter else FULL)
    sampler = TransformersSampler(whole, SamplerSettings(device="cpu"))
    parts = learner.model, learner.optimizer, learner.tokenizer, learner.policy, sampler._model
    flipped(OPTIMIZER, 0.5)(place, Path(broken.adapter or broken.path))
    with pytest.raises(DamagedPolicyError):
        learner.restore(broken)
    with pytest.raises(DamagedPolicyError):
        asyncio.run(sampler.load_policy(broken))
    now = learner.model, learner.optimizer, learner.tokenizer, learner.policy, sampler._model
    assert all(a is b for a, b in zip(parts, now, strict=True))


def test_the_policy_is_named_where_a_settings_rank_is_not_its_own(place):
    adapter = lora(place)
    with pytest.raises(DamagedPolicyError, match=r"it holds an adapter, not full weights; set model\.lora_rank"):
        check(PolicyRef(2, str(adapter.adapter)))
    with pytest.raises(DamagedPolicyError, match="it holds full weights, not an adapter"):
        check(PolicyRef(2, str(place / "base"), str(place / "full" / "v2")))


@pytest.mark.parametrize("ref_of", [full, lora])
def test_every_single_bit_counts(place, ref_of):
    """A hundred bits, anywhere in the folder, the manifest included."""
    policy = ref_of(place)
    folder = Path(policy.adapter or policy.path)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    chance = torch.Generator().manual_seed(0)
    for _ in range(100):
        path = files[int(torch.randint(len(files), (1,), generator=chance))]
        data = path.read_bytes()
        bit = int(torch.randint(8 * len(data), (1,), generator=chance))
        path.write_bytes(data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :])
        with pytest.raises(DamagedPolicyError, match=path.name):
            check(policy)
        path.write_bytes(data)
    check(policy)


def test_what_is_only_moved_or_touched_is_whole(place, tmp_path):
    for path in place.rglob("*"):
        path.touch()
    moved = shutil.move(place, tmp_path / "elsewhere")
    check(full(moved))
    check(lora(moved))


def test_a_base_model_needs_no_manifest_and_is_checked_by_one_that_it_has(place):
    base = PolicyRef(0, str(place / "base"))
    flipped(WEIGHTS, 0.5)(place, place / "base")
    check(base)
    seal(place / "base", version_of(place / "base"), parent=None, base=None)
    check(PolicyRef(0, shutil.move(place / "base", place / "renamed")))
    cut("config.json")(place, place / "renamed")
    with pytest.raises(DamagedPolicyError, match=r"config\.json has"):
        check(PolicyRef(0, str(place / "renamed")))


def test_a_manifest_says_whose_the_files_are(place):
    told = json.loads((place / "lora" / "v2" / MANIFEST).read_text())
    assert (told["version"], told["parent"], told["kind"], told["rank"]) == ("lora/v2", "lora/v1", "lora", 2)
    assert set(told["base_files"]) == {"config.json", WEIGHTS}
    assert told["libraries"]["torch"] == torch.__version__
    assert {ADAPTER, ADAPTER_CONFIG, OPTIMIZER, "tokenizer.json"} <= set(told["files"])
    assert told["files"][ADAPTER]["size"] == (place / "lora" / "v2" / ADAPTER).stat().st_size
    assert json.loads((place / "full" / "v1" / MANIFEST).read_text())["parent"] is None


class Killed(BaseException):
    pass


@pytest.mark.parametrize("point", ["_save_weights", "save_file", "seal", "sync", "rename"])
def test_killed_while_saving(place, monkeypatch, point):
    """What is there afterwards is the earlier version, whole, or nothing; saving again makes it whole."""
    learner = Learner(full(place), FULL)

    def die(*args, **kwargs):
        raise Killed

    with monkeypatch.context() as patch:
        if point == "sync":
            patch.setattr("journeyman.agent.manifests.sync_folder", die)  # the manifest is written already
        elif point == "rename":
            move = Path.rename
            patch.setattr(Path, "rename", lambda a, b: die() if ".partial" in a.name else move(a, b))
        else:
            patch.setattr(checkpoint, point, die)
        with pytest.raises(Killed):
            learner.save(place / "full" / "v2", 2)
        with pytest.raises(Killed):
            learner.save(place / "full" / "v3", 3)
    if point == "rename":  # between the two renames there is none
        with pytest.raises(DamagedPolicyError, match="the folder is missing"):
            check(full(place))
    else:
        check(full(place))
    with pytest.raises(DamagedPolicyError, match="the folder is missing"):
        check(full(place, "v3"))
    for number in (2, 3):
        check(learner.save(place / "full" / f"v{number}", number))
    assert sorted(path.name for path in (place / "full").iterdir()) == ["v1", "v2", "v3"]


def test_a_folder_without_weights_is_not_sealed(place):
    missing(WEIGHTS)(place, place / "full" / "v2")
    with pytest.raises(DamagedPolicyError, match=r"a file of weights \(\*\.safetensors\) is missing"):
        seal(place / "full" / "v2", "full/v2", parent=None, base=None)
