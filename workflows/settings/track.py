"""Settings of the trackers that a run's numbers are sent to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from journeyman.agent.credentials import holds_secret
from journeyman.agent.errors import suggestion
from journeyman.workflows.settings.section import Section

TRACKERS = ("tensorboard", "trackio", "wandb", "mlflow")
"""Each is the name of a tracker, of the package that it takes, and of our extra for that."""


class TrackSettings(Section):
    """Where a run's numbers are sent, beside the store and the terminal. See [tracking.md](tracking.md)."""

    to: tuple[str, ...] = ()
    """Of `tensorboard`, `trackio`, `wandb` and `mlflow`; each takes the extra of its name."""
    project: str = Field(default="journeyman", min_length=1)
    """Name of trackio's and wandb's project, and of mlflow's experiment."""
    folder: str = Field(default="runs/tensorboard", min_length=1)
    """TensorBoard's; each run gets one of its own in it."""
    uri: str | None = Field(default=None, min_length=1)
    """mlflow's tracking URI, without a password or a token. Without it MLFLOW_TRACKING_URI counts, or what mlflow does
    itself."""

    @field_validator("to", mode="before")
    @classmethod
    def _one_is_a_list(cls, to: Any) -> Any:
        return (to,) if isinstance(to, str) else tuple(to) if isinstance(to, list) else to

    @field_validator("to")
    @classmethod
    def _known_trackers(cls, to: tuple[str, ...]) -> tuple[str, ...]:
        for name in to:
            if name not in TRACKERS:
                raise ValueError(f"unknown tracker {name!r}: {suggestion(name, TRACKERS)}")
        if len(set(to)) < len(to):
            raise ValueError("a tracker is named twice")
        return to

    @field_validator("uri")
    @classmethod
    def _without_password(cls, uri: str | None) -> str | None:
        if uri is not None and holds_secret(uri):
            raise ValueError(
                "it holds a password, a token or a user, which would reach the tables: set MLFLOW_TRACKING_URI "
                "instead, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            )
        return uri

    @field_validator("folder")
    @classmethod
    def _without_key(cls, folder: str) -> str:
        if holds_secret(folder):
            raise ValueError("it holds a key, which would reach the tables: give that to TensorBoard's file system")
        return folder

    def anchored(self, folder: str) -> TrackSettings:
        """The same with folders and files absolute, relative ones taken from `folder`; URLs stay as they are."""
        ours = self.folder if "://" in self.folder else str(Path(folder, self.folder))
        return self.model_copy(update={"folder": ours, "uri": self.uri and _anchored(self.uri, folder)})


def _anchored(uri: str, folder: str) -> str:
    """A tracking URI that names a file by a relative path, or a folder by its path alone, with that made absolute."""
    for scheme in ("sqlite:///", "file:"):
        if uri.startswith(scheme) and not uri.startswith("file://"):
            return scheme + str(Path(folder, uri.removeprefix(scheme)))
    return uri if ":" in uri or uri == "databricks" else str(Path(folder, uri))
