"""Draws tasks, in a process of its own too: what they are must depend on the seed alone. It imports little."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from itertools import islice

from journeyman.agent.asking import check_task
from journeyman.agent.data import Split, Task
from journeyman.agent.plugins import ENVIRONMENTS, load_plugin
from journeyman.workflows.terminal import say

DRAWN = 30
"""Tasks drawn of each split."""


def tell(name: str, options: str, *splits: str) -> None:
    """Prints digests of the tasks that this process draws, as JSON."""
    task_set = load_plugin(ENVIRONMENTS, name, json.loads(options), (name,))
    say(json.dumps({split: digests(draw(task_set.tasks(Split(split), 0))) for split in splits}))


def draw(tasks: Iterator[Task]) -> list[Task]:
    """The first tasks; raises TypeError or ValueError for what is none."""
    drawn = list(islice(tasks, DRAWN))
    for task in drawn:
        check_task(task)
    return drawn


def digests(tasks: Sequence[Task]) -> list[str]:
    """A short name of each task by all that is in it."""
    return [hashlib.blake2b(repr(task).encode("utf-8", "replace"), digest_size=8).hexdigest() for task in tasks]
