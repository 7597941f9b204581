"""Asks any OpenAI-compatible chat endpoint by the client `openai`: a bounded number of requests at once.

That client keeps to the wire format, sends again what may pass, and waits as long as the server asks for. What is here
says what went wrong, whose trouble it is, and never a key.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, Self
from urllib.parse import urlsplit

from pydantic import SecretStr

from journeyman.agent.credentials import hidden
from journeyman.agent.data import Json, Message
from journeyman.agent.errors import (
    ChatRefusedError,
    ChatTimeoutError,
    SamplerError,
    SettingsError,
    UnknownNameError,
    UsageError,
)

if TYPE_CHECKING:
    import openai

TRIES = 4
"""Most requests for one answer: where the server cannot be reached, is busy (408, 409, 429) or fails (5xx)."""
GIVE_UP = 8
"""Answers in a row that could not be had: then the client asks the plain question, and where that fails no more."""
CONNECT_SECONDS = 10.0
"""Longest wait for a connection."""


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
    """False where `max_tokens`, or a server's filter, cut it off."""
    seconds: float = field(default=0.0, compare=False)
    """From the first request to the answer."""


PLAIN = ChatRequest((Message("user", "Hello."),), max_tokens=1)
"""What any server answers that answers at all."""


class ChatClient:
    """Asks one model of one server; use it as an async context manager.

    `url` is the API's root, e.g. `http://localhost:8000/v1`. The API key, if one is needed, is read from the
    environment variable `key_variable`; it is in no error. `plain` is a question whose answer shows that the server is
    well. Raises SettingsError for a URL that is none.
    """

    def __init__(
        self, url: str, model: str, *, key_variable: str, timeout: float, concurrency: int, plain: ChatRequest = PLAIN
    ) -> None:
        check_url(url)
        self.url, self.model, self.timeout = url.rstrip("/"), model, timeout
        self._key_variable = key_variable
        self._key = _key_in(key_variable)
        self._plain = plain
        self._free, self._checking = asyncio.Semaphore(concurrency), asyncio.Lock()
        self._failures: list[SamplerError] = []  # since the last answer
        self._dead: SamplerError | None = None
        self._api: openai.AsyncOpenAI

    async def __aenter__(self) -> Self:
        from openai import AsyncOpenAI

        # every request has its own headers instead of the key, which the client would take from elsewhere too
        self._api = AsyncOpenAI(
            api_key="none", base_url=self.url, max_retries=TRIES - 1, http_client=_http_client(self.timeout)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._api.close()

    async def complete(self, request: ChatRequest) -> ChatAnswer:
        """The model's answer.

        Raises UsageError where the URL, the key or the model's name is wrong, ChatRefusedError where the server will
        not answer this request, ChatTimeoutError where no answer came within `timeout` seconds, and SamplerError where
        the server cannot be reached or fails, after trying again.
        """
        async with self._free:
            if len(self._failures) >= GIVE_UP:
                await self._check_server()
            try:
                answer = await self._ask(request)
            except ChatRefusedError:
                self._failures.clear()
                raise
            except SamplerError as error:
                self._failures.append(error)
                raise
            self._failures.clear()
            return answer

    async def plain_refusal(self) -> ChatRefusedError | None:
        """Why the server refuses the plain question too: the trouble is in what all requests have alike."""
        try:
            await self.complete(self._plain)
        except ChatRefusedError as error:
            return error
        except SamplerError:
            return None
        return None

    async def _check_server(self) -> None:
        """Raises what the last failure was where the server does not answer the plain question either."""
        async with self._checking:
            if self._dead is None and len(self._failures) >= GIVE_UP:
                try:
                    await self._ask(self._plain)
                except ChatRefusedError:
                    self._failures.clear()
                except SamplerError as error:
                    self._dead = error
                else:
                    self._failures.clear()
        if self._dead is not None:
            count = len(self._failures)
            raise type(self._dead)(f"not asked any more after {count} failures in a row: {self._dead}")

    async def _ask(self, request: ChatRequest) -> ChatAnswer:
        import openai

        started = time.monotonic()
        try:
            response = await self._api.chat.completions.with_raw_response.create(
                **self._body(request), extra_headers=self._headers()
            )
        except TimeoutError:
            raise ChatTimeoutError(f"{self.url} gave no answer within {self.timeout:g} s") from None
        except openai.APIConnectionError as error:
            why = self._shown(str(error.__cause__ or "") or type(error.__cause__ or error).__name__)
            raise SamplerError(f"{self.url} cannot be reached ({why}): is the server up, and the URL right?") from None
        except openai.APIStatusError as error:
            status, text = error.status_code, error.response.text
            await self._check_status(status)
            self._raise_for(status, text)
        try:
            choice = response.parse().choices[0]
            text, whole = choice.message.content or "", choice.finish_reason not in {"length", "content_filter"}
        except (AttributeError, IndexError, TypeError, ValueError):
            self._raise_for(_status_within(response.text) or response.status_code, response.text)
        return ChatAnswer(text, whole, time.monotonic() - started)

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
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

    def _headers(self) -> dict[str, Any]:
        """The key and nothing else that `openai` takes from its own environment variables for its own servers."""
        from openai import Omit

        key = self._key.get_secret_value()
        authorization = f"Bearer {key}" if key else Omit()
        return {"Authorization": authorization, "OpenAI-Organization": Omit(), "OpenAI-Project": Omit()}

    async def _check_status(self, status: int) -> None:
        """Raises UsageError where the key or the model's name is wrong."""
        import openai

        if status == 401:
            state = "refuses the API key in" if self._key.get_secret_value() else "asks for an API key: set"
            raise UsageError(f"{self.url} {state} the environment variable {self._key_variable}")
        if status not in {400, 404}:
            return
        try:
            page = await self._api.models.list(extra_headers=self._headers())
            offered = [str(row.id) for row in page.data]
        except (openai.OpenAIError, TimeoutError, AttributeError, TypeError, ValueError):
            return  # a server without a list
        if offered and self.model not in offered:
            raise UnknownNameError("model", self.model, offered, f"{self.url} offers {', '.join(sorted(offered)[:20])}")

    def _raise_for(self, status: int, text: str) -> NoReturn:
        shown = self._shown(text)
        if status < 400 or status in {404, 405}:
            raise UsageError(
                f"{self.url}/chat/completions is no chat endpoint (status {status}: {shown}): "
                "give the API's root, which mostly ends in /v1"
            )
        if status in {408, 409, 429} or status >= 500:
            raise SamplerError(f"{self.url} answered with status {status}: {shown}")
        key = f", or the API key in the environment variable {self._key_variable}" if status == 403 else ""
        raise ChatRefusedError(f"{self.url} refuses the request{key}; it answered with status {status}: {shown}")

    def _shown(self, text: str) -> str:
        """A server's words on one short line, without the key."""
        key = self._key.get_secret_value()
        return " ".join((text.replace(key, "***") if key else text).split())[:300]


def check_url(url: str) -> None:
    """Raises SettingsError where `url` is no http URL, or holds a password or a query, which would be stored."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode()
        usable = parts.scheme in {"http", "https"} and bool(re.fullmatch(r"[\w.:%-]+", host)) and parts.port != 0
    except ValueError:  # no port, no host in brackets, no name that can be looked up; its text may show a password
        usable = False
    if not usable:
        raise SettingsError(f"option 'url': {hidden(url)!r} is no http URL, e.g. http://localhost:8000/v1")
    if parts.username or parts.password or parts.query:
        raise SettingsError("option 'url' holds a user, a password or a query: give an API key by the environment")


def check_key_variable(name: str) -> None:
    """Raises SettingsError, without showing it, where `name` is no name: people put the key itself there."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise SettingsError(
            "option 'api_key_variable' is no name of an environment variable: name the variable that holds the key, "
            "e.g. JOURNEYMAN_JUDGE_API_KEY"
        )


def _key_in(variable: str) -> SecretStr:
    """The key, empty where there is none; raises UsageError for one that no header can hold, without showing it."""
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UsageError(f"the environment variable {variable} holds characters that no API key has")
    return SecretStr(key)


def _http_client(seconds: float) -> Any:
    """Follows no redirects, which would take the key elsewhere; bounds each try, not only the wait between bytes."""
    from openai import DefaultAsyncHttpxClient, Timeout

    class Bounded(DefaultAsyncHttpxClient):
        async def send(self, *request: Any, **options: Any) -> Any:
            async with asyncio.timeout(seconds):
                return await super().send(*request, **options)

    return Bounded(follow_redirects=False, timeout=Timeout(None, connect=CONNECT_SECONDS))


def _status_within(text: str) -> int | None:
    """The status of an error that a gateway sends as an answer, None where it is no error."""
    try:
        error = json.loads(text)["error"]
    except (ValueError, KeyError, TypeError):
        return None
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and 400 <= code < 600 else 502
