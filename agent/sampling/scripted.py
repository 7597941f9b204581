"""A sampler that says what it is told to: for tests, and for showing how a flow goes without a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from journeyman.agent.chat.renderer import Renderer
from journeyman.agent.data import Completion, PolicyRef, SamplingParams
from journeyman.agent.errors import SamplerError

Reply = Callable[[str, int], str]
"""(the prompt's text, the request's seed) -> what to say."""


class ScriptedSampler:
    """Replies from a list, in the order of the requests, or by a function of the prompt; every log-prob is 0.

    A reply ends with the renderer's end of turn. Where it is longer than `max_tokens` it is cut off there.
    """

    def __init__(self, renderer: Renderer, replies: Sequence[str] | Reply) -> None:
        self._renderer = renderer
        self._function = replies if callable(replies) else None
        self._left = [] if callable(replies) else list(replies)
        self.prompts: list[str] = []
        """The text of every prompt so far."""
        self.policies: list[PolicyRef] = []
        """Every policy loaded so far."""

    async def generate(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
        """The next reply. Raises SamplerError where the list is used up."""
        self.prompts.append(self._renderer.decode(prompt_ids))
        if self._function is not None:
            text = self._function(self.prompts[-1], params.seed)
        elif self._left:
            text = self._left.pop(0)
        else:
            raise SamplerError(f"the script has no reply left for request {len(self.prompts)}")
        ids = (*self._renderer.encode(text), self._renderer.end_id)
        said = np.array(ids[: params.max_tokens], np.int32)
        return Completion(said, np.zeros(len(said), np.float32), stopped=len(ids) <= params.max_tokens)

    async def score(self, sequences: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        """Every log-prob is 0."""
        return [np.zeros(len(ids) - 1, np.float32) for ids in sequences]

    async def load_policy(self, policy: PolicyRef) -> None:
        """Notes the policy; the script stays."""
        self.policies.append(policy)

    def close(self) -> None:
        """Nothing to free."""
