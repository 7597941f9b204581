"""Plugins for tests of what fits into a context: sums whose prompts get longer, in an environment with a tool."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from watched_plugins import Sums

from journeyman.agent.data import Split, Task, Tool
from journeyman.agent.protocols import Environment


@dataclass(frozen=True)
class Grown(Sums):
    """The task number i has i more letters; an environment that breaks or hangs while it opens, if wanted."""

    hangs: bool = False
    breaks: bool = False

    def tasks(self, split: Split, seed: int) -> Iterator[Task]:
        for i, task in enumerate(super().tasks(split, seed)):
            asked = replace(task.prompt[0], content=task.prompt[0].content + "x" * i)
            yield replace(task, prompt=(asked,))

    def open(self, task: Task) -> Environment:
        if self.breaks:
            raise RuntimeError("no such machine")
        if self.hangs:
            time.sleep(60)
        environment = super().open(task)
        environment.tools = [Tool("add", "adds two numbers", {"type": "object", "properties": {}})]
        return environment
