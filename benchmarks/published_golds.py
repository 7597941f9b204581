r"""The verifier `math` on published gold answers: each equals itself, none equals itself with a changed number.

    python benchmarks/published_golds.py MATH=validation.jsonl OlympiadBench=olympiadbench.jsonl ...

A file has one JSON object a line, as the sets are published: `answer` (behind its `####`, as in GSM8K), `final_answer`
(a list: all of them), `Answer`, or the last `\boxed{}` of `solution`. The answer judged is the gold itself,
`\boxed{gold}`; then, for every number in it in turn, the gold with that number changed by one. Since equal texts are
equal whoever reads them, the table says too who could tell another spelling of the gold. `--show N` lists what fails,
and what nobody reads. Exits with 1 where less than 99 % of a set equal themselves, or a changed number is taken.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from journeyman.agent.data import Message, Source, Split, StopReason, Task, Trajectory, Turn
from journeyman.verifiers.answers.boxes import boxed
from journeyman.verifiers.mathematics.answers import MathAnswer, is_words
from journeyman.verifiers.mathematics.comparing.equal import reading
from journeyman.verifiers.mathematics.reading.plain import plain_math
from journeyman.verifiers.mathematics.reading.tokens import Unreadable
from journeyman.verifiers.mathematics.second_reader import can_read, is_prose

_NUMBER = re.compile(r"[0-9]+")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+", metavar="NAME=FILE")
    parser.add_argument("--show", type=int, default=0, help="failures of each kind to list")
    options = parser.parse_args()
    logging.disable(logging.ERROR)
    failed = False
    print("| set | golds | equal themselves | read by us | by math-verify | words or text alone | changed | taken |")
    print("|---|---|---|---|---|---|---|---|")
    for name, _, file in (given.partition("=") for given in options.sets):
        golds = [gold for gold in map(gold_of, rows(Path(file))) if gold]
        counts, shown = judged(golds)
        share = counts["equal"] / len(golds)
        failed |= share < 0.99 or counts["taken"] > 0
        ways = " | ".join(str(counts[way]) for way in ("ours", "math-verify", "text", "changed", "taken"))
        print(f"| {name} | {len(golds)} | {share:.2%} | {ways} |")
        for line in shown[: options.show]:
            print("   ", line)
    return int(failed)


def rows(file: Path) -> Iterator[dict[str, Any]]:
    for line in file.read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


def gold_of(row: dict[str, Any]) -> str:
    """The gold answer of a row; empty where it has none."""
    if isinstance(row.get("final_answer"), list):
        return ", ".join(row["final_answer"])
    told = row.get("answer", row.get("Answer"))
    if told is None:
        return (boxed(row["solution"]) or (0, ""))[1]
    if isinstance(told, float) and told.is_integer():
        told = int(told)
    return str(told).rpartition("####")[2].strip()


def judged(golds: list[str]) -> tuple[Counter[str], list[str]]:
    """How many are equal to themselves, how many changed ones are taken, and what failed."""
    counts, shown = Counter[str](), []
    for gold in golds:
        score, why = verdict(gold, gold)
        counts["equal"] += score == 1
        counts[who_reads(gold)] += 1
        if score != 1:
            shown.append(f"{gold!r} is not itself: {why}")
        if who_reads(gold) == "text" and not is_words(plain_math(gold)):
            shown.append(f"{gold!r} is read by nobody")
        for number in _NUMBER.finditer(gold):
            changed = gold[: number.start()] + str(int(number[0]) + 1) + gold[number.end() :]
            counts["changed"] += 1
            if verdict(gold, changed)[0] == 1:
                counts["taken"] += 1
                shown.insert(0, f"{gold!r} takes {changed!r}")
    return counts, shown


def who_reads(gold: str) -> str:
    """Who would compare it with another spelling: `ours`, `math-verify`, or nobody (`text`)."""
    plain = plain_math(gold)
    if not is_words(plain):
        try:
            return "ours" if reading(gold) else ""
        except Unreadable:
            pass
    words = is_words(plain) or is_prose(plain)
    return "text" if words or not can_read(gold) else "math-verify"


def verdict(gold: str, answer: str) -> tuple[float | None, str]:
    """The score of the answer in a box, and why; no score where there was none."""
    task = Task("dataset", gold, (Message("user", "?"),), Split.TEST, "0" * 32)
    said = Turn(Message("assistant", f"\\boxed{{{answer}}}"))
    try:
        found = MathAnswer().verify(task, Trajectory(task.hash, Source.POLICY, (said,), (), StopReason.TERMINATED))
    except ValueError as error:
        return None, str(error)
    return found.score, found.explanation or ""


if __name__ == "__main__":
    sys.exit(main())
