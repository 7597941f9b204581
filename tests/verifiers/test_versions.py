"""What a verifier's files hold is part of who it is."""

import json
import re
import shutil
from pathlib import Path

import pytest

from journeyman.agent.data import VerifierId
from journeyman.verifiers import versions
from journeyman.verifiers.rubric import Term, criterion
from journeyman.verifiers.versions import version_with_models


def id_of(name: str, **options) -> VerifierId:
    return criterion(name, options, Term(1.0)).id


@pytest.mark.parametrize(
    ("name", "option", "contents"),
    [("safety", "file", ("poison\n", "poison\ncurse\n")), ("json_schema", "schema", ("{}", '{"type": "object"}'))],
)
def test_another_content_is_another_verifier(tmp_path: Path, name: str, option: str, contents) -> None:
    file = tmp_path / "named.txt"
    ids = []
    for content in (*contents, contents[0]):
        file.write_text(content)
        ids.append(id_of(name, **{option: str(file)}))
    assert ids[0] == ids[2] != ids[1]
    assert [i.config_hash for i in ids] == [ids[0].config_hash] * 3
    assert all(re.fullmatch(r"[12]\+[0-9a-f]{8}", i.version) for i in ids)


def test_without_a_file_the_version_is_plain() -> None:
    plain = [id_of("safety", words=["poison"]), id_of("json_schema", schema={}), id_of("json_schema")]
    assert [i.version for i in plain] == ["1", "2", "2"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"architectures": ["Qwen2ForTokenClassification"]}))
    (folder / "model.safetensors").write_bytes(b"12")
    return folder


@pytest.mark.parametrize("name", ["prm", "reward_model"])
def test_new_weights_in_a_folder_are_another_verifier(model: Path, name: str) -> None:
    options = {"model": str(model)} | ({"family": "qwen"} if name == "prm" else {})
    first = id_of(name, **options)
    (model / "README.md").write_text("a model")
    (model / "cache").mkdir()
    assert id_of(name, **options) == first
    (model / "model.safetensors").write_bytes(b"13")
    second = id_of(name, **options)
    assert first.config_hash == second.config_hash
    assert first.version != second.version


def test_a_models_version_goes_by_content_alone(model: Path, tmp_path: Path) -> None:
    found = version_with_models("1", str(model))
    shutil.copytree(model, tmp_path / "copy")
    assert version_with_models("1", str(tmp_path / "copy")) == found
    assert version_with_models("1", str(model), None) == found
    assert version_with_models("1", str(model), str(tmp_path / "copy")) != found
    (model / "model.safetensors").rename(model / "other.safetensors")
    assert version_with_models("1", str(model)) != found


def test_hub_names_and_large_models_are_known_by_name(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert version_with_models("1", "somebody/model", None) == "1"
    size = sum(file.stat().st_size for file in model.iterdir())
    monkeypatch.setattr(versions, "MOST_BYTES", size)
    assert version_with_models("1", str(model)) != "1"
    monkeypatch.setattr(versions, "MOST_BYTES", size - 1)
    assert version_with_models("1", str(model)) == "1"
