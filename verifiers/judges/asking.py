"""Puts questions to a judge, and tells texts that no judge can answer about from a judge that does not answer.

What a judged text brings about is no outage: it may make the judge ramble until it is cut off, give two verdicts, take
all the time there is, or be more than the server accepts. So where no answer can be read, the same is asked about a
plain text in its place, beside the last try, at the same load. If that is answered, the text is to blame.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from journeyman.agent.chat.client import ChatAnswer, ChatClient, ChatRequest
from journeyman.agent.data import Message
from journeyman.agent.errors import ChatRefusedError, ChatTimeoutError, SamplerError, UsageError
from journeyman.verifiers.judges.prompts import Asked, Question

T = TypeVar("T")

ASKED_AGAIN = 2
"""Times a question is asked again whose answer cannot be read; once where none came in time."""
SLOW_SHARE = 0.5
"""Of the timeout: a judge that needs longer for a plain text is slow, and no other text is to blame for its time."""
PLAIN_ATTEMPT = "I do not know."
"""The plain text."""


@dataclass(frozen=True, slots=True)
class Case(Generic[T]):
    """A question, and for each text that may be to blame for its not being answered, the same about a plain one."""

    asked: Asked[T]
    plain: tuple[Asked[T], ...]


@dataclass(frozen=True, slots=True)
class Read(Generic[T]):
    """An answer as read."""

    value: T
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """That no answer was had, or none in the asked form."""

    why: str
    error: SamplerError | None = None

    @property
    def is_outage(self) -> bool:
        """Whether the server failed, whatever it was asked."""
        return self.error is not None and not isinstance(self.error, ChatTimeoutError | ChatRefusedError)


@dataclass(frozen=True, slots=True)
class Blamed:
    """That texts made the judge give no answer in the asked form: which of a case's, and how."""

    texts: tuple[bool, ...]
    why: str


Outcome: TypeAlias = Read[T] | Blamed | Failed


class Asker(Generic[T]):
    """Asks one batch of questions by one client."""

    def __init__(self, client: ChatClient, max_tokens: int, temperature: float) -> None:
        self._client, self._max_tokens, self._temperature = client, max_tokens, temperature
        self._plain: dict[tuple[Message, ...], asyncio.Task[Read[T] | Failed]] = {}

    async def ask(self, make: Asked[T]) -> Read[T] | Failed:
        """What came of a question after asking again. Raises UsageError for a wrong URL, API key or model."""
        heard = await self._first_tries(make)
        return await self._last_try(make, heard) if isinstance(heard, Failed) else heard

    async def settle(self, cases: Sequence[Case[T]]) -> list[Outcome[T]]:
        """What came of each case, in order.

        Raises UsageError for a wrong URL, API key or model, and where the server refuses all requests, plain ones too.
        """
        found = list(await asyncio.gather(*map(self._settle, cases)))
        refused = [outcome for outcome in found if isinstance(outcome, Failed) and _is_refused(outcome)]
        if refused and len(refused) == len(found) and (error := await self._client.plain_refusal()):
            raise UsageError(
                f"{error}. It refuses a plain question too: check the options model, max_tokens ({self._max_tokens}), "
                f"temperature ({self._temperature:g}) and structured against what it takes"
            )
        return found

    async def _settle(self, case: Case[T]) -> Outcome[T]:
        heard = await self._first_tries(case.asked)
        if isinstance(heard, Read) or heard.is_outage:
            return heard
        last, *plain = await asyncio.gather(
            self._last_try(case.asked, heard), *(self._about_plain(make) for make in case.plain)
        )
        if isinstance(last, Read) or last.is_outage:
            return last
        blamed = tuple(self._was_well(answer, last) for answer in plain)
        if any(blamed):
            return Blamed(blamed, f"{last.why}, where a plain text has one")
        return _judge_to_blame(last, [answer for answer in plain if isinstance(answer, Failed)], self._max_tokens)

    async def _first_tries(self, make: Asked[T]) -> Read[T] | Failed:
        """All but the last."""
        for again in range(ASKED_AGAIN):
            heard = await self._try(make(again))
            if isinstance(heard, Read) or heard.error is not None:
                break
        return heard

    async def _last_try(self, make: Asked[T], before: Failed) -> Read[T] | Failed:
        if before.is_outage or _is_refused(before):
            return before  # the client has tried again, or it would not help
        return await self._try(make(ASKED_AGAIN))

    async def _try(self, asked: Question[T]) -> Read[T] | Failed:
        request = ChatRequest(asked.messages, self._max_tokens, self._temperature, asked.seed, asked.schema)
        try:
            answer = await self._client.complete(request)
        except SamplerError as error:
            return Failed(f"no answer: {error}", error)
        found = asked.read(answer.text) if answer.whole else None
        return Failed(self._unread(answer)) if found is None else Read(found, answer.seconds)

    async def _about_plain(self, make: Asked[T]) -> Read[T] | Failed:
        """What came of a question about a plain text, asked once for all cases that have the same one."""
        key = make(0).messages
        if key not in self._plain:
            self._plain[key] = asyncio.ensure_future(self.ask(make))
        return await self._plain[key]

    def _was_well(self, plain: Read[T] | Failed, failed: Failed) -> bool:
        """Whether the judge could answer, but for the text; where time ran out, with time to spare."""
        in_time = failed.error is None or _is_refused(failed)
        return isinstance(plain, Read) and (in_time or plain.seconds <= SLOW_SHARE * self._client.timeout)

    def _unread(self, answer: ChatAnswer) -> str:
        cut = "" if answer.whole else f" (the last was cut off at max_tokens = {self._max_tokens}, or by a filter)"
        return f"no answer in the asked form{cut}"


def _is_refused(failed: Failed) -> bool:
    return isinstance(failed.error, ChatRefusedError)


def _judge_to_blame(last: Failed, plain: Sequence[Failed], max_tokens: int) -> Failed:
    """The failure of a judge that does no better by a plain text, with the remedy."""
    if outage := next((failed for failed in plain if failed.is_outage), None):
        return outage
    if isinstance(last.error, ChatTimeoutError):
        return Failed(
            f"{last.why}; a plain text takes too long as well: raise timeout, or lower concurrency", last.error
        )
    if last.error is not None:
        return Failed(f"{last.why}; it refuses a plain text at the same task as well", last.error)
    remedy = f"raise max_tokens ({max_tokens}), set structured = true, or take another judge"
    return Failed(f"{last.why}, nor about a plain text: {remedy}")
