"""Prefect's server, before Prefect is imported: does the one that is named answer, and what is it to be told?"""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.request

from journeyman.agent.credentials import hidden
from journeyman.agent.errors import UsageError

_ANSWER_LIMIT_S = 10.0


def check_prefect() -> None:
    """Raises UsageError where PREFECT_API_URL names a server that does not answer."""
    url = os.environ.get("PREFECT_API_URL")
    if url is None:
        return
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=_ANSWER_LIMIT_S):  # noqa: S310 (the user's own address)
            return
    except urllib.error.HTTPError:
        return  # something answers; what it makes of a key, Prefect will say
    except (OSError, ValueError, http.client.HTTPException) as error:
        remedy = "start one (`prefect server start`), correct the address or unset it, or pass --engine none to `run`"
        why = str(error) if isinstance(error, OSError) else "it is no URL"  # whose text may show a password
        raise UsageError(f"no Prefect server answers at PREFECT_API_URL {hidden(url)!r} ({why}): {remedy}") from None


def prepare_prefect() -> None:
    """Defaults for Prefect, to be set before it is imported; what the user has set stays."""
    defaults = {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",  # 25 s on two cores, the first time
        "PREFECT_LOGGING_LEVEL": "CRITICAL",  # an error is raised to the caller, who prints it once
        "PREFECT_LOGGING_SERVER_LEVEL": "CRITICAL",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
