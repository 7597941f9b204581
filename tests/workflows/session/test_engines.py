"""What a run begins with."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import torch

from journeyman.agent.data import PolicyRef
from journeyman.agent.models import load_causal_lm
from journeyman.workflows.session.engines import base_model, learner_settings
from journeyman.workflows.settings.loading import parse_settings
from journeyman.workflows.settings.settings import Settings


def settings_in(folder: Path) -> Settings:
    return parse_settings({"store": {"artifacts": str(folder)}, "model": {"hidden": 32, "layers": 1}}, "test")


def test_runs_that_begin_at_once_share_one_base_model(tmp_path: Path) -> None:
    settings = settings_in(tmp_path / "artifacts")
    begin = Barrier(4)

    def start(_: int) -> tuple[str, float]:
        begin.wait()
        folder = base_model(settings)
        return folder, (Path(folder) / "model.safetensors").stat().st_mtime

    with ThreadPoolExecutor(4) as runs:
        found = set(runs.map(start, range(4)))
    assert len(found) == 1  # the same folder, written once
    folder, _ = found.pop()
    assert load_causal_lm(PolicyRef(0, folder), dtype=torch.float32, device="cpu").config.hidden_size == 32


def test_the_learner_is_told_what_its_memory_holds(tmp_path: Path) -> None:
    plain = settings_in(tmp_path)
    told = {"micro_batch_tokens": 96, "activation_checkpointing": True}
    small = plain.model_copy(update={"learner": plain.learner.model_copy(update=told)})
    found = [learner_settings(settings) for settings in (plain, small)]
    assert [(one.micro_batch_tokens, one.activation_checkpointing) for one in found] == [(None, False), (96, True)]
