"""Collects concurrent requests into batches: waits until no new one arrives, then hands them all to the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from journeyman.agent.data import Completion, SamplingParams
from journeyman.agent.hosting import quick_calls_ended


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One completion asked for, and the future that it goes to."""

    prompt_ids: Sequence[int]
    params: SamplingParams
    future: asyncio.Future[Completion]

    def succeed(self, completion: Completion) -> None:
        """Gives the completion to whoever still waits for it; from the event loop's thread."""
        if not self.future.done():
            self.future.set_result(completion)

    def fail(self, error: Exception) -> None:
        """Raises `error` for whoever still waits; from the event loop's thread."""
        if not self.future.done():
            self.future.set_exception(error)


TakeBatch: TypeAlias = Callable[[list[Request]], Awaitable[None]]
"""Takes a batch; the next one is handed over when this one's call is done."""


class Batcher:
    """Hands requests to an engine in batches.

    A batch is handed over when one turn of the event loop has brought no new request, and every environment that is
    asked something has answered or taken `patience` seconds. So episodes that go on in step share their batches, and
    the same episodes make the same batches. An engine that takes requests at any time needs no patience.
    """

    def __init__(self, take: TakeBatch, patience: float = 0.0) -> None:
        self._take = take
        self._patience = patience
        self._waiting: list[Request] = []
        self._task: asyncio.Task[None] | None = None

    async def submit(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
        """The completion of one request. An error of `take` is raised for each request of its batch."""
        future: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        self._waiting.append(Request(prompt_ids, params, future))
        if self._task is None:
            self._task = asyncio.create_task(self._serve())
        return await future

    async def _serve(self) -> None:
        try:
            while self._waiting:
                arrived = 0
                while arrived != len(self._waiting):
                    arrived = len(self._waiting)
                    await asyncio.sleep(0)
                    await quick_calls_ended(self._patience)
                batch, self._waiting = self._waiting, []
                try:
                    await self._take(batch)
                except Exception as error:
                    for request in batch:
                        request.fail(error)
        finally:  # on cancellation the loop is closing, and its futures with it
            self._waiting, self._task = [], None
