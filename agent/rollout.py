"""Runs many episodes at once against one sampler; a failed episode is data, not a crash."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from journeyman.agent.chance import keyed_seed
from journeyman.agent.chat.renderer import Renderer
from journeyman.agent.chat.rendering import Transcript
from journeyman.agent.data import (
    Message,
    SamplingParams,
    Source,
    StopReason,
    Task,
    Trajectory,
    Turn,
)
from journeyman.agent.environments.boundary import BoundedEnvironment
from journeyman.agent.errors import Outage, TemplateRefusedError
from journeyman.agent.hosting import Seconds
from journeyman.agent.protocols import Environment, Sampler

T = TypeVar("T")

STEP_SECONDS = 60.0
"""What one call of an environment may take, where nothing else is said."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One episode to run, e.g. `Attempt(task, 3, keyed_seed(seed, "generate", iteration, task.hash, 3))`."""

    task: Task
    number: int
    """Number of the attempt in its group, from 0."""
    seed: int
    """Key of its random numbers."""
    given: tuple[tuple[int, ...], ...] = ()
    """Tokens of the turns that it begins with: they are acted out anew, and the last turn's are gone on from."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an episode may be, and how it is sampled."""

    max_turns: int
    turn_tokens: int
    """Most tokens sampled in one turn."""
    context_tokens: int
    """Most tokens of a history: prompt, sampled and observed together (at most what the model can hold)."""
    temperature: float = 1.0
    step_seconds: Seconds = STEP_SECONDS
    """What each call of the environment may take."""


class _Choice(NamedTuple):
    """One turn's chosen tokens."""

    ids: NDArray[np.int32] | Sequence[int]
    logprobs: NDArray[np.float32] | None
    complete: bool
    """False where the tokens ran out before the turn's end."""
    trained: bool = True
    """False for the context of an expert's demonstration."""


_Chooser: TypeAlias = Callable[[int, Transcript], Awaitable[_Choice | StopReason]]
"""(turn, what came before) -> the next action's tokens, or why there is none."""


async def rollout(
    attempts: Sequence[Attempt],
    open_environment: Callable[[Task], Environment],
    sampler: Sampler,
    renderer: Renderer,
    limits: Limits,
) -> list[Trajectory]:
    """One trajectory for each attempt, in the order given; all episodes go on at once.

    An outage of an environment ends its own episode, which is made again once from the beginning; if it breaks again
    its stop reason is ERROR. This package's own errors (the sampler's, a missing sandbox) cancel the rest and are
    raised. A completion that uses up `turn_tokens` or
    `context_tokens` without a stop token ends its episode with LENGTH and is not acted out. A turn that was gone on
    from has no log-probs: what it began with was not sampled here.
    """

    async def play(attempt: Attempt) -> Trajectory:
        policy = _Policy(sampler, limits, attempt, renderer.stop_ids)
        trajectory = await _run_episode(
            attempt, open_environment, policy.choose, renderer, limits.max_turns, limits.step_seconds, Source.POLICY
        )
        return replace(trajectory, seconds=policy.seconds)

    async def play_whole(attempt: Attempt) -> Trajectory:
        made = await play(attempt)
        return await play(attempt) if made.broken else made

    episodes = [asyncio.ensure_future(play_whole(attempt)) for attempt in attempts]
    try:
        return await asyncio.gather(*episodes)
    finally:  # after an error or a cancellation the others must not go on
        for episode in episodes:
            episode.cancel()
        await asyncio.gather(*episodes, return_exceptions=True)


def run_rollout(
    attempts: Sequence[Attempt],
    open_environment: Callable[[Task], Environment],
    sampler: Sampler,
    renderer: Renderer,
    limits: Limits,
) -> list[Trajectory]:
    """`rollout` for callers that are not async."""
    return run_sync(rollout(attempts, open_environment, sampler, renderer, limits))


def replay(
    task: Task,
    open_environment: Callable[[Task], Environment],
    actions: Sequence[Message],
    renderer: Renderer,
    context: Sequence[Sequence[int]] = (),
    *,
    step_seconds: Seconds = STEP_SECONDS,
) -> Trajectory:
    """The expert's actions acted out: source EXPERT, every action's tokens trained, no behaviour log-probs.

    `context` holds the sampled tokens of turns that an attempt took before the expert goes on from there (DAgger,
    Ross, Gordon and Bagnell 2011): they are acted out first and not trained. The episode ends where the environment
    ends it (actions left over are not taken), TRUNCATED where the actions run out first, or with ERROR where the
    environment breaks twice: whether it is a success is for a verifier to say.
    """

    async def choose(turn: int, transcript: Transcript) -> _Choice | StopReason:
        transcript.prompt_ids()
        if turn < len(context):
            return _Choice(context[turn], None, complete=True, trained=False)
        return _Choice(transcript.expert_ids(actions[turn - len(context)]), None, complete=True)

    async def play_whole() -> Trajectory:
        attempt, turns = Attempt(task, 0, 0), len(context) + len(actions)
        for _ in range(2):
            made = await _run_episode(attempt, open_environment, choose, renderer, turns, step_seconds, Source.EXPERT)
            if not made.broken:
                break
        return made

    return run_sync(play_whole())


def run_sync(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end: on a loop of its own, in a thread of its own where a loop already runs here."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@dataclass(slots=True)
class _Policy:
    """Chooses one episode's actions by sampling, and takes the time."""

    sampler: Sampler
    limits: Limits
    attempt: Attempt
    stop_ids: tuple[int, ...]
    started: float | None = None
    seconds: float | None = None
    """From the first request to the last answer so far, waiting for others included; None before there is one."""

    async def choose(self, turn: int, transcript: Transcript) -> _Choice | StopReason:
        """The tokens that the policy samples, or LENGTH where there is no room for any."""
        prompt_ids, given = transcript.prompt_ids(), self.attempt.given
        if turn + 1 < len(given):
            return _Choice(given[turn], None, complete=True, trained=False)
        begun = given[turn] if turn < len(given) else ()
        room = min(self.limits.turn_tokens, self.limits.context_tokens - len(prompt_ids)) - len(begun)
        if room <= 0:
            return StopReason.LENGTH
        params = SamplingParams(room, self.limits.temperature, keyed_seed(self.attempt.seed, turn), self.stop_ids)
        self.started = time.perf_counter() if self.started is None else self.started
        completion = await self.sampler.generate([*prompt_ids, *begun], params)
        self.seconds = time.perf_counter() - self.started
        logprobs = None if begun else completion.logprobs
        return _Choice([*begun, *completion.token_ids.tolist()], logprobs, completion.stopped)


async def _run_episode(
    attempt: Attempt,
    open_environment: Callable[[Task], Environment],
    choose: _Chooser,
    renderer: Renderer,
    max_turns: int,
    step_seconds: Seconds,
    source: Source,
) -> Trajectory:
    turns: list[Turn] = []
    transcript, error = None, None
    environment = BoundedEnvironment(step_seconds)
    try:
        prompt = await environment.begin(open_environment, attempt.task)
        transcript = Transcript(renderer, prompt, environment.tools)
        reason = await _take_turns(environment, transcript, choose, max_turns, turns)
    except (Outage, TemplateRefusedError) as fault:
        reason, error = StopReason.ERROR, str(fault)
    finally:
        await _to_its_end(environment.close())
    segments = transcript.segments() if transcript else ()
    return Trajectory(attempt.task.hash, source, tuple(turns), segments, reason, attempt=attempt.number, error=error)


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Awaits the work, though the episode is cancelled meanwhile: what an environment holds is freed all the same."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def _take_turns(
    environment: BoundedEnvironment, transcript: Transcript, choose: _Chooser, max_turns: int, turns: list[Turn]
) -> StopReason:
    """Appends the episode's turns to `turns`, so that an outage keeps those before it; returns why it ended."""
    for number in range(max_turns):
        choice = await choose(number, transcript)
        if isinstance(choice, StopReason):
            return choice
        action = transcript.act(choice.ids, choice.logprobs, trained=choice.trained)
        turns.append(Turn(action))
        if not choice.complete:
            return StopReason.LENGTH
        step = await environment.step(action)
        shown = step.observation.messages
        turns[-1] = Turn(action, shown, step.reward)
        if step.terminated or step.truncated:
            return StopReason.TERMINATED if step.terminated else StopReason.TRUNCATED
        transcript.observe(shown)
    return StopReason.TRUNCATED
