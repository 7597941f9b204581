"""Chat servers for tests of what asks one over HTTP: real ones of vLLM, and one that says what it is told to.

And a clock for tests of what must cost little.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from journeyman.agent.chat import client as chat_client

# several workers share the cores: threads that wait awake for others of another process would take them from those
os.environ.setdefault("OMP_NUM_THREADS", "1")

START_SECONDS = 400
"""A server is up after 60 to 90 s on two free cores."""

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
}


@contextmanager
def running(model: Path, arguments: tuple[str, ...], log: Path) -> Iterator[str]:
    """vLLM's server on a free port of this machine while the block runs; gives its URL, without `/v1`.

    It is what `vllm serve MODEL ARGUMENTS` starts; that command itself fails with the package vllm-cpu, since it asks
    for the version of a package `vllm`. The server and its children are one process group, all killed at the end.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--dtype", "float32", "--enforce-eager", "--max-num-seqs", "8", *arguments]
    with log.open("w") as out:
        server = subprocess.Popen(command, env=os.environ | ENVIRONMENT, stdout=out, stderr=out, start_new_session=True)
        try:
            wait_until_up(server, f"http://127.0.0.1:{port}", log)
            yield f"http://127.0.0.1:{port}"
        finally:
            with suppress(ProcessLookupError):  # it may have ended by itself
                os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def wait_until_up(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        assert server.poll() is None, f"the server ended:\n{log.read_text()[-3000:]}"
        try:
            if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    pytest.fail(f"no server after {START_SECONDS} s:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def serve_vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """`serve_vllm(folder, "--served-model-name", "judge", ...)`: the URL of a server that lasts as long as the module.

    Mark tests that use it `slow` and `vllm`.
    """
    logs = tmp_path_factory.mktemp("vllm")
    with ExitStack() as servers:

        def serve(model: Path, *arguments: str) -> str:
            log = logs / f"server-{len(list(logs.iterdir()))}.log"
            return servers.enter_context(running(model, arguments, log))

        yield serve


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
    monkeypatch.setattr(chat_client, "BACKOFF_SECONDS", 0.01)
    server = ChatServer()
    yield server
    server.close()


@pytest.fixture
def own_time() -> Iterator[Callable[[], float]]:
    """The CPU clock of this thread, while no collection of what other tests left behind falls into it."""
    gc.disable()
    yield time.thread_time
    gc.enable()
