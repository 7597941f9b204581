"""The chat client against a server that says what it is told to: retries, limits, and errors that name the remedy."""

import asyncio
import json
import logging
import time

import pytest

from journeyman.agent.chat import client as chat_client
from journeyman.agent.chat.client import PLAIN, ChatAnswer, ChatClient, ChatRequest
from journeyman.agent.data import Message
from journeyman.agent.errors import (
    ChatRefusedError,
    ChatTimeoutError,
    SamplerError,
    SettingsError,
    UnknownNameError,
    UsageError,
)

VARIABLE = "TEST_CHAT_KEY"


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


def ask(url, *texts, model="fake", timeout=10.0, concurrency=4, errors=False, **options):
    """The answers to one-message requests that are all under way at once."""

    async def work():
        async with ChatClient(url, model, key_variable=VARIABLE, timeout=timeout, concurrency=concurrency) as client:
            requests = [ChatRequest((Message("user", text),), 50, **options) for text in texts]
            return await asyncio.gather(*map(client.complete, requests), return_exceptions=errors)

    return asyncio.run(work())


def test_a_request_has_what_was_asked_for_and_an_answer_what_was_said(chat_server):
    chat_server.answer = lambda body, _: body["messages"][-1]["content"].upper()
    schema = {"type": "object"}
    answers = ask(chat_server.url + "/", "a", "b", temperature=0.5, seed=7, schema=schema)
    assert answers == [ChatAnswer("A", whole=True), ChatAnswer("B", whole=True)]
    body = next(b for b in chat_server.bodies if b["messages"][0]["content"] == "a")
    assert body == {
        "model": "fake",
        "messages": [{"role": "user", "content": "a"}],
        "max_tokens": 50,
        "temperature": 0.5,
        "seed": 7,
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}},
    }
    assert chat_server.keys == [None, None]
    chat_server.finish_reason = "length"
    assert ask(chat_server.url, "c") == [ChatAnswer("C", whole=False)]
    chat_server.finish_reason = "content_filter"
    assert ask(chat_server.url, "c") == [ChatAnswer("C", whole=False)]
    assert "response_format" not in chat_server.bodies[-1]


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_what_may_pass_is_tried_again(chat_server, status):
    chat_server.answer = lambda body, number: (status, "busy", {}) if number < 3 else "at last"
    assert ask(chat_server.url, "a") == [ChatAnswer("at last", whole=True)]
    assert len(chat_server.bodies) == chat_client.TRIES == 4
    chat_server.answer = lambda body, number: (status, "busy", {})
    with pytest.raises(SamplerError, match=f"{chat_server.url} answered with status {status}: busy"):
        ask(chat_server.url, "a")
    assert len(chat_server.bodies) == 8


def test_a_server_that_drops_the_connection_is_tried_again(chat_server):
    chat_server.answer = lambda body, number: 1 / 0 if number < 1 else "at last"
    assert ask(chat_server.url, "a") == [ChatAnswer("at last", whole=True)]


def test_retry_after_is_kept_to(chat_server):
    chat_server.answer = lambda body, number: "late" if number else (429, "", {"Retry-After": "1"})
    started = time.monotonic()
    assert ask(chat_server.url, "a") == [ChatAnswer("late", whole=True)]
    assert 1 <= time.monotonic() - started < 5


def test_no_answer_in_time_is_a_timeout_at_once(chat_server):
    chat_server.answer = lambda body, number: time.sleep(0.6) or "late"
    started = time.monotonic()
    with pytest.raises(ChatTimeoutError, match=r"gave no answer within 0.2 s"):
        ask(chat_server.url, "a", timeout=0.2)
    assert time.monotonic() - started < 2
    assert len(chat_server.bodies) == 1  # who asks may ask in other words


def test_no_more_requests_are_under_way_than_allowed(chat_server):
    chat_server.answer = lambda body, number: time.sleep(0.05) or "ok"
    assert len(ask(chat_server.url, *"abcdefgh", concurrency=2)) == 8
    assert chat_server.most_at_once == 2


def test_a_dead_server_is_not_asked_for_ever(chat_server):
    chat_server.answer = lambda body, number: (500, "broken", {})
    errors = ask(chat_server.url, *map(str, range(40)), concurrency=1, errors=True)
    assert all(isinstance(error, SamplerError) for error in errors)
    assert len(chat_server.bodies) == (chat_client.GIVE_UP + 1) * chat_client.TRIES
    assert chat_server.bodies[-1]["messages"][0]["content"] == PLAIN.messages[0].content
    assert "not asked any more after 8 failures in a row" in str(errors[-1])


def test_a_server_that_fails_on_what_it_is_asked_is_not_given_up(chat_server):
    chat_server.answer = lambda body, number: (
        time.sleep(0.4) or "late" if body["messages"][0]["content"] == "bad" else "fine"
    )
    heard = ask(chat_server.url, *["bad"] * 20, "good", timeout=0.2, concurrency=20, errors=True)
    assert all(isinstance(error, ChatTimeoutError) for error in heard[:20])
    assert heard[20] == ChatAnswer("fine", whole=True)


@pytest.mark.parametrize("status", [400, 402, 403, 413, 422])
def test_a_request_that_is_refused_is_no_failure_of_the_server(chat_server, status):
    chat_server.answer = lambda body, number: (status, "flagged", {})
    heard = ask(chat_server.url, *"abcdefghijkl", concurrency=1, errors=True)
    assert all(isinstance(error, ChatRefusedError) for error in heard)
    assert "refuses the request" in str(heard[0])
    assert f"status {status}: flagged" in str(heard[0])
    assert (VARIABLE in str(heard[0])) is (status == 403)
    assert len(chat_server.bodies) == 12  # trying again would not help, and no reason to give up


@pytest.mark.parametrize(
    ("body", "kind", "why"),
    [
        ({"error": {"message": "busy", "code": 429}}, SamplerError, "status 429"),
        ({"error": {"message": "busy"}}, SamplerError, "status 502"),
        ({"error": "busy"}, SamplerError, "status 502"),
        ({"error": {"message": "flagged", "code": 403}}, ChatRefusedError, "status 403"),
        ({"choices": []}, UsageError, "is no chat endpoint"),
        ({"choices": None}, UsageError, "is no chat endpoint"),
        ([], UsageError, "is no chat endpoint"),
    ],
)
@pytest.mark.parametrize("headers", [{}, {"Content-Type": "application/json"}])
def test_answers_that_are_none(chat_server, body, kind, why, headers):
    chat_server.answer = lambda _, number: (200, json.dumps(body), headers)
    (error,) = ask(chat_server.url, "a", errors=True)
    assert type(error) is kind
    assert why in str(error)


def test_a_wrong_address_is_named(chat_server):
    root = chat_server.url.removesuffix("/v1")
    with pytest.raises(UsageError, match=r"is no chat endpoint \(status 404: Not Found\): give the API's root"):
        ask(root, "a")
    chat_server.answer = lambda body, number: (200, "<html>hello</html>", {})
    with pytest.raises(UsageError, match=r"is no chat endpoint \(status 200: <html>"):
        ask(chat_server.url, "a")
    chat_server.answer = lambda body, number: (200, "{broken", {"Content-Type": "application/json"})
    with pytest.raises(UsageError, match=r"is no chat endpoint \(status 200: {broken"):
        ask(chat_server.url, "a")
    chat_server.answer = lambda body, number: (302, "", {"Location": "/elsewhere"})
    with pytest.raises(UsageError, match="status 302"):
        ask(chat_server.url, "a")
    with pytest.raises(SamplerError, match=r"cannot be reached .*: is the server up, and the URL right"):
        ask("http://127.0.0.1:9/v1", "a")


@pytest.mark.parametrize(
    "url", ["localhost:8000/v1", "ftp://x/v1", "http://", "", "file:///etc/passwd", "http://a b/v1"]
)
def test_a_url_must_be_one(url):
    with pytest.raises(SettingsError, match="is no http URL"):
        ask(url, "a")


@pytest.mark.parametrize("url", ["https://me:secret@host/v1", "https://host/v1?key=secret"])
def test_a_url_may_hold_no_secret_and_none_is_shown(url):
    with pytest.raises(SettingsError) as caught:
        ask(url, "a")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("status", [400, 404])
def test_an_unknown_model_is_named_with_what_the_server_offers(chat_server, status):
    chat_server.answer = lambda body, number: (status, '{"error": "model not found"}', {})
    with pytest.raises(UnknownNameError, match=r"unknown model 'fakee': did you mean 'fake'\?; .* offers fake"):
        ask(chat_server.url, "a", model="fakee")


def test_a_refused_request_is_an_error_of_its_own(chat_server):
    chat_server.answer = lambda body, number: (400, "context too long", {}) if number else "fine"
    fine, refused = ask(chat_server.url, "a", "b", concurrency=1, errors=True)
    assert fine.text == "fine"
    assert isinstance(refused, SamplerError)
    assert "status 400: context too long" in str(refused)
    assert len(chat_server.bodies) == 2  # trying again would not help


def test_the_key_is_sent_and_never_shown(chat_server, monkeypatch):
    monkeypatch.setenv(VARIABLE, " sk-secret\n")
    chat_server.answer = lambda body, number: (400, "bad key sk-secret was given", {})
    (error,) = ask(chat_server.url, "a", errors=True)
    assert chat_server.keys == ["Bearer sk-secret"]
    assert "bad key *** was given" in str(error)
    chat_server.answer = lambda body, number: (401, "sk-secret", {})
    with pytest.raises(UsageError, match=f"refuses the API key in the environment variable {VARIABLE}") as caught:
        ask(chat_server.url, "a")
    assert "sk-secret" not in str(caught.value)
    client = ChatClient(chat_server.url, "fake", key_variable=VARIABLE, timeout=1, concurrency=1)
    assert "sk-secret" not in repr(vars(client))
    monkeypatch.setenv(VARIABLE, "sk-sec\nret")
    with pytest.raises(UsageError, match="holds characters that no API key has") as caught:
        ask(chat_server.url, "a")
    assert "ret" not in str(caught.value)
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(UsageError, match=f"asks for an API key: set the environment variable {VARIABLE}"):
        ask(chat_server.url, "a")


def test_nothing_of_another_service_is_sent_and_no_log_holds_the_key(chat_server, monkeypatch, caplog):
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "sk-other")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer sk-other")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    caplog.set_level(logging.DEBUG)
    chat_server.answer = lambda body, number: "fine" if number % 2 else (500, "sk-secret", {})
    ask(chat_server.url, "a")
    assert chat_server.keys == [None, None]
    monkeypatch.setenv(VARIABLE, "sk-secret")
    ask(chat_server.url, "a")
    assert chat_server.keys[2:] == ["Bearer sk-secret"] * 2
    assert not [h for h in chat_server.headers if "sk-other" in str(h)]
    assert caplog.records
    assert "sk-" not in caplog.text
