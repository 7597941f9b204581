"""Verdicts a second: the pool with the `math` verifier against a plain loop over `math-verify`, and its overhead.

    python benchmarks/verifiers.py [--rounds 5]

Both judge the same distinct pairs in turn, round after round, in one run; the ratio is the median over the rounds. The
loop is what most people have: parse the gold, parse the answer, verify, with math-verify's own timeouts on, in one
process. The pool has a worker for each core; it is warm (its workers have imported the verifier), as the loop is.
Overhead is what the pool adds to a verdict that costs next to nothing: its wall time per verdict, less the time in the
verifier itself.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from random import Random

from math_verify import parse, verify
from sympy import Rational, Symbol, expand, factor, latex, sqrt

from journeyman.agent.data import Message, Source, Split, StopReason, Task, Trajectory, Turn
from journeyman.verifiers.isolation.pool import PoolLimits, VerifierPool
from journeyman.verifiers.isolation.worker import Recipe

MATH, EXACT = Recipe("math", "{}"), Recipe("exact", "{}")
X = Symbol("x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()
    with VerifierPool(PoolLimits(workers=options.workers)) as pool:
        judged(pool, MATH, [(str(i), str(i), True) for i in range(100)])  # all workers are up, with SymPy imported
        judged(pool, MATH, symbolic(Random(-1), 50))
        print("| pairs | kind | math-verify, verdicts/s | pool | ratio (median) | ratios | right: loop, pool |")
        print("|---|---|---|---|---|---|---|")
        for kind, make, count in (("plain numbers", numbers, 1500), ("SymPy needed", symbolic, 200)):
            compare(pool, kind, make, count, options.rounds)
        overhead(pool, options.rounds)


def compare(pool: VerifierPool, kind: str, make: Callable[[Random, int], list], count: int, rounds: int) -> None:
    speeds, right = [], [0, 0]
    for number in range(rounds):
        pairs = make(Random(number), count)
        started = time.perf_counter()
        theirs = [verify(parse(as_math(gold)), parse(as_math(answer))) for gold, answer, _ in pairs]
        between = time.perf_counter()
        ours = judged(pool, MATH, pairs)
        speeds.append((count / (between - started), count / (time.perf_counter() - between)))
        for side, verdicts in enumerate((theirs, ours)):
            right[side] += sum(found == equal for found, (*_, equal) in zip(verdicts, pairs, strict=True))
    ratios = [ours / theirs for theirs, ours in speeds]
    loop, pooled = (statistics.median(side) for side in zip(*speeds, strict=True))
    told = " ".join(f"{ratio:.2f}" for ratio in ratios)
    shares = ", ".join(f"{one / (rounds * count):.3f}" for one in right)
    print(f"| {count} | {kind} | {loop:.0f} | {pooled:.0f} | {statistics.median(ratios):.2f} | {told} | {shares} |")


def overhead(pool: VerifierPool, rounds: int, count: int = 5000) -> None:
    """Milliseconds that the pool adds to a verdict."""
    added = []
    for number in range(rounds):
        attempts = [attempt(f"{number} {i}", f"{number} {i}") for i in range(count)]
        started = time.perf_counter()
        found = pool.verify_all(EXACT, attempts)
        wall = 1000 * (time.perf_counter() - started)
        added.append((wall - sum(one.milliseconds for one in found)) / count)
    print(f"\noverhead of the pool: {statistics.median(added):.3f} ms a verdict ({count} distinct, {rounds} rounds)")


def judged(pool: VerifierPool, recipe: Recipe, pairs: list[tuple[str, str, bool]]) -> list[bool]:
    """Whether each answer passes."""
    return [one.verdict.score == 1 for one in pool.verify_all(recipe, [attempt(g, a) for g, a, _ in pairs])]


def attempt(gold: str, answer: str) -> tuple[Task, Trajectory]:
    task = Task("toy", gold, (Message("user", "?"),), Split.TRAIN, gold)
    turn = Turn(Message("assistant", answer))
    return task, Trajectory(gold, Source.POLICY, (turn,), (), StopReason.TERMINATED)


def as_math(text: str) -> str:
    """As math-verify wants it: marked as mathematics where the text does not say so."""
    return text if "$" in text or "boxed" in text or "answer" in text else f"${text}$"


def numbers(rng: Random, count: int) -> list[tuple[str, str, bool]]:
    """Integers, decimals, fractions and percentages as models write them; a third of them wrong."""
    pairs = []
    for _ in range(count):
        value = rng.randint(1, 10**6)
        gold, equal = rng.choice(
            (
                (f"{value}", (f"{value}", f"{value:,}", f"The final answer is {value}.", f"\\boxed{{{value}}}")),
                (f"{value / 100}", (f"{value / 100}", f"${value / 100}$", f"\\boxed{{{value / 100:.3f}}}")),
                (f"{value}/7", (f"\\boxed{{\\frac{{{value}}}{{7}}}}", f"{value}/7", f"$\\frac{{{2 * value}}}{{14}}$")),
            )
        )
        is_right = rng.random() < 2 / 3
        pairs.append((gold, rng.choice(equal) if is_right else f"\\boxed{{{value + rng.randint(1, 9)}.5}}", is_right))
    return pairs


def symbolic(rng: Random, count: int) -> list[tuple[str, str, bool]]:
    """Polynomials, rational functions and roots, written in another way; half of them wrong."""
    pairs = []
    for _ in range(count):
        a, b, c = (rng.randint(1, 60) for _ in range(3))
        gold = rng.choice(
            ((X + a) * (X - b) * (X + c), (X**2 + a * X) / (X + b), sqrt(a * b) + Rational(c, a + 1), (a * X + b) ** 3)
        )
        is_right = rng.random() < 0.5
        told = rng.choice((expand, factor))(gold if is_right else gold + rng.randint(1, 9))
        pairs.append((latex(gold), f"So the answer is $\\boxed{{{latex(told)}}}$", is_right))
    return pairs


if __name__ == "__main__":
    main()
