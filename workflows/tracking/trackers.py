"""The trackers: TensorBoard, trackio, wandb and mlflow behind the same three calls, each imported when it is opened.

A tracker's run has the name of ours and is found again by it, or by our run's id. What it holds is asked of it, so that
nothing of it need be remembered here. All three calls may raise whatever the library raises, and may take long.
"""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from journeyman.agent.data import Json
from journeyman.workflows.settings.track import TrackSettings
from journeyman.workflows.tracking.offline import rows_on_disk


@dataclass(frozen=True, slots=True)
class Subject:
    """The run whose numbers are sent."""

    id: str
    name: str
    """Its name with its id's end: no other run has it."""
    settings: Mapping[str, Json]
    """Those it was started with, without secrets, and without where its numbers go."""
    track: TrackSettings


Held: TypeAlias = Mapping[str, Collection[int]]
"""By a number's name the steps at which a tracker has it."""


class Tracker(Protocol):
    """Where the numbers of one run are sent; a step is an iteration."""

    def open(self, run: Subject) -> Held:
        """Begins its run of that name, or goes on with it; what it has of it."""

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Takes numbers of one step, at once; it may be an earlier one, of which more has become known."""

    def close(self, *, finished: bool) -> None:
        """Ends its run, as finished or as stopped by something."""


class TensorBoard:
    """Event files in a folder of the run's name; what was written before is read from them."""

    def open(self, run: Subject) -> Held:
        """See `Tracker`."""
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        from torch.utils.tensorboard import SummaryWriter

        folder = f"{run.track.folder}/{run.name}"
        self._writer: Any = SummaryWriter(folder)
        held = EventAccumulator(folder, size_guidance={"scalars": 0}).Reload()
        if not held.Tags()["tensors"]:
            self._writer.add_text("settings", f"```json\n{json.dumps(run.settings, indent=2)}\n```")
        return {name: {event.step for event in held.Scalars(name)} for name in held.Tags()["scalars"]}

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """See `Tracker`."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self, *, finished: bool) -> None:
        """See `Tracker`."""
        self._writer.close()


class Trackio:
    """A project of trackio's: in TRACKIO_DIR, on the Space TRACKIO_SPACE_ID, or at TRACKIO_SERVER_URL."""

    def open(self, run: Subject) -> Held:
        """See `Tracker`."""
        import trackio

        project = run.track.project
        self._run: Any = trackio.init(project, name=run.name, config=dict(run.settings), resume="allow", embed=False)
        return _by_name(_trackio_rows(project, self._run.id), "step")

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """See `Tracker`."""
        self._run.log(dict(numbers), step=step)

    def close(self, *, finished: bool) -> None:
        """See `Tracker`."""
        self._run.finish()


def _by_name(rows: Iterable[Mapping[str, Any]], step: str) -> Held:
    """What a tracker has, from its rows of numbers, each with its step under that name."""
    held: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        for name in row if row.get(step) is not None else ():
            held[name].add(int(row[step]))
    return held


def _trackio_rows(project: str, run_id: str) -> Any:
    """What the run has by now; asked of the server where there is one, with the secrets that trackio itself takes."""
    from huggingface_hub import get_token
    from trackio import server, utils
    from trackio.remote_client import RemoteClient

    space, url = utils.resolve_space_id_and_server_url(None, None)
    if space is None and url is None:
        return server.get_logs(project, run_id=run_id)
    client = RemoteClient(space or url, get_token() if space else None, os.environ.get("TRACKIO_WRITE_TOKEN"))
    return client.predict(project=project, run_id=run_id, api_name="/get_logs")


class Wandb:
    """A run of wandb's with our run's id; WANDB_MODE, WANDB_ENTITY, WANDB_DIR and the like are wandb's own affair."""

    def open(self, run: Subject) -> Held:
        """See `Tracker`."""
        import wandb

        self._run: Any = wandb.init(
            project=run.track.project,
            id=run.id,
            name=run.name,
            config=dict(run.settings),
            resume="allow",
            settings=wandb.Settings(console="off"),
        )
        self._run.define_metric("*", step_metric="iteration")
        if self._run.offline:
            return _by_name(rows_on_disk(Path(self._run.settings.sync_dir).parent, run.id), "iteration")
        return _by_name(wandb.Api().run(self._run.path).scan_history(), "iteration") if self._run.resumed else {}

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """See `Tracker`."""
        self._run.log({**numbers, "iteration": step})

    def close(self, *, finished: bool) -> None:
        """See `Tracker`."""
        import wandb

        self._run.finish(exit_code=0 if finished else 1)
        if self._run.offline:
            wandb.teardown()  # which waits until all is on disk, where the next process looks for it; `finish` does not


class Mlflow:
    """A run of mlflow's, found again by the tag `journeyman.run`; settings that it has are not sent again."""

    def open(self, run: Subject) -> Held:
        """See `Tracker`."""
        from mlflow import MlflowClient
        from mlflow.entities import Param

        client = self._client = MlflowClient(run.track.uri)
        known = client.get_experiment_by_name(run.track.project)
        experiment = known.experiment_id if known else client.create_experiment(run.track.project)
        found = client.search_runs([experiment], f"tags.`journeyman.run` = '{run.id}'")
        one = found[0] if found else client.create_run(experiment, run_name=run.name, tags={"journeyman.run": run.id})
        self._id = one.info.run_id
        client.update_run(self._id, status="RUNNING")
        params = [Param(name, text) for name, text in _flat(run.settings) if name not in one.data.params]
        for first in range(0, len(params), 100):  # more are refused
            client.log_batch(self._id, params=params[first : first + 100])
        return {name: {m.step for m in client.get_metric_history(self._id, name)} for name in one.data.metrics}

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """See `Tracker`."""
        from mlflow.entities import Metric

        at = int(time.time() * 1000)
        self._client.log_batch(self._id, metrics=[Metric(name, value, at, step) for name, value in numbers.items()])

    def close(self, *, finished: bool) -> None:
        """See `Tracker`."""
        self._client.set_terminated(self._id, "FINISHED" if finished else "FAILED")


def _flat(values: Mapping[str, Json], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value if isinstance(value, str) else json.dumps(value)


TRACKERS: Mapping[str, Callable[[], Tracker]] = {
    "tensorboard": TensorBoard,
    "trackio": Trackio,
    "wandb": Wandb,
    "mlflow": Mlflow,
}
