"""The rubric: several verifiers' verdicts weighed into one reward.

    reward = sum of w_k s_k over all terms, of which those that add count only where every gate holds

A term has a weight; below 0 it is a penalty, at 0 it is watched only. A gate asks for a least score before anything
that adds counts: format, say. A shaping term moves the reward but is not asked for success.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pydantic import ConfigDict

from journeyman.agent.data import Json, ScoreRecord, Status, Task, Trajectory, Verdict, VerifierId
from journeyman.agent.errors import SettingsError
from journeyman.agent.plugins import VERIFIERS, given_environments, load_plugin
from journeyman.agent.protocols import BatchVerifier, Verifier
from journeyman.verifiers.isolation.boundary import judged_together
from journeyman.verifiers.isolation.pool import PoolLimits, VerifierPool, distinct_attempts, shared_pool
from journeyman.verifiers.isolation.worker import Recipe


@dataclass(frozen=True)
class Term:
    """What one verifier's score counts for in the reward."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # a misspelt key of a settings file

    weight: float = 0.0
    """What the score is multiplied by: below 0 a penalty, 0 watched only."""
    gate: float | None = None
    """Least score, in [0, 1]; below it no term that adds counts."""
    shaping: bool = False
    """Whether the term is left out when success is asked for."""

    def __post_init__(self) -> None:
        if self.gate is not None and not 0 < self.gate <= 1:
            raise ValueError(f"a gate of {self.gate} is not in (0, 1]: it is the least score that opens it")
        if not abs(self.weight) < float("inf"):
            raise ValueError(f"a weight of {self.weight} is not finite")

    @property
    def counts(self) -> bool:
        """Whether the reward depends on it."""
        return self.weight != 0 or self.gate is not None


@dataclass(frozen=True, slots=True)
class Criterion:
    """One verifier of a rubric."""

    verifier: Verifier | BatchVerifier
    id: VerifierId
    term: Term
    recipe: Recipe
    """To make the verifier anew in a worker process."""


@dataclass(frozen=True, slots=True)
class Rubric:
    """Scores trajectories and turns the scores into rewards."""

    criteria: tuple[Criterion, ...]
    pool: VerifierPool

    @classmethod
    def build(
        cls,
        terms: Mapping[str, float | Term],
        options: Mapping[str, Mapping[str, Json]],
        pool: VerifierPool | None = None,
        environments: Collection[str] = (),
    ) -> Rubric:
        """From verifier names with their terms (a number is a weight) and options; None is the shared pool.

        The names are a user's own, of settings or a command line, never a row's; so are `environments`, those by
        "module:object" that tasks may name for verifiers to ask. Raises SettingsError or UnknownNameError, naming the
        verifier.
        """
        found = {name: term if isinstance(term, Term) else Term(term) for name, term in terms.items()}
        if not any(term.weight and not term.shaping for term in found.values()):
            raise SettingsError(
                "no verifier has a weight (shaping apart), so nothing would be a success: set [rubric] NAME = 1.0"
            )
        criteria = [criterion(name, options.get(name, {}), term, environments) for name, term in found.items()]
        return cls(tuple(criteria), pool or shared_pool(PoolLimits()))

    def check(self) -> None:
        """Asks each verifier that has a `check` whether it can work on this machine; raises its UsageError."""
        for one in self.criteria:
            ready = getattr(one.verifier, "check", None)
            if ready is not None:
                ready()

    @property
    def best(self) -> float:
        """The highest reward there is, shaping apart: every weighed verifier at its better end."""
        return sum(max(c.term.weight, 0.0) for c in self.criteria if not c.term.shaping)

    @property
    def hash(self) -> str:
        """Names the verifiers with their configurations and terms: equal hashes, comparable rewards."""
        parts = sorted(
            json.dumps([c.id.name, c.id.version, c.id.config_hash, c.term.weight, c.term.gate, c.term.shaping])
            for c in self.criteria
        )
        return hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).hexdigest()

    def score_all(self, attempts: Sequence[tuple[Task, Trajectory]]) -> list[tuple[ScoreRecord, ...]]:
        """Every verifier's verdict on every attempt, in order. What a verifier raises becomes status `error`.

        An attempt that an outage broke gets status `error` from all: none is asked, so that none can reward it.
        Verifiers run in the pool's workers, batch verifiers here; may be called from many threads at once.
        """
        whole = [given for given in attempts if not given[1].broken]
        columns = [_ask(c, whole, self.pool) for c in self.criteria]
        scores = zip(*columns, strict=True)
        return [_unasked(self.criteria, t) if t.broken else next(scores) for _, t in attempts]

    def reward(self, verdicts: Mapping[VerifierId, Verdict]) -> float | None:
        """The reward; None where a verifier that counts failed, or all of them abstained.

        An abstention counts as nothing, and leaves a gate open.
        """
        given = _given(verdicts, [c for c in self.criteria if c.term.counts])
        if given is None or not given:
            return None
        is_open = _is_open(given)
        if is_open and not any(term.weight for term, _ in given):
            return None
        return sum((term.weight * score for term, score in given if is_open or term.weight < 0), 0.0)

    def succeeded(self, verdicts: Mapping[VerifierId, Verdict]) -> bool:
        """Whether every gate holds and the reward without shaping is the best there is."""
        asked = [c for c in self.criteria if c.term.gate is not None or (c.term.weight and not c.term.shaping)]
        given = _given(verdicts, asked)
        if given is None or not _is_open(given):
            return False
        parts = [term.weight * score for term, score in given if term.weight and not term.shaping]
        return bool(parts) and sum(parts) >= self.best - 1e-9

    def failed(self, verdicts: Mapping[VerifierId, Verdict]) -> bool:
        """Whether a verifier that counts gave no verdict, not even an abstention: there is no reward for its fault."""
        return _given(verdicts, [c for c in self.criteria if c.term.counts]) is None

    def passes(self, scores: Sequence[ScoreRecord]) -> bool:
        """Whether these verdicts, one of each verifier, make a success."""
        return self.succeeded({score.verifier: score.verdict for score in scores})


def criterion(name: str, options: Mapping[str, Json], term: Term, environments: Collection[str] = ()) -> Criterion:
    """The verifier of that name, as `Rubric.build` takes it; raises SettingsError or UnknownNameError, naming it."""
    verifier = load_plugin(VERIFIERS, name, options, (name,))
    if not isinstance(verifier, Verifier | BatchVerifier):
        raise SettingsError(f"verifier {name!r} is no Verifier: it needs name, version and verify(task, trajectory)")
    config = json.dumps(options, sort_keys=True)
    config_hash = hashlib.blake2b(config.encode(), digest_size=4).hexdigest()
    identity = VerifierId(verifier.name, verifier.version, config_hash)
    return Criterion(verifier, identity, term, Recipe(name, config, verifier.version, tuple(environments)))


def _given(verdicts: Mapping[VerifierId, Verdict], asked: Sequence[Criterion]) -> list[tuple[Term, float]] | None:
    """The scores of those that were asked and did not abstain; None where one of them failed."""
    given = []
    for one in asked:
        verdict = verdicts.get(one.id)
        if verdict is None or verdict.status in (Status.ERROR, Status.TIMEOUT):
            return None
        if verdict.score is not None:
            given.append((one.term, verdict.score))
    return given


def _unasked(criteria: Sequence[Criterion], broken: Trajectory) -> tuple[ScoreRecord, ...]:
    verdict = Verdict(Status.ERROR, explanation=f"not asked: the environment broke ({broken.error})")
    return tuple(ScoreRecord(c.id, verdict, 0.0) for c in criteria)


def _is_open(given: Sequence[tuple[Term, float]]) -> bool:
    return all(term.gate is None or score >= term.gate for term, score in given)


def _ask(one: Criterion, attempts: Sequence[tuple[Task, Trajectory]], pool: VerifierPool) -> list[ScoreRecord]:
    expenses = getattr(one.verifier, "reads_expenses", False)
    if not isinstance(one.verifier, BatchVerifier):
        judged = pool.verify_all(one.recipe, attempts, expenses=expenses)
        return [ScoreRecord(one.id, verdict, milliseconds) for verdict, milliseconds in judged]
    keys, distinct = distinct_attempts(attempts, expenses=expenses)
    started = time.perf_counter()
    with given_environments(one.recipe.environments):
        verdicts = judged_together(one.verifier, list(distinct.values()))
    each = 1000 * (time.perf_counter() - started) / max(len(distinct), 1)
    found = {key: ScoreRecord(one.id, verdict, each) for key, verdict in zip(distinct, verdicts, strict=True)}
    return [found[key] for key in keys]
