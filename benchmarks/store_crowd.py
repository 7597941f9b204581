"""Many processes on one store: `python benchmarks/store_crowd.py [--parts crowd kill] [--seconds 60] [--kills 200]`.

`crowd`: eight writers and two samplers at once; nothing may be lost, nothing be there twice, and no caller may hear of
a lock. `kill`: workers that claim tasks by lease are killed (SIGKILL) at random moments, replaced, and the store is
checked after every kill; in the end every task must have been done exactly once.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import text
from store import GROUP, JUDGE, attempts, databases, task_of

from journeyman.storage.replay.pools import Kind
from journeyman.storage.replay.sampler import Mix
from journeyman.storage.store import ReplayStore

WRITERS, SAMPLERS, KILLED_WORKERS = 8, 2, 4
KIND = "generate/1"
LEASE_S = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=("crowd", "kill"), default=["crowd", "kill"])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--role", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        role, *arguments = options.role
        ROLES[role](*arguments)
        return
    with tempfile.TemporaryDirectory() as folder, databases(Path(folder)) as urls:
        for kind, url in urls.items():
            if "crowd" in options.parts:
                crowd(kind, url(), options.seconds)
            if "kill" in options.parts:
                kill(kind, url(), options.kills)


def spawn(role: str, *arguments: Any) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--role", role, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


# eight writers and two samplers


def crowd(kind: str, url: str, duration: float) -> None:
    store = ReplayStore(url)
    run = store.runs.create("crowd", {}).id
    store.tasks.add(run, [task_of(i) for i in range(64)], origin="generated")
    end = time.time() + duration + 5  # the processes need some seconds to start
    workers = [spawn("writer", url, run, number, end) for number in range(WRITERS)]
    workers += [spawn("sampler", url, run, number, end) for number in range(SAMPLERS)]
    said = [worker.communicate() for worker in workers]
    failed = [errors for worker, (_, errors) in zip(workers, said, strict=True) if worker.returncode]
    written = sum(int(out) for out, _ in said[:WRITERS])
    draws = [int(out) for out, _ in said[WRITERS:]]
    with store.database.read() as connection:
        stored = connection.scalar(text("SELECT COUNT(*) FROM trajectory"))
        distinct = connection.scalar(text("SELECT COUNT(DISTINCT key) FROM trajectory_group"))
        entered = connection.scalar(text("SELECT COUNT(DISTINCT position) FROM replay_entry"))
    print(
        f"crowd {kind}: {written} attempts written, {stored} stored in {distinct} groups of {GROUP} "
        f"({entered} with places of their own), draws {draws}, "
        f"{len(failed)} processes failed, {len(store.upkeep.check())} problems"
    )
    for errors in failed:
        print(errors.splitlines()[-1])
    store.close()


def writer(url: str, run: str, number: str, end: str) -> None:
    """Writes groups until the time is up; every tenth is written twice."""
    store, rows, count = ReplayStore(url), attempts(64 * GROUP), 0
    while time.time() < float(end):
        first = (count // GROUP) % 64 * GROUP
        group = [rename(row, f"w{number}/{count}") for row in rows[first : first + GROUP]]
        for _ in range(2 if (count // GROUP) % 10 == 0 else 1):
            store.trajectories.add(run, group)
            store.replay.enter(run, Kind.SUCCESS, [group[0].group])
        count += GROUP
    store.close()
    print(count)


def rename(row: Any, group: str) -> Any:
    from dataclasses import replace

    return replace(row, group=group)


def sampler(url: str, run: str, number: str, end: str) -> None:
    """Draws groups until the time is up."""
    store, draws = ReplayStore(url), 0
    mix = Mix(64, {"success": 1.0}, max_age=1)
    while time.time() < float(end):
        rng = np.random.default_rng([int(number), draws])
        for drawn in store.replay.sample(run, mix, JUDGE, rng, policy=1, iteration=1):
            assert [len(t.trajectory.segments) for t in drawn.members] == [1] * GROUP
        draws += 1
    store.close()
    print(draws)


# killed workers


def kill(kind: str, url: str, kills: int) -> None:
    rng = random.Random(0)
    tasks = max(4 * kills, 64)
    store = ReplayStore(url)
    run = store.runs.create("kill", {}).id
    store.tasks.add(run, [task_of(i) for i in range(tasks)], origin="generated")
    store.queue.enqueue(run, KIND, [task_of(i).hash for i in range(tasks)])
    workers = [spawn("worker", url, run, tasks) for _ in range(KILLED_WORKERS)]
    problems, done = 0, 0
    while done < kills:
        time.sleep(rng.uniform(0, 0.2))
        victim = rng.randrange(KILLED_WORKERS)
        if workers[victim].poll() is not None:
            break  # nothing is left to do
        if (begun := store.queue.progress(run, KIND)).claimed or begun.done:
            os.kill(workers[victim].pid, signal.SIGKILL)
            workers[victim].communicate()
            problems += len(store.upkeep.check())
            workers[victim] = spawn("worker", url, run, tasks)
            done += 1
    failed = [worker.communicate()[1] for worker in workers]
    failed = [errors for worker, errors in zip(workers, failed, strict=True) if worker.returncode]
    with store.database.read() as connection:
        groups = connection.execute(text("SELECT task_id, COUNT(*) FROM trajectory_group GROUP BY task_id")).all()
        rows = connection.scalar(text("SELECT COUNT(*) FROM trajectory"))
        again = connection.scalar(text("SELECT COUNT(*) FROM lease WHERE claims > 1"))
    twice = sum(n > 1 for _, n in groups)
    print(
        f"kill {kind}: {done} kills, {len(groups)} of {tasks} tasks done, {twice} more than once, "
        f"{rows} attempts ({GROUP * tasks} expected), {again} leases taken over, {len(failed)} workers failed, "
        f"{problems + len(store.upkeep.check())} problems"
    )
    for errors in failed:
        print(errors.splitlines()[-1])
    store.close()


def worker(url: str, run: str, tasks: str) -> None:
    """Claims tasks and stores eight attempts at each until all are done. Its name for them is drawn anew each time."""
    from journeyman.agent.errors import LeaseLostError

    store, rows = ReplayStore(url), attempts(int(tasks) * GROUP)
    by_task: dict[str, list[Any]] = {}
    for row in rows:
        by_task.setdefault(row.trajectory.task_hash, []).append(row)
    while not store.queue.progress(run, KIND).finished:
        claim = store.queue.claim(run, KIND, str(os.getpid()), limit=2, seconds=LEASE_S)
        if claim is None:
            time.sleep(0.1)
            continue
        name = f"{os.getpid()}/{time.time_ns()}"  # so that work done twice would be seen twice
        chunk = [rename(row, f"{name}/{row.group}") for subject in claim.subjects for row in by_task[subject]]
        time.sleep(random.uniform(0, 0.2))
        try:
            store.trajectories.add(run, chunk, finishes=claim)
        except LeaseLostError:
            continue
    store.close()


ROLES: dict[str, Callable[..., None]] = {"writer": writer, "sampler": sampler, "worker": worker}

if __name__ == "__main__":
    main()
