"""The settings of the learner; light, so that a settings file can be checked without torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args, get_origin, get_type_hints

from journeyman.agent.errors import SettingsError

SURROGATES = ("grpo", "bnpo", "dr_grpo", "dapo", "gspo")
"""The losses that are ratio x advantage but for their clip."""

_LIMITS: tuple[tuple[str, Callable[[float], bool], Sequence[str]], ...] = (
    (
        "above 0",
        lambda value: value > 0,
        (
            "temperature",
            "trust_delta",
            "trust_damping",
            "max_grad_norm",
            "eps",
            "eps_high",
            "shaping",
            "correction_max",
            "value_clip",
        ),
    ),
    (
        "at least 0",
        lambda value: value >= 0,
        (
            "learning_rate",
            "critic_learning_rate",
            "weight_decay",
            "entropy_weight",
            "value_weight",
            "correction_min",
            "lora_rank",
        ),
    ),
    (
        "at least 1",
        lambda value: value >= 1,
        ("max_completion", "micro_batch_tokens", "lora_alpha", "trust_iterations", "trust_rows"),
    ),
)
"""What numbers must be, where they are given."""
_UNBOUNDED = ("eps", "eps_high", "max_grad_norm", "correction_max", "value_clip")
"""Those of which infinity is no bound at all."""


@dataclass(frozen=True, slots=True)
class LearnerSettings:
    """How to learn. Rates and betas are AdamW's; the rest is named as in `losses`."""

    optimizer: Literal["adamw", "trust_region"] = "adamw"
    """`trust_region` makes one step of TRPO's of an update that has rows in the policy loss (see `trust_region`)."""
    trust_delta: float = 0.01
    """Nats a token: the mean KL that the step may move the policy by."""
    trust_damping: float = 0.1
    """Added to the diagonal of the Fisher matrix."""
    trust_iterations: int = 10
    """Of conjugate gradient, at most."""
    trust_rows: int = 256
    """Rows that the Fisher matrix is estimated on, at most; the KL is over all."""
    learning_rate: float = 1e-5
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    """Of matrices only; biases and norms do not decay."""
    max_grad_norm: float = 1.0
    loss: Literal["grpo", "bnpo", "dr_grpo", "dapo", "gspo", "cispo", "sapo", "reinforce", "topr"] = "grpo"
    eps: float = 0.2
    eps_high: float | None = None
    """None is `eps`; cispo needs it, as the ceiling of the ratio."""
    top_entropy: float = 1.0
    """Share of the policy loss's tokens that have an advantage: those where the policy is least certain."""
    max_completion: int | None = None
    """Longest completion allowed, in tokens: the denominator of dr_grpo, which needs it."""
    kl: Literal["k1", "k2", "k3", "k3_ratio"] = "k2"
    entropy_weight: float = 0.0
    """Of the mean entropy of the policy loss's tokens, which is to stay high."""
    shaping: float = 0.1
    """gamma of experts' rows in the policy loss, p / (p + gamma)."""
    correction_level: Literal["token", "sequence", "geometric"] = "token"
    correction_mode: Literal["truncate", "mask", "none"] = "truncate"
    correction_max: float = 3.0
    correction_min: float = 0.0
    critic: Literal["none", "head", "model"] = "none"
    """`head` reads the policy's own hidden states, `model` those of a copy of it."""
    critic_learning_rate: float = 1e-4
    value_weight: float = 0.5
    """Of the value loss in the policy's own weights, where critic is `head`."""
    value_clip: float | None = None
    """How far values may go from those at the update's start; None is as far as they will."""
    temperature: float = 1.0
    """Of the distribution that is learned: the one that was sampled at."""
    micro_batch_tokens: int | None = None
    """Padded tokens of one forward pass; None is 2,048 on a CPU (its caches are small), 32,768 on a GPU."""
    activation_checkpointing: bool = False
    """Keeps what goes into each layer, and computes the rest anew in the backward pass: less memory, more time."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the matrix products and of weights that are not trained; trained weights are float32 always."""
    device: str = "auto"
    """`auto` is `cuda` where there is one, else `cpu`."""
    lora_rank: int = 0
    """0 trains the full weights."""
    lora_alpha: int = 32
    lora_targets: tuple[str, ...] = ()
    """Last names of the layers that get an adapter; empty for every one that can have it (see `reach`)."""
    seed: int = 0
    """Of a new adapter's weights."""

    def __post_init__(self) -> None:
        """Refuses what cannot work, with SettingsError."""
        for name, hint in get_type_hints(type(self)).items():
            if get_origin(hint) is Literal and (value := getattr(self, name)) not in get_args(hint):
                raise SettingsError(f"the learner's {name} is {value!r}: it must be one of {', '.join(get_args(hint))}")
        self._check_numbers()
        if not 0 < self.top_entropy <= 1:
            raise SettingsError(f"the learner's top_entropy is {self.top_entropy}: it must be above 0 and at most 1")
        if self.loss == "cispo" and self.eps_high is None:
            raise SettingsError("loss 'cispo' needs eps_high, the ceiling of the ratio: set it, e.g. to 5.0")
        if self.loss == "dr_grpo" and self.max_completion is None:
            raise SettingsError("loss 'dr_grpo' divides by max_completion: set it to the longest completion allowed")
        if self.correction_min > self.correction_max:
            raise SettingsError(
                f"the learner's correction_min is {self.correction_min}, above its correction_max, which is "
                f"{self.correction_max}: lower it"
            )
        if self.optimizer == "trust_region":
            self._check_trust_region()

    def _check_numbers(self) -> None:
        """Each by itself; nan is in no range."""
        for words, holds, names in _LIMITS:
            for name in names:
                value = getattr(self, name)
                if value is None:
                    continue
                if not holds(value):
                    raise SettingsError(f"the learner's {name} is {value}: it must be {words}")
                if value == math.inf and name not in _UNBOUNDED:
                    raise SettingsError(f"the learner's {name} is {value}: it must be finite")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise SettingsError(f"the learner's betas are {self.betas}: they must be at least 0 and below 1")

    def _check_trust_region(self) -> None:
        if self.loss not in SURROGATES:
            raise SettingsError(
                f"loss {self.loss!r} is not ratio x advantage, which a trust region improves: set it to one of "
                f"{', '.join(SURROGATES)}, or the optimizer to 'adamw'"
            )
        if self.critic == "head":
            raise SettingsError(
                "a critic of kind 'head' learns through the policy's weights, which a trust-region step moves by the "
                "policy alone: set its kind to 'model', or the optimizer to 'adamw'"
            )
