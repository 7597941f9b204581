"""No text that a user gave is shown with the credentials in it."""

from __future__ import annotations

import pytest

from journeyman.agent.chat.client import check_url
from journeyman.agent.credentials import hidden, holds_secret, shown, without_credentials
from journeyman.agent.errors import SettingsError
from journeyman.storage.database import parse_url

URLS = {
    "postgresql+psycopg://ann:secret@host/runs": "postgresql+psycopg://***@host/runs",
    "postgresql+psycopg://ann:secret@host:54x2/runs": "postgresql+psycopg://***@host:***",
    "postgresql+psycopg://ann:sec/ret@host/runs": "postgresql+psycopg://***@host/runs",
    "postgresql+psycopg://ann:sec@secret@host/runs": "postgresql+psycopg://***@host/runs",
    "postgresql+psycopg://ann:sec?secret@host/runs": "postgresql+psycopg://***@host/runs",
    "postgresql+psycopg://ann:secret": "postgresql+psycopg://ann:***",
    "postgresql+psycopg://ann:secret/runs": "postgresql+psycopg://ann:***",
    "postgresql+psycopg://host/runs?password=secret": "postgresql+psycopg://host/runs?***",
    "postgresql+psycopg://host/runs?sslpassword=secret": "postgresql+psycopg://host/runs?***",
    "postgresql//ann:secret@host/runs": "***@host/runs",
    "postgresql:ann:secret@host": "***@host",
    "ann:secret@host/runs": "***@host/runs",
    "ann:secret@://host": "***://host",
    "mysql://ann:secret@host/runs": "mysql://***@host/runs",
    "sqlite://ann:secret@host/a.db": "sqlite://***@host/a.db",
    "http://ann:secret@[::1/v1": "http://***@[::1/v1",
}


@pytest.mark.parametrize(("url", "told"), URLS.items())
def test_urls_with_credentials(url: str, told: str) -> None:
    assert hidden(url) == told
    for check in (parse_url, check_url):
        with pytest.raises(SettingsError) as refused:
            check(url)
        assert "secret" not in repr(refused.value)
        assert "ann:sec" not in repr(refused.value)


@pytest.mark.parametrize(
    "url", ["sqlite:///runs/a.db", "http://localhost:8000/v1", "http://[::1]:8000/v1", "http://[::1]/v1", "nonsense"]
)
def test_urls_without_any_are_shown_as_they_are(url: str) -> None:
    assert hidden(url) == url


def test_values_of_every_shape() -> None:
    value = {"url": ["http://ann:secret@host"], "api_key": "secret", "n": 3, "text": "a: b", "mail": "ann@host"}
    told = "{'url': ['http://***@host'], 'api_key': '***', 'n': 3, 'text': 'a: b', 'mail': 'ann@host'}"
    assert shown(value) == told
    assert shown(("ann:secret@host", None)) == "('***@host', None)"


@pytest.mark.parametrize("url", [*URLS, "https://key@host/x", "//key@host/x", "http://host/x?api-key=y", "x?a=1;PWD=y"])
def test_what_holds_a_secret(url: str) -> None:
    if "@" in url or "?" in url:
        assert holds_secret(url)


@pytest.mark.parametrize(
    "url",
    ["postgresql+psycopg://ann@host/runs", "sqlite:////home/ann@x/a.db", "file:ann@x/runs", "/home/ann@x:1/runs",
     "http://host:5000/x?n=1", "databricks://profile", "runs", "s3://bucket/runs"],
)  # fmt: skip
def test_what_holds_none(url: str) -> None:
    assert not holds_secret(url)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("no network", "no network"),
        ("http://localhost:5000: refused, see http://docs/x.", "http://localhost:5000: refused, see http://docs/x."),
        ("to http://ann:secret@host/x\nfailed", "to http://***@host/x\nfailed"),
        (
            "(url='postgresql+psycopg://ann:secret@[::1]:5/x?a=secret')",
            "(url='postgresql+psycopg://***@[::1]:5/x?***')",
        ),
        ("with url: /runs?max=1&access_token=secret (Caused by", "with url: /runs?max=1&access_token=*** (Caused by"),
        ("to https://secret@host, https://ann:sec/ret@host", "to https://***@host, https://***@host"),
        ("to ann:secret@host", "to ***@host"),
    ],
)
def test_what_a_library_wrote(text: str, told: str) -> None:
    assert without_credentials(text) == told
