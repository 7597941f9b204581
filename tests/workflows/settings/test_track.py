"""The settings of trackers: names that are known, no secrets, and places that do not depend on the folder one is in."""

from __future__ import annotations

import sys

import pytest

from journeyman.agent.errors import SettingsError
from journeyman.workflows.session.runs import start_run
from journeyman.workflows.settings.loading import load_settings, parse_settings
from journeyman.workflows.settings.track import TrackSettings


@pytest.mark.parametrize(
    ("track", "says"),
    [
        ({"to": ["tensorbord"]}, r"setting 'track.to': .*unknown tracker 'tensorbord': did you mean 'tensorboard'\?"),
        ({"to": ["neptune"]}, "known are tensorboard, trackio, wandb, mlflow"),
        ({"to": ["wandb", "wandb"]}, "a tracker is named twice"),
        ({"to": 3}, "setting 'track.to'"),
        ({"project": ""}, "setting 'track.project'"),
        ({"porject": "x"}, r"unknown setting 'track.porject': did you mean 'project'\?"),
        ({"uri": "https://ann:secret@host/mlflow"}, "holds a password, .*set MLFLOW_TRACKING_URI instead"),
        ({"uri": "postgresql://host/mlflow?password=secret"}, "holds a password"),
        ({"uri": "https://secret@host/mlflow"}, "holds a password, a token or a user"),
        ({"uri": "https://host/mlflow?n=1&token=secret"}, "holds a password"),
        ({"uri": "https://host/mlflow?api_key=secret"}, "holds a password"),
        ({"uri": "https://host/mlflow#access_token=secret"}, "holds a password"),
        ({"uri": "mlflow?pwd=secret"}, "holds a password"),
        ({"uri": "//ann:secret@host/mlflow"}, "holds a password"),
        ({"uri": "ann:secret@host/mlflow"}, "holds a password"),
        ({"folder": "s3://secret@bucket/runs"}, "setting 'track.folder': .*holds a key"),
    ],
)
def test_mistakes_are_named(track: dict, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as refused:
        parse_settings({"track": track}, "the test")
    assert "secret" not in str(refused.value)


def test_one_tracker_needs_no_list(small: str) -> None:
    assert load_settings(small).track == TrackSettings(to=())
    assert load_settings(small, ["track.to=trackio", "track.project=p"]).track == TrackSettings(
        to=("trackio",), project="p"
    )
    assert load_settings(small, ["track.to=[]"]).track.to == ()


@pytest.mark.parametrize(
    ("given", "anchored"),
    [
        ("sqlite:///mlflow.db", "sqlite:////home/ann/mlflow.db"),
        ("sqlite:////data/mlflow.db", "sqlite:////data/mlflow.db"),
        ("mlruns", "/home/ann/mlruns"),
        ("file:mlruns", "file:/home/ann/mlruns"),
        ("file:///data/mlruns", "file:///data/mlruns"),
        ("http://localhost:5000", "http://localhost:5000"),
        ("postgresql://ann@host/mlflow", "postgresql://ann@host/mlflow"),
        ("databricks", "databricks"),
        ("databricks://profile", "databricks://profile"),
        (None, None),
    ],
)
def test_files_are_found_again_from_anywhere(given: str | None, anchored: str | None) -> None:
    found = parse_settings({"track": {"uri": given}}, "the test").anchored("/home/ann").track
    assert (found.uri, found.folder) == (anchored, "/home/ann/runs/tensorboard")
    assert TrackSettings(folder="s3://bucket/runs").anchored("/home/ann").folder == "s3://bucket/runs"


@pytest.mark.parametrize("name", ["tensorboard", "trackio", "wandb", "mlflow"])
def test_a_missing_package_is_named_before_a_run_is_stored(watched, monkeypatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SettingsError, match=rf"{name} takes its package, .*pip install 'journeyman\[{name}\]'"):
        start_run(watched.settings(track={"to": [name]}))
    assert list(watched.folder.iterdir()) == []
