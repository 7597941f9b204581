"""What holds for every verifier: gold is 1, garbage is 0; order, repetition and the caller change nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest

from journeyman.agent.data import Json, Message, Source, Split, Status, StopReason, Task, Trajectory, Turn, Verdict
from journeyman.verifiers.isolation.pool import PoolLimits, VerifierPool, shared_pool
from journeyman.verifiers.rubric import Rubric

GARBAGE = ("", " \n", "\0\ufffd", "?!", "lorem ipsum", "}{", "I do not know.")
COUNTDOWN = {"numbers": [3, 8, 9], "max_target": 100}
SCHEMA = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}
PROGRAM = "```python\ndef add(a, b):\n    return a + b\n```"

GOLD: list[tuple[str, dict[str, Json], Json, str]] = [
    ("number", {}, "1,234.5", "so it is\n#### 1234.5"),
    ("math", {}, "\\frac{1}{2}", "Thus $x^2$ is \\boxed{0.5}."),
    ("math", {}, "(1, 2)", "The answer is $(1, 2)$."),
    ("exact", {}, "yes", " yes\n"),
    ("pattern", {"pattern": "<a>(.*?)</a>"}, "7", "it is <a> 7 </a>"),
    ("constraints", {}, [{"kind": "use", "word": "sun"}], "red sun"),
    ("json_schema", {"schema": SCHEMA}, None, '{"a": 3}'),
    ("goal", {}, 24, "9*8/3"),
    ("program", {}, {"tests": "assert add(1, 2) == 3"}, PROGRAM),
]
"""Verifier, options, goal and an answer that is right."""


def attempt(goal: Json, text: str) -> tuple[Task, Trajectory]:
    task = Task("countdown", goal, (Message("user", "?"),), Split.TRAIN, f"{goal}", COUNTDOWN)
    turn = Turn(Message("assistant", text))
    return task, Trajectory(task.hash, Source.POLICY, (turn,), (), StopReason.TERMINATED)


def asked(pool: VerifierPool | None = None) -> list[Verdict]:
    """Every verifier's verdicts on gold and garbage, in an order of their own."""
    found = []
    for name, options, goal, right in GOLD:
        rubric = Rubric.build({name: 1.0}, {name: options}, pool or shared_pool(PoolLimits(workers=1)))
        scores = rubric.score_all([attempt(goal, text) for text in (right, *GARBAGE)])
        found += [record.verdict for (record,) in scores]
    return found


@pytest.fixture(scope="module")
def verdicts() -> list[Verdict]:
    return asked()


@pytest.mark.parametrize("index", range(len(GOLD)), ids=[f"{g[0]}-{g[3][:8]!r}" for g in GOLD])
def test_gold_is_1_and_garbage_is_0(verdicts: list[Verdict], index: int) -> None:
    size = 1 + len(GARBAGE)
    gold, *garbage = verdicts[index * size : (index + 1) * size]
    assert (gold.status, gold.score) == (Status.OK, 1.0), gold
    assert [(v.status, v.score) for v in garbage] == [(Status.OK, 0.0)] * len(GARBAGE), garbage


def in_a_thread() -> list[Verdict]:
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asked).result()


def in_many_threads() -> list[Verdict]:
    with ThreadPoolExecutor(4) as threads:
        found = [future.result() for future in [threads.submit(asked) for _ in range(4)]]
    assert all(one == found[0] for one in found)
    return found[0]


def in_asyncio() -> list[Verdict]:
    return asyncio.run(asyncio.to_thread(asked))


def in_a_prefect_task() -> list[Verdict]:
    from prefect import flow, task
    from prefect.cache_policies import NO_CACHE
    from prefect.testing.utilities import prefect_test_harness

    found: list[Verdict] = []

    @task(cache_policy=NO_CACHE)
    def score() -> None:
        found.extend(asked())

    @flow
    def scoring() -> None:
        score.submit().result()

    with prefect_test_harness(server_startup_timeout=300):
        scoring()
    return found


def in_new_workers() -> list[Verdict]:
    with VerifierPool(PoolLimits(workers=2)) as pool:
        return asked(pool)


@pytest.mark.parametrize(
    "ask",
    [
        asked,
        in_a_thread,
        in_many_threads,
        in_asyncio,
        in_new_workers,
        pytest.param(in_a_prefect_task, marks=pytest.mark.slow),
    ],
)
def test_the_verdict_is_the_same_from_everywhere(verdicts: list[Verdict], ask: Callable[[], list[Verdict]]) -> None:
    assert ask() == verdicts


def test_a_permuted_batch_permutes_its_scores(verdicts: list[Verdict]) -> None:
    size = 1 + len(GARBAGE)
    for index, (name, options, goal, right) in enumerate(GOLD):
        order = Random(index).sample(range(size), size)
        texts = (right, *GARBAGE)
        rubric = Rubric.build({name: 1.0}, {name: options}, shared_pool(PoolLimits(workers=1)))
        scores = rubric.score_all([attempt(goal, texts[i]) for i in order])
        assert [record.verdict for (record,) in scores] == [verdicts[index * size + i] for i in order]
