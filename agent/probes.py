"""Probe sequences: what sampler and learner both score after each hand-over of weights, to prove that they agree.

The learner that makes a policy version scores them as it saves it, and its word lies beside its optimizer: so no
sampler needs the learner, and weights that changed on their way are found out too. P sequences of L tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from journeyman.agent.chance import keyed_rng
from journeyman.agent.data import PolicyRef
from journeyman.agent.errors import SamplerError

PROBE_FILE = Path("learner") / "probe.safetensors"
LENGTHS = (12, 16, 20, 24, 28, 32, 36, 40)
"""Tokens of the sequences: unequal, so that a sampler that pads shows whether it can."""
BOUNDS = {"float32": 2e-4, "bfloat16": 0.1}
"""Largest gap that passes, nats a token, by the dtype that is sampled with. With right weights float32 makes some 1e-6
(docs/RESULTS.md); in bfloat16 engines are some 0.03 apart, and mixtures of experts more."""
NOISE = {"float32": 5e-6, "bfloat16": 0.03}
"""A gap below it is of the arithmetic, whatever it was for the version before."""
GROWTH = 10.0
"""So many times the gap of the version before is arithmetic too."""
LEAST_MOVES = {"float32": 1e-6, "bfloat16": 5e-4}
"""A smaller step of the learner's, nats a token, may leave no trace in a sampler that rounds elsewhere."""


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """The sequences, and what the learner says of them."""

    sequences: tuple[NDArray[np.int32], ...]
    """P times (L,) token ids."""
    logprobs: tuple[NDArray[np.float32], ...]
    """P times (L - 1,): of each token after the first given those before it, at temperature 1."""
    dtype: str = "float32"
    """What the learner computed in."""


@dataclass(frozen=True, slots=True, eq=False)
class Proof:
    """What a sampler said of a probe after a hand-over."""

    gap: float
    """Mean over all tokens of the absolute difference of log-probs, nats; infinite where one is not finite."""
    probe: Probe
    found: tuple[NDArray[np.float32], ...]


def probe_sequences(tokenizer: Any, vocabulary: int, seed: int) -> list[NDArray[np.int32]]:
    """Ordinary tokens drawn from those that both the tokenizer and the `vocabulary` rows of the embeddings have."""
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    known = [i for i in range(min(len(tokenizer), vocabulary)) if i not in special] or list(range(vocabulary))
    rng = keyed_rng(seed, "probe")
    return [np.array(known, np.int32)[rng.integers(0, len(known), length)] for length in LENGTHS]


def judge_hand_over(
    policy: PolicyRef, probe: Probe, found: Sequence[NDArray[np.float32]], dtype: str, before: Proof | None = None
) -> Proof:
    """The proof that a sampler which says `found` of the probe holds the policy's weights; raises SamplerError.

    The gap must be within the dtype's bound. Steps too small for that hide neither a hand-over that was left out nor
    one that was half done: where there is a proof `before` of this sampler, its word must have changed with the
    learner's, and a gap that grew must be small beside what the learner moved. `dtype` is the sampler's: where the
    learner computed on another machine, the coarser of both counts.
    """
    proof = Proof(_gap(probe.logprobs, found), probe, tuple(found))
    where = policy.adapter or policy.path
    name = f"version {policy.number} ({where})" if policy.number else where
    dtype = max(dtype, probe.dtype, key=BOUNDS.__getitem__)
    fault = _over_bound(proof, name, dtype) or (before and _unlike_before(proof, name, dtype, before))
    if fault:
        raise SamplerError(
            f"{fault}; take another sampler.kind (vllm or transformers), or, where the files have changed, an earlier "
            "version"
        )
    return proof


def _over_bound(proof: Proof, name: str, dtype: str) -> str | None:
    if proof.gap <= BOUNDS[dtype]:
        return None
    return (
        f"the sampler does not hold the weights of {name}: on the probe sequences its log-probs are {proof.gap:.2g} "
        f"nats a token from the learner's, over the bound of {BOUNDS[dtype]:g}"
    )


def _unlike_before(proof: Proof, name: str, dtype: str, before: Proof) -> str | None:
    moved = _gap(proof.probe.logprobs, before.probe.logprobs)
    if moved > LEAST_MOVES[dtype] and _gap(proof.found, before.found) == 0:
        return (
            f"the sampler still holds the weights it had before those of {name}: on the probe sequences its log-probs "
            f"are to the last bit what they were, while the learner's have moved by {moved:.2g} nats a token"
        )
    bound = max(NOISE[dtype], GROWTH * before.gap, moved / 4)
    if proof.gap > bound:
        return (
            f"the sampler holds the weights of {name} in part: on the probe sequences its log-probs are "
            f"{proof.gap:.2g} nats a token from the learner's, which have moved by {moved:.2g}, and were "
            f"{before.gap:.2g} for the weights before: over the bound of {bound:.2g}"
        )
    return None


def _gap(expected: Sequence[NDArray[np.float32]], found: Sequence[NDArray[np.float32]]) -> float:
    if [len(row) for row in expected] != [len(row) for row in found]:
        return float("inf")
    difference = np.abs(np.concatenate(list(expected)).astype(np.float64) - np.concatenate(list(found)))
    return float(difference.mean()) if np.isfinite(difference).all() else float("inf")


def write_probe(probe: Probe, folder: Path) -> None:
    """Writes it to its file in a policy folder."""
    from safetensors.numpy import save_file

    ends = np.cumsum([len(sequence) for sequence in probe.sequences])
    parts = {"ids": np.concatenate(probe.sequences), "logprobs": np.concatenate(probe.logprobs), "ends": ends}
    told = {"dtype": probe.dtype}
    (folder / PROBE_FILE).parent.mkdir(exist_ok=True)
    save_file(parts, folder / PROBE_FILE, told)


def read_probe(folder: Path) -> Probe | None:
    """What the learner that made the policy folder wrote; None where there is none, as in a base model's."""
    from safetensors import safe_open

    if not (folder / PROBE_FILE).is_file():
        return None
    with safe_open(folder / PROBE_FILE, framework="numpy") as file:
        parts = {name: file.get_tensor(name) for name in ("ids", "logprobs", "ends")}
        dtype = file.metadata()["dtype"]
    ends = parts["ends"]
    sequences = np.split(parts["ids"], ends[:-1])
    logprobs = np.split(parts["logprobs"], (ends - np.arange(1, len(ends) + 1))[:-1])
    return Probe(tuple(sequences), tuple(logprobs), dtype)
