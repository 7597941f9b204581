"""One run's open engines: the store, the environment, the sampler and the learner, lent by the flow to its stages.

A stage takes a `RunRef` and calls `borrow(ref)`: inside a flow it gets the flow's session, alone it opens its own.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from journeyman.agent.data import Message, PolicyRef, Task, Trajectory
from journeyman.agent.errors import UsageError
from journeyman.agent.hosting import Seconds
from journeyman.agent.learning.advantages.attempts import Estimator
from journeyman.agent.probes import Probe, Proof, judge_hand_over
from journeyman.agent.protocols import Environment, Sampler, TaskSet
from journeyman.agent.rollout import Limits, replay, run_sync
from journeyman.storage.runs.policies import PolicyInfo
from journeyman.storage.runs.runs import RunInfo, RunState
from journeyman.storage.store import ReplayStore
from journeyman.verifiers.rubric import Rubric
from journeyman.workflows.console import Reporter
from journeyman.workflows.session.engines import (
    Guard,
    base_model,
    dtype_of,
    learner_settings,
    open_estimator,
    open_guards,
    open_held_out,
    open_renderer,
    open_rubric,
    open_task_set,
    sampler_settings,
    step_seconds,
)
from journeyman.workflows.session.life import only_one
from journeyman.workflows.session.weights import proved
from journeyman.workflows.settings.loading import settings_of
from journeyman.workflows.settings.settings import Settings

if TYPE_CHECKING:
    from journeyman.agent.chat.renderer import Renderer
    from journeyman.agent.learning.learner import Learner

T = TypeVar("T")

_BASE = "base"
"""What the learner holds that has the base model's weights."""
DRIVER = "driver"
"""Name of the worker that drives the run; all others are called after their machine and process."""


@dataclass(frozen=True, slots=True)
class RunRef:
    """All that a stage needs to find its run."""

    store_url: str
    run_id: str


class Session:
    """The engines of one run; each is made when it is first asked for."""

    def __init__(
        self, ref: RunRef, store: ReplayStore, reporter: Reporter, worker: str, overrides: Sequence[str] = ()
    ) -> None:
        """`overrides` of the run's settings are for this session alone; see `settings.loading.overridden`."""
        self.ref, self.store, self.reporter = ref, store, reporter
        self.run: RunInfo = store.runs.find(ref.run_id)
        if self.run.state is RunState.DROPPING:
            raise UsageError(
                f"run {self.run.id} ({self.run.name}) is being deleted: `journeyman db drop` it to the end"
            )
        self.worker = worker
        """Name under which this process claims work."""
        self.settings: Settings = settings_of(self.run, overrides)
        self._sampler: Sampler | None = None
        self._sampler_holds: str | None = None
        self._proof: Proof | None = None
        self._learner: Learner | None = None
        self._said_reach = False
        self._learner_holds: str | None = None

    def warn(self, of: str, text: str) -> None:
        """One line, once in the session for each `of`: what the user probably did not mean, and the remedy."""
        self.reporter.warn(of, text)

    @cached_property
    def task_set(self) -> TaskSet:
        """The environment plugin with its options."""
        return open_task_set(self.settings)

    @cached_property
    def rubric(self) -> Rubric:
        """The verifiers with their weights; raises UsageError where one is retracted, whose verdicts count no more."""
        return self._standing(open_rubric(self.settings, self.task_set))

    @cached_property
    def estimator(self) -> Estimator:
        """What says how much better than expected each token was."""
        return open_estimator(self.settings)

    @cached_property
    def held_out(self) -> Rubric | None:
        """The verifier that no policy learns from, as a rubric of its own; None where the settings name none."""
        held_out = open_held_out(self.settings, self.rubric)
        return held_out and self._standing(held_out)

    @cached_property
    def guards(self) -> tuple[Guard, ...]:
        """The tasks of other kinds that a policy may not get worse at."""
        guards = open_guards(self.settings)
        for guard in guards:
            self._standing(guard.rubric)
        return guards

    def _standing(self, rubric: Rubric) -> Rubric:
        """The rubric; raises UsageError where one of its verifiers is retracted."""
        for verifier, reason in self.store.verdicts.retracted([criterion.id for criterion in rubric.criteria]):
            raise UsageError(
                f"verifier {verifier.name}/{verifier.version} is retracted ({reason}): give the mended one another "
                "version, or take it out of the rubric"
            )
        return rubric

    @cached_property
    def artifacts(self) -> Path:
        """Folder of the weights; a version's `path` is relative to it."""
        return Path(self.settings.store.artifacts)

    @cached_property
    def base_model(self) -> str:
        """Folder or name of the model the run began with."""
        return base_model(self.settings)

    @cached_property
    def renderer(self) -> Renderer:
        """Messages to tokens, by the base model's tokenizer."""
        from journeyman.agent.chat.rendering import rewritings

        renderer = open_renderer(self.settings)
        if rewritten := rewritings(renderer):
            what = f"the chat template of {self.settings.model.name!r} rewrites what was said before"
            self.warn("segments", f"{what} ({', '.join(rewritten)}): there the next turn begins a segment of its own")
        return renderer

    def limits(self, temperature: float) -> Limits:
        """Of one episode."""
        settings = self.settings
        turns, tokens, context = self.task_set.max_turns, settings.generate.max_tokens, settings.sampler.max_context
        return Limits(turns, tokens, context, temperature, self.step_seconds)

    @cached_property
    def step_seconds(self) -> Seconds:
        """What each call of the environment may take."""
        return step_seconds(self.settings.environment, "environment", self.task_set)

    def open_environment(self, task: Task) -> Environment:
        """A fresh environment for one episode."""
        return self.task_set.open(task)

    def replay(self, task: Task, actions: Sequence[Message], context: Sequence[Sequence[int]] = ()) -> Trajectory:
        """The actions acted out in the environment, after the turns of `context`; see `agent.rollout.replay`."""
        return replay(task, self.open_environment, actions, self.renderer, context, step_seconds=self.step_seconds)

    def policy_ref(self, policy: PolicyInfo) -> PolicyRef:
        """Where the version's weights are, as they were saved; raises DamagedPolicyError with the way back."""
        base = policy.kind == "base"
        ref = PolicyRef(0, self.base_model) if base else self._ref(policy.number, policy.path)
        return proved(self.store, self.artifacts, policy, ref)

    def sampler(self, policy: PolicyInfo) -> Sampler:
        """The sampler with that version's weights in it, proved; the engine is opened once in the session.

        Raises SamplerError where sampler and learner disagree on the probe sequences; how far they are apart is stored.
        """
        return self._sampler_with(self.policy_ref(policy), policy.id)

    def sampler_at(self, path: str) -> Sampler:
        """The sampler with the weights that are at `path` under the artifacts now, a first version's, proved."""
        return self._sampler_with(self._ref(1, path), None)

    def _ref(self, number: int, path: str) -> PolicyRef:
        folder = str(self.artifacts / path)
        if self.settings.model.lora_rank:
            return PolicyRef(number, self.base_model, adapter=folder)
        return PolicyRef(number, folder)

    def _sampler_with(self, ref: PolicyRef, holds: str | None) -> Sampler:
        from journeyman.agent.sampling.factory import open_sampler

        if self._sampler is not None and holds is not None and self._sampler_holds == holds:
            return self._sampler
        probe = self._probe_for(ref)
        self._sampler_holds = None  # unknown, should this fail
        if self._sampler is None:
            self._sampler = open_sampler(self.settings.sampler.kind, ref, sampler_settings(self.settings))
        else:
            run_sync(self._sampler.load_policy(ref))
        found = run_sync(self._sampler.score([ids.tolist() for ids in probe.sequences]))
        self._proof = judge_hand_over(ref, probe, found, dtype_of(self.settings), self._proof)
        if holds is not None:
            self.store.policies.note_hand_over(holds, self._proof.gap)
        self._sampler_holds = holds
        return self._sampler

    def _probe_for(self, ref: PolicyRef) -> Probe:
        """What the learner says of the probe sequences under these weights."""
        import torch

        from journeyman.agent.learning.probing import probe_for

        return probe_for(ref, getattr(torch, dtype_of(self.settings)), self.settings.run.seed)

    def base_learner(self) -> Learner:
        """A learner with the base model's weights, to clone demonstrations: there is no policy yet to stay close to."""
        from journeyman.agent.learning.learner import Learner

        learner = Learner(PolicyRef(0, self.base_model), learner_settings(self.settings))
        self._say_reach(learner)
        return learner

    def _say_reach(self, learner: Learner) -> None:
        """What share of the weights LoRA reaches: once in the session."""
        if learner.reach and not self._said_reach:
            self._said_reach = True
            self.reporter.line(f"  {learner.reach}")

    def learner(self, policy: PolicyInfo | None) -> Learner:
        """The learner with that version's weights and optimizer in it, or with the base model's and none.

        KL and preferences are to the run's first version.
        """
        from journeyman.agent.learning.learner import Learner

        ref = PolicyRef(0, self.base_model) if policy is None else self.policy_ref(policy)
        holds = _BASE if policy is None else policy.id
        if self._learner is None:
            self._learner = Learner(ref, learner_settings(self.settings), self._reference())
            self._say_reach(self._learner)
        elif self._learner_holds != holds:
            self._learner.restore(ref)
        self._learner_holds = holds
        return self._learner

    def _reference(self) -> PolicyRef | None:
        """The run's first version, else the base model (an imported run's versions have no weights), where it is asked.

        None where nothing is compared with it.
        """
        settings = self.settings
        if not (settings.kl.asked or "dpo" in settings.finetune.objectives):
            return None
        first = next((p for p in self.store.policies.of(self.run.id) if p.number == 1 and p.kept), None)
        return PolicyRef(0, self.base_model) if first is None else self.policy_ref(first)

    def learner_became(self, policy: PolicyInfo | None) -> None:
        """Says that the learner's weights were saved as this version; None that they are about to be no version's."""
        self._learner_holds = None if policy is None else policy.id

    def close(self) -> None:
        """Frees the engines and the database."""
        if self._sampler is not None:
            self._sampler.close()
        self.store.close()


_lent: ContextVar[Session | None] = ContextVar("lent_session", default=None)


@contextmanager
def lend(ref: RunRef, reporter: Reporter, overrides: Sequence[str] = ()) -> Iterator[Session]:
    """Opens a run's session for the flow and all stages in it; one process at a time may hold a run.

    `overrides` of its settings are for this session alone.
    """
    session = Session(ref, ReplayStore(ref.store_url), reporter, DRIVER, overrides)
    try:
        with only_one(session.artifacts / ref.run_id):
            token = _lent.set(session)
            try:
                yield session
            finally:
                _lent.reset(token)
    finally:
        session.close()


@contextmanager
def join(ref: RunRef, reporter: Reporter) -> Iterator[Session]:
    """Opens a run's session for a worker, while another process holds the run; many may."""
    session = Session(ref, ReplayStore(ref.store_url), reporter, f"{socket.gethostname()}-{os.getpid()}")
    try:
        yield session
    finally:
        session.close()


@contextmanager
def borrow(ref: RunRef) -> Iterator[Session]:
    """The flow's session, or one of the stage's own."""
    lent = _lent.get()
    if lent is not None and lent.ref == ref:
        yield lent
    else:
        with lend(ref, Reporter.of_a_part()) as session:
            yield session
