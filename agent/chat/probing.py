"""What a chat template takes, found by rendering texts that no template contains.

Each thing is tried in the form that serves best, then in the next: structured calls before written ones, roles of their
own before folding. A form is taken where the template shows all of the texts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Any, Literal

from journeyman.agent.chat.forms import CLOSE_THOUGHT, OPEN_THOUGHT, Form, rows_of
from journeyman.agent.chat.shown import same_beginning
from journeyman.agent.chat.template import ChatTemplate
from journeyman.agent.chat.thoughts import Marks
from journeyman.agent.chat.tool_calls import ToolFormat, format_of, write_calls
from journeyman.agent.data import Json, Message, Tool, ToolCall
from journeyman.agent.errors import SettingsError, TemplateRefusedError

_SYSTEM, _ASKED, _SAID, _THOUGHT, _SHOWN, _LATER = (f"probe {n}f9c" for n in range(1, 7))
_ARGUMENT = "probe 8f9c"
_TOOL = Tool(
    "probe_7f9c",
    "probe 9f9c",
    {
        "type": "object",
        "properties": {"value": {"type": "string", "description": "A text."}},
        "required": ["value"],
    },
)
_CALL = ToolCall(_TOOL.name, {"value": _ARGUMENT}, "functions.probe_7f9c:0")
_USER, _ANSWER = Message("user", _ASKED), Message("assistant", _SAID)
_CALLED, _RESULT = Message("assistant", "", (_CALL,)), Message("tool", _SHOWN)
_TAG = re.compile(r"(?:<[^<>\n]+>|\[[A-Z_]+\])\s*\Z")
"""The last mark of a text, e.g. `<think>` with the space after it."""
_THOUGHT_FIELDS = ("reasoning_content", "thinking", "reasoning")


@dataclass(frozen=True, slots=True)
class Ending:
    """How a finished turn ends."""

    id: int
    """The token."""
    text: str
    shown: bool
    """Whether the turn's own text has it; else it is the first token of what follows, as a role's in GLM."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What was found."""

    form: Form
    tool_format: ToolFormat
    describes_tools: bool
    """Whether the template tells the model of its tools, in the format that is read."""
    marks: Marks
    answer: Ending
    call: Ending


@lru_cache(maxsize=16)
def _find_traits(tokenizer: Any, source: str, arguments: str, wanted: ToolFormat | None) -> Traits:  # noqa: ARG001
    import json

    return _Probe(tokenizer, ChatTemplate(tokenizer, json.loads(arguments))).traits(wanted)


def find_traits(tokenizer: Any, arguments: dict[str, Json], wanted: ToolFormat | None) -> Traits:
    """The traits of the tokenizer's template with these settings; found once for each.

    `wanted` is the format of calls that the settings or the tokenizer's own name. Raises SettingsError where the
    template shows no user's message, or where nothing ends a turn.
    """
    import json

    return _find_traits(tokenizer, str(tokenizer.chat_template), json.dumps(arguments, sort_keys=True), wanted)


class _Probe:
    def __init__(self, tokenizer: Any, template: ChatTemplate) -> None:
        self._tokenizer, self._template = tokenizer, template
        self._read = ToolFormat.HERMES  # the format that calls are written in while nothing better is known

    def traits(self, wanted: ToolFormat | None) -> Traits:
        form = self._plain()
        form = replace(form, system=self._shows([Message("system", _SYSTEM), _USER], form))
        form = replace(form, thought=self._thought(form))
        form, found = self._calls(form)
        self._read = wanted or found or ToolFormat.HERMES
        if self._read is not found:
            form = replace(form, calls="written")
        form = self._roles(form)
        form = replace(form, beside=self._beside(form))
        listed = self._text([_USER], form, [_TOOL], answer=True) or ""
        tells = _TOOL.name in listed and _TOOL.description in listed and (found or wanted) is self._read
        # a template that shows no call may still list tools: only settings that name the format make them its own
        answer = self._ending(form, _ANSWER, Message("user", _LATER), None)
        call = answer
        if form.calls != "written":
            call = self._ending(form, _CALLED, _RESULT, answer)
        return Traits(form, self._read, tells, self._marks(form, answer), answer, call)

    def _plain(self) -> Form:
        for parts in (False, True):
            if self._shows([_USER, _ANSWER, Message("user", _LATER)], Form(parts=parts)):
                return Form(parts=parts)
        name = self._tokenizer.name_or_path
        self._template.text(rows_of([_USER], Form(), self._read, ()), answer=True)  # says why, where it refuses
        raise SettingsError(f"the chat template of model {name!r} does not show what is said: take another model")

    def _thought(self, form: Form) -> str:
        """The field of thoughts, beside an answer or a call."""
        for field, action in product(_THOUGHT_FIELDS, (_ANSWER, _CALLED)):
            for calls in ("object", "text") if action is _CALLED else ("object",):
                tried = replace(form, thought=field, calls=calls)
                if _THOUGHT in (self._text([_USER, replace(action, thought=_THOUGHT)], tried, [_TOOL]) or ""):
                    return field
        return ""

    def _calls(self, form: Form) -> tuple[Form, ToolFormat | None]:
        """How calls are given, and the format that the template writes them in."""
        ways: tuple[Literal["object", "text"], ...] = ("object", "text")
        for calls, ids, silent in product(ways, (True, False), (False, True)):
            tried = replace(form, calls=calls, ids=ids, silent=silent)
            text = self._turn([_USER], _CALLED, tried)
            if text and _TOOL.name in text and _ARGUMENT in text and (found := format_of(text, _CALL, [_TOOL])):
                return tried, found
        return replace(form, calls="written"), None

    def _roles(self, form: Form) -> Form:
        """Results, those without a call, and messages of one role in a row."""
        asked_twice = [_USER, _ANSWER, Message("user", _LATER), Message("user", _SYSTEM)]
        form = replace(form, merged=not self._shows(asked_twice, form))
        answered = [_USER, _CALLED, _RESULT, _ANSWER, Message("user", _LATER)]
        form = replace(form, results=self._shows(answered, form))
        return replace(form, loose=form.results and self._shows([_USER, _ANSWER, _RESULT], form))

    def _beside(self, form: Form) -> Literal["shown", "thought", "written"]:
        if form.calls == "written":
            return "written"
        both = [replace(_CALLED, content=_SAID), replace(_CALLED, content=_SAID, thought=_THOUGHT)]
        ways: tuple[Literal["shown", "thought"], ...] = ("shown", "thought")
        for beside in ways:
            texts = [self._turn([_USER], action, replace(form, beside=beside)) for action in both]
            if all(text and _SAID in text and _ARGUMENT in text for text in texts):
                return beside
        return "written"

    def _ending(self, form: Form, action: Message, after: Message, answer: Ending | None) -> Ending:
        """The token that ends the action: the last one that its text and the longer conversation's have in common.

        Where they have none: the one that ends the conversation, else the first that follows.
        """
        last = _ARGUMENT if action.tool_calls else _SAID
        alone = (self._text([_USER, action], form, [_TOOL]) or "").rpartition(last)[2]
        longer = (self._text([_USER, action, after], form, [_TOOL]) or "").partition(last)[2]
        both = alone[: same_beginning(alone, longer)]
        header = (self._text([_USER, action], form, [_TOOL]) or "").rpartition(last)[0].rpartition(_ASKED)[2]
        marks = "".join(token for _, token in self._added(header)[1:])  # the first may end the user's turn
        marks += self._marks_within_calls() if action.tool_calls else ""
        shown = answer is None or answer.shown  # where answers end in what follows them, calls do too
        places = [(both, -1, True), (alone, 0, True)] if shown else []
        places += [(longer.removeprefix(alone), 0, False)] if answer is None or not shown else []
        for text, at, own in places:
            found = [(i, token) for i, token in self._added(text) if token not in marks]
            if found:
                return Ending(*found[at], own)
        if self._tokenizer.eos_token_id is None:
            name = self._tokenizer.name_or_path
            raise SettingsError(f"model {name!r} has no token that ends a turn: set eos_token in its tokenizer")
        return answer or Ending(int(self._tokenizer.eos_token_id), self._tokenizer.eos_token, shown=False)

    def _added(self, text: str) -> list[tuple[int, str]]:
        """The added tokens in the text."""
        ids, known = self._tokenizer(text, add_special_tokens=False).input_ids, self._tokenizer.added_tokens_decoder
        return [(i, known[i].content) for i in ids if i in known]

    def _marks_within_calls(self) -> str:
        """The text of a call but for its last token, which may end the turn, as it does in gpt-oss."""
        text = write_calls([_CALL], self._read, [_TOOL])
        added = self._added(text)
        return text.removesuffix(added[-1][1]) if added else text

    def _marks(self, form: Form, answer: Ending) -> Marks:
        said = self._turn([_USER], _ANSWER, form) or ""
        before, _, after = said.partition(_SAID)
        end = after.partition(answer.text)[0] if answer.shown else ""
        around = self._around_thought(form, _ANSWER, _SAID)
        if around is None:
            around = self._around_thought(form, _CALLED, self._turn([_USER], _CALLED, form) or _SAID)
            return Marks(*(around or (OPEN_THOUGHT, CLOSE_THOUGHT)), "", end)
        opens, close = around
        own = bool(before.strip()) and close != before and close.endswith(before)
        return Marks(opens, close.removesuffix(before) if own else close, before if own else "", end)

    def _around_thought(self, form: Form, action: Message, then: str) -> tuple[str, str] | None:
        """What stands before a thought, and between it and the text `then`; None where the template shows neither."""
        thoughtful = replace(action, thought=_THOUGHT)
        text = self._text([_USER, thoughtful], form, [_TOOL]) if form.thought else None
        if text is None or _THOUGHT not in text or then not in text:
            return None
        opens = (self._turn([_USER], thoughtful, form) or "").partition(_THOUGHT)[0]
        if not opens.strip():  # the prompt has it
            tag = _TAG.search(text.partition(_THOUGHT)[0])
            opens = tag[0] if tag else ""
        close = text.partition(_THOUGHT)[2].partition(then)[0]
        return (opens, close) if opens.strip() and close.strip() else None

    def _turn(self, messages: Sequence[Message], action: Message, form: Form) -> str | None:
        """What the action adds to the prompt: all after what both have in common."""
        prompt = self._text(messages, form, [_TOOL], answer=True)
        whole = self._text([*messages, action], form, [_TOOL])
        if prompt is None or whole is None:
            return None
        return whole[same_beginning(prompt, whole) :]

    def _shows(self, messages: Sequence[Message], form: Form) -> bool:
        text = self._text(messages, form)
        if text is None:
            return False
        calls = [word for m in messages for call in m.tool_calls for word in (call.name, *call.arguments.values())]
        return all(word in text for word in (*(m.content for m in messages), *calls))

    def _text(
        self, messages: Sequence[Message], form: Form, tools: Sequence[Tool] = (), *, answer: bool = False
    ) -> str | None:
        """The template's text; None where it refuses."""
        try:
            return self._template.text(rows_of(messages, form, self._read, [_TOOL]), tools, answer=answer)
        except TemplateRefusedError:
            return None
