"""A language model as judge (RLAIF), behind any OpenAI-compatible chat endpoint.

Bai et al. 2022 (arXiv:2212.08073) and Lee et al. 2023 (arXiv:2309.00267) learn from such verdicts; Zheng et al. 2023
(arXiv:2306.05685, section 3.3) show the bias for a position, and that asking in both orders undoes it.
"""

from __future__ import annotations

import asyncio
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import ClassVar, Literal, TypeAlias, TypeVar

from journeyman.agent.chat.client import ChatClient, ChatRequest, check_url
from journeyman.agent.data import Message, Status, Task, Trajectory, Verdict
from journeyman.agent.errors import ChatTimeoutError, SamplerError, SettingsError
from journeyman.agent.rollout import run_sync
from journeyman.verifiers.judges.prompts import Asked, Question, Ruling, Sections, attempt_messages, ruling_question
from journeyman.verifiers.versions import version_with

T = TypeVar("T")

Heard: TypeAlias = "Ruling | SamplerError | None"
"""What came of one question: None where no answer could be read."""

ASKED_AGAIN = 2
"""Times a question is asked again whose answer cannot be read."""
RUBRIC = "How well does the attempt do what its task asks for? It is right, complete and to the point."
SYSTEM = "You are a strict and impartial judge of attempts at tasks. Judge by this rubric and nothing else:"

_WINS = {"A": 1.0, "TIE": 0.5, "B": 0.0}


@dataclass(frozen=True)
class Judge:
    """The mean of what a judge says when asked `samples` times.

    In mode `score` it is shown the attempt and gives a whole number of `scale`, which becomes a score in [0, 1]; `raw`
    is the mean on its own scale. In mode `pairwise` it says whether the attempt or the reference answer is better, each
    time in both orders: 1, 0.5 for a tie, or 0. A judge that goes by position alone gives 0.5.
    """

    url: str
    """Root of the API, e.g. `http://localhost:8000/v1`."""
    model: str
    rubric: str = RUBRIC
    """What to judge by."""
    rubric_file: str | None = None
    """A text file that holds the rubric instead; its digest is part of the verifier's version."""
    mode: Literal["score", "pairwise"] = "score"
    reference: str | None = None
    """Entry of the task's payload that is shown as the reference answer; `goal` is the task's goal. None shows none;
    in mode `pairwise` it is the goal."""
    scale: tuple[int, int] = (1, 10)
    """Worst and best."""
    samples: int = 1
    """Times it is asked; in mode `pairwise` each time twice."""
    temperature: float = 0.0
    """0 gives the same verdict on repeat; more samples need more, to differ."""
    max_tokens: int = 1024
    """Of one answer; one that is cut off cannot be read."""
    timeout: float = 60.0
    """Seconds for one answer."""
    concurrency: int = 16
    """Requests under way at once."""
    structured: bool = False
    """Ask for JSON by the server's structured output, for a judge that does not keep to the form by itself."""
    seed: int = 0
    """Key of the requests' seeds."""
    api_key_variable: str = "JOURNEYMAN_JUDGE_API_KEY"
    """Environment variable that holds the API key, where the server asks for one."""
    version: str = field(default="1", init=False)
    name: ClassVar[str] = "judge"

    def __post_init__(self) -> None:
        check_url(self.url)
        for option, least in {"samples": 1, "max_tokens": 1, "concurrency": 1, "temperature": 0.0}.items():
            if not least <= getattr(self, option) < float("inf"):
                raise SettingsError(f"option {option!r} must be at least {least}, got {getattr(self, option)}")
        if not 0 < self.timeout < float("inf"):
            raise SettingsError(f"option 'timeout' must be above 0 seconds, got {self.timeout}")
        if not 0 < self.scale[1] - self.scale[0] <= 100:
            raise SettingsError(f"option 'scale' must be [WORST, BEST], at most 100 apart, got {list(self.scale)}")
        if self.rubric_file is not None:
            self._read_rubric(Path(self.rubric_file))

    def _read_rubric(self, file: Path) -> None:
        if self.rubric != RUBRIC:
            raise SettingsError("options 'rubric' and 'rubric_file' are both set: choose one")
        try:
            text = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"option 'rubric_file': {file} cannot be read: {error}") from None
        object.__setattr__(self, "rubric", text)
        object.__setattr__(self, "version", version_with(self.version, text))

    def verify_all(self, attempts: Sequence[tuple[Task, Trajectory]]) -> list[Verdict]:
        """One verdict for each attempt, in order.

        An attempt that says nothing has score 0, unasked. Abstains where the reference is missing. Status `timeout`
        where every answer took too long, `error` where no answer could be had or read. Raises UsageError for a wrong
        URL, API key or model.
        """
        settled = [self._settled(*attempt) for attempt in attempts]
        asked = [self._questions(*a) for a, v in zip(attempts, settled, strict=True) if v is None]
        heard = iter(self.ask_all([question for questions in asked for question in questions]))
        counts = iter([len(questions) for questions in asked])
        judged = self._scored if self.mode == "score" else self._preferred
        return [
            known or replace(judged(list(islice(heard, next(counts)))), expected=self._reference(task))
            for (task, _), known in zip(attempts, settled, strict=True)
        ]

    def compare_all(self, pairs: Sequence[tuple[Task, Trajectory, Trajectory]]) -> list[Verdict]:
        """Which of two attempts at a task is better: score 1 for the first, 0 for the second, 0.5 where it is a tie.

        `raw` is the share of wins, ties counting half, over all samples in both orders. Statuses are as in verify_all.
        """
        asked = [self._pair(task, attempt_messages(one), attempt_messages(other)) for task, one, other in pairs]
        heard = iter(self.ask_all([question for questions in asked for question in questions]))
        verdicts = [self._preferred(list(islice(heard, 2 * self.samples))) for _ in pairs]
        return [v if v.raw is None else replace(v, score=(1 + (v.raw > 0.5) - (v.raw < 0.5)) / 2) for v in verdicts]

    def ask_all(self, questions: Sequence[Asked[T]]) -> list[T | SamplerError | None]:
        """What came of each question, in order: an answer as read, None where none could be, or what went wrong.

        Raises UsageError for a wrong URL, API key or model.
        """
        return run_sync(self._ask_all(questions))

    async def _ask_all(self, questions: Sequence[Asked[T]]) -> list[T | SamplerError | None]:
        client = ChatClient(
            self.url,
            self.model,
            key_variable=self.api_key_variable,
            timeout=self.timeout,
            concurrency=self.concurrency,
        )
        async with client:
            return list(await asyncio.gather(*(self._ask(client, question) for question in questions)))

    async def _ask(self, client: ChatClient, make: Asked[T]) -> T | SamplerError | None:
        for again in range(ASKED_AGAIN + 1):
            asked = make(again)
            request = ChatRequest(asked.messages, self.max_tokens, self.temperature, asked.seed, asked.schema)
            try:
                answer = await client.complete(request)
            except SamplerError as error:
                return error
            found = asked.read(answer.text) if answer.whole else None
            if found is not None:
                return found
        return None

    def _settled(self, task: Task, trajectory: Trajectory) -> Verdict | None:
        """The verdict of an attempt that no judge is asked about."""
        if not any(turn.action.content.strip() for turn in trajectory.turns):
            return Verdict.passed(False, why="the attempt says nothing")
        if self._shows is not None and self._reference(task) is None:
            return Verdict.abstain(f"the task has no reference answer {self._shows!r}")
        return None

    @property
    def _shows(self) -> str | None:
        """Name of the reference that is shown."""
        return "goal" if self.reference is None and self.mode == "pairwise" else self.reference

    def _reference(self, task: Task) -> str | None:
        name = self._shows
        found = None if name is None else task.goal if name == "goal" else task.payload.get(name)
        return found if found is None or isinstance(found, str) else json.dumps(found)

    def _questions(self, task: Task, trajectory: Trajectory) -> list[Asked[Ruling]]:
        said, reference = attempt_messages(trajectory), self._reference(task)
        if self.mode == "pairwise":
            return self._pair(task, said, [Message("assistant", reference or "")])
        sections: dict[str, Sequence[Message]] = {"TASK": task.prompt, "ATTEMPT": said}
        if reference is not None:
            sections["REFERENCE ANSWER"] = [Message("assistant", reference)]
        worst, best = self.scale
        choices = [str(number) for number in range(worst, best + 1)]
        meaning = f"a whole number from {worst}, the worst, to {best}, the best"
        return [self._asked(sections, choices, meaning, sample) for sample in range(self.samples)]

    def _pair(self, task: Task, one: Sequence[Message], other: Sequence[Message]) -> list[Asked[Ruling]]:
        """For each sample a question with `one` as A, then one with `one` as B."""
        meaning = "A where attempt A is better, B where attempt B is, and TIE where neither is"
        return [
            self._asked({"TASK": task.prompt, "ATTEMPT A": a, "ATTEMPT B": b}, list(_WINS), meaning, sample)
            for sample in range(self.samples)
            for a, b in ((one, other), (other, one))
        ]

    def _asked(self, sections: Sections, choices: Sequence[str], meaning: str, sample: int) -> Asked[Ruling]:
        def make(again: int) -> Question[Ruling]:
            key = (self.seed, sample, again)
            system = f"{SYSTEM}\n\n{self.rubric}"
            return ruling_question(system, sections, choices, meaning, key, structured=self.structured)

        return make

    def _scored(self, heard: Sequence[Heard]) -> Verdict:
        rulings = [answer for answer in heard if isinstance(answer, Ruling)]
        if not rulings:
            return _failed(heard)
        worst, best = self.scale
        numbers = [int(ruling.choice) for ruling in rulings]
        return _summary(rulings, len(heard), numbers, (statistics.fmean(numbers) - worst) / (best - worst))

    def _preferred(self, heard: Sequence[Heard]) -> Verdict:
        """The mean over pairs of answers, one in each order; a pair that lacks one is left out."""
        pairs = zip(heard[::2], heard[1::2], strict=True)
        whole = [(a, b) for a, b in pairs if isinstance(a, Ruling) and isinstance(b, Ruling)]
        if not whole:
            return _failed(heard)
        wins = [(_WINS[first.choice] + 1 - _WINS[second.choice]) / 2 for first, second in whole]
        return _summary([r for pair in whole for r in pair], len(heard), wins, statistics.fmean(wins))


def _summary(rulings: Sequence[Ruling], asked: int, values: Sequence[float], score: float) -> Verdict:
    """The verdict of those answers that could be read; the spread is the standard deviation of `values`."""
    mean = statistics.fmean(values)
    said = ", ".join(ruling.choice for ruling in rulings)
    why = f"said {said}; mean {mean:.4g}, spread {statistics.pstdev(values):.4g}"
    why += f"; {asked - len(rulings)} of {asked} answers dropped" if len(rulings) < asked else ""
    why += f"; {rulings[0].reasons}" if rulings[0].reasons else ""
    return Verdict.scored(score, raw=mean, extracted=said, why=why)


def _failed(heard: Sequence[Heard]) -> Verdict:
    """The verdict where no answer counts: `timeout` where all that went wrong is that answers took too long."""
    errors = [answer for answer in heard if isinstance(answer, SamplerError)]
    if not errors:
        return Verdict(Status.ERROR, explanation=f"none of {len(heard)} answers could be read")
    timed_out = all(isinstance(error, ChatTimeoutError) for error in errors)
    return Verdict(Status.TIMEOUT if timed_out else Status.ERROR, explanation=str(errors[-1]))
