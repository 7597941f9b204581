"""A language model as judge (RLAIF), behind any OpenAI-compatible chat endpoint.

Bai et al. 2022 (arXiv:2212.08073) and Lee et al. 2023 (arXiv:2309.00267) learn from such verdicts; Zheng et al. 2023
(arXiv:2306.05685, section 3.3) show the bias for a position, and that asking in both orders undoes it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import ClassVar, Literal, TypeVar

from journeyman.agent.chat.client import ChatClient, ChatRequest, check_key_variable, check_url
from journeyman.agent.chat.token_shapes import visible
from journeyman.agent.data import Message, Split, Task, Trajectory, Verdict
from journeyman.agent.errors import SamplerError, SettingsError
from journeyman.agent.rollout import run_sync
from journeyman.verifiers.judges.asking import PLAIN_ATTEMPT, Asker, Case, Failed, Outcome, Read
from journeyman.verifiers.judges.prompts import Asked, Question, Ruling, Sections, attempt_messages, ruling_question
from journeyman.verifiers.judges.verdicts import WINS, preferred, scored
from journeyman.verifiers.versions import version_with

T = TypeVar("T")
R = TypeVar("R")

RUBRIC = "How well does the attempt do what its task asks for? It is right, complete and to the point."
SYSTEM = "You are a strict and impartial judge of attempts at tasks. Judge by this rubric and nothing else:"

_PLAIN = [Message("assistant", PLAIN_ATTEMPT)]
_PLAIN_TASK = Task("judge", "4", (Message("user", "What is 2 + 2?"),), Split.TRAIN, "0" * 32, {})


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
    version: str = field(default="2", init=False)
    name: ClassVar[str] = "judge"

    def __post_init__(self) -> None:
        check_url(self.url)
        check_key_variable(self.api_key_variable)
        if not self.model.strip():
            raise SettingsError("option 'model' is empty: give the model's name as the server has it")
        for option, least in {"samples": 1, "max_tokens": 1, "concurrency": 1, "temperature": 0.0}.items():
            if not least <= getattr(self, option) < float("inf"):
                raise SettingsError(f"option {option!r} must be at least {least}, got {getattr(self, option)}")
        if not 0 < self.timeout < float("inf"):
            raise SettingsError(f"option 'timeout' must be above 0 seconds, got {self.timeout}")
        if not 0 < self.scale[1] - self.scale[0] <= 100:
            raise SettingsError(f"option 'scale' must be [WORST, BEST], at most 100 apart, got {list(self.scale)}")
        if self.rubric_file is not None:
            self._read_rubric(Path(self.rubric_file))
        if not self.rubric.strip():
            raise SettingsError(
                f"option 'rubric{'_file' if self.rubric_file else ''}' is empty: write what to judge by"
            )

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

        An attempt that says nothing has score 0, unasked, and so has one that the judge gives no answer in the asked
        form about, though it does about a plain one. Abstains where the reference is missing. Status `timeout` where
        every answer took too long, `error` where none could be had or read for the judge's own fault. Raises UsageError
        for a wrong URL, API key or model, and for options that the server refuses.
        """
        settled = [self._settled(*attempt) for attempt in attempts]
        open_ones = [attempt for attempt, known in zip(attempts, settled, strict=True) if known is None]
        asked = [self._cases(task, attempt_messages(trajectory)) for task, trajectory in open_ones]
        heard = iter(self._rulings([case for cases in asked for case in cases]))
        judged = iter([self._verdict(list(islice(heard, len(cases)))) for cases in asked])
        return [
            known or replace(next(judged), expected=self._reference(task))
            for (task, _), known in zip(attempts, settled, strict=True)
        ]

    def compare_all(self, pairs: Sequence[tuple[Task, Trajectory, Trajectory]]) -> list[Verdict]:
        """Which of two attempts at a task is better: score 1 for the first, 0 for the second, 0.5 where it is a tie.

        `raw` is the share of wins, ties counting half, over all samples in both orders; an attempt that is to blame for
        an answer that cannot be read loses there. Statuses are as in verify_all.
        """
        asked = [self._pair(task, attempt_messages(one), attempt_messages(other)) for task, one, other in pairs]
        heard = iter(self._rulings([case for cases in asked for case in cases]))
        verdicts = [preferred(list(islice(heard, 2 * self.samples))) for _ in pairs]
        return [v if v.raw is None else replace(v, score=(1 + (v.raw > 0.5) - (v.raw < 0.5)) / 2) for v in verdicts]

    def ask_all(self, questions: Sequence[Asked[T]]) -> list[T | SamplerError | None]:
        """What came of each question, in order: an answer as read, None where none could be, or what went wrong.

        Raises UsageError for a wrong URL, API key or model.
        """

        async def ask(asker: Asker[T]) -> list[Read[T] | Failed]:
            return list(await asyncio.gather(*map(asker.ask, questions)))

        heard = run_sync(self._asking(ask))
        return [answer.value if isinstance(answer, Read) else answer.error for answer in heard]

    def _rulings(self, cases: Sequence[Case[Ruling]]) -> list[Outcome[Ruling]]:
        async def settle(asker: Asker[Ruling]) -> list[Outcome[Ruling]]:
            return await asker.settle(cases)

        return run_sync(self._asking(settle))

    async def _asking(self, work: Callable[[Asker[T]], Awaitable[R]]) -> R:
        plain = self._cases(_PLAIN_TASK, _PLAIN)[0].asked(0)
        client = ChatClient(
            self.url,
            self.model,
            key_variable=self.api_key_variable,
            timeout=self.timeout,
            concurrency=self.concurrency,
            plain=ChatRequest(plain.messages, self.max_tokens, self.temperature, plain.seed, plain.schema),
        )
        async with client:
            return await work(Asker(client, self.max_tokens, self.temperature))

    def _settled(self, task: Task, trajectory: Trajectory) -> Verdict | None:
        """The verdict of an attempt that no judge is asked about."""
        if not any(visible(turn.action.content).strip() for turn in trajectory.turns):
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

    def _verdict(self, heard: Sequence[Outcome[Ruling]]) -> Verdict:
        return scored(heard, *self.scale) if self.mode == "score" else preferred(heard)

    def _cases(self, task: Task, said: Sequence[Message]) -> list[Case[Ruling]]:
        if self.mode == "pairwise":
            return self._pair(task, said, [Message("assistant", self._reference(task) or "")], only_first=True)
        plain = self._about(task, _PLAIN, 0)
        return [Case(self._about(task, said, sample), (plain,)) for sample in range(self.samples)]

    def _about(self, task: Task, said: Sequence[Message], sample: int) -> Asked[Ruling]:
        sections: dict[str, Sequence[Message]] = {"TASK": task.prompt, "ATTEMPT": said}
        if (reference := self._reference(task)) is not None:
            sections["REFERENCE ANSWER"] = [Message("assistant", reference)]
        worst, best = self.scale
        choices = [str(number) for number in range(worst, best + 1)]
        meaning = f"a whole number from {worst}, the worst, to {best}, the best"
        return self._asked(sections, choices, meaning, sample)

    def _pair(
        self, task: Task, one: Sequence[Message], other: Sequence[Message], *, only_first: bool = False
    ) -> list[Case[Ruling]]:
        """For each sample a question with `one` as A, then with `one` as B; with `only_first`, `other` has no blame."""

        def about(pair: Sequence[Sequence[Message]], sample: int) -> Asked[Ruling]:
            meaning = "A where attempt A is better, B where attempt B is, and TIE where neither is"
            sections = {"TASK": task.prompt, "ATTEMPT A": pair[0], "ATTEMPT B": pair[1]}
            return self._asked(sections, list(WINS), meaning, sample)

        plain = [(_PLAIN, other)] if only_first else [(_PLAIN, other), (one, _PLAIN)]
        return [
            Case(about((one, other)[::order], sample), tuple(about(pair[::order], 0) for pair in plain))
            for sample in range(self.samples)
            for order in (1, -1)
        ]

    def _asked(self, sections: Sections, choices: Sequence[str], meaning: str, sample: int) -> Asked[Ruling]:
        def make(again: int) -> Question[Ruling]:
            key = (self.seed, sample, again)
            system = f"{SYSTEM}\n\n{self.rubric}"
            return ruling_question(system, sections, choices, meaning, key, structured=self.structured)

        return make
