"""Reads process reward models in this process.

Dimension letters: B rows, T tokens, S steps of a row, N steps of all rows, K numbers of a head, H hidden size.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from journeyman.agent.data import Segment
from journeyman.agent.errors import SettingsError
from journeyman.agent.learning.forward.halves import Halves
from journeyman.agent.learning.forward.scoring import Scorer
from journeyman.agent.learning.heads.training import pad_right
from journeyman.agent.sampling.settings import Device, Dtype
from journeyman.verifiers.models.prm.families import Family
from journeyman.verifiers.models.prm.formatting import Encoded, batches


class LocalHead:
    """A model with the head of its family, loaded at once. Its padding never changes a score by more than rounding."""

    def __init__(self, path: str, family: Family, tokenizer: Any, device: Device, dtype: Dtype, budget: int) -> None:
        """`budget` bounds a forward pass, in tokens with padding. Raises SettingsError where weights are missing.

        UsageError where a language model's logits are not made of its last hidden states.
        """
        from transformers import AutoModel, AutoModelForCausalLM, AutoModelForTokenClassification

        loads = {"classifier": AutoModelForTokenClassification, "stored": AutoModel}
        self.model: Any = load(path, loads.get(family.head, AutoModelForCausalLM), device, dtype)
        self._family, self._budget = family, budget
        self._labels_K = [label_id(tokenizer, label) for label in family.labels]
        if family.labels:
            self._halves = Halves(self.model)
        if family.head == "stored":
            self._stored = stored_head(path, family.stored).to(self.model.device)

    @property
    def limit(self) -> int | None:
        """The longest input, in tokens; None where the model sets none."""
        return limit_of(self.model)

    @torch.inference_mode()
    def logits(self, inputs: Sequence[Encoded]) -> list[NDArray[np.float64]]:
        """(S, K) of each input: what the head gives where its steps are read."""
        found: dict[int, NDArray[np.float64]] = {}
        for rows in batches([len(i.ids) for i in inputs], self._budget):
            ids_BT, mask_BT = pad_right([inputs[i].ids for i in rows], 0, self.model.device)
            reads = [inputs[i].reads(self._family) for i in rows]
            row_N = [b for b, positions in enumerate(reads) for _ in positions]
            position_N = [position for positions in reads for position in positions]
            logits_NK = self._head(ids_BT, mask_BT, row_N, position_N).double().cpu().numpy()
            cuts = np.cumsum([len(positions) for positions in reads])[:-1]
            found |= zip(rows, np.split(logits_NK, cuts), strict=True)
        return [found[i] for i in range(len(inputs))]

    def _head(self, ids_BT: Tensor, mask_BT: Tensor, row_N: list[int], position_N: list[int]) -> Tensor:
        if self._family.head == "classifier":
            return cast("Tensor", self.model(input_ids=ids_BT, attention_mask=mask_BT).logits[row_N, position_N])
        if self._family.head == "stored":
            out = self.model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False)
            return cast("Tensor", self._stored(out.last_hidden_state[row_N, position_N].float()))
        return self._halves.logits(self._halves.hidden(ids_BT)[row_N, position_N])[:, self._labels_K]


class LogRatio:
    """Two causal language models; a step's reward is beta times the sum over its tokens of log pi - log ref.

    Source: Yuan et al., Free Process Rewards without Process Labels (arXiv 2412.01981).
    """

    def __init__(self, path: str, reference: str, beta: float, device: Device, dtype: Dtype, budget: int) -> None:
        from transformers import AutoModelForCausalLM

        models = [load(name, AutoModelForCausalLM, device, dtype) for name in (path, reference)]
        self._scorers = [Scorer(model, model.dtype, 1.0, budget) for model in models]
        self._beta = beta
        self.limit = min(filter(None, map(limit_of, models)), default=None)

    def rewards(self, inputs: Sequence[Encoded]) -> list[NDArray[np.float64]]:
        """(S,) the reward of each step of each input, unbounded."""
        segments = []
        for given in inputs:
            ids, start = np.array(given.ids, np.int32), given.spans[0][0]
            segments.append(Segment(ids[:start], ids[start:], np.ones(len(ids) - start, np.bool_), None))
        both = [scorer.logprobs(segments, range(len(segments))) for scorer in self._scorers]
        rewards = []
        for i, given in enumerate(inputs):
            ratio_C = both[0][i].astype(np.float64) - both[1][i]
            start = given.spans[0][0]
            rewards.append(self._beta * np.array([ratio_C[a - start : b - start].sum() for a, b in given.spans]))
        return rewards


def load(path: str, auto: Any, device: Device, dtype: Dtype) -> Any:
    """The model in evaluation mode; raises SettingsError where the checkpoint lacks some of its weights."""
    from transformers.utils import logging as reports

    reports.disable_progress_bar()  # type: ignore[no-untyped-call]
    loud = reports.get_verbosity()
    cuda = torch.cuda.is_available() if device == "auto" else device == "cuda"
    kind = torch.bfloat16 if dtype == "bfloat16" or (dtype == "auto" and cuda) else torch.float32
    reports.set_verbosity(logging.ERROR)  # it would warn of a stored head; what is missing we say ourselves
    try:
        model, info = auto.from_pretrained(path, dtype=kind, output_loading_info=True)
    finally:
        reports.set_verbosity(loud)
    if info["missing_keys"]:
        lacking = ", ".join(sorted(info["missing_keys"])[:3])
        raise SettingsError(f"{path} lacks the weights {lacking}: it is not of this family; set option 'family'")
    return model.to("cuda" if cuda else "cpu").eval()


def limit_of(model: Any) -> int | None:
    """The most positions that the model knows, or None."""
    limit: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return limit


def label_id(tokenizer: Any, label: str) -> int:
    """The one token of a label; raises SettingsError where it takes another number of them."""
    ids = tokenizer.encode(label, add_special_tokens=False)
    if len(ids) != 1:
        raise SettingsError(f"label {label!r} is {len(ids)} tokens of the model's tokenizer: it must be one")
    return int(ids[0])


def stored_head(path: str, prefix: str) -> nn.Sequential:
    """The linear layers, with ReLU between, whose weights' names begin with `prefix.`, float32.

    Qwen's is `score.0`, ReLU, `score.2`; Skywork's `v_head.summary` alone. Raises SettingsError where there are none.
    """
    from huggingface_hub import snapshot_download
    from safetensors import safe_open

    local = Path(path).expanduser()
    folder = local if local.is_dir() else Path(snapshot_download(path, allow_patterns=["*.safetensors"]))
    tensors: dict[str, Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as weights:
            tensors |= {name: weights.get_tensor(name) for name in weights.keys() if name.startswith(f"{prefix}.")}  # noqa: SIM118
    layers: list[nn.Module] = []
    for name in sorted(name for name in tensors if name.endswith(".weight")):
        weight, bias = tensors[name].float(), tensors.get(name.removesuffix("weight") + "bias")
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
        layer.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias.float()}))
        layers += [layer, nn.ReLU()]
    if not layers:
        raise SettingsError(f"{path} holds no weights named {prefix}.*.weight in safetensors: it has no head to read")
    return nn.Sequential(*layers[:-1]).eval()
