"""The reference policy that a KL is to. With LoRA it lies beside the trained adapter, on the same base weights.

Dimension letters: M trained tokens of a segment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from journeyman.agent.data import PolicyRef, Segment
from journeyman.agent.errors import SettingsError
from journeyman.agent.learning.forward.scoring import Scorer
from journeyman.agent.learning.hardware.ranks import Ranks
from journeyman.agent.manifests import check
from journeyman.agent.models import load_causal_lm

ADAPTER = "reference"
"""Its adapter's name in the trained `peft` model, beside "default"."""


class Reference:
    """A policy that stays as it is, to be compared with."""

    def __init__(self, policy: PolicyRef, trained: PolicyRef, model: Any, score: Scorer, ranks: Ranks) -> None:
        """`model` and `score` are those of the policy that is trained, `trained`; they are used where bases are equal.

        Else the reference is loaded as a model of its own. `score` must not lie over the ranks yet: an adapter may
        join its weights. Raises SettingsError where the vocabulary is another's.
        """
        self._model, self._score = model, score
        self._beside = hasattr(model, "peft_config") and policy.path == trained.path
        self._adapter = policy.adapter if self._beside else None
        if self._adapter is not None:
            check(policy)
            model.load_adapter(self._adapter, adapter_name=ADAPTER, is_trainable=False)
        elif not self._beside:
            frozen = load_causal_lm(policy, dtype=score.dtype, device=str(score.device))
            base = frozen.get_base_model() if hasattr(frozen, "peft_config") else frozen
            self._score = Scorer(base, score.dtype, score.temperature, score.token_budget)
            self._score.lay_over(ranks)
        if self._score.halves.vocabulary != score.halves.vocabulary:
            raise SettingsError(
                f"the reference {policy.path} has {self._score.halves.vocabulary} words, the policy "
                f"{score.halves.vocabulary}: the KL needs a reference of the same vocabulary"
            )

    def logprobs(self, segments: Sequence[Segment], wanted: Iterable[int]) -> dict[int, NDArray[np.float32]]:
        """(M,) log-probs of each wanted segment's trained tokens, by index; no gradient."""
        with self._in_its_place():
            return self._score.logprobs(segments, wanted)

    @contextmanager
    def _in_its_place(self) -> Iterator[None]:
        """The shared model computes as the reference meanwhile."""
        if not self._beside:
            yield
        elif self._adapter is None:
            with self._model.disable_adapter():
                yield
        else:
            self._model.base_model.set_adapter(ADAPTER)
            try:
                yield
            finally:
                self._model.base_model.set_adapter("default")


def known(reference: Reference | None) -> Reference:
    """The reference; raises SettingsError where there is none."""
    if reference is None:
        raise SettingsError("there is no reference policy for the KL: give the learner one")
    return reference
