"""Replays every gold solution of GSM8K as model output and verifies it, and then with its final number changed.

    python benchmarks/gsm8k_gold.py DATA_DIR        # a folder with train.jsonl and test.jsonl

Each solution is rendered to tokens in both formats of tool calls, read back from the tokens, stepped through the
environment, and judged by the verifiers `number` and `math`. Exits with 1 where a gold
solution fails or a changed one passes.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from journeyman.agent.chat.renderer import Renderer
from journeyman.agent.chat.tool_calls import ToolFormat
from journeyman.agent.data import Message, Split, StopReason, Task, Trajectory
from journeyman.agent.environments.calculator import calculate, format_number
from journeyman.agent.environments.gsm8k import GSM8K, marks
from journeyman.agent.environments.rows import jsonl_rows
from journeyman.agent.models import load_tokenizer, make_tiny
from journeyman.agent.rollout import replay
from journeyman.verifiers.mathematics.answers import MathAnswer
from journeyman.verifiers.mathematics.final_number import FinalNumber

VERIFIERS = (FinalNumber(), MathAnswer())


@dataclass
class Report:
    """What was counted; `failures` must stay empty."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    mismatches: list[str] = field(default_factory=list)
    """Marks whose value differs from the calculator's."""
    spellings: Counter[str] = field(default_factory=Counter)
    """Marks of the same value, written in another way than the calculator writes it."""


def main() -> int:
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        print(__doc__)
        return 2
    report, start = Report(), time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer = load_tokenizer(str(make_tiny(Path(scratch), seed=0, max_positions=100_000)))
        renderers = [Renderer(tokenizer, tool_format) for tool_format in (ToolFormat.HERMES, ToolFormat.POSITIONAL)]
        for name in ("train.jsonl", "test.jsonl"):
            file = str(Path(sys.argv[1]) / name)
            task_set = GSM8K(test=file)  # as test, for tasks in the order of the file
            for (where, row), task in zip(jsonl_rows(file), task_set.tasks(Split.TEST, seed=0), strict=True):
                report.counts["rows"] += 1
                check_row(Path(where).name, row["answer"], task_set, task, renderers, report)
    show(report, time.perf_counter() - start)
    return 1 if report.failures else 0


def check_row(row: str, solution: str, task_set: GSM8K, task: Task, renderers: list[Renderer], report: Report) -> None:
    """Both directions for one row, and its marks against what the calculator said."""
    actions = list(task_set.demonstrate(task) or ())
    for renderer in renderers:
        trajectory = replay(task, task_set.open, actions, renderer)
        read = [turn.action.tool_calls for turn in trajectory.turns]
        if read != [action.tool_calls for action in actions] or trajectory.stop_reason is not StopReason.TERMINATED:
            report.failures.append(f"{row}: the replay in {renderer.tool_format} ended as {trajectory.stop_reason}")
        for verifier in VERIFIERS:
            verdict = verifier.verify(task, trajectory)
            report.counts[f"gold in {renderer.tool_format}: judged right by {verifier.name}"] += verdict.score == 1
            if verdict.score != 1:
                report.failures.append(f"{row}: the gold fails in {renderer.tool_format} by {verifier.name}: {verdict}")
    compare_marks(row, solution, trajectory, report)
    for kind, goal in changed(task.goal):
        report.counts["changed final numbers"] += 1
        for verifier in VERIFIERS:
            verdict = verifier.verify(task, with_final(trajectory, task.goal, goal))
            report.counts[f"changed final numbers: judged wrong by {verifier.name}"] += verdict.score == 0
            if verdict.score != 0:
                report.failures.append(f"{row}: {kind} ({task.goal} to {goal}) passes {verifier.name}: {verdict}")


def compare_marks(row: str, solution: str, trajectory: Trajectory, report: Report) -> None:
    """The results in the solution's marks beside the observations of the replay."""
    observed = [message.content for turn in trajectory.turns for message in turn.observation]
    for (expression, result), shown in zip(marks(solution), observed, strict=True):
        report.counts["calls executed"] += 1
        if shown.startswith("error") or calculate(result) != calculate(shown):
            report.mismatches.append(f"{row}: {expression}: annotated {result}, calculator {shown}")
        elif result != shown:
            exact_zeros = "." in result and result.rstrip("0").rstrip(".") == shown
            kind = "zeros at the end (20.00 for 20)" if exact_zeros else "no zero in front (.5 for 0.5)"
            report.spellings[kind if exact_zeros or result.startswith(".") else f"{result} for {shown} in {row}"] += 1


def changed(goal: str) -> Iterator[tuple[str, str]]:
    """The final number changed in several ways, each to another value."""
    value = int(goal.replace(",", ""))
    digits = str(abs(value))
    for at, digit in enumerate(digits):
        other = digits[:at] + str((int(digit) + 1 + at % 9) % 10) + digits[at + 1 :]
        yield "one digit changed", f"{'-' if value < 0 else ''}{other}"
    yield "plus 1", str(value + 1)
    yield "minus 1", f"{value - 1:,}"
    yield "plus 0.01", f"{value}.01"
    yield "a digit more", f"{value}0" if value else "10"
    yield "over 7", f"{value}/7" if value else "1/7"
    yield "a number beside", f"{goal} or {value + 1}"
    yield "gone", ""
    if value:
        yield "sign flipped", str(-value)
        yield "brackets and minus", f"-({goal})"
        yield "halved", format_number(Fraction(value, 2))


def with_final(trajectory: Trajectory, goal: str, other: str) -> Trajectory:
    """The trajectory with another number in its last line."""
    last = trajectory.turns[-1]
    text, mark, final = last.action.content.rpartition("#### ")
    assert final.strip() == goal, final
    turn = replace(last, action=Message("assistant", f"{text}{mark}{other}"))
    return replace(trajectory, turns=(*trajectory.turns[:-1], turn))


def show(report: Report, seconds: float) -> None:
    """The counts, the mismatches and the failures."""
    lines = [f"{count:8,}  {name}" for name, count in report.counts.items()]
    lines += [f"{len(report.mismatches):8,}  mismatches: marks whose value differs from the calculator's"]
    lines += report.mismatches
    for kind, count in report.spellings.most_common():
        lines += [f"{count:8,}  marks of the same value written otherwise: {kind}"]
    lines += [f"{len(report.failures):8,}  failures", *report.failures[:50], f"{seconds:8.1f}  seconds"]
    print("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
