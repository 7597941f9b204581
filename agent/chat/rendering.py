"""Messages <-> token ids and loss mask: tokens in, tokens out.

A `Transcript` grows one episode. Chosen tokens go in as they were sampled and are never tokenised again; after each
action only the text that the chat template adds (end of turn, observations, the next assistant header) is tokenised.
Where the template rewrites what was said before, so that the longer conversation's text does not begin with the
shorter one's, a new segment starts with the whole conversation rendered afresh as its prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from journeyman.agent.chat.tool_calls import ToolFormat, describe_tools, read_calls, tool_schemas, write_calls
from journeyman.agent.data import Episode, Message, Segment, Tool, Trajectory
from journeyman.agent.errors import DataError, SettingsError

_PROBE = "probe-3f9c"  # text that no template contains
_PROBE_TOOL = Tool(_PROBE, "", {"type": "object", "properties": {}})


class Renderer:
    """Turns chat messages into a model's tokens and back, by the chat template of its tokenizer.

    Raises SettingsError where the tokenizer has no chat template or no token that ends a turn.
    """

    def __init__(self, tokenizer: Any, tool_format: ToolFormat | None = None) -> None:
        """`tool_format` None takes the field `tool_format` of the tokenizer's configuration, else hermes."""
        if getattr(tokenizer, "chat_template", None) is None:
            raise SettingsError(f"model {tokenizer.name_or_path!r} has no chat template: take a chat or instruct model")
        self.tokenizer = tokenizer
        self.tool_format = ToolFormat(tool_format or tokenizer.init_kwargs.get("tool_format", ToolFormat.HERMES))
        self.encode = lru_cache(maxsize=4096)(self._encode)  # the prompts of a group are the same text
        self._template_takes_tools = _PROBE in self._apply([Message("user", "hi")], [_PROBE_TOOL])
        self.end_id = self._find_end()
        """The token that ends an assistant's turn; experts' actions end with it too."""
        eos = tokenizer.eos_token_id
        self.stop_ids: tuple[int, ...] = (self.end_id,) if eos in (None, self.end_id) else (self.end_id, eos)
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

        Tools are described by the template, or in a system message where it leaves them out; the
        positional format has no description: the model knows it from demonstrations.
        """
        shown = [] if self.tool_format is ToolFormat.POSITIONAL else list(tools)
        if shown and not self._template_takes_tools:
            rest = list(messages)
            system = [rest.pop(0).content] if rest and rest[0].role == "system" else []
            messages, shown = (
                [Message("system", "\n\n".join([*system, describe_tools(tools, self.tool_format)])), *rest],
                [],
            )
        return self._apply(messages, shown, answer=answer)

    def parse(self, completion_ids: Sequence[int] | np.ndarray[Any, Any], tools: Sequence[Tool] = ()) -> Message:
        """The assistant's message in a completion, the stop token at its end left out."""
        stopped = len(completion_ids) > 0 and completion_ids[-1] in self.stop_ids
        text = self.decode(completion_ids[:-1] if stopped else completion_ids)
        return Message("assistant", text, read_calls(text, self.tool_format, tools))

    def write(self, action: Message, tools: Sequence[Tool] = ()) -> Message:
        """An expert's action with its calls written into its content, where they are not in it already.

        Raises DataError for a call that the model's format cannot say, since no tool takes it.
        """
        if read_calls(action.content, self.tool_format, tools) == action.tool_calls:
            return action
        try:
            calls = write_calls(action.tool_calls, self.tool_format, tools)
        except ValueError as error:
            raise DataError(f"an expert's tool call cannot be written: {error}") from None
        gap = "" if self.tool_format is ToolFormat.POSITIONAL else "\n"
        content = gap.join(text for text in (action.content, calls) if text)
        return Message(action.role, content, action.tool_calls)

    def action_ids(self, action: Message, tools: Sequence[Tool] = ()) -> tuple[int, ...]:
        """The tokens of an expert's action, the end of the turn included."""
        return (*self.encode(self.write(action, tools).content), self.end_id)

    def _apply(self, messages: Sequence[Message], tools: Sequence[Tool], *, answer: bool = True) -> str:
        from jinja2 import TemplateError

        rows = [{"role": m.role, "content": m.content} for m in messages]
        schemas = tool_schemas(tools) or None
        try:
            text: str = self.tokenizer.apply_chat_template(
                rows, tools=schemas, tokenize=False, add_generation_prompt=answer
            )
        except TemplateError as error:
            name, roles = self.tokenizer.name_or_path, ", ".join(m.role for m in messages)
            why = f"the chat template of model {name!r} refuses a conversation of {roles}: {error}"
            raise SettingsError(f"{why}; take a model whose template knows these roles") from error
        return text

    def _find_end(self) -> int:
        text = self._apply([Message("user", "hi"), Message("assistant", _PROBE)], [], answer=False)
        tail = self.encode(text[text.rindex(_PROBE) + len(_PROBE) :].lstrip())
        if tail and tail[0] in self.tokenizer.added_tokens_decoder:
            return tail[0]
        if self.tokenizer.eos_token_id is None:
            name = self.tokenizer.name_or_path
            raise SettingsError(f"model {name!r} has no token that ends a turn: set eos_token in its tokenizer")
        return int(self.tokenizer.eos_token_id)


class Transcript:
    """One episode's tokens while it goes on: `prompt_ids`, then `act`, `observe` and `prompt_ids` again."""

    def __init__(self, renderer: Renderer, prompt: Sequence[Message], tools: Sequence[Tool] = ()) -> None:
        self._renderer, self._tools = renderer, tools
        self._messages = list(prompt)
        self._closed: list[Segment] = []
        self._begin(renderer.conversation(prompt, tools))

    def _begin(self, text: str) -> None:
        self._text = text  # of the open segment so far, as the template and the decoder gave it
        self._prompt = list(self._renderer.encode(text))
        self._completion: list[int] = []
        self._mask: list[bool] = []
        self._logprobs: list[float] = []
        self._known = True  # whether every action of the segment came with log-probs

    def prompt_ids(self) -> list[int]:
        """What the policy is given for its next action: the whole history of the open segment."""
        text = self._renderer.conversation(self._messages, self._tools)
        if not text.startswith(self._text):
            self._closed += self._open()
            self._begin(text)
        elif len(text) > len(self._text):
            added = self._renderer.encode(text[len(self._text) :])
            self._completion += added
            self._mask += [False] * len(added)
            self._text = text
        return self._prompt + self._completion

    def act(
        self, ids: Sequence[int] | np.ndarray[Any, Any], logprobs: Iterable[float] | None, *, trained: bool = True
    ) -> Message:
        """Adds an action's chosen tokens (after `prompt_ids`) and gives its message; an expert has no log-probs.

        An action that is not `trained` is context: its tokens are masked out, and its log-probs are left aside.
        """
        chosen = [int(i) for i in ids]
        self._completion += chosen
        self._mask += [trained] * len(chosen)
        self._text += self._renderer.decode(chosen)
        if trained:
            self._known = self._known and logprobs is not None
            self._logprobs += [] if logprobs is None else [float(p) for p in logprobs]
        message = self._renderer.parse(chosen, self._tools)
        self._messages.append(message)
        return message

    def observe(self, messages: Sequence[Message]) -> None:
        """Adds what the environment answered; it becomes tokens at the next `prompt_ids`."""
        self._messages += messages

    def segments(self) -> tuple[Segment, ...]:
        """The segments so far; what came after the last trained action is in none of them."""
        return (*self._closed, *self._open())

    def _open(self) -> tuple[Segment, ...]:
        if not any(self._mask):
            return ()
        last = len(self._mask) - self._mask[::-1].index(True)
        segment = Segment(
            np.array(self._prompt, np.int32),
            np.array(self._completion[:last], np.int32),
            np.array(self._mask[:last], np.bool_),
            np.array(self._logprobs, np.float32) if self._known else None,
        )
        return (segment,)


class Choice(NamedTuple):
    """What was chosen in one turn, the end of turn included. N: its tokens."""

    ids: tuple[int, ...]
    """(N,)"""
    logprobs: tuple[float, ...] | None = None
    """(N,) behaviour log-probs; None for experts."""


def render_episode(episode: Episode, renderer: Renderer, tools: Sequence[Tool] = ()) -> tuple[Segment, ...]:
    """The segments of an episode given as messages: every action's tokens trained, no behaviour log-probs."""
    chosen = [Choice(renderer.action_ids(turn.action, tools)) for turn in episode.turns]
    return _grow(episode, chosen, renderer, tools)


def rerender(
    parent: Trajectory, episode: Episode, renderer: Renderer, tools: Sequence[Tool] = ()
) -> tuple[Segment, ...]:
    """The segments of `parent` told anew: its sampled tokens between the new prompt and the new observations.

    An action whose text the relabel changed is tokenised anew; all others keep the tokens the policy sampled, and
    their behaviour log-probs, which are those under the parent's own prompt and observations (its row has their ids).
    A segment has None where the parent has none, or where one of its actions was tokenised anew.
    """
    sampled = choices_of(parent)
    chosen = []
    for i, turn in enumerate(episode.turns, start=episode.start_turn):
        unchanged = turn.action.content == parent.turns[i].action.content
        chosen.append(sampled[i] if unchanged else Choice(renderer.action_ids(turn.action, tools)))
    return _grow(episode, chosen, renderer, tools)


def choices_of(trajectory: Trajectory) -> list[Choice]:
    """What was chosen in each turn: the runs of the loss masks.

    Raises ValueError where they are not one run a turn: without its tokens, or with turns that are not trained on.
    """
    runs: list[Choice] = []
    for segment in trajectory.segments:
        logprobs, first = segment.behaviour_logprobs, 0
        for start, end in segment.runs():
            ids, last = segment.completion_ids[start:end].tolist(), first + end - start
            runs.append(Choice(tuple(ids), None if logprobs is None else tuple(logprobs[first:last].tolist())))
            first = last
    if len(runs) != len(trajectory.turns):
        raise ValueError(f"a trajectory of {len(trajectory.turns)} turns has {len(runs)} runs of chosen tokens")
    return runs


def _grow(episode: Episode, chosen: Sequence[Choice], renderer: Renderer, tools: Sequence[Tool]) -> tuple[Segment, ...]:
    transcript = Transcript(renderer, episode.task.prompt, tools)
    for turn, choice in zip(episode.turns, chosen, strict=True):
        transcript.prompt_ids()
        transcript.act(choice.ids, choice.logprobs)
        transcript.observe(turn.observation)
    return transcript.segments()
