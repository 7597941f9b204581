"""The boundary around one episode's environment: its answers are checked, and bounded in time and size.

Two things are told apart here, once for all. What the agent did wrong is part of the episode: `InvalidAction` becomes
an observation, and the episode goes on. What broke is an outage: any other exception, no answer in time, or an answer
that is none. It ends the episode, which then has no reward, whatever a verifier would say of it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import get_args

import numpy as np

from journeyman.agent.data import Message, Observation, Role, Step, Task, Tool
from journeyman.agent.errors import InvalidAction, Outage
from journeyman.agent.hosting import Seconds, a_host
from journeyman.agent.protocols import Environment

logger = logging.getLogger(__name__)

MAX_MESSAGE_CHARS = 100_000
"""Longest text of one observed message; more is cut off, and the agent is told so."""
MAX_MESSAGES = 64
"""Most messages of one observation."""


class BoundedEnvironment:
    """One episode's environment behind the boundary; all but `close` raise Outage where the environment breaks.

    This package's own errors (a missing sandbox, say) are raised as they are: they are for the user to put right.
    """

    tools: tuple[Tool, ...] = ()
    """What the agent may call; read once, when the episode begins."""

    def __init__(self, seconds: Seconds) -> None:
        self.seconds = seconds
        """What each call may take."""
        self._host = a_host(seconds)
        self._environment: Environment | None = None

    async def begin(self, open_environment: Callable[[Task], Environment], task: Task) -> tuple[Message, ...]:
        """Opens and starts the environment; the prompt."""

        async def opened() -> Environment:
            # noted in the thread: an episode that is cancelled meanwhile must close it all the same
            self._environment = open_environment(task)
            return self._environment

        environment = await self._host.call("open", opened, self.seconds)

        async def started() -> tuple[tuple[Tool, ...], tuple[Message, ...]]:
            return checked_tools(environment.tools), _messages(await environment.start(), answers=False)

        try:
            self.tools, prompt = await self._host.call("start", started, self.seconds)
        except InvalidAction as error:
            raise Outage(f"start: InvalidAction before there was an action: {error}") from error
        return prompt

    async def step(self, action: Message) -> Step:
        """The environment's answer to the action; an action that it refuses is answered with the reason."""
        environment = self._environment
        assert environment is not None, "begin comes first"

        async def stepped() -> Step:
            return _step(await environment.step(action))

        try:
            return await self._host.call("step", stepped, self.seconds)
        except InvalidAction as refusal:
            reason = str(refusal)[:MAX_MESSAGE_CHARS] or "this action cannot be taken"
            told = Message("tool" if self.tools else "user", _valid(f"error: {reason}"))
            return Step(Observation((told,)), None, terminated=False, truncated=False)

    async def close(self) -> None:
        """Frees what the environment held; the attempt is over, so that what it did stands even where that fails."""

        async def closed() -> None:
            if self._environment is not None:
                await self._environment.close()

        try:
            await self._host.call("close", closed, self.seconds)
        except (Outage, InvalidAction) as error:
            logger.warning("closing an environment failed: %s", error)
        finally:
            self._host.retire()


def _step(step: Step) -> Step:
    """The step, whole: every part is what the protocol says."""
    if not isinstance(step, Step):
        raise TypeError(f"the answer is a {type(step).__name__}, not a Step")
    ends = [bool(flag) for flag in (step.terminated, step.truncated) if isinstance(flag, bool | np.bool_)]
    if len(ends) < 2:
        raise TypeError(
            f"terminated is {step.terminated!r:.80} and truncated {step.truncated!r:.80}, not True or False"
        )
    shown = _messages(step.observation, answers=True)
    if not shown and not any(ends):
        raise ValueError("the observation has no message, though the episode goes on")
    return Step(Observation(shown), _reward(step.reward), *ends)


def _reward(reward: object) -> float | None:
    if reward is None:
        return None
    if not isinstance(reward, int | float | np.integer | np.floating | np.bool_):
        raise TypeError(f"the reward is {reward!r:.80}, not a number or None")
    if not math.isfinite(number := float(reward)):
        raise ValueError(f"the reward is {number}")
    return number


def _messages(observation: Observation, *, answers: bool) -> tuple[Message, ...]:
    """The messages, checked and cut; `answers` where they follow an action, and so are no assistant's."""
    if not isinstance(observation, Observation):
        raise TypeError(f"the observation is a {type(observation).__name__}, not an Observation")
    messages = tuple(observation.messages)
    if len(messages) > MAX_MESSAGES:
        raise ValueError(f"the observation has {len(messages)} messages, more than {MAX_MESSAGES}")
    if not messages and not answers:
        raise ValueError("the prompt has no message")
    roles = [role for role in get_args(Role) if role != "assistant" or not answers]
    for message in messages:
        if not isinstance(message, Message) or not isinstance(message.content, str):
            raise TypeError(f"the observation holds {message!r:.80}, not a Message with a text")
        if message.role not in roles:
            raise ValueError(f"a message has role {message.role!r:.80}: known are {', '.join(roles)}")
    return tuple(_cut(message) for message in messages)


def _cut(message: Message) -> Message:
    text = str(message.content)
    if len(text) > MAX_MESSAGE_CHARS:
        text = f"{text[:MAX_MESSAGE_CHARS]} ... [{len(text) - MAX_MESSAGE_CHARS} characters more]"
    text.encode()  # lone surrogates are no text, and have no tokens
    return message if text == message.content else Message(message.role, text, message.tool_calls)


def checked_tools(tools: object) -> tuple[Tool, ...]:
    """The tools; raises TypeError where they are none."""
    if not isinstance(tools, Sequence):
        raise TypeError(f"tools is {tools!r:.80}, not a sequence: () where there are none")
    for tool in tools:
        if not (isinstance(tool, Tool) and isinstance(tool.name, str) and isinstance(tool.parameters, Mapping)):
            raise TypeError(f"tools holds {tool!r:.80}, not a Tool")
    return tuple(tools)


def _valid(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
