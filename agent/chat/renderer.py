"""Messages <-> tokens by a tokenizer's own chat template: what a model is shown, and what it said.

What the template takes is found out once (agent/chat/probing.py). Experts' actions are given the very text that the
template has for a finished turn; only what it cannot say is written by hand.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from journeyman.agent.chat.forms import Form, rows_of, written
from journeyman.agent.chat.probing import Ending, find_traits
from journeyman.agent.chat.shown import past_the_same, same_beginning, unseen
from journeyman.agent.chat.template import ChatTemplate
from journeyman.agent.chat.tool_calls import ToolFormat, around_calls, describe_tools, read_calls
from journeyman.agent.data import Json, Message, Tool
from journeyman.agent.errors import DataError, TemplateRefusedError

_ALONE = (Message("user", "Are you 4b7e?"),)
"""What an action follows, where its text is looked at alone."""
_ENDERS = ("<|endoftext|>", "<|end_of_text|>", "<|eom_id|>", "<|call|>", "<|return|>")
"""Special tokens that never stand within a turn."""


class Expected(NamedTuple):
    """An action as the template has it in the text of a finished turn."""

    prompt: str
    """What it follows: the prompt, or that without the white space that the finished turn has not."""
    text: str
    """The action, the token that ends it included."""
    end: Ending


class Renderer:
    """Turns chat messages into a model's tokens and back, by the chat template of its tokenizer.

    Raises SettingsError where the tokenizer has no chat template or no token that ends a turn, where the template shows
    nothing that is said, or reads none of the `template_arguments`.
    """

    def __init__(
        self,
        tokenizer: Any,
        tool_format: ToolFormat | None = None,
        *,
        template_arguments: Mapping[str, Json] | None = None,
        stop_ids: Iterable[int] = (),
    ) -> None:
        """`tool_format` None takes the field `tool_format` of the tokenizer's configuration, else what the template
        writes calls in, else hermes. `template_arguments` are settings that the template reads; `stop_ids` end a
        completion too (those of the model's generation configuration).
        """
        self.tokenizer = tokenizer
        self._template = ChatTemplate(tokenizer, template_arguments or {})
        named = tool_format or tokenizer.init_kwargs.get("tool_format")
        self.traits = find_traits(tokenizer, dict(template_arguments or {}), ToolFormat(named) if named else None)
        """What the template takes, and its marks."""
        self.tool_format = self.traits.tool_format
        self.encode = lru_cache(maxsize=4096)(self._encode)  # the prompts of a group are the same text
        self.end_id = self.traits.answer.id
        """The token that ends an assistant's answer; one that ends a call may be another."""
        added = tokenizer.added_tokens_decoder
        self._cuts = [token.content for token in added.values() if token.content.strip()]
        special = {t.content: i for i, t in added.items() if t.special}
        eos = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
        known = [special[text] for text in _ENDERS if text in special]
        found = [self.end_id, self.traits.call.id, *eos, *map(int, stop_ids), *known]
        self.stop_ids: tuple[int, ...] = tuple(dict.fromkeys(found))
        """The tokens that end a completion, for `SamplingParams.stop_ids`."""

    def _encode(self, text: str) -> tuple[int, ...]:
        """The ids of `text`, special tokens in it recognised and none added. Results are cached."""
        return tuple(self.tokenizer(text, add_special_tokens=False).input_ids)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`, special tokens included."""
        text: str = self.tokenizer.decode([int(i) for i in ids], clean_up_tokenization_spaces=False)
        return text

    def conversation(self, messages: Sequence[Message], tools: Sequence[Tool] = (), *, answer: bool = True) -> str:
        """The template's text for the conversation; with `answer` it ends where the assistant speaks next.

        Tools are described by the template, or in a system message where it leaves them out or tells the model to call
        them in another format; the positional format has no description: the model knows it from demonstrations.
        What the template refuses is folded into user messages. Raises TemplateRefusedError where it refuses even that,
        or where a message other than the assistant's is not in its text.
        """
        told = list(tools) if self.traits.describes_tools else []
        if tools and not told and self.tool_format is not ToolFormat.POSITIONAL:
            messages = _with_system(messages, describe_tools(tools, self.tool_format))
        form = self.traits.form
        try:
            return self._shown(messages, form, told, tools, answer=answer)
        except TemplateRefusedError:
            folded = replace(form, calls="written", results=False, loose=False, merged=True, system=False)
            if folded == form or all(m.role in ("user", "assistant") and not m.tool_calls for m in messages):
                raise
            return self._shown(messages, folded, told, tools, answer=answer)

    def _shown(
        self, messages: Sequence[Message], form: Form, told: Sequence[Tool], tools: Sequence[Tool], *, answer: bool
    ) -> str:
        try:
            rows = rows_of(messages, form, self.tool_format, tools)
        except ValueError as error:
            raise TemplateRefusedError(f"a tool call cannot be written: {error}") from None
        text = self._template.text(rows, told, answer=answer)
        if (hidden := unseen(messages, text)) is not None:
            name = self.tokenizer.name_or_path
            what = f"the chat template of model {name!r} leaves out a message of role {hidden.role}"
            raise TemplateRefusedError(f"{what}: {hidden.content[:60]!r}")
        return text

    def opens_thought(self, prompt: str) -> bool:
        """Whether the prompt's text ends within a thought, so that a completion goes on with it."""
        return self.traits.marks.opened_by(prompt)

    def parse(
        self,
        completion_ids: Sequence[int] | np.ndarray[Any, Any],
        tools: Sequence[Tool] = (),
        *,
        thinking: bool | None = None,
    ) -> Message:
        """The assistant's message in a completion, the stop token at its end left out; thought and answer apart.

        Calls are read from the answer alone. `thinking` says whether the prompt opened a thought; None asks the
        template.
        """
        if thinking is None:
            thinking = self.opens_thought(self.conversation(_ALONE))
        ids = [int(i) for i in completion_ids]
        ids = ids[:-1] if ids and ids[-1] in self.stop_ids else ids
        text = self.decode(ids)
        spoken = self.traits.marks.apart(text, opened=thinking)
        calls = read_calls(spoken.answer, self.tool_format, tools)
        taken = self._tokens_of(ids, spoken.thought_end) if spoken.thought_end else 0
        return Message("assistant", spoken.answer, calls, spoken.thought, thought_tokens=taken)

    def _tokens_of(self, ids: Sequence[int], characters: int) -> int:
        """How many tokens the first characters of their text take."""
        return 1 + bisect.bisect_left(range(1, len(ids)), characters, key=lambda n: len(self.decode(ids[:n])))

    def write(self, action: Message, tools: Sequence[Tool] = ()) -> Message:
        """An expert's action with its calls written into its content, where they are not in it already.

        Raises DataError for a call that the model's format cannot say, since no tool takes it.
        """
        try:
            return replace(action, content=written(action, self.tool_format, tools))
        except ValueError as error:
            raise DataError(f"an expert's tool call cannot be written: {error}") from None

    def action_ids(
        self,
        action: Message,
        tools: Sequence[Tool] = (),
        after: Sequence[Message] = _ALONE,
    ) -> tuple[int, ...]:
        """The tokens of an expert's action after the messages `after`, the end of the turn included."""
        expected = self.expect(after, action, tools)
        return self.split(expected)[1]

    def split(self, expected: Expected) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Tokens of an action, and before them those of the last piece of its prompt, as they are in one text.

        The prompt's piece begins with the last added token, which cuts a text for every tokenizer. Where a token
        reaches over the action's beginning, it is the action's.
        """
        start = max((expected.prompt.rfind(token) for token in self._cuts), default=-1)
        before = expected.prompt[max(start, 0) :]
        head, whole = self.encode(before), self.encode(before + expected.text)
        same = same_beginning(head, whole)
        return head[:same], whole[same:]

    def expect(
        self, messages: Sequence[Message], action: Message, tools: Sequence[Tool] = (), prompt: str | None = None
    ) -> Expected:
        """The action after the messages, whose text is `prompt` where it is known, as the family's template has it.

        Where the template shows no such thought, or the prompt opens one that the finished turn has not, the thought's
        marks are written by hand; where the prompt has ended the thought already, it is left out.
        """
        action = self.write(action, tools) if self.traits.form.calls == "written" else action
        prompt = self.conversation(messages, tools) if prompt is None else prompt
        marks = self.traits.marks
        end = self.traits.call if action.tool_calls else self.traits.answer
        for thought in dict.fromkeys((action.thought, "")) if marks.closed_by(prompt) else (action.thought,):
            said = replace(action, thought=thought)
            found = self._finished(prompt, messages, said, tools, end)
            if found is not None and _squeezed(thought) in _squeezed(found.text):
                return found
            rest, alone = self._alone(said, tools, end)  # in its place the turn may have what came before rewritten
            if not rest.strip() and _squeezed(thought) in _squeezed(alone):
                return Expected(prompt, alone + end.text, end)
        return Expected(prompt, self._by_hand(prompt, action, tools, end), end)

    def _by_hand(self, prompt: str, action: Message, tools: Sequence[Tool], end: Ending) -> str:
        """The action's text with the marks of its thought, which the template leaves out."""
        marks = self.traits.marks
        said = self._alone(replace(action, thought=""), tools, end)[1]
        opened = marks.opened_by(prompt)
        if marks.close.strip() in said:  # an empty thought
            said = said.partition(marks.close.strip())[2]
        if action.thought or opened:
            said = f"{'' if opened else marks.open.lstrip()}{action.thought}{marks.close}{said.lstrip()}"
        return said + end.text

    def _alone(self, action: Message, tools: Sequence[Tool], end: Ending) -> tuple[str, str]:
        """What the finished turn has not of the prompt, and what it says, where nothing but a question came before."""
        prompt = self.conversation(_ALONE, tools).rpartition(_ALONE[0].content)[2]
        whole = self.conversation([*_ALONE, action], tools, answer=False).rpartition(_ALONE[0].content)[2]
        before, after = past_the_same(prompt, whole)
        return before, _without_end(after, end)

    def _finished(
        self, prompt: str, messages: Sequence[Message], action: Message, tools: Sequence[Tool], end: Ending
    ) -> Expected | None:
        """The action in the text of a finished turn; None where that does not go on from the prompt."""
        whole = self.conversation([*messages, action], tools, answer=False)
        same = same_beginning(prompt, whole)
        if prompt[same:].strip():
            return None
        return Expected(whole[:same], _without_end(whole[same:], end) + end.text, end)

    def same_action(self, one: str, other: str) -> bool:
        """Whether two texts of an action differ in white space and in how their calls are spelled alone."""
        return self._plainly(one) == self._plainly(other)

    def _plainly(self, text: str) -> str:
        return _squeezed("".join(around_calls(text, self.tool_format)))


def _with_system(messages: Sequence[Message], text: str) -> list[Message]:
    """The messages with the text at the end of their system message."""
    rest = list(messages)
    system = [rest.pop(0).content] if rest and rest[0].role == "system" else []
    return [Message("system", "\n\n".join([*system, text])), *rest]


def _without_end(text: str, end: Ending) -> str:
    """The turn's text up to the token that ends it."""
    at = text.rfind(end.text) if end.shown else -1
    return text if at < 0 else text[:at]


def _squeezed(text: str) -> str:
    return "".join(text.split())
