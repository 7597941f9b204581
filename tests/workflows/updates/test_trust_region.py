"""A trust region in a real small run, and what is refused before one begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from journeyman.agent.errors import SettingsError
from journeyman.workflows.console import Reporter
from journeyman.workflows.expert_iteration import expert_iteration
from journeyman.workflows.session.checking import check
from journeyman.workflows.session.runs import start_run
from journeyman.workflows.session.session import lend
from journeyman.workflows.settings.loading import parse_settings
from journeyman.workflows.settings.settings import Settings

SMALL: dict[str, Any] = {
    "environment": {"name": "bit_flipping", "bits": 3},
    "tasks": {"train": 16, "validation": 4, "test": 4},
    "model": {"hidden": 32, "layers": 1},
    "sampler": {"kind": "transformers"},
    "warm_start": {"demonstrations": 12, "max_epochs": 30, "check_every": 30, "batch": 4, "learning_rate": 3e-3},
    "generate": {"tasks": 4, "attempts": 4, "max_tokens": 48},
    "optimizer": {"kind": "trust_region", "trust_delta": 0.02, "trust_iterations": 4},
    "estimator": {"name": "gae"},
    "critic": {"kind": "model"},
    "evaluate": {"attempts": 1, "margin": -1.0},
}


def settings_in(folder: Path, **changes: Any) -> Settings:
    places = {
        "run": {"name": "trpo", "iterations": 1, "engine": "none", "output": str(folder)},
        "store": {"url": f"sqlite:///{folder}/store.db", "artifacts": str(folder / "artifacts")},
    }
    return parse_settings(places | SMALL | changes, "the test")


def test_a_run_by_trust_regions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The warm start is AdamW's; demonstrations and a critic learn beside the policy; single steps are no fault."""
    ref = start_run(settings_in(tmp_path))
    expert_iteration(ref, Reporter())
    with lend(ref, Reporter(quiet=True)) as session:
        started, updated = session.store.policies.of(session.run.id)
    assert started.stats["epochs"] == 30
    stats = updated.stats
    assert 0 < stats["kl_step"] <= 0.02
    assert stats["surrogate_gain"] > 0
    assert (stats["steps"], stats["clip_fraction"]) == (1.0, 0.0)
    assert {"nll", "value_loss", "grad_norm", "backtracks"} <= stats.keys()
    assert "single optimizer step" not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"finetune": {"loss": "sapo"}}, "loss 'sapo' is not ratio x advantage, which a trust region improves"),
        ({"critic": {"kind": "head"}}, "a critic of kind 'head' learns through the policy's weights"),
    ],
)
def test_refuses_what_a_trust_region_cannot_do(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        check(settings_in(tmp_path, **changes))


def test_refuses_a_region_without_extent(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"optimizer\.trust_delta"):
        settings_in(tmp_path, optimizer={"kind": "trust_region", "trust_delta": 0.0})
