"""Is a run under way? Its lock on the machine that drives it, and its signs of life in the store for all others."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from journeyman.agent.errors import JourneymanError, SettingsError, StoreError, UsageError
from journeyman.storage.runs.runs import SILENT_S, RunInfo, Runs, RunState

INTERRUPTED = "interrupted"
"""How a run stands that was killed: it says that it runs, and does not."""
PULSE_S = SILENT_S / 5
"""Between two signs of life while a stage goes on."""
_PATIENCE_S = 1.0  # of one who wants the lock: who only looks whether it is held takes it for a moment

logger = logging.getLogger(__name__)


def artifacts_of(run: RunInfo) -> Path | None:
    """The folder of the run's weights and its lock; None of an imported run, which has none."""
    folder = run.settings.get("store", {}).get("artifacts")
    return Path(folder, run.id) if folder else None


def output_of(run: RunInfo) -> Path | None:
    """The folder of the run's summary and plot; None of an imported run, which has none."""
    folder = run.settings.get("run", {}).get("output")
    return Path(folder, run.own_name) if folder else None


def standing(run: RunInfo) -> str:
    """How the run stands: as it says itself, but `interrupted` where it says that it runs and does not.

    The lock in its folder tells, which the kernel lets go of with the process. Where there is none to see, and of a
    run that another machine drove last, the age of its last sign of life does.
    """
    if run.state is not RunState.RUNNING:
        return run.state
    folder = artifacts_of(run)
    if folder is not None and (folder / "lock").is_file():
        if _is_held(folder):
            return RunState.RUNNING
        if run.host == socket.gethostname():
            return INTERRUPTED
    return RunState.RUNNING if run.alive else INTERRUPTED


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Holds the lock of the run whose folder it is; raises UsageError where another process does."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / "lock", os.O_CREAT | os.O_RDWR)
    except OSError as error:
        raise SettingsError(f"store.artifacts: {folder} cannot be written: {error.strerror}") from error
    try:
        end = time.monotonic() + _PATIENCE_S
        while not _locked(handle):
            if time.monotonic() > end:
                what = f"run {folder.name} is held by another process"
                raise UsageError(f"{what}: wait for it, or stop it first")
            time.sleep(_PATIENCE_S / 10)
        yield
    finally:
        os.close(handle)


def _is_held(folder: Path) -> bool:
    handle = os.open(folder / "lock", os.O_RDONLY)
    try:
        return not _locked(handle)
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    """Takes the lock if it is free; the kernel lets go of it when the process dies."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def under_way(runs: Runs, run_id: str) -> Iterator[Callable[[str], None]]:
    """Has the run give signs of life while the body goes on, and say why it stopped where that fails.

    Gives the function that says which stage begins. For the process that holds the run's lock.
    """
    runs.begin(run_id, socket.gethostname())
    ended = threading.Event()
    pulse = threading.Thread(target=_pulse, args=(runs, run_id, ended), name="pulse", daemon=True)
    pulse.start()
    try:
        with blamed(runs, run_id):
            yield lambda stage: runs.sign(run_id, stage)
    finally:
        ended.set()
        pulse.join()


@contextmanager
def blamed(runs: Runs, run_id: str) -> Iterator[None]:
    """Has the run's row say why the body failed, unless it does already."""
    try:
        yield
    except BaseException as error:
        state = RunState.FAILED if isinstance(error, Exception) else RunState.STOPPED
        try:
            runs.stop(run_id, state, _in_one_line(error))
        except StoreError as refused:  # a full disk, say: it may be what stopped the run
            logger.warning("why run %s stopped could not be stored: %s", run_id, refused)
        raise


def _in_one_line(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "Ctrl-C"
    kind = "" if isinstance(error, JourneymanError) else f"{type(error).__name__}: "
    return " ".join(f"{kind}{error}".split())[:500]


def _pulse(runs: Runs, run_id: str, ended: threading.Event) -> None:
    while not ended.wait(PULSE_S):
        try:
            runs.sign(run_id)
        except StoreError as error:
            logger.warning("run %s could not give a sign of life, trying again: %s", run_id, error)
