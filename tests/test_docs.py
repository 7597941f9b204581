"""What the documents say is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_settings_page_is_up_to_date() -> None:
    page = subprocess.run([sys.executable, ROOT / "docs/make_settings.py"], capture_output=True, text=True, check=True)
    assert (ROOT / "docs/settings.md").read_text() == page.stdout


@pytest.mark.parametrize("page", PAGES, ids=[p.name for p in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert target.startswith("http") or (page.parent / target).exists(), f"{page.name}: {target}"


def test_commands_of_the_readme_are_commands() -> None:
    from journeyman.workflows.cli import _HOMES

    shown = set(re.findall(r"journeyman ([a-z-]+)", (ROOT / "README.md").read_text()))
    assert shown == set(_HOMES)


def test_make_targets_of_the_readme_are_targets() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake (demo|test|check|install)\b", (ROOT / "README.md").read_text())) <= targets


def test_every_statistic_of_an_update_is_listed() -> None:
    from journeyman.agent.learning.learner import Learner

    told = (Learner.update.__doc__ or "").partition("The statistics are")[2].partition("Raises")[0]
    of_groups = {"reward_mean", "reward_std", "groups_without_contrast", "kl_weight", "steps_unweighed"}
    names = {*re.findall(r"`(\w+)`", told), *of_groups}
    assert {"effective_samples", "observation_nll", "flops_utilisation"} < names
    assert names <= set(re.findall(r"`(\w+)`", (ROOT / "docs/queries.md").read_text()))
