"""Tasks from rows of data: JSONL files or a `datasets` name, a column mapping, a prompt template.

Every task is single-turn: the agent answers once and verifiers judge the answer. `GSM8K` stands on this task set and
adds a tool. A row's problem comes from its columns through the template, or from a column of chat messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from string import Formatter
from typing import ClassVar

from journeyman.agent.chance import keyed_rng
from journeyman.agent.data import Json, Message, Observation, Split, Step, Task, Tool, as_messages, canonical_hash, said
from journeyman.agent.environments.chats import chat_turns
from journeyman.agent.environments.rows import hub_rows, jsonl_rows
from journeyman.agent.errors import DataError, SettingsError, suggestion
from journeyman.agent.protocols import Environment


@dataclass(frozen=True)
class Dataset:
    """A task set over rows. `train`, `validation` and `test` are JSONL paths, or split names where `hub` is set.

    A row whose task (by hash) is held out under a stricter split is left out of the laxer one: test goes before
    validation, validation before train.
    """

    train: str | tuple[str, ...] = ()
    validation: str | tuple[str, ...] = ()
    test: str | tuple[str, ...] = ()
    validation_fraction: float = 0.05
    """Share of the training tasks, chosen by their hashes, held out where `validation` is not set."""
    hub: str | None = None
    """Name or folder that `datasets.load_dataset` takes; needs the extra `datasets`."""
    hub_config: str | None = None
    question: str = "question"
    """Column that the template knows as `{question}`; every other column is known by its own name."""
    answer: str = "answer"
    """Column of the goal; empty where there is none, so that verifiers that need one abstain."""
    solution: str | None = None
    """Column of the expert's text, where there is one."""
    messages: str | None = None
    """Column of chat messages; it takes the place of `question`, `solution`, `prompt` and `system`."""
    prompt: str = "{question}"
    """Template of the user's message; `{{` and `}}` stand for braces."""
    system: str | None = None
    answer_pattern: str | None = None
    """Regular expression that finds the goal in the answer column: its first group, or all of it."""
    rubric: Mapping[str, float] = field(default_factory=lambda: {"exact": 1.0})

    environment = "dataset"
    max_turns = 1
    instant: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.validation_fraction < 1:
            raise SettingsError(f"option 'validation_fraction' must be in [0, 1), got {self.validation_fraction}")
        try:
            re.compile(self.answer_pattern or "")
        except re.error as error:
            raise SettingsError(f"option 'answer_pattern': {error} in {self.answer_pattern!r}") from None
        try:
            parts = list(Formatter().parse(self.prompt))
        except ValueError as error:
            raise SettingsError(f"option 'prompt': {error}; write {{{{ and }}}} for braces") from None
        if any(name == "" or style or conversion for _, name, style, conversion in parts):
            raise SettingsError(f"option 'prompt': {self.prompt!r} may hold only {{column}}; {{{{ stands for a brace")

    def tasks(self, split: Split, seed: int) -> Iterator[Task]:
        """The split's tasks, each once: train in an order drawn from `seed`, the others as in the file.

        Raises DataError for data that is missing or malformed, here and not at the first task.
        """
        listed = list(self._splits[split].values())
        if not listed:
            remedy = f"set its option {split.value!r}" + (
                " or raise 'validation_fraction'" if split == "validation" else ""
            )
            raise DataError(f"environment {self.environment!r} has no {split} rows: {remedy}")
        if split is Split.TRAIN:
            order = keyed_rng(seed, self.environment, split.value).permutation(len(listed))
            listed = [listed[i] for i in order]
        return iter(listed)

    def demonstrate(self, task: Task, after: Sequence[Message] = ()) -> Sequence[Message] | None:
        """The row's solution as the expert's actions, or None where it has none, and after any other action."""
        rows = task.payload.get("demonstration")
        return as_messages(rows) if rows and not after else None

    def open(self, task: Task) -> Environment:
        """A single-turn episode."""
        return SingleTurn(task)

    def expert_actions(self, solution: str) -> tuple[Message, ...]:
        """The expert's text as actions; here one."""
        return (Message("assistant", solution),)

    @cached_property
    def _splits(self) -> dict[Split, dict[str, Task]]:
        test = self._read(Split.TEST, self.test)
        train = self._read(Split.TRAIN, self.train)
        if self.validation:
            validation = self._read(Split.VALIDATION, self.validation)
        else:
            limit = self.validation_fraction * 16**8
            carved = [key for key in train if int(key[:8], 16) < limit]
            validation = {key: replace(train[key], split=Split.VALIDATION) for key in carved}
        validation = {key: task for key, task in validation.items() if key not in test}
        train = {key: task for key, task in train.items() if key not in test and key not in validation}
        return {Split.TRAIN: train, Split.VALIDATION: validation, Split.TEST: test}

    def _read(self, split: Split, sources: str | tuple[str, ...]) -> dict[str, Task]:
        found: dict[str, Task] = {}
        for source in (sources,) if isinstance(sources, str) else sources:
            rows = hub_rows(self.hub, self.hub_config, source) if self.hub else jsonl_rows(source)
            for where, row in rows:
                task = self._task(split, where, row)
                found.setdefault(task.hash, task)
        return found

    def _task(self, split: Split, where: str, row: Mapping[str, Json]) -> Task:
        if not self.messages:
            system = (Message("system", self.system),) if self.system else ()
            prompt = (*system, Message("user", self._render(where, row)))
            actions = self.expert_actions(_column(where, row, self.solution, str)) if self.solution else ()
        else:
            prompt, turns = chat_turns(_column(where, row, self.messages, list), where)
            actions = tuple(turn.action for turn in turns)
        if len(actions) > self.max_turns:
            raise DataError(f"{where}: {len(actions)} assistant messages, but an episode has {self.max_turns} turns")
        payload = {"demonstration": [action.to_json() for action in actions]} if actions else {}
        key = canonical_hash(self.environment, said(prompt))
        return Task(self.environment, self._goal(where, row), prompt, split, key, payload)

    def _render(self, where: str, row: Mapping[str, Json]) -> str:
        names = {"question": self.question}
        text = ""
        for literal, name, _, _ in Formatter().parse(self.prompt):
            text += literal
            if name is not None:
                text += str(_column(where, row, names.get(name, name), object))
        return text

    def _goal(self, where: str, row: Mapping[str, Json]) -> Json:
        if not self.answer:
            return None
        if self.messages and self.answer not in row:
            return None  # a chat need not have an answer
        answer = _column(where, row, self.answer, object)
        if not self.answer_pattern:
            return answer.strip() if isinstance(answer, str) else answer
        match = re.search(self.answer_pattern, str(answer))
        found = match and next((group for group in (*match.groups(), match[0]) if group is not None), None)
        if found is None:
            raise DataError(f"{where}: answer_pattern {self.answer_pattern!r} finds nothing in column {self.answer!r}")
        return found.strip()


class SingleTurn:
    """An episode of one turn, with no tools and no reward of its own."""

    tools: Sequence[Tool] = ()

    def __init__(self, task: Task) -> None:
        self._task = task

    async def start(self) -> Observation:
        """The task's prompt."""
        return Observation(self._task.prompt)

    async def step(self, action: Message) -> Step:
        """Ends the episode."""
        return Step(Observation(()), None, terminated=True, truncated=False)

    async def close(self) -> None:
        """Nothing to free."""


def _column(where: str, row: Mapping[str, Json], name: str, kind: type) -> Json:
    if name not in row:
        raise DataError(f"{where}: no column {name!r}: {suggestion(name, row)}")
    if not isinstance(row[name], kind):
        raise DataError(f"{where}: column {name!r} must be a {kind.__name__}, got {type(row[name]).__name__}")
    return row[name]
