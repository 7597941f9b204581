"""Tells a process reward model a problem and the steps of its solution, as tokens, and says where each step is read.

Dimension letters: S steps, T tokens, K numbers of a head.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from journeyman.agent.chat.control_tokens import plain
from journeyman.agent.data import Json, Task, Trajectory
from journeyman.agent.steps import StepSpan
from journeyman.verifiers.models.prm.families import Family

_NUMBER = re.compile(r"Step \d+\b")


@dataclass(frozen=True, slots=True)
class Solution:
    """What is to be scored, e.g. `Solution("1 + 2 * 3?", ("2 * 3 = 6", "1 + 6 = 7"))`."""

    problem: str
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A solution as the model's input."""

    ids: list[int]
    """(T,) token ids."""
    spans: list[tuple[int, int]]
    """(S,) tokens [start, end): of each step's separator, or where the whole step is read, of the step."""

    def reads(self, family: Family) -> list[int]:
        """(S,) the positions whose output is each step's score."""
        return [end - 1 + family.offset for _, end in self.spans]


def solution_of(task: Task, trajectory: Trajectory, spans: Sequence[StepSpan]) -> Solution:
    """The problem is what the user says in the task's prompt.

    A step ends with what the environment answered to it, on lines of its own: what it is worth shows after that.
    """
    problem = "\n\n".join(m.content.strip() for m in task.prompt if m.role == "user")
    steps: list[str] = []
    for number, span in enumerate(spans):
        first = span.turn if number else 0
        last = spans[number + 1].turn if number + 1 < len(spans) else len(trajectory.turns)
        before, seen = _answers(trajectory, first, span.turn), _answers(trajectory, span.turn, last)
        steps.append("\n".join([*before, span.text(trajectory), *seen]))
    return Solution(problem, tuple(steps))


def encode(family: Family, tokenizer: Any, solution: Solution) -> Encoded:
    """The solution in the family's layout; `tokenizer` is a fast Hugging Face one.

    Raises ValueError where the steps cannot be found again: the chat template or the tokenizer changes them.
    """
    layouts = {"text": _text, "pieces": _pieces, "chat": _chat, "turns": _turns, "answer": _answer}
    shown = told(family, tokenizer, solution)
    return layouts[family.formatter](family, tokenizer, shown.problem, shown.steps)


def told(family: Family, tokenizer: Any, solution: Solution) -> Solution:
    """The solution as the model is shown it: without control tokens, which would be turns or markers that it forges.

    Where the family numbers its steps, with `Step 1: ` and so on before each that does not begin so.
    """
    steps = [plain(step, tokenizer) for step in solution.steps]
    if family.numbered:
        steps = [step if _NUMBER.match(step) else f"Step {i}: {step}" for i, step in enumerate(steps, 1)]
    return Solution(plain(solution.problem, tokenizer), tuple(steps))


def log_odds(family: Family, logits: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """(S,) from (S, K) each: of the positive class against all others; of a single number, itself."""
    found = []
    for logits_SK in logits:
        if logits_SK.shape[1] == 1:
            found.append(logits_SK[:, 0])
        else:
            others_SK = np.delete(logits_SK, family.positive, axis=1)
            found.append(logits_SK[:, family.positive] - np.logaddexp.reduce(others_SK, axis=1))
    return found


def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Indices in batches of like lengths, each within `budget` tokens with its padding (or one alone)."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and lengths[i] * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _answers(trajectory: Trajectory, first: int, last: int) -> list[str]:
    """What the environment answered in the turns [first, last)."""
    said = [m.content.strip() for turn in trajectory.turns[first:last] for m in turn.observation]
    return [text for text in said if text]


def _text(family: Family, tokenizer: Any, problem: str, steps: Sequence[str]) -> Encoded:
    parts = [step + family.separator for step in steps]
    text = f"{problem}{family.after_problem}" + "\n".join(parts)
    ends = np.cumsum([len(part) + 1 for part in parts]) - 1 + len(problem) + len(family.after_problem)
    return _marked(tokenizer, text, [int(end) for end in ends], special=True)


def _pieces(family: Family, tokenizer: Any, problem: str, steps: Sequence[str]) -> Encoded:
    def tokens(text: str) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False))

    separator = tokens(family.separator)
    ids = ([] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]) + tokens(problem + family.after_problem)
    spans = []
    for step in steps:
        ids += tokens(step) + separator
        spans.append((len(ids) - len(separator), len(ids)))
    return Encoded(ids, spans)


def _chat(family: Family, tokenizer: Any, problem: str, steps: Sequence[str]) -> Encoded:
    parts = [step + family.separator for step in steps]
    text, start = _rendered(family, tokenizer, problem, "".join(parts))
    return _marked(tokenizer, text, [start + int(end) for end in np.cumsum([len(part) for part in parts])])


def _turns(family: Family, tokenizer: Any, problem: str, steps: Sequence[str]) -> Encoded:
    said = [f"{problem}{family.after_problem}{steps[0]}", *steps[1:]]
    messages = [{"role": "system", "content": family.system}] if family.system else []
    prefixes = []
    for step in said:
        messages.append({"role": "user", "content": step})
        prefixes.append(_render(tokenizer, messages, asks=True))
        messages.append({"role": "assistant", "content": family.separator})
    text = _render(tokenizer, messages)
    if not all(text.startswith(prefix + family.separator) for prefix in prefixes):
        raise ValueError("the chat template changes earlier turns: the answers to the steps cannot be found in it")
    return _marked(tokenizer, text, [len(prefix + family.separator) for prefix in prefixes])


def _answer(family: Family, tokenizer: Any, problem: str, steps: Sequence[str]) -> Encoded:
    """Each step's span holds its separator, or for the last one the token that ends the answer."""
    content = family.separator.join(steps)
    text, start = _rendered(family, tokenizer, problem, content)
    ids, starts_T, _ = _tokens(tokenizer, text, special=False)
    lengths = [len(step) + len(family.separator) for step in steps[:-1]]
    cuts = start + np.cumsum([0, *lengths, len(steps[-1]) + 1])
    at = np.searchsorted(starts_T, cuts)  # a token belongs to the step that it begins in
    return Encoded(ids, [(int(a), int(b)) for a, b in pairwise(at)])


def _rendered(family: Family, tokenizer: Any, problem: str, answer: str) -> tuple[str, int]:
    """The chat's text, and where in it the answer begins."""
    messages = [{"role": "system", "content": family.system}] if family.system else []
    messages += [{"role": "user", "content": problem}, {"role": "assistant", "content": answer}]
    text = _render(tokenizer, messages)
    start = text.rfind(answer)
    if start < 0:
        raise ValueError("the chat template changes the answer: the steps cannot be found in it")
    return text, start


def _render(tokenizer: Any, messages: Sequence[dict[str, Json]], *, asks: bool = False) -> str:
    text: str = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=asks)
    return text


def _marked(tokenizer: Any, text: str, ends: Sequence[int], *, special: bool = False) -> Encoded:
    """Each span is the one token that holds the character before an end: found by place, never by its id."""
    ids, starts_T, ends_T = _tokens(tokenizer, text, special=special)
    found = [np.flatnonzero((starts_T < end) & (end <= ends_T)) for end in ends]
    if not all(map(len, found)):
        raise ValueError("the tokenizer drops a separator: the steps cannot be read at it")
    return Encoded(ids, [(int(at[-1]), int(at[-1]) + 1) for at in found])


def _tokens(tokenizer: Any, text: str, *, special: bool) -> tuple[list[int], Any, Any]:
    """Ids, and (T,) where each token's text begins and ends; both 0 for those that the tokenizer puts first."""
    encoding = tokenizer(text, add_special_tokens=special, return_offsets_mapping=True, verbose=False)
    offsets = np.array(encoding["offset_mapping"], np.int64).reshape(-1, 2)
    return list(encoding["input_ids"]), offsets[:, 0], offsets[:, 1]
