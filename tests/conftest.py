"""A chat server that says what it is told to, a clock for tests of what must cost little, and the tests' order."""

from __future__ import annotations

import gc
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# several workers share the cores: threads that wait awake for others of another process would take them from those
os.environ.setdefault("OMP_NUM_THREADS", "1")


TOGETHER = {
    "tests/workflows/commands/test_schedule.py": "prefect",
    "tests/verifiers/models/prm/test_server.py": "vllm servers",
    "tests/verifiers/judges/test_judge.py": "vllm servers",
    "tests/agent/sampling/test_vllm_engine.py": "vllm engine",
    "tests/agent/sampling/test_hand_over.py": "vllm engine",
    "tests/workflows/stages/test_hindsight_groups.py": "hindsight groups",
    "tests/verifiers/isolation/test_misbehaviour.py": "misbehaviour",
    "tests/agent/learning/test_against_trl.py": "trl",
    "tests/agent/test_gguf_models.py": "smollm2",
}
"""Files whose tests share what takes seconds to set up: one of xdist's workers gets all tests of a group."""


def file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first, so that at the end no worker has much left while the other one has nothing."""
    groups = list(dict.fromkeys(TOGETHER.values()))

    def place(item: pytest.Item) -> tuple[int, bool]:
        group = TOGETHER.get(file_of(item.nodeid))
        return groups.index(group) if group else len(groups), item.get_closest_marker("slow") is None

    items.sort(key=place)


class Groups(LoadScopeScheduling):
    """Tests one by one in their order, but those of a group as one piece.

    The mark `xdist_group` needs a way into pytest's node ids that pytest 9.2 no longer has; with it nothing is grouped.
    """

    def _split_scope(self, nodeid: str) -> str:
        return TOGETHER.get(file_of(nodeid), nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Groups:
    config.option.loadscopereorder = False  # it would put pieces of many tests before those that take long
    return Groups(config, log)


class ChatServer:
    """An OpenAI-compatible server of the model `fake`; `answer` is the test's.

    It is given a request's body and how many came before, and gives the text to say, or a status with a body and
    headers; what it raises or how long it sleeps is the client's trouble.
    """

    def __init__(self) -> None:
        self.answer: Callable[[dict[str, Any], int], str | tuple[int, str, dict[str, str]]] = lambda body, number: "?"
        self.finish_reason = "stop"
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.headers: list[dict[str, str]] = []
        self.most_at_once = 0
        self._lock, self._at_once = threading.Lock(), 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(outer) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = self.path == "/v1/models"
                self._send(200 if found else 404, json.dumps({"data": [{"id": "fake"}]}) if found else "Not Found", {})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path != "/v1/chat/completions":
                    self._send(404, "Not Found", {})
                    return
                with outer._lock:
                    number = len(outer.bodies)
                    outer.bodies.append(body)
                    outer.keys.append(self.headers.get("Authorization"))
                    outer.headers.append(dict(self.headers))
                    outer._at_once += 1
                    outer.most_at_once = max(outer.most_at_once, outer._at_once)
                said = outer.answer(body, number)
                with outer._lock:
                    outer._at_once -= 1
                if isinstance(said, str):
                    choice = {"message": {"role": "assistant", "content": said}, "finish_reason": outer.finish_reason}
                    said = 200, json.dumps({"choices": [choice]}), {}
                self._send(*said)

            def _send(self, status: int, text: str, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in (headers | {"Content-Length": str(len(text.encode()))}).items():
                    self.send_header(name, value)
                self.end_headers()
                with suppress(OSError):  # the client may have gone
                    self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@pytest.fixture
def chat_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    """A chat endpoint that says what the test tells it to; what fails is asked for again at once."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    server = ChatServer()
    yield server
    server.close()


@pytest.fixture
def own_time() -> Iterator[Callable[[], float]]:
    """The CPU clock of this thread, while no collection of what other tests left behind falls into it."""
    gc.disable()
    yield time.thread_time
    gc.enable()
