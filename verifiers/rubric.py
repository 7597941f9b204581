"""The rubric: several verifiers' verdicts weighed into one reward."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from journeyman.agent.data import Json, ScoreRecord, Status, Task, Trajectory, Verdict, VerifierId
from journeyman.agent.errors import SettingsError
from journeyman.agent.plugins import VERIFIERS, load_plugin
from journeyman.agent.protocols import Verifier


@dataclass(frozen=True, slots=True)
class Criterion:
    """One verifier of a rubric; weight 0 means that it is only watched."""

    verifier: Verifier
    weight: float
    id: VerifierId


@dataclass(frozen=True, slots=True)
class Rubric:
    """Scores trajectories and turns the scores into rewards."""

    criteria: tuple[Criterion, ...]

    @classmethod
    def build(cls, weights: Mapping[str, float], options: Mapping[str, Mapping[str, Json]]) -> Rubric:
        """From verifier names with their weights and options; raises SettingsError or UnknownNameError."""
        if not any(weights.values()):
            raise SettingsError("no verifier has a weight, so every reward would be 0: set [rubric] NAME = 1.0")
        criteria = []
        for name, weight in weights.items():
            verifier = load_plugin(VERIFIERS, name, options.get(name, {}))
            if not isinstance(verifier, Verifier):
                raise SettingsError(
                    f"verifier {name!r} is no Verifier: it needs name, version and verify(task, trajectory)"
                )
            config = json.dumps(options.get(name, {}), sort_keys=True)
            config_hash = hashlib.blake2b(config.encode(), digest_size=4).hexdigest()
            criteria.append(Criterion(verifier, weight, VerifierId(verifier.name, verifier.version, config_hash)))
        return cls(tuple(criteria))

    @property
    def best(self) -> float:
        """The highest reward there is: every weighed verifier at its better end."""
        return sum(max(c.weight, 0.0) for c in self.criteria)

    @property
    def hash(self) -> str:
        """Names the verifiers with their configurations and weights: equal hashes, comparable rewards."""
        parts = sorted([c.id.name, c.id.version, c.id.config_hash, c.weight] for c in self.criteria)
        return hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).hexdigest()

    def score(self, task: Task, trajectory: Trajectory) -> tuple[ScoreRecord, ...]:
        """Every verifier's verdict. What a verifier raises becomes status `error`, never a score."""
        records = []
        for criterion in self.criteria:
            started = time.perf_counter()
            verdict = _verdict(criterion.verifier, task, trajectory)
            records.append(ScoreRecord(criterion.id, verdict, 1000 * (time.perf_counter() - started)))
        return tuple(records)

    def reward(self, verdicts: Mapping[VerifierId, Verdict]) -> float | None:
        """sum_k w_k score_k over the verifiers that gave one; None where a weighed one failed, or all abstained."""
        total, voted = 0.0, False
        for criterion in self.criteria:
            verdict = verdicts.get(criterion.id)
            if criterion.weight == 0 or (verdict is not None and verdict.status is Status.ABSTAIN):
                continue
            if verdict is None or verdict.score is None:
                return None
            total, voted = total + criterion.weight * verdict.score, True
        return total if voted else None

    def succeeded(self, verdicts: Mapping[VerifierId, Verdict]) -> bool:
        """Whether the reward is the best there is."""
        reward = self.reward(verdicts)
        return reward is not None and reward >= self.best - 1e-9

    def passes(self, scores: Sequence[ScoreRecord]) -> bool:
        """Whether these verdicts, one of each verifier, make a success."""
        return self.succeeded({score.verifier: score.verdict for score in scores})


def _verdict(verifier: Verifier, task: Task, trajectory: Trajectory) -> Verdict:
    try:
        verdict = verifier.verify(task, trajectory)
    except Exception as error:  # the one boundary to plugin code: classify, never raise on
        return Verdict(Status.ERROR, explanation=f"{type(error).__name__}: {error}")
    problem = _problem(verdict)
    return verdict if problem is None else Verdict(Status.ERROR, explanation=problem)


def _problem(verdict: Verdict) -> str | None:
    if not isinstance(verdict, Verdict):
        return f"verify() returned {type(verdict).__name__}, not a Verdict"
    if (verdict.status is Status.OK) != (verdict.score is not None):
        return f"a verdict of status {verdict.status} has score {verdict.score}: `ok` has one, nothing else has"
    if verdict.score is not None and not 0 <= verdict.score <= 1:  # NaN is not in the range either
        return f"score {verdict.score} is not in [0, 1]"
    if verdict.raw is not None and not math.isfinite(verdict.raw):
        return f"raw {verdict.raw} is not finite"
    return None
