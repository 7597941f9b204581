"""Any data set of the package reasoning-gym as single-turn tasks, judged by its own scorer."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from journeyman.agent.chance import keyed_seed
from journeyman.agent.data import Json, Message, Split, Task, canonical_hash
from journeyman.agent.environments.dataset import SingleTurn
from journeyman.agent.errors import DataError, SettingsError, UnknownNameError, suggestion
from journeyman.agent.protocols import Environment

_CHUNK = 200
"""Entries drawn from one seed; a data set may make all its entries at once, so this bounds what is made ahead."""


@dataclass(frozen=True)
class ReasoningGym:
    """Endless tasks of one reasoning-gym data set; each split draws from seeds of its own.

    Small data sets repeat themselves, so a task of one split may turn up in another: compare hashes.
    """

    dataset: str
    """Name in reasoning-gym, e.g. "basic_arithmetic"."""
    options: Mapping[str, Json] = field(default_factory=dict)
    """Fields of the data set's own configuration, e.g. {"min_terms": 2}."""
    system: str | None = None
    rubric: Mapping[str, float] = field(default_factory=lambda: {"reasoning_gym": 1.0})

    environment = "reasoning_gym"
    max_turns = 1

    def __post_init__(self) -> None:
        make_generator(self.dataset, self.options, seed=0, size=1)

    def tasks(self, split: Split, seed: int) -> Iterator[Task]:
        """Tasks without end; the goal is the data set's own answer, which need not be the only right one."""
        for chunk in itertools.count():
            key = keyed_seed(seed, self.environment, self.dataset, split.value, chunk)
            generator = make_generator(self.dataset, self.options, seed=key % 2**31, size=_CHUNK)
            for index in range(len(generator)):
                yield self._task(split, generator[index])

    def demonstrate(self, task: Task, after: Sequence[Message] = ()) -> Sequence[Message] | None:
        """The data set's own answer, or None where it has none (a few only check), and after an answer."""
        return None if task.goal is None or after else (Message("assistant", task.goal),)

    def open(self, task: Task) -> Environment:
        """A single-turn episode."""
        return SingleTurn(task)

    def _task(self, split: Split, entry: Mapping[str, Any]) -> Task:
        system = (Message("system", self.system),) if self.system else ()
        question = str(entry["question"])
        key = canonical_hash(self.environment, [self.dataset, " ".join(question.split())])
        payload = {"dataset": self.dataset, "options": dict(self.options), "entry": pack(dict(entry))}
        prompt = (*system, Message("user", question))
        return Task(self.environment, entry["answer"], prompt, split, key, payload)


def make_generator(name: str, options: Mapping[str, Json], seed: int, size: int) -> Any:
    """The data set `name` of reasoning-gym. Raises UnknownNameError, or SettingsError for options it does not take."""
    import reasoning_gym
    from reasoning_gym.factory import DATASETS

    if name not in DATASETS:
        raise UnknownNameError("reasoning-gym dataset", name, DATASETS)
    known = [f.name for f in fields(DATASETS[name][1]) if f.name not in {"seed", "size"}]
    for option in options:
        if option not in known:
            raise SettingsError(f"reasoning-gym dataset {name!r} has no option {option!r}: {suggestion(option, known)}")
    try:
        return reasoning_gym.create_dataset(name, **options, seed=seed, size=size)
    except (AssertionError, TypeError, ValueError) as error:  # how its configurations refuse a value
        raise SettingsError(f"reasoning-gym dataset {name!r} refuses {dict(options)}: {error}") from error


def pack(value: Any) -> Json:
    """The value as JSON that `unpack` turns back into it exactly: tuples, and keys that are not text, are tagged."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list):
        return [pack(item) for item in value]
    if isinstance(value, tuple):
        return {"__tuple__": [pack(item) for item in value]}
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value) and not set(value) & {"__tuple__", "__dict__"}:
            return {key: pack(item) for key, item in value.items()}
        return {"__dict__": [[pack(key), pack(item)] for key, item in value.items()]}
    raise DataError(f"a reasoning-gym entry holds a {type(value).__name__}, which cannot be stored as JSON")


def unpack(value: Json) -> Any:
    """The inverse of `pack`."""
    if isinstance(value, list):
        return [unpack(item) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"__tuple__"}:
        return tuple(unpack(item) for item in value["__tuple__"])
    if set(value) == {"__dict__"}:
        return {unpack(key): unpack(item) for key, item in value["__dict__"]}
    return {key: unpack(item) for key, item in value.items()}
