"""Reads a process reward model that a vLLM pooling server serves, through its endpoint /pooling.

Tokens are made here, so the model's tokenizer is needed here too, and the server gives logits by token: which of them
count is decided as for a model in this process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr

from journeyman.agent.errors import SamplerError, SettingsError
from journeyman.verifiers.models.prm.families import Family
from journeyman.verifiers.models.prm.formatting import Encoded, batches


@dataclass(frozen=True)
class PoolingServer:
    """One served model. Raises SamplerError where it cannot be asked, SettingsError for a wrong model or key."""

    url: str
    """With or without `/v1` at its end, e.g. `http://localhost:8000`."""
    model: str
    """Its name on the server; one that serves a single model may call it otherwise."""
    family: Family
    timeout: float
    """Seconds without a word from the server."""
    budget: int
    """Tokens of one request."""
    key: SecretStr
    """Sent as a bearer token, if it is not empty."""

    @property
    def limit(self) -> int | None:
        """The longest input, in tokens."""
        limit: int | None = self._card.get("max_model_len")
        return limit

    def logits(self, inputs: Sequence[Encoded]) -> list[NDArray[np.float64]]:
        """(S, K) of each input: what the head gives where its steps are read."""
        found: dict[int, NDArray[np.float64]] = {}
        for rows in batches([len(i.ids) for i in inputs], self.budget):
            request = {"model": self._card["id"], "input": [inputs[i].ids for i in rows], "use_activation": False}
            for item in self._call("POST", "/pooling", request)["data"]:
                i = rows[item["index"]]
                found[i] = _at_steps(inputs[i], self.family, np.array(item["data"], np.float64))
        return [found[i] for i in range(len(inputs))]

    @cached_property
    def _card(self) -> dict[str, Any]:
        cards: list[dict[str, Any]] = self._call("GET", "/v1/models")["data"]
        named = [card for card in cards if self.model in (card["id"], card.get("root"))] or cards
        if len(named) != 1:
            served = ", ".join(card["id"] for card in cards)
            raise SettingsError(f"{self.url} serves {served}: option 'model' must be one of them")
        return named[0]

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        import httpx

        key, root = self.key.get_secret_value(), self.url.rstrip("/").removesuffix("/v1")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            with httpx.Client(
                timeout=self.timeout, headers=headers, transport=httpx.HTTPTransport(retries=3)
            ) as client:
                answer = client.request(method, root + path, json=body)
        except httpx.TransportError as error:
            raise SamplerError(f"{root}{path} gave no answer ({type(error).__name__}: {error})") from None
        if answer.status_code in {401, 403}:
            raise SettingsError(f"{root} refuses the API key, or asks for one: see option 'api_key_variable'")
        if answer.is_error:
            raise SamplerError(f"{root}{path} answered with status {answer.status_code}: {answer.text[:300]}")
        return answer.json()


def _at_steps(given: Encoded, family: Family, logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """(S, K) of what the server gave: a row for every token, or, by vLLM's step pooling, for every separator token."""
    marker = given.ids[given.spans[0][1] - 1]
    separators = [at for at, token in enumerate(given.ids) if token == marker]
    places = range(len(given.ids)) if len(logits) == len(given.ids) else separators
    row_of = dict(zip(places, logits, strict=False))
    if len(logits) != len(places) or not row_of.keys() >= set(given.reads(family)):
        raise SamplerError(
            f"the server gave {len(logits)} rows for {len(given.ids)} tokens, {len(separators)} of them separators: "
            """serve it with --pooler-config '{"tok_pooling_type": "ALL"}'"""
        )
    return np.stack([row_of[at] for at in given.reads(family)])
