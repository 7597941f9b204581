"""The learner's word on probe sequences (see `probes`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from journeyman.agent.data import PolicyRef, Segment
from journeyman.agent.learning.forward.scoring import Scorer
from journeyman.agent.learning.trained import causal
from journeyman.agent.manifests import check
from journeyman.agent.models import load_causal_lm, load_tokenizer
from journeyman.agent.probes import Probe, probe_sequences, read_probe


def probe_of(score: Scorer, tokenizer: Any, seed: int) -> Probe:
    """What the scorer's model says of the sequences that belong to `seed`."""
    sequences = probe_sequences(tokenizer, int(score.model.get_input_embeddings().weight.shape[0]), seed)
    segments = [Segment(ids[:1], ids[1:], np.ones(len(ids) - 1, np.bool_), None) for ids in sequences]
    found = score.at(1.0).logprobs(segments, range(len(segments)))
    logprobs = tuple(found[i] for i in range(len(segments)))
    return Probe(tuple(sequences), logprobs, str(score.dtype).removeprefix("torch."))


def probe_for(policy: PolicyRef, dtype: torch.dtype, seed: int) -> Probe:
    """What the policy's own learner wrote; a base model, which none has made, is loaded for it and let go again.

    Raises DamagedPolicyError where files are not those that were saved.
    """
    check(policy)
    written = read_probe(Path(policy.adapter or policy.path))
    if written is not None:
        return written
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load_causal_lm(policy, dtype=dtype, device=device)
    probe = probe_of(Scorer(causal(model), dtype, temperature=1.0), load_tokenizer(policy.path), seed)
    del model
    if device == "cuda":
        torch.cuda.empty_cache()  # a sampler that starts now takes what is free
    return probe
