"""Batches: who shares one, and what happens to requests when things go wrong."""

import asyncio

import numpy as np
import pytest

from journeyman.agent.data import Completion, SamplingParams
from journeyman.agent.errors import SamplerError
from journeyman.agent.sampling.batching import Batcher

PARAMS = SamplingParams(1)


class Recorder:
    """Takes batches, notes their prompts, and answers each with its own prompt."""

    def __init__(self, error_on=()):
        self.batches = []
        self.error_on = error_on

    async def take(self, requests):
        self.batches.append([r.prompt_ids[0] for r in requests])
        await asyncio.sleep(0.001)
        if len(self.batches) in self.error_on:
            raise SamplerError("engine down")
        for request in reversed(requests):
            request.succeed(Completion(np.array(request.prompt_ids), np.zeros(1, np.float32), stopped=True))


async def ask(batcher, number, delay=0):
    for _ in range(delay):
        await asyncio.sleep(0)
    return int((await batcher.submit([number], PARAMS)).token_ids[0])


def test_concurrent_requests_share_a_batch_and_keep_their_answers():
    async def main():
        recorder = Recorder()
        batcher = Batcher(recorder.take)
        answers = await asyncio.gather(*(ask(batcher, i, delay=i % 2) for i in range(6)))
        return recorder.batches, answers

    batches, answers = asyncio.run(main())
    assert batches == [[0, 2, 4, 1, 3, 5]]
    assert answers == list(range(6))


def test_late_requests_make_the_next_batch():
    async def main():
        recorder = Recorder()
        batcher = Batcher(recorder.take)
        await asyncio.gather(ask(batcher, 0), ask(batcher, 1, delay=5), ask(batcher, 2, delay=6))
        return recorder.batches

    assert asyncio.run(main()) == [[0], [1, 2]]


def test_an_error_reaches_its_batch_alone():
    async def main():
        batcher = Batcher(Recorder(error_on={1}).take)
        first = await asyncio.gather(ask(batcher, 0), ask(batcher, 1), return_exceptions=True)
        return first, await ask(batcher, 2)

    first, later = asyncio.run(main())
    assert [str(error) for error in first] == ["engine down"] * 2
    assert later == 2


def test_a_batcher_outlives_a_cancelled_loop():
    recorder = Recorder()
    batcher = Batcher(recorder.take)

    async def impatient():
        await asyncio.wait_for(ask(batcher, 0), 0.0005)

    with pytest.raises(TimeoutError):
        asyncio.run(impatient())
    assert asyncio.run(ask(batcher, 1)) == 1
