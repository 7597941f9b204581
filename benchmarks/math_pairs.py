"""The verifier `math` beside math-verify: right verdicts on pairs of every form, and the processor time of a verdict.

    python benchmarks/math_pairs.py

The pairs are those of tests/verifiers/math_pairs.py, by hand and generated. math-verify is run in two ways: as it
comes, `verify(parse(gold), parse(answer))`, and with `$...$` put around the gold, and around LaTeX in an answer that
has neither that nor a box: it finds no LaTeX elsewhere. Exits with 1 where the verifier says "equal" of an unequal
pair.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "verifiers"))

from math_pairs import by_hand, generated  # type: ignore[import-not-found]
from math_verify import parse, verify

from journeyman.agent.data import Message, Source, Split, StopReason, Task, Trajectory, Turn
from journeyman.verifiers.mathematics.answers import MathAnswer


def main() -> int:
    logging.disable(logging.ERROR)
    pairs = by_hand() + generated()
    judges = {"journeyman": ours, "math-verify": theirs, "math-verify, in $": theirs_in_dollars}
    right: dict[str, Counter[str]] = {name: Counter() for name in judges}
    false: dict[str, Counter[str]] = {name: Counter() for name in judges}
    for name, judge in judges.items():
        for pair in pairs:
            said = judge(pair.gold, pair.answer)
            right[name][pair.form] += said is pair.equal
            false[name][pair.form] += said and not pair.equal
    counts = Counter(pair.form for pair in pairs)
    print("| form | pairs | " + " | ".join(f"{name}: right | false positives" for name in judges) + " |")
    print("|---|---|" + "---|---|" * len(judges))
    for form in (*counts, "all"):
        cells = [
            str(table[name].total() if form == "all" else table[name][form])
            for name in judges
            for table in (right, false)
        ]
        print(f"| {form} | {counts.total() if form == 'all' else counts[form]} | " + " | ".join(cells) + " |")
    numbers = [(f"{n:,}", f"So it is 3 times that.\n#### {n + n % 2}") for n in range(1000, 9000, 20)]
    print("\nProcessor milliseconds a verdict, one process, every pair once:")
    show("plain numbers", numbers)
    show("expressions", [(pair.gold, pair.answer) for pair in pairs if pair.form == "latex"])
    sets = [(pair.gold, pair.answer) for pair in pairs if pair.form in {"equation", "interval", "matrix"}]
    show("equations, intervals, matrices", sets[::4])
    return 1 if false["journeyman"].total() else 0


def show(kind: str, pairs: list[tuple[str, str]]) -> None:
    """Milliseconds of both, and their ratio."""
    mine, rival = (milliseconds(judge, pairs) for judge in (ours, theirs_in_dollars))
    print(f"- {kind} ({len(pairs)}): journeyman {mine:.3f}, math-verify {rival:.3f}, ratio {rival / mine:.1f}")


def milliseconds(judge: Callable[[str, str], bool], pairs: list[tuple[str, str]]) -> float:
    judge("2\\sqrt{3}", "$\\sqrt{12}$")  # imports
    started = time.process_time()
    for gold, answer in pairs:
        judge(gold, answer)
    return 1000 * (time.process_time() - started) / len(pairs)


def ours(gold: str, answer: str) -> bool:
    task = Task("dataset", gold, (Message("user", "?"),), Split.TEST, "0" * 32)
    turn = Turn(Message("assistant", answer))
    return (
        MathAnswer().verify(task, Trajectory(task.hash, Source.POLICY, (turn,), (), StopReason.TERMINATED)).score == 1
    )


def theirs(gold: str, answer: str) -> bool:
    return bool(verify(parse(gold), parse(answer)))


def theirs_in_dollars(gold: str, answer: str) -> bool:
    bare = "$" not in answer and "\\boxed" not in answer and "\\[" not in answer and "\\(" not in answer
    return bool(verify(parse(f"${gold}$"), parse(f"${answer}$" if bare and "\\" in answer else answer)))


if __name__ == "__main__":
    sys.exit(main())
