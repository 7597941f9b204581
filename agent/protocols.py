"""What a plugin or a part must offer: Environment, TaskSet, Sampler, Verifier and its kin."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from journeyman.agent.data import (
    Achieved,
    Completion,
    Episode,
    Json,
    Message,
    Observation,
    PolicyRef,
    SamplingParams,
    Split,
    Step,
    Task,
    Tool,
    Trajectory,
    Verdict,
)
from journeyman.agent.steps import StepSpan


class Environment(Protocol):
    """What the agent acts in. One instance lives for one episode, so there is no reset.

    It lives in a thread of its own, with an event loop; each call may take `environment.step_seconds`. (Where its
    task set promises to be `instant`, it is called where the rollout runs, without a limit.) What the agent
    did wrong is raised as `InvalidAction`. Any other exception, no answer in time, or an answer that is none is an
    outage: the attempt ends, is made again once, and has no reward where it breaks again.
    """

    tools: Sequence[Tool]
    """What the agent may call, () for nothing; read once, before `start`."""

    async def start(self) -> Observation:
        """The first observation; for most tasks just `task.prompt`."""

    async def step(self, action: Message) -> Step:
        """Takes one action of the agent.

        Raises InvalidAction for one that cannot be taken: the agent is told its text, and the episode goes on.
        """

    async def close(self) -> None:
        """Frees what the episode held."""


@runtime_checkable
class GoalEnvironment(Environment, Protocol):
    """An environment whose failures can be told anew as successes at another goal."""

    def achieved_goals(self, trajectory: Trajectory) -> Sequence[Achieved]:
        """Every goal the trajectory reached, each with the turn that reached it first, in order of turns."""

    def relabel(self, trajectory: Trajectory, goal: Json, start_turn: int) -> Episode:
        """The attempt from `start_turn` on told for `goal`: every message re-rendered, cut at its first reach.

        It is whole where it does not reach the goal: the caller's verifiers judge. Raises ValueError where the state
        before `start_turn` is the goal already.
        """


@runtime_checkable
class Retraceable(Protocol):
    """An environment whose states follow from its actions, so that it can be seen which of them led on."""

    def states(self, actions: Iterable[Message]) -> Sequence[Hashable]:
        """The state before each of the actions, the first of them taken at the start, and the one after the last."""


@runtime_checkable
class TaskSet(Protocol):
    """What an entry point of `journeyman.environments` names: a dataclass whose fields are its options.

    A class attribute `instant = True` promises that no call of the environments, nor of the expert, waits, blocks or
    computes for long: a thousand episodes are then no thousand threads. It is not inherited.
    """

    max_turns: int
    """Limit of turns in an episode; 1 is single-turn."""
    rubric: Mapping[str, float]
    """Verifiers used where the settings name none, with their weights."""

    def tasks(self, split: Split, seed: int) -> Iterator[Task]:
        """The split's tasks in an order fixed by `seed`; may be endless, may repeat (repeats are dropped)."""

    def demonstrate(self, task: Task, after: Sequence[Message] = ()) -> Sequence[Message] | None:
        """The expert's actions for the task (assistant messages), from the state after the actions `after` on.

        None where there is no expert for that state, or nothing that it could do: the goal is reached, or lost.
        """

    def open(self, task: Task) -> Environment:
        """A fresh environment for one episode of the task."""


class Sampler(Protocol):
    """Token ids in, token ids and log-probs out."""

    async def generate(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
        """One completion; many calls may be under way at once and are batched by the sampler."""

    async def score(self, sequences: Sequence[Sequence[int]]) -> Sequence[NDArray[np.float32]]:
        """(L - 1,) log-probs at temperature 1 of the tokens of each sequence after its first, as it samples them."""

    async def load_policy(self, policy: PolicyRef) -> None:
        """Swaps the weights; later completions are the new policy's, and no stale cache is used."""

    def close(self) -> None:
        """Frees the engine."""


@runtime_checkable
class Verifier(Protocol):
    """Judges one trajectory. What it raises is recorded with status `error`, never as a score of 0.

    A class attribute `reads_expenses = True` has it see `seconds` and `sampled_tokens` of the trajectory. A method
    `check(self) -> None` is called before a run begins, and raises a UsageError where the verifier cannot work on this
    machine; any kind of verifier may have one.
    """

    name: str
    version: str

    def verify(self, task: Task, trajectory: Trajectory) -> Verdict:
        """The verdict, with what was extracted and expected."""


@runtime_checkable
class BatchVerifier(Protocol):
    """A verifier that judges many attempts at once, in the caller's process: models, and judges asked over a network.

    It keeps its own limits of time. All other verifiers run in worker processes (verifiers/isolation/pool.py).
    """

    name: str
    version: str

    def verify_all(self, attempts: Sequence[tuple[Task, Trajectory]]) -> Sequence[Verdict]:
        """One verdict for each, in order. What is raised becomes every attempt's verdict, with status `error`."""


@runtime_checkable
class StepVerifier(Protocol):
    """A verifier whose verdicts also score each step (`Verdict.step_scores`), so that an update may weigh steps."""

    name: str
    version: str

    def steps_of(self, trajectory: Trajectory) -> Sequence[StepSpan]:
        """The steps that its step scores are of, one for each, in order; found in the turns alone."""
