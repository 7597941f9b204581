"""Scores each step of an attempt with a process reward model (PRM) of any family, in this process or on a server."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr

from journeyman.agent.chat.client import check_url
from journeyman.agent.data import Status, Task, Trajectory, Verdict
from journeyman.agent.errors import SettingsError
from journeyman.agent.sampling.settings import Device, Dtype
from journeyman.agent.steps import StepSpan, StepSplit, split_steps
from journeyman.verifiers.models.prm.families import Aggregate, Family, family_of, named_family
from journeyman.verifiers.models.prm.formatting import Encoded, Solution, encode, log_odds, solution_of
from journeyman.verifiers.versions import version_with_models

Reading: TypeAlias = NDArray[np.float64] | str
"""(S,) log-odds that each of the S steps is good, or why there are none."""

_LOADING = threading.Lock()


@dataclass(frozen=True)
class ProcessReward:
    """The aggregate of the steps' scores, each the model's probability that the step is good.

    `raw` is the sum of the steps' rewards where they are unbounded (family `implicit`). An attempt without steps
    abstains; one that the model cannot read whole is a verdict of status `error`, and harms no other.
    """

    model: str
    """Folder or hub name; with `url`, that of the tokenizer too."""
    family: Family | str | None = None
    """How to ask it: a name of `FAMILIES`, or a table of `Family`'s fields; None goes by the model."""
    split: StepSplit | None = None
    """Where steps end; None is the family's way."""
    aggregate: Aggregate | None = None
    """The score of the attempt; None is the family's way, mostly the least."""
    url: str | None = None
    """Of a vLLM pooling server that serves the model, e.g. `http://localhost:8000`."""
    api_key_variable: str = "JOURNEYMAN_PRM_API_KEY"
    """Environment variable that holds the API key, where the server asks for one."""
    timeout: float = 600.0
    """Seconds without a word from the server."""
    reference: str | None = None
    """Family `implicit`: the reference model."""
    beta: float = 0.05
    """Family `implicit`: what the log-ratio is multiplied by."""
    critique_tokens: int = 4096
    """Families `thinkprm`, `thinkprm_yes`: the longest critique."""
    device: Device = "auto"
    dtype: Dtype = "auto"
    """`auto` is float32 on CPU and bfloat16 on CUDA."""
    batch_tokens: int = 16_384
    """Most tokens of one forward pass or request, padding and critiques included."""
    version: str = field(default="1", init=False)
    name: ClassVar[str] = "prm"

    def __post_init__(self) -> None:
        head = self._family.head
        if (head == "log_ratio") != (self.reference is not None):
            raise SettingsError("option 'reference' (the reference model) goes with family 'implicit', and only there")
        if self.url is not None:
            check_url(self.url)
        if self.url is not None and head in {"log_ratio", "critique"}:
            raise SettingsError(f"option 'url': head {head!r} is not what a pooling server gives; leave it out")
        for option in ("timeout", "beta", "critique_tokens", "batch_tokens"):
            if not 0 < getattr(self, option) < float("inf"):
                raise SettingsError(f"option {option!r} must be above 0, got {getattr(self, option)}")
        object.__setattr__(self, "version", version_with_models(self.version, self.model, self.reference))

    def steps_of(self, trajectory: Trajectory) -> list[StepSpan]:
        """The steps that are scored, in order."""
        return split_steps(trajectory, self.split or self._family.split)

    def verify_all(self, attempts: Sequence[tuple[Task, Trajectory]]) -> list[Verdict]:
        """One verdict for each, in order. The first call loads the model; what that raises is raised."""
        spans = [self.steps_of(trajectory) for _, trajectory in attempts]
        asked = [i for i, own in enumerate(spans) if own]
        verdicts = [Verdict.abstain("the agent said nothing, so there are no steps")] * len(attempts)
        if asked:
            with _LOADING:
                read = self._read
            readings = read([solution_of(*attempts[i], spans[i]) for i in asked])
            for i, reading in zip(asked, readings, strict=True):
                verdicts[i] = self._verdict(reading)
        return verdicts

    def _verdict(self, reading: Reading) -> Verdict:
        if isinstance(reading, str):
            return Verdict(Status.ERROR, explanation=reading)
        scores = [float(p) for p in _probability(reading)]
        score = aggregated(scores, self.aggregate or self._family.aggregate)
        raw = float(reading.sum()) if self._family.head == "log_ratio" else None
        return Verdict(Status.OK, score, raw, tuple(scores))

    @cached_property
    def _family(self) -> Family:
        if self.family is None:
            return family_of(self.model)
        return named_family(self.family) if isinstance(self.family, str) else self.family

    @cached_property
    def _read(self) -> Callable[[Sequence[Solution]], list[Reading]]:
        """Loads what is needed to score solutions."""
        from journeyman.agent.models import load_tokenizer

        family, tokenizer = self._family, load_tokenizer(self.model)
        if self.url is not None:
            from journeyman.verifiers.models.prm.server import PoolingServer

            key = SecretStr(os.environ.get(self.api_key_variable, ""))
            server = PoolingServer(self.url, self.model, family, self.timeout, self.batch_tokens, key)
            return _reader(family, tokenizer, server.limit, lambda inputs: log_odds(family, server.logits(inputs)))
        from journeyman.verifiers.models.prm import critique, heads

        how = (self.device, self.dtype, self.batch_tokens)
        if family.head == "critique":
            return critique.Critic(self.model, family, tokenizer, *how, self.critique_tokens).log_odds
        if self.reference is not None:
            pair = heads.LogRatio(self.model, self.reference, self.beta, *how)
            return _reader(family, tokenizer, pair.limit, pair.rewards)
        head = heads.LocalHead(self.model, family, tokenizer, *how)
        return _reader(family, tokenizer, head.limit, lambda inputs: log_odds(family, head.logits(inputs)))


def aggregated(scores: Sequence[float], how: Aggregate) -> float:
    """The solution's score, from at least one step's."""
    match how:
        case "min":
            return min(scores)
        case "product":
            return math.prod(scores)
        case "last":
            return scores[-1]
        case "mean":
            return math.fsum(scores) / len(scores)


def _reader(
    family: Family,
    tokenizer: Any,
    limit: int | None,
    ask: Callable[[list[Encoded]], Sequence[NDArray[np.float64]]],
) -> Callable[[Sequence[Solution]], list[Reading]]:
    """Encodes the solutions, and has those read that can be."""

    def read(solutions: Sequence[Solution]) -> list[Reading]:
        inputs = [_encoded(family, tokenizer, limit, solution) for solution in solutions]
        read = iter(ask([given for given in inputs if isinstance(given, Encoded)]))
        return [next(read) if isinstance(given, Encoded) else given for given in inputs]

    return read


def _encoded(family: Family, tokenizer: Any, limit: int | None, solution: Solution) -> Encoded | str:
    """The input, or why there is none."""
    try:
        given = encode(family, tokenizer, solution)
    except ValueError as error:
        return str(error)
    if limit is not None and len(given.ids) > limit:
        return f"{len(given.ids)} tokens are more than the {limit} that the model reads: nothing is cut off"
    return given


def _probability(log_odds_S: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)), without overflow."""
    probability_S: NDArray[np.float64] = np.exp(-np.logaddexp(0.0, -log_odds_S))
    return probability_S
