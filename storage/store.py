"""The replay store: the record of truth, from which every stage reads and to which it writes back."""

from __future__ import annotations

from journeyman.storage.database import Database
from journeyman.storage.leases import WorkQueue
from journeyman.storage.replay.sampler import ReplaySampler
from journeyman.storage.runs.evaluations import Evaluations
from journeyman.storage.runs.policies import Policies
from journeyman.storage.runs.runs import Runs
from journeyman.storage.runs.tasks import Tasks
from journeyman.storage.trajectories.labels import Labels
from journeyman.storage.trajectories.trajectories import Trajectories
from journeyman.storage.trajectories.verdicts import Verdicts
from journeyman.storage.upkeep.upkeep import Upkeep


class ReplayStore:
    """One database and the parts that read and write it, e.g. `store.queue.claim(...)`.

    Writing twice is writing once: a row whose natural key is there already is left as it is. People's labels have
    none: saying a thing twice is saying it twice.
    """

    def __init__(self, url: str, *, must_exist: bool = False) -> None:
        """Opens the database at an SQLAlchemy URL and makes the tables where there are none.

        Raises SettingsError for a bad URL, UnknownNameError for an SQLite file that must exist and does not, and
        StoreError where the database cannot be opened.
        """
        self.database = database = Database(url, must_exist=must_exist)
        self.runs = Runs(database)
        self.tasks = Tasks(database)
        self.policies = Policies(database)
        self.evaluations = Evaluations(database)
        self.trajectories = Trajectories(database)
        self.verdicts = Verdicts(database)
        self.labels = Labels(database)
        self.queue = WorkQueue(database)
        self.replay = ReplaySampler(database)
        self.upkeep = Upkeep(database)

    def close(self) -> None:
        """Closes the connections."""
        self.database.close()
