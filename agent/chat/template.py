"""A tokenizer's chat template: rows to text, and what goes wrong there said in one line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from journeyman.agent.chat.forms import Row
from journeyman.agent.chat.tool_calls import tool_schemas
from journeyman.agent.data import Json, Tool
from journeyman.agent.errors import SettingsError, TemplateRefusedError, suggestion


class ChatTemplate:
    """The template with the settings that it is given, e.g. `ChatTemplate(tokenizer, {"enable_thinking": False})`.

    Raises SettingsError where the tokenizer has no chat template, or the template reads no such setting.
    """

    def __init__(self, tokenizer: Any, arguments: Mapping[str, Json]) -> None:
        if getattr(tokenizer, "chat_template", None) is None:
            raise SettingsError(f"model {tokenizer.name_or_path!r} has no chat template: take a chat or instruct model")
        self._tokenizer, self._arguments = tokenizer, dict(arguments)
        self._check_arguments()

    def text(self, rows: Sequence[Row], tools: Sequence[Tool] = (), *, answer: bool) -> str:
        """The conversation's text; with `answer` it ends where the assistant speaks next.

        Raises TemplateRefusedError, with the template's own words, where it refuses the conversation.
        """
        try:
            text: str = self._tokenizer.apply_chat_template(
                list(rows),
                tools=tool_schemas(tools) or None,
                tokenize=False,
                add_generation_prompt=answer,
                **self._arguments,
            )
        except Exception as error:  # a template is a program of others: what it raises is its refusal
            name, roles = self._tokenizer.name_or_path, ", ".join(row["role"] for row in rows)
            why = str(error).strip().partition("\n")[0] or type(error).__name__
            raise TemplateRefusedError(
                f"the chat template of model {name!r} refuses a conversation of {roles}: {why}"
            ) from error
        return text

    def _check_arguments(self) -> None:
        if not self._arguments:
            return
        from jinja2 import Environment, meta

        found = self._tokenizer.chat_template
        source = json.dumps(found) if not isinstance(found, str) else found
        try:
            names = meta.find_undeclared_variables(Environment(extensions=["jinja2.ext.loopcontrols"]).parse(source))  # noqa: S701 (nothing is rendered)
        except Exception:
            names = {name for name in self._arguments if name in source}
        for name in self._arguments:
            if name not in names:
                near = suggestion(name, sorted(names - {"messages", "tools", "add_generation_prompt"}))
                raise SettingsError(f"model.template_arguments: the chat template reads no {name!r}: {near}")
