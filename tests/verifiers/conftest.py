"""What tests of verifiers share: a pool, a folder on the path of workers too, and real servers of vLLM."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from warm import Child, WarmPython

from journeyman.verifiers.isolation.pool import PoolLimits, VerifierPool

sys.path.append(str(Path(__file__).parent))

START_SECONDS = 400

ENVIRONMENT = os.environ | {
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
}

SERVES = """
from multiprocessing import context
from vllm.entrypoints.launchers.api_server.entry import main

# on CPU vLLM spawns its three processes, of which each imports it anew, for 6 of a server's 21 seconds of work
context._concrete_contexts["spawn"] = context._concrete_contexts["fork"]
main()
"""
"""What `vllm serve` starts; that command fails with vllm-cpu: it asks for the version of a package `vllm`."""

IMPORTS = [
    "vllm.entrypoints.launchers.api_server.entry",
    "vllm.model_executor.models.llama",
    "vllm.v1.engine.async_llm",
    "vllm.v1.worker.cpu_worker",
]


@pytest.fixture(scope="session")
def pool() -> Iterator[VerifierPool]:
    """One for all tests that need no limits of their own."""
    with VerifierPool(PoolLimits(workers=1)) as shared:
        yield shared


@contextmanager
def running(python: WarmPython, model: Path, arguments: tuple[str, ...], log: Path) -> Iterator[str]:
    """vLLM's server on a free port of this machine while the block runs; gives its URL, without `/v1`.

    The server and its children are one process group, all killed at the end.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["-c", SERVES, "--model", str(model), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--dtype", "float32", "--enforce-eager", "--max-num-seqs", "8", *arguments]
    with log.open("wb") as out:
        server = python.start(command, log.parent, ENVIRONMENT, out, out)
    try:
        wait_until_up(server, f"http://127.0.0.1:{port}", log)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill_session()


def wait_until_up(server: Child, url: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        assert server.poll() is None, f"the server ended:\n{log.read_text()[-3000:]}"
        try:
            if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    pytest.fail(f"no server after {START_SECONDS} s:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="session")
def vllm_python() -> Iterator[WarmPython]:
    """Has vLLM imported once for all servers of this test process."""
    python = WarmPython(IMPORTS, ENVIRONMENT)
    yield python
    python.close()


@pytest.fixture
def serve_vllm(vllm_python: WarmPython, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """`serve_vllm(folder, "--served-model-name", "judge", ...)`: the URL of a server that lasts as long as the test.

    Mark tests that use it `slow` and `vllm`.
    """
    with ExitStack() as servers:

        def serve(model: Path, *arguments: str) -> str:
            return servers.enter_context(running(vllm_python, model, arguments, tmp_path / "server.log"))

        yield serve
