"""Answers that must be JSON of a given form."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

from journeyman.agent.data import Json, Status, Task, Trajectory, Verdict
from journeyman.agent.errors import SettingsError
from journeyman.verifiers.texts.schemas import BadJson, Schema, read_json, schema_of
from journeyman.verifiers.versions import version_with


@dataclass(frozen=True)
class JsonSchema:
    """1 where the final text is JSON that fits a schema, else 0.

    The JSON is read strictly (verifiers/texts/schemas.py): no NaN, no key twice, limits of size and depth.
    """

    schema: dict[str, Json] | str | None = None
    """The schema, or the path of a file with it, whose digest is part of the verifier's version; None takes the task's:
    `schema` in its payload, else its goal."""
    where: Literal["auto", "whole", "fenced"] = "auto"
    """The whole text, its last fenced block (between lines of ```), or the block only where the whole is not JSON."""
    version: str = field(default="1", init=False)
    name: ClassVar[str] = "json_schema"

    def __post_init__(self) -> None:
        _ = self._own  # a bad schema is told now
        if isinstance(self.schema, str):
            object.__setattr__(self, "version", version_with(self.version, self._text))

    def verify(self, task: Task, trajectory: Trajectory) -> Verdict:
        """Abstains where there is no schema; status `timeout` where the check takes too long.

        Raises ValueError where the task's schema is none.
        """
        schema = self._own or _schema_of(task)
        if schema is None:
            return Verdict.abstain("neither the options nor the task have a schema")
        text = trajectory.final_text
        try:
            value = self._read(text)
        except BadJson as error:
            return Verdict.passed(False, extracted=text, why=f"not JSON: {error}")
        try:
            fault = schema.fault(value)
        except TimeoutError as error:
            return Verdict(Status.TIMEOUT, explanation=str(error))
        return Verdict.passed(fault is None, extracted=json.dumps(value, ensure_ascii=False), why=fault)

    def _read(self, text: str) -> Json:
        block = last_fenced(text) if self.where != "whole" else None
        if self.where == "fenced" and block is None:
            raise BadJson("no fenced block")
        if self.where == "fenced" or block is None:
            return read_json(text if block is None else block)
        try:
            return read_json(text)
        except BadJson:
            return read_json(block)

    @cached_property
    def _own(self) -> Schema | None:
        if self.schema is None:
            return None
        try:
            found = self.schema if isinstance(self.schema, dict) else json.loads(self._text)
            return Schema(found)
        except ValueError as error:
            raise SettingsError(f"option 'schema': {error}") from None

    @cached_property
    def _text(self) -> str:
        """Of the schema's file."""
        try:
            return Path(str(self.schema)).read_text("utf-8")
        except OSError as error:
            raise SettingsError(f"option 'schema': {self.schema!r} cannot be read: {error.strerror}") from None


def last_fenced(text: str) -> str | None:
    """What stands in the last block between two lines that begin with ```; None where there is no such block."""
    found, opened = None, None
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.lstrip().startswith("```"):
            if opened is None:
                opened = number
            else:
                found, opened = (opened + 1, number), None
    return None if found is None else "\n".join(lines[slice(*found)])


def _schema_of(task: Task) -> Schema | None:
    schema = task.payload.get("schema", task.goal)
    if schema is None:
        return None
    return schema_of(schema if isinstance(schema, str) else json.dumps(schema))
