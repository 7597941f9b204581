"""Asks any OpenAI-compatible chat endpoint: a bounded number of requests at once, failures tried again.

The wire format is that of `POST /chat/completions` and `GET /models` in OpenAI's API reference, which vLLM and most
other servers and gateways have too.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, Self
from urllib.parse import urlsplit

from pydantic import SecretStr

from journeyman.agent.chance import keyed_rng
from journeyman.agent.credentials import hidden
from journeyman.agent.data import Json, Message
from journeyman.agent.errors import ChatTimeoutError, SamplerError, SettingsError, UnknownNameError, UsageError

if TYPE_CHECKING:
    import httpx

TRIES = 4
"""Most requests for one answer: where the server cannot be reached, is busy (429) or fails (5xx)."""
TIMED_OUT_TRIES = 2
"""Most requests for one answer that may run into the timeout."""
BACKOFF_SECONDS = 0.5
"""Shortest wait before a second request; it doubles each time. A server's `Retry-After` goes first."""
MAX_WAIT_SECONDS = 60.0
GIVE_UP = 8
"""Answers in a row that could not be had after all tries: from then on the client asks no more."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One answer asked for."""

    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float = 1.0
    seed: int = 0
    """In [0, 2^31); servers that have no seeds leave it aside."""
    schema: Mapping[str, Json] | None = None
    """JSON schema that the answer must follow, where the server has structured output."""


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """What the model said."""

    text: str
    whole: bool
    """False where `max_tokens` cut it off."""


class ChatClient:
    """Asks one model of one server; use it as an async context manager.

    `url` is the API's root, e.g. `http://localhost:8000/v1`. The API key, if one is needed, is read from the
    environment variable `key_variable`; it is in no error. Raises SettingsError for a URL that is none.
    """

    def __init__(self, url: str, model: str, *, key_variable: str, timeout: float, concurrency: int) -> None:
        check_url(url)
        self.url, self.model, self.timeout = url.rstrip("/"), model, timeout
        self._key_variable = key_variable
        self._key = _key_in(key_variable)
        self._concurrency = concurrency
        self._failures: list[SamplerError] = []  # since the last answer
        self._http: httpx.AsyncClient

    async def __aenter__(self) -> Self:
        import httpx

        key = self._key.get_secret_value()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.AsyncClient(headers=headers, timeout=self.timeout)
        self._free = asyncio.Semaphore(self._concurrency)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def complete(self, request: ChatRequest) -> ChatAnswer:
        """The model's answer.

        Raises UsageError where the URL, the key or the model's name is wrong, ChatTimeoutError where no answer came
        within `timeout` seconds, SamplerError where the server refuses the request or fails, all after trying again.
        """
        async with self._free:
            if len(self._failures) >= GIVE_UP:
                last = self._failures[-1]
                raise type(last)(f"not asked any more after {len(self._failures)} failures in a row: {last}")
            body = self._body(request)
            timeouts = 0
            for number in range(1, TRIES + 1):
                response = await self._post(body)
                timeouts += isinstance(response, ChatTimeoutError)
                if not isinstance(response, SamplerError) and not _is_passing(response):
                    self._failures.clear()
                    return await self._answer(response)
                if number == TRIES or timeouts == TIMED_OUT_TRIES:
                    break
                await asyncio.sleep(_wait(response, request.seed, number))
            failure = response if isinstance(response, SamplerError) else self._failure(response)
            self._failures.append(failure)
            raise failure

    def _body(self, request: ChatRequest) -> dict[str, Json]:
        body: dict[str, Json] = {
            "model": self.model,
            "messages": [{"role": m.role, "content": m.content} for m in request.messages],
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "seed": request.seed,
        }
        if request.schema is not None:
            form = {"name": "answer", "schema": dict(request.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        return body

    async def _post(self, body: Json) -> httpx.Response | SamplerError:
        import httpx

        try:
            async with asyncio.timeout(self.timeout):  # httpx's own is between two bytes
                return await self._http.post(f"{self.url}/chat/completions", json=body)
        except (TimeoutError, httpx.TimeoutException):
            return ChatTimeoutError(f"{self.url} gave no answer within {self.timeout:g} s")
        except httpx.TransportError as error:
            why = self._shown(str(error) or type(error).__name__)
            return SamplerError(f"{self.url} cannot be reached ({why}): is the server up, and the URL right?")

    async def _answer(self, response: httpx.Response) -> ChatAnswer:
        if response.status_code in {401, 403}:
            state = "refuses the API key in" if self._key.get_secret_value() else "asks for an API key: set"
            raise UsageError(f"{self.url} {state} the environment variable {self._key_variable}")
        if response.status_code in {400, 404}:
            await self._check_model()
        if response.status_code == 404 or response.is_redirect:
            self._raise_no_endpoint(response)
        if not response.is_success:
            raise self._failure(response)
        try:
            choice = response.json()["choices"][0]
            return ChatAnswer(choice["message"]["content"] or "", choice.get("finish_reason") != "length")
        except (ValueError, KeyError, IndexError, TypeError):
            self._raise_no_endpoint(response)

    async def _check_model(self) -> None:
        """Raises UnknownNameError where the server lists its models, and ours is not among them."""
        import httpx

        try:
            response = await self._http.get(f"{self.url}/models")
            offered = [str(row["id"]) for row in response.json()["data"]]
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return
        if offered and self.model not in offered:
            raise UnknownNameError("model", self.model, offered, f"{self.url} offers {', '.join(sorted(offered)[:20])}")

    def _raise_no_endpoint(self, response: httpx.Response) -> NoReturn:
        shown = self._shown(response.text)
        raise UsageError(
            f"{self.url}/chat/completions is no chat endpoint (status {response.status_code}: {shown}): "
            "give the API's root, which mostly ends in /v1"
        )

    def _failure(self, response: httpx.Response) -> SamplerError:
        return SamplerError(f"{self.url} answered with status {response.status_code}: {self._shown(response.text)}")

    def _shown(self, text: str) -> str:
        """A server's words on one short line, without the key."""
        key = self._key.get_secret_value()
        return " ".join((text.replace(key, "***") if key else text).split())[:300]


def check_url(url: str) -> None:
    """Raises SettingsError where `url` is no http URL, or holds a password or a query, which would be stored."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # no port, no host in brackets; its text may show a password
        usable = False
    if not usable:
        raise SettingsError(f"option 'url': {hidden(url)!r} is no http URL, e.g. http://localhost:8000/v1")
    if parts.username or parts.password or parts.query:
        raise SettingsError("option 'url' holds a user, a password or a query: give an API key by the environment")


def _key_in(variable: str) -> SecretStr:
    """The key, empty where there is none; raises UsageError for one that no header can hold, without showing it."""
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UsageError(f"the environment variable {variable} holds characters that no API key has")
    return SecretStr(key)


def _is_passing(response: httpx.Response) -> bool:
    """Whether the same request may be answered later."""
    return response.status_code in {408, 429} or response.status_code >= 500


def _wait(response: httpx.Response | SamplerError, seed: int, number: int) -> float:
    """Seconds before the next try: what the server asks for, or a doubling time, up to twice as long by chance."""
    asked = "" if isinstance(response, SamplerError) else response.headers.get("Retry-After", "")
    if asked.isdecimal():  # it may be a date, too
        return min(float(asked), MAX_WAIT_SECONDS)
    spread = 1 + keyed_rng("backoff", seed, number).random()
    return float(BACKOFF_SECONDS * 2 ** (number - 1) * spread)
