"""Whether an agent called its tools well: valid calls, the needed ones, none to no purpose."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from journeyman.agent.chat.tool_calls import around_calls
from journeyman.agent.data import Json, Status, Task, Tool, ToolCall, Trajectory, Turn, Verdict
from journeyman.agent.errors import SettingsError, UnknownNameError, suggestion
from journeyman.verifiers.conduct.goals import task_set
from journeyman.verifiers.texts.schemas import BadJson, check_size, schema_of

MAX_NAMED = 20
"""Faults that the explanation names; all of them count."""


@dataclass(frozen=True)
class ToolUse:
    """The share of the calls that are without fault, times the share of the needed tools that were called validly.

    A call has at most one fault, the first of these: it is malformed; the environment has no such tool; the arguments
    do not fit the tool's schema (an argument that the schema does not name does not); it comes after the answer; the
    same call was made before and was answered alike; it is beyond the budget. `raw` is the number of faults, needed
    tools that are missing included. Where nothing is called and nothing needed, nothing is wrong: 1.
    """

    needed: tuple[str, ...] = ()
    """Tools that must be called, beside those in the task's payload under `needed_tools`."""
    budget: int | None = None
    """Most calls of an attempt; None for no limit."""
    answer: str | None = None
    """Text that marks the agent's answer, e.g. `####`: a call after it is to no purpose. None for no such mark."""
    name: ClassVar[str] = "tools"
    version: ClassVar[str] = "3"

    def __post_init__(self) -> None:
        if self.budget is not None and self.budget < 0:
            raise SettingsError(f"option 'budget' must be at least 0 calls, got {self.budget}")
        if self.answer == "":
            raise SettingsError("option 'answer' must be text of at least one character; leave it out for none")

    def verify(self, task: Task, trajectory: Trajectory) -> Verdict:
        """Abstains where the environment has no tools. Raises UnknownNameError for a needed tool that it has not."""
        tools = {tool.name: tool for tool in task_set(task.environment).open(task).tools}
        if not tools:
            return Verdict.abstain(f"environment {task.environment!r} has no tools")
        needed = {*self.needed, *task.payload.get("needed_tools", ())}
        for name in needed - set(tools):
            raise UnknownNameError("tool", name, tools, "see 'needed' and the task's 'needed_tools'")
        try:
            calls = list(self._judged(tools, trajectory.turns))
        except TimeoutError as error:
            return Verdict(Status.TIMEOUT, explanation=str(error))
        faults = [f"call {number}: {fault}" for number, (_, fault) in enumerate(calls, 1) if fault]
        missing = sorted(needed - {name for name, fault in calls if not fault})
        valid = 1 - len(faults) / len(calls) if calls else 1.0
        called = 1 - len(missing) / len(needed) if needed else 1.0
        named = faults if len(faults) <= MAX_NAMED else [*faults[:MAX_NAMED], f"... {len(faults)} in all"]
        return Verdict.scored(
            valid * called,
            raw=len(faults) + len(missing),
            extracted=f"{len(calls)} calls",
            why="; ".join([*named, *(f"{name!r} is not called" for name in missing)]) or None,
        )

    def _judged(self, tools: Mapping[str, Tool], turns: Sequence[Turn]) -> Iterator[tuple[str, str]]:
        """The tool and the fault ("" for none) of every call; in a turn the malformed ones come last."""
        made: set[str] = set()
        answered, number = False, 0
        for turn in turns:
            pieces = around_calls(turn.action.content)
            late = answered or self._answers(pieces[0])
            for call, told in _with_answers(turn):
                number += 1
                key = json.dumps([call.name, dict(call.arguments), told], sort_keys=True)
                fault = _invalid(tools, call)
                if not fault and late:
                    fault = "after the answer"
                elif not fault and key in made:
                    fault = "made before, and answered alike"
                elif not fault and self.budget is not None and number > self.budget:
                    fault = f"beyond the budget of {self.budget}"
                made.add(key)
                yield call.name, fault
            for _ in range(len(pieces) - 1 - len(turn.action.tool_calls)):
                number += 1
                yield "", "malformed, or without an argument that its tool requires"
            answered = answered or any(map(self._answers, pieces))

    def _answers(self, text: str) -> bool:
        return self.answer is not None and self.answer in text


def _with_answers(turn: Turn) -> list[tuple[ToolCall, list[str]]]:
    """Each well-formed call with what was answered: its own message where there is one for each, else all of them."""
    calls, told = turn.action.tool_calls, [message.content for message in turn.observation]
    if len(calls) == len(told):
        return [(call, [text]) for call, text in zip(calls, told, strict=True)]
    return [(call, told) for call in calls]


def _invalid(tools: Mapping[str, Tool], call: ToolCall) -> str:
    """Why the environment cannot take the call, or ""."""
    if call.name not in tools:
        return f"there is no tool {call.name!r}, {suggestion(call.name, tools)}"
    schema = dict(tools[call.name].parameters)
    if "properties" in schema:
        schema.setdefault("additionalProperties", False)
    arguments: Json = dict(call.arguments)
    try:
        check_size(arguments)
    except BadJson as error:
        return f"{call.name!r}, arguments {error}"
    fault = schema_of(json.dumps(schema)).fault(arguments)
    return f"{call.name!r}, {fault}" if fault else ""
