r"""Process reward models that write a critique (ThinkPRM, arXiv 2504.16828): a `\boxed{correct}` or `\boxed{incorrect}`
for each step, or the probability of " Yes" when asked, after the critique, whether the solution is correct.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from journeyman.agent.data import Json
from journeyman.agent.learning.heads.training import pad_id_of
from journeyman.agent.sampling.settings import Device, Dtype
from journeyman.verifiers.models.prm.families import Family
from journeyman.verifiers.models.prm.formatting import Encoded, Solution, batches, log_odds, told
from journeyman.verifiers.models.prm.heads import LocalHead

OPENING = "\nLet's verify step by step:"
"""How the critique begins; the model goes on from here."""
QUESTION = "Is the solution correct?"
"""What the model asks itself after the critique."""

_MARK = re.compile(r"\\boxed\{\s*(?:\\text\{\s*)?(correct|incorrect)\s*\}")


class Critic:
    """Asks a causal language model for critiques, greedily; a request that could outgrow the model is refused."""

    def __init__(
        self, path: str, family: Family, tokenizer: Any, device: Device, dtype: Dtype, budget: int, tokens: int
    ) -> None:
        """`tokens` is the longest critique, `budget` that of a batch with its critiques and its padding."""
        self._head = LocalHead(path, family, tokenizer, device, dtype, budget)
        self._family, self._tokenizer, self._budget, self._tokens = family, tokenizer, budget, tokens

    def log_odds(self, solutions: Sequence[Solution]) -> list[NDArray[np.float64] | str]:
        """(S,) for each solution, infinite where a step is judged outright; or why there are none."""
        prompts = [self._prompts(solution) for solution in solutions]
        found: list[NDArray[np.float64] | str] = [self._too_long(own[-1]) for own in prompts]
        fits = [i for i, why in enumerate(found) if not why]
        critiques = iter(self._critiques([prompt for i in fits for prompt in prompts[i]]))
        for i in fits:
            own = [next(critiques) for _ in prompts[i]]
            asked = bool(self._family.labels)
            found[i] = self._asked(prompts[i], own) if asked else judgements(own[0], len(solutions[i].steps))
        return found

    def _prompts(self, solution: Solution) -> list[list[int]]:
        """One for the solution; where the model is asked, one for the solution up to each step."""
        shown = told(self._family, self._tokenizer, solution)
        ends = range(1 if self._family.labels else len(shown.steps), len(shown.steps) + 1)
        return [self._prompt(shown.problem, shown.steps[:end]) for end in ends]

    def _asked(self, prompts: Sequence[list[int]], critiques: Sequence[str]) -> NDArray[np.float64]:
        """A step's score is the probability that the solution up to it is correct."""
        inputs = [self._question(*both) for both in zip(prompts, critiques, strict=True)]
        return np.concatenate(log_odds(self._family, self._head.logits(inputs)))

    def _prompt(self, problem: str, steps: Sequence[str]) -> list[int]:
        """The request as its authors trained on it."""
        solution = "\n".join(steps)
        request = (
            "You are given a math problem and a proposed step-by-step solution:\n\n"
            f"[Math Problem]\n\n{problem}\n\n[Solution]\n\n{solution}\n\n"
            "Review and critique each step in the proposed solution to determine whether each step is correct. "
            "If the solution is incomplete, only verify the provided steps\n"
        )
        messages: list[dict[str, Json]] = [{"role": "user", "content": request}]
        text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) + OPENING
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _question(self, prompt: list[int], critique: str) -> Encoded:
        text = critique.partition(QUESTION)[0].rstrip() + "\n" + QUESTION
        ids = prompt + self._tokenizer.encode(text, add_special_tokens=False)
        return Encoded(ids, [(len(ids) - 1, len(ids))])

    def _too_long(self, prompt: list[int]) -> str:
        """Why the request is refused; empty where it is not. Some room is left for the question."""
        limit = self._head.limit
        room = len(prompt) + self._tokens + 2 * len(QUESTION)
        if limit is None or room <= limit:
            return ""
        return f"{len(prompt)} tokens and a critique of {self._tokens} do not fit into the model's {limit}"

    @torch.inference_mode()
    def _critiques(self, prompts: Sequence[list[int]]) -> list[str]:
        from transformers import GenerationConfig

        model, pad = self._head.model, pad_id_of(self._tokenizer)
        ends = model.generation_config.eos_token_id
        config = GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=False,
            max_new_tokens=self._tokens,
            repetition_penalty=1.0,
            pad_token_id=pad,
            eos_token_id=self._tokenizer.eos_token_id if ends is None else ends,
        )
        found: dict[int, str] = {}
        for rows in batches([len(prompt) + self._tokens for prompt in prompts], self._budget):
            width = max(len(prompts[i]) for i in rows)
            ids = torch.tensor([[pad] * (width - len(prompts[i])) + prompts[i] for i in rows], device=model.device)
            mask = torch.tensor([[0] * (width - len(prompts[i])) + [1] * len(prompts[i]) for i in rows])
            said = model.generate(ids, attention_mask=mask.to(model.device), generation_config=config)[:, width:]
            found |= zip(rows, self._tokenizer.batch_decode(said, skip_special_tokens=True), strict=True)
        return [found[i] for i in range(len(prompts))]


def judgements(critique: str, steps: int) -> NDArray[np.float64] | str:
    """Infinite log-odds for each step, by the critique's marks; or why they cannot be told.

    A critique may end at the first wrong step: those after it count as wrong too.
    """
    marks = [match[1] == "correct" for match in _MARK.finditer(critique)]
    if len(marks) != steps:
        wrong = marks.index(False) if False in marks else steps
        if wrong >= steps:
            return f"the critique judges {len(marks)} of {steps} steps: {critique[-200:]!r}"
        marks = marks[: wrong + 1] + [False] * (steps - wrong - 1)
    return np.where(marks, np.inf, -np.inf)
