"""Answers that must be JSON of a given form."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

from journeyman.agent.constraints.fences import Block, fenced_blocks
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
    """The whole text; its fenced block (the last one labelled `json`, without one the last that is JSON); or the block
    only where the whole is not JSON."""
    version: str = field(default="2", init=False)
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
        if self.where != "fenced":
            try:
                return read_json(text)
            except BadJson:
                if self.where == "whole" or not fenced_blocks(text):
                    raise
        return _in_block(fenced_blocks(text))

    @cached_property
    def _own(self) -> Schema | None:
        if self.schema is None:
            return None
        try:
            return schema_of(json.dumps(self.schema) if isinstance(self.schema, dict) else self._text)
        except (TypeError, ValueError) as error:  # TypeError: a date of TOML
            raise SettingsError(f"option 'schema': {error}") from None

    @cached_property
    def _text(self) -> str:
        """Of the schema's file."""
        try:
            return Path(str(self.schema)).read_text("utf-8")
        except OSError as error:
            raise SettingsError(f"option 'schema': {self.schema!r} cannot be read: {error.strerror}") from None


def _in_block(blocks: list[Block]) -> Json:
    """What the last block labelled `json` says, without one the last that is JSON. Raises BadJson."""
    labelled = [block for block in blocks if block.language == "json"]
    for block in labelled[-1:] or blocks[::-1]:
        with suppress(BadJson):
            return read_json(block.text)
    if not blocks:
        raise BadJson("no fenced block")
    return read_json((labelled or blocks)[-1].text)


def _schema_of(task: Task) -> Schema | None:
    schema = task.payload.get("schema", task.goal)
    if schema is None:
        return None
    return schema_of(schema if isinstance(schema, str) else json.dumps(schema))
