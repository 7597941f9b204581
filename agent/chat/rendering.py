"""Messages <-> token ids and loss mask: tokens in, tokens out.

A `Transcript` grows one episode. Chosen tokens go in as they were sampled and are never tokenised again; after each
action only the text that the chat template adds (observations, the next assistant header) is tokenised, together with
the token that ended the turn, since that may strip what follows it. Where the template rewrites what was said before
(it drops a thought, say), so that the longer conversation's text does not go on from the shorter one's, a new segment
starts with the whole conversation rendered afresh as its prompt. White space and the spelling of calls are no
rewriting: there the sampled tokens stand for the template's text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from journeyman.agent.chat.renderer import Renderer
from journeyman.agent.data import Episode, Message, Segment, Tool, ToolCall, Trajectory


class Transcript:
    """One episode's tokens while it goes on: `prompt_ids`, then `act`, `observe` and `prompt_ids` again.

    What the template refuses raises TemplateRefusedError; what was said before it is kept.
    """

    def __init__(self, renderer: Renderer, prompt: Sequence[Message], tools: Sequence[Tool] = ()) -> None:
        self._renderer, self._tools = renderer, tools
        self._messages = list(prompt)
        self._closed: list[Segment] = []
        self._begin(renderer.conversation(prompt, tools))

    def _begin(self, text: str) -> None:
        self._text = text  # of the open segment up to its last action, as the template gave it
        self._prompt = list(self._renderer.encode(text))
        self._completion: list[int] = []
        self._mask: list[bool] = []
        self._logprobs: list[float] = []
        self._known = True  # whether every action of the segment came with log-probs
        self._last: tuple[int, list[int]] | None = (
            None  # the action that nothing follows yet: which message, its tokens
        )

    def prompt_ids(self) -> list[int]:
        """What the policy is given for its next action: the whole history of the open segment."""
        if self._last is not None:
            text = self._renderer.conversation(self._messages, self._tools)
            added = self._added(text, *self._last)
            if added is None:
                self._closed += self._open()
                self._begin(text)
            else:
                self._completion += added
                self._mask += [False] * len(added)
                self._text, self._last = text, None
        return self._prompt + self._completion

    def _added(self, text: str, number: int, chosen: Sequence[int]) -> list[int] | None:
        """The tokens between the last action and the next; None where the template rewrites what was said."""
        before, action = self._messages[:number], self._messages[number]
        expected = self._renderer.expect(before, action, self._tools, self._text)
        if chosen[-1:] != [expected.end.id] or not text.startswith(expected.prompt + expected.text):
            return None
        said = self._text[len(expected.prompt) :] + self._renderer.decode(chosen[:-1])
        if not self._renderer.same_action(said, expected.text.removesuffix(expected.end.text)):
            return None
        first, *added = self._renderer.encode(expected.end.text + text[len(expected.prompt) + len(expected.text) :])
        return added if first == expected.end.id else None

    def expert_ids(self, action: Message) -> list[int]:
        """The tokens of an expert's next action, after `prompt_ids`: those of the family's own template.

        Where one of its tokens reaches over the end of the prompt, the prompt gives way.
        """
        expected = self._renderer.expect(self._messages, action, self._tools, self._text)
        head, chosen = self._renderer.split(expected)
        self._give_way(head)
        return list(chosen)

    def _give_way(self, head: Sequence[int]) -> None:
        """Shortens what the next action follows to what ends with `head`, as far as nothing in it was chosen."""
        shown = self._completion or self._prompt
        mask = self._mask if self._completion else [False] * len(shown)
        for cut in range(8):
            kept = shown[: len(shown) - cut]
            if kept[len(kept) - len(head) :] == list(head):
                del shown[len(kept) :], self._mask[len(self._completion) :]
                return
            if cut == len(shown) or mask[len(shown) - cut - 1]:
                return

    def act(
        self, ids: Sequence[int] | np.ndarray[Any, Any], logprobs: Iterable[float] | None, *, trained: bool = True
    ) -> Message:
        """Adds an action's chosen tokens (after `prompt_ids`) and gives its message; an expert has no log-probs.

        An action that is not `trained` is context: its tokens are masked out, and its log-probs are left aside.
        """
        chosen = [int(i) for i in ids]
        self._completion += chosen
        self._mask += [trained] * len(chosen)
        self._last = len(self._messages), chosen
        if trained:
            self._known = self._known and logprobs is not None
            self._logprobs += [] if logprobs is None else [float(p) for p in logprobs]
        thinking = self._renderer.opens_thought(self._text)
        message = self._renderer.parse(chosen, self._tools, thinking=thinking)
        self._messages.append(message)
        return message

    def observe(self, messages: Sequence[Message]) -> None:
        """Adds what the environment answered; it becomes tokens at the next `prompt_ids`."""
        self._messages += messages

    @property
    def began_anew(self) -> bool:
        """Whether the template rewrote what was said, so that there is a segment before the open one."""
        return bool(self._closed)

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
    return _grow(episode, [None] * len(episode.turns), renderer, tools)


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
        chosen.append(sampled[i] if unchanged else None)
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


def _grow(
    episode: Episode, chosen: Sequence[Choice | None], renderer: Renderer, tools: Sequence[Tool]
) -> tuple[Segment, ...]:
    """The episode's segments; an action without a choice is the expert's, in the template's own tokens."""
    transcript = Transcript(renderer, episode.task.prompt, tools)
    for turn, choice in zip(episode.turns, chosen, strict=True):
        transcript.prompt_ids()
        if choice is None:
            transcript.act(transcript.expert_ids(turn.action), None)
        else:
            transcript.act(choice.ids, choice.logprobs)
        transcript.observe(turn.observation)
    return transcript.segments()


def rewritings(renderer: Renderer) -> list[str]:
    """What the template rewrites in a longer conversation, so that each such turn is a segment of its own.

    Any of: an answer, an answer with a thought, a call with its result.
    """
    tool = Tool("look", "Look.", {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]})
    answer, call = Message("assistant", "seen"), Message("assistant", "", (ToolCall("look", {"at": "it"}),))
    shown, result = Message("user", "go on"), Message("tool", "nothing")
    cases = {
        "an answer": (answer, shown),
        "an answer with a thought": (replace(answer, thought="why not"), shown),
        "a call": (call, result),
        "a call with a thought": (replace(call, thought="why not"), result),
    }
    return [name for name, (action, then) in cases.items() if _begins_anew(renderer, action, then, tool)]


def _begins_anew(renderer: Renderer, action: Message, then: Message, tool: Tool) -> bool:
    transcript = Transcript(renderer, [Message("user", "hi")], [tool])
    transcript.prompt_ids()
    transcript.act(transcript.expert_ids(action), None)
    transcript.observe([then])
    transcript.prompt_ids()
    return transcript.began_anew
