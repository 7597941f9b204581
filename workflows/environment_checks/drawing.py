"""Checks of the tasks as they are drawn: are there some, do they differ, are they the same every time?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations

from journeyman.agent.data import Json, Split, Task
from journeyman.agent.errors import Outage
from journeyman.workflows.environment_checks.elsewhere import digests, draw
from journeyman.workflows.environment_checks.subject import Subject, short
from journeyman.workflows.findings import Finding

SPLITS = (Split.TRAIN, Split.VALIDATION, Split.TEST)

_SCRIPT = "import sys; from journeyman.workflows.environment_checks.elsewhere import tell; tell(*sys.argv[1:])"


def check_drawing(subject: Subject) -> Iterator[Finding]:
    """Draws the tasks that all later checks are about."""
    for split in SPLITS:
        yield _drawn(subject, split)
    tasks = [task for split in SPLITS for task in subject.tasks[split]]
    if tasks:
        yield _prompts(subject, tasks)
        yield _hashes(subject, tasks)
        yield _repeated(subject)
        yield _data(tasks)


def _drawn(subject: Subject, split: Split) -> Finding:
    what = f"{split} tasks"
    subject.tasks[split] = []
    try:
        drawn = subject.ask(f"tasks({split.value!r}, seed 0)", lambda: draw(subject.task_set.tasks(split, 0)))
    except Outage as fault:
        return Finding(what, ok=False, says=str(fault), remedy="`tasks` is to yield Tasks for every split")
    subject.tasks[split] = drawn
    if not drawn:
        return Finding(what, ok=False, says="there are none", remedy=f"yield some, or set tasks.{split} = 0 in runs")
    if other := {task.split for task in drawn} - {split}:
        return Finding(what, ok=False, says=f"they say split {short(other)}", remedy="give tasks the split asked for")
    if named := {task.environment for task in drawn} - {subject.name}:
        remedy = f"write Task(environment={subject.name!r}, ...): stored tasks are acted out under that name"
        return Finding(what, ok=False, says=f"they say environment {short(named)}", remedy=remedy)
    return Finding(what, ok=True, says=f"{len(drawn)} drawn")


def _prompts(subject: Subject, tasks: Sequence[Task]) -> Finding:
    """Tasks that share one are told apart by what is hidden alone: in a single turn nobody can find out."""
    different = {task.hash: task for task in tasks}.values()
    told = [json.dumps([m.to_json() for m in task.prompt]) for task in different]
    counts = Counter(told)
    prompt, most = counts.most_common(1)[0]
    if not all(task.prompt for task in tasks):
        return Finding("prompts", ok=False, says="a task has none", remedy="give each Task at least a user's message")
    if most == 1:
        return Finding("prompts", ok=True, says=f"all {len(told)} differ")
    says = f"{most} of {len(told)} different tasks share {short(prompt)}"
    goals = {json.dumps(t.goal, sort_keys=True) for t, p in zip(different, told, strict=True) if p == prompt}
    if subject.task_set.max_turns == 1 and len(goals) > 1:
        remedy = "an agent that answers once cannot tell them apart: put what differs into the prompt"
        return Finding("prompts", ok=False, says=says, remedy=remedy)
    return Finding("prompts", ok=True, says=f"{says}: right where what differs is hidden, and answers tell of it")


def _hashes(subject: Subject, tasks: Sequence[Task]) -> Finding:
    """A hash names what a task is: equal tasks have one, different ones have not, and no two splits share one."""
    contents: dict[str, set[str]] = {}
    names: dict[str, set[str]] = {}
    for task in tasks:
        content = json.dumps([[m.to_json() for m in task.prompt], task.goal, dict(task.payload)], default=str)
        contents.setdefault(task.hash, set()).add(content)
        names.setdefault(content, set()).add(task.hash)
    if several := next((h for h, found in contents.items() if len(found) > 1), None):
        remedy = "hash all that makes the task what it is, hidden state too: canonical_hash(name, [goal, ...])"
        return Finding("hashes", ok=False, says=f"different tasks share the hash {several!r}", remedy=remedy)
    if several := next((c for c, found in names.items() if len(found) > 1), None):
        remedy = "hash nothing but what makes the task what it is: no split, no counter, no chance"
        return Finding("hashes", ok=False, says=f"equal tasks have several hashes: {short(several)}", remedy=remedy)
    shared = _shared(subject)
    if any(10 * count > least for _, count, least in shared):
        says = "; ".join(f"{pair} share {count} of {least}" for pair, count, least in shared)
        remedy = "draw each split from a part of its own: runs leave shared tasks out of the laxer split"
        return Finding("hashes", ok=False, says=says, remedy=remedy)
    few = "".join(f"; {pair} share {count} of {least}, by chance" for pair, count, least in shared)
    return Finding("hashes", ok=True, says=f"{len(contents)} different ones{few}")


def _shared(subject: Subject) -> list[tuple[str, int, int]]:
    """Which splits share tasks, how many, and how many the smaller one has."""
    of = {split: {task.hash for task in subject.tasks[split]} for split in SPLITS}
    pairs = [(a, b, len(of[a] & of[b])) for a, b in combinations(SPLITS, 2)]
    return [(f"{a} and {b}", count, min(len(of[a]), len(of[b]))) for a, b, count in pairs if count]


def _repeated(subject: Subject) -> Finding:
    """Drawn again here, and in a new process where Python hashes texts by another salt."""
    remedy = "draw by keyed_rng(seed, NAME, split) alone: no global random state, no hash(), no set's order, no clock"

    def ask_again(split: Split) -> list[Task]:
        return subject.ask("tasks", lambda: draw(subject.task_set.tasks(split, 0)))

    first = {split.value: digests(subject.tasks[split]) for split in SPLITS}
    try:
        again = {s.value: digests(ask_again(s)) for s in SPLITS if subject.tasks[s]}
    except Outage as fault:
        return Finding("repeated", ok=False, says=f"drawn a second time: {fault}", remedy=remedy)
    if differing := [split for split, found in again.items() if found != first[split]]:
        says = f"the same seed gives other {' and '.join(differing)} tasks the second time"
        return Finding("repeated", ok=False, says=says, remedy=remedy)
    elsewhere = _elsewhere(subject, list(again))
    if differing := [split for split, found in elsewhere.items() if found != first[split]]:
        says = f"the same seed gives other {' and '.join(differing)} tasks in another process"
        return Finding("repeated", ok=False, says=says, remedy=remedy)
    return Finding("repeated", ok=True, says="the same tasks for the same seed, in another process too")


def _elsewhere(subject: Subject, splits: Sequence[str]) -> dict[str, list[str]]:
    """What a new process draws; nothing of a split where it could not."""
    arguments = [subject.name, json.dumps(subject.options), *splits]
    env = os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    limit = 60 + subject.seconds * len(splits)
    try:
        command = [sys.executable, "-c", _SCRIPT, *arguments]
        found = subprocess.run(command, env=env, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return {split: [] for split in splits}
    told: dict[str, list[str]] = json.loads(found.stdout.splitlines()[-1]) if found.returncode == 0 else {}
    return {split: told.get(split, []) for split in splits}


def _data(tasks: Sequence[Task]) -> Finding:
    """Whether goals and payloads come back from the store as they went in."""
    for task in tasks:
        for part, value in (("goal", task.goal), ("payload", dict(task.payload))):
            if not same_json(value):
                says = f"{part} {short(value)} comes back from the store as {short(json.loads(json.dumps(value)))}"
                return Finding("data", ok=False, says=says, remedy="use lists for tuples, and texts as keys")
    return Finding("data", ok=True, says="goals and payloads are JSON")


def same_json(value: Json) -> bool:
    """Whether the value is itself after a way through JSON: no tuple, no number as a key, no NaN."""
    back = json.loads(json.dumps(value))
    return bool(back == value) and json.dumps(back, sort_keys=True) == json.dumps(value, sort_keys=True)
