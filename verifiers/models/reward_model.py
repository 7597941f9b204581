"""What an outcome reward model says of the whole attempt."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

from journeyman.agent.chat.renderer import Renderer
from journeyman.agent.data import Status, Task, Trajectory, Verdict
from journeyman.agent.errors import SettingsError, TemplateRefusedError
from journeyman.agent.sampling.settings import Device, Dtype
from journeyman.verifiers.versions import version_with_models

_LOADING = threading.Lock()


@dataclass(frozen=True)
class RewardModel:
    """`raw` is the model's one logit for the conversation, and the score sigmoid((raw - centre) / temperature).

    The model is a Hugging Face sequence classification with one label: what `journeyman train-reward-model` writes, or
    any other. It is told the prompt and all that followed, by its own chat template. An attempt in which the agent said
    nothing abstains; one that the model cannot read whole is a verdict of status `error`, and harms no other.
    """

    model: str
    """Folder or hub name."""
    centre: float = 0.0
    """The logit whose score is a half. Only differences of logits mean something: choose it by what is to pass."""
    temperature: float = 1.0
    """How many logits more than the centre make the score 0.73."""
    max_tokens: int | None = None
    """Longest conversation, in tokens; None is what the model can read."""
    device: Device = "auto"
    dtype: Dtype = "auto"
    """`auto` is float32 on CPU and bfloat16 on CUDA."""
    batch_tokens: int = 16_384
    """Most tokens of one forward pass, padding included; a longer conversation is read alone."""
    version: str = field(default="2", init=False)
    name: ClassVar[str] = "reward_model"

    def __post_init__(self) -> None:
        if not math.isfinite(self.centre):
            raise SettingsError(f"option 'centre' must be finite, got {self.centre}")
        for option in ("temperature", "max_tokens", "batch_tokens"):
            value = getattr(self, option)
            if value is not None and not 0 < value < float("inf"):
                raise SettingsError(f"option {option!r} must be above 0, got {value}")
        object.__setattr__(self, "version", version_with_models(self.version, self.model))

    def check(self) -> None:
        """Raises UnknownNameError or SettingsError where there is no such model."""
        from journeyman.agent.models import resolve_model

        resolve_model(self.model)

    def verify_all(self, attempts: Sequence[tuple[Task, Trajectory]]) -> list[Verdict]:
        """One verdict for each, in order. The first call loads the model; what that raises is raised."""
        with _LOADING:
            judge = self._judge
        verdicts = [Verdict.abstain("the agent said nothing")] * len(attempts)
        texts: dict[int, Sequence[int]] = {}
        for i, (task, trajectory) in enumerate(attempts):
            if not trajectory.turns:
                continue
            try:
                texts[i] = judge.read(task, trajectory)
            except (TemplateRefusedError, ValueError) as error:  # the template refuses it, or it is too long
                verdicts[i] = Verdict(Status.ERROR, explanation=str(error))
        for i, raw in zip(texts, judge.rewards(list(texts.values()), self.batch_tokens), strict=True):
            verdicts[i] = self._verdict(raw)
        return verdicts

    def _verdict(self, raw: float) -> Verdict:
        if not math.isfinite(raw):
            return Verdict(Status.ERROR, explanation=f"the model's logit is {raw}")
        return Verdict.scored(_sigmoid((raw - self.centre) / self.temperature), raw=raw)

    @cached_property
    def _judge(self) -> _Judge:
        from journeyman.agent.learning.heads.pairs import readable_tokens
        from journeyman.agent.models import load_tokenizer

        model = _load(self.model, self.device, self.dtype)
        readable = readable_tokens(model)
        return _Judge(model, Renderer(load_tokenizer(self.model)), min(self.max_tokens or readable, readable))


class _Judge(NamedTuple):
    model: Any
    renderer: Renderer
    limit: int
    """In tokens."""

    def read(self, task: Task, trajectory: Trajectory) -> Sequence[int]:
        """The conversation's tokens; raises ValueError where they are too many."""
        from journeyman.agent.learning.heads.pairs import conversation_ids

        ids = conversation_ids(self.renderer, task, trajectory)
        if len(ids) > self.limit:
            raise ValueError(f"the conversation has {len(ids)} tokens, of which the model can read {self.limit}")
        return ids

    def rewards(self, texts: Sequence[Sequence[int]], batch_tokens: int) -> list[float]:
        """The logit of each."""
        import torch

        from journeyman.agent.learning.heads.pairs import read_rewards

        pad_id = self.model.config.get_text_config().pad_token_id
        found = [0.0] * len(texts)
        batches: list[list[int]] = []
        for i in sorted(range(len(texts)), key=lambda i: len(texts[i])):  # without a padding token each is read alone
            if not batches or pad_id is None or (len(batches[-1]) + 1) * len(texts[i]) > batch_tokens:
                batches.append([])
            batches[-1].append(i)
        for batch in batches:
            with torch.no_grad():
                rewards_B = read_rewards(self.model, [texts[i] for i in batch], pad_id or 0)
            for i, reward in zip(batch, rewards_B.tolist(), strict=True):
                found[i] = reward
        return found


def _load(path: str, device: Device = "auto", dtype: Dtype = "auto") -> Any:
    """The sequence classification of one label in the folder or of the hub name `path`, in evaluation mode.

    Raises SettingsError where it has another number of labels, or no trained head, and UnknownNameError where there is
    no such model.
    """
    import torch
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging

    from journeyman.agent.models import resolve_model

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    where = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    weights = ("bfloat16" if where == "cuda" else "float32") if dtype == "auto" else dtype
    loaded: Any = AutoModelForSequenceClassification.from_pretrained(
        resolve_model(path), dtype=getattr(torch, weights), output_loading_info=True
    )
    model, info = loaded
    if model.config.num_labels != 1 or info["missing_keys"]:
        what = f"{model.config.num_labels} labels" if model.config.num_labels != 1 else "no trained head"
        raise SettingsError(
            f"model {path!r} is no reward model: it has {what}; `journeyman train-reward-model` makes one"
        )
    return model.to(where).eval()


def _sigmoid(x: float) -> float:
    """Without overflow at either end."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
