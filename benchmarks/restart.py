"""An update killed (SIGKILL) at random moments, and resumed: `python benchmarks/restart.py [--kills 20] [--set ...]`.

examples/small.toml is run up to its first update, which has some fifty optimizer steps here. From there it goes on once
unharmed, and again and again with its process killed somewhere in the update and `journeyman resume` after that, as far
as to the version. Prints for each kill when it came, in the process's seconds of processor time, so that it does not
depend on what else the machine does; what of the version was on the disk by then; and whether all its files (weights,
optimizer state, probe, manifest) are in the end what they are without a kill, bit for bit.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SMALL = Path(__file__).parent.parent / "examples" / "small.toml"
SETTINGS = ["run.iterations=1", "finetune.epochs=6", "finetune.batch=16", "warm_start.max_epochs=4", "tasks.test=4"]
STOPS_OR_TELLS = """
import functools, os, signal, sys, time
from pathlib import Path
from journeyman.workflows import expert_iteration as loop
from journeyman.workflows.cli import main

stage, stops = loop.finetune, sys.argv.pop(1) == "stops"

@functools.wraps(stage)
def finetune(*arguments):
    if stops:
        os.kill(os.getpid(), signal.SIGKILL)
    Path("begun").write_text(f"{time.process_time()}\\n")
    stage(*arguments)
    Path("done").write_text(f"{time.process_time()}\\n")
    os.kill(os.getpid(), signal.SIGKILL)

loop.finetune = finetune
sys.exit(main())
"""
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
RESUME = ["resume", "--engine", "none"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options = parser.parse_args()
    told = [part for setting in SETTINGS + options.overrides for part in ("--set", setting)]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "run")
        place.mkdir()
        start(place, "stops", ["run", str(SMALL), "--engine", "none", *told]).wait()
        kept = Path(shutil.copytree(place, Path(folder, "before the update")))
        start(place, "tells", RESUME).wait()
        seconds = clock(place / "done") - clock(place / "begun")
        expected = digests(place)
        print(f"unharmed: an update of {seconds:.1f} s of processor time, {len(expected)} files\n")
        print("| kill | after, s | of the update | on the disk | after `resume` |\n|---|---|---|---|---|")
        chance, equal = random.Random(options.seed), 0
        for number in range(1, options.kills + 1):
            shutil.rmtree(place)
            shutil.copytree(kept, place)
            moment = chance.uniform(0.0, seconds)
            kill(place, moment)
            left = what_is_left(place)
            start(place, "tells", RESUME).wait()
            same = digests(place) == expected
            equal += same
            outcome = "bit-equal" if same else "DIFFERS"
            print(f"| {number} | {moment:.2f} | {moment / seconds:.0%} | {left} | {outcome} |", flush=True)
        print(f"\n{equal} of {options.kills} bit-equal")


def start(place: Path, how: str, arguments: list[str]) -> subprocess.Popen[bytes]:
    """`journeyman ...` in that folder, which says where the update begins and ends, or stops before it."""
    with (place / "printed.txt").open("ab") as printed:
        command = [sys.executable, "-c", STOPS_OR_TELLS, how, *arguments]
        return subprocess.Popen(command, cwd=place, env=ENVIRONMENT, stdout=printed, stderr=printed)


def kill(place: Path, moment: float) -> None:
    """Starts it, and kills it when the update has had so many seconds of processor time."""
    process = start(place, "tells", RESUME)
    while spent(process.pid) < clock(place / "begun") + moment:
        if process.poll() is not None:
            return  # the update took less than without a kill
        time.sleep(0.002)
    process.kill()
    process.wait()


def clock(file: Path) -> float:
    """The processor time that the process has written there; infinite where it has not yet."""
    text = file.read_text() if file.exists() else ""
    return float(text) if text.endswith("\n") else float("inf")


def spent(process: int) -> float:
    """Its seconds of processor time."""
    ticks = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def version_of(place: Path) -> list[Path]:
    """The folder of the update's version, whole, hidden or half; none where there is nothing of it."""
    return [path for path in place.glob("runs/artifacts/*/*v0002*") if path.is_dir()]


def what_is_left(place: Path) -> str:
    found = version_of(place)
    return "nothing" if not found else "a part" if found[0].name.startswith(".") else "the version"


def digests(place: Path) -> dict[str, str]:
    """SHA-256 of every file of the version, by its name."""
    (folder,) = version_of(place)
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


if __name__ == "__main__":
    main()
