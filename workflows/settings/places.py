"""Settings of the run itself, and of where its rows and weights live."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from journeyman.workflows.settings.defaults import DEFAULT_STORE
from journeyman.workflows.settings.section import NAME, Section


class RunSettings(Section):
    """What the run is called and how it is driven."""

    name: str = Field(default="journeyman", min_length=1, max_length=100, pattern=NAME)
    """Of the run; letters, digits, ".", "_" and "-", a letter or digit first."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Key of all random numbers, and of the `tiny` model's weights."""
    iterations: int = Field(default=8, ge=0)
    """Turns of the loop after the warm start."""
    engine: Literal["prefect", "none"] = "prefect"
    """`none` runs the same stages without Prefect."""
    continues: bool = False
    """Begin with the newest promoted policy of the earlier runs of this name (scheduled runs do)."""
    output: str = "runs"
    """Folder for plots and summaries; each run gets one of its own in it."""
    modules: str | None = None
    """Folder where modules of "module:object" names are looked for too; without it that of the settings file."""


class StoreSettings(Section):
    """Where rows and weights live."""

    url: str = DEFAULT_STORE
    """SQLAlchemy URL of the database; it may not hold a password."""
    artifacts: str = "runs/artifacts"
    """Folder of the weights."""
    keep_last: int = Field(default=2, ge=1)
    """Weights kept beside the promoted ones: those of the last so many versions."""
