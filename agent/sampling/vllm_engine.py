"""Sampler on vLLM, in this process: one thread at a time drives `LLMEngine.add_request` and `step`."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from journeyman.agent.data import Completion, PolicyRef, SamplingParams
from journeyman.agent.errors import JourneymanError, SamplerError
from journeyman.agent.manifests import check
from journeyman.agent.sampling.batching import Batcher, Request
from journeyman.agent.sampling.settings import SamplerSettings, check_room
from journeyman.agent.sampling.vllm_start import start_engine
from journeyman.agent.sampling.worker import EngineThread

MAX_REASON_CHARS = 400
"""Longest part of an error of vLLM's that our one line quotes."""

_ONE_ENGINE = threading.Lock()  # vLLM keeps its distributed state in globals


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """Something to do to the engine while no request is under way."""

    what: str
    """For the error where it fails, e.g. "load the policy"."""
    work: Callable[[], None]
    done: Future[None]


_Order: TypeAlias = list[Request] | _Job
"""What the engine is sent."""


class VllmSampler:
    """Samples with a vLLM engine. Requests join while others are under way; weights change while none is.

    A request's random numbers are keyed by its seed. Which requests share a step depends on timing, so the last bits
    of log-probs, and now and then a token, may differ between runs. One engine a process at a time.
    """

    def __init__(self, policy: PolicyRef, settings: SamplerSettings) -> None:
        """Starts the engine with the policy. Raises SamplerError where vLLM cannot run it, or another one is open.

        DamagedPolicyError where its files are not those that were saved.
        """
        check(policy)
        if not _ONE_ENGINE.acquire(blocking=False):
            raise SamplerError("a vLLM engine is open in this process already: close it, or share it")
        self._settings = settings
        self._inbox: queue.SimpleQueue[_Order] = queue.SimpleQueue()
        self._thread = EngineThread("vllm")
        try:
            self._driver = self._thread.submit(lambda: _Driver(policy, settings)).result()
        except Exception as error:  # vLLM raises errors of many kinds at its start
            _ONE_ENGINE.release()
            if isinstance(error, JourneymanError):
                raise
            raise SamplerError(f"vLLM cannot start with {policy.path!r}: {_one_line(error)}") from error
        self._batcher = Batcher(self._take)

    async def generate(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
        """One completion. Raises SamplerError where it could outgrow `context_tokens` or the engine has failed."""
        check_room(prompt_ids, params, self._settings)
        return await self._batcher.submit(prompt_ids, params)

    async def score(self, sequences: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        """(L - 1,) log-probs at temperature 1 of each sequence's tokens after the first, as of a prompt's."""
        found: list[NDArray[np.float32]] = []
        rows = [list(map(int, ids)) for ids in sequences]
        await asyncio.wrap_future(self._do("score", lambda: found.extend(self._driver.score(rows))))
        return found

    async def load_policy(self, policy: PolicyRef) -> None:
        """Swaps full weights or the adapter, once no request is under way, and empties the prefix cache.

        In place, but for mixtures of experts, whose engine is started anew for full weights. Raises
        DamagedPolicyError, and keeps the present ones, where its files are not those that were saved.
        """
        await asyncio.wrap_future(self._do("load the policy", lambda: self._driver.load(policy)))

    def close(self) -> None:
        """Ends the engine, once no request is under way, and frees its memory."""
        try:
            self._do("shut down", self._driver.shut_down).result()
        finally:
            _ONE_ENGINE.release()

    async def _take(self, requests: list[Request]) -> None:
        self._send(requests)

    def _do(self, what: str, work: Callable[[], None]) -> Future[None]:
        job = _Job(what, work, Future())
        self._send(job)
        return job.done

    def _send(self, order: _Order) -> None:
        self._inbox.put(order)
        self._thread.submit(self._serve)  # where the call before it has taken the order, this one finds nothing to do

    def _serve(self) -> None:
        """Takes orders in their order, and steps the engine while requests are under way."""
        orders: deque[_Order] = deque()
        while orders or self._driver.running or not self._inbox.empty():
            while not self._inbox.empty():
                orders.append(self._inbox.get())
            while orders and (isinstance(orders[0], list) or not self._driver.running):
                order = orders.popleft()
                if isinstance(order, _Job):
                    _finish(order)
                else:
                    self._driver.add(order)
            if self._driver.running:
                self._driver.step()


def _finish(job: _Job) -> None:
    try:
        job.work()
    except JourneymanError as error:
        job.done.set_exception(error)
    except Exception as error:
        job.done.set_exception(SamplerError(f"vLLM cannot {job.what}: {_one_line(error)}"))
    else:
        job.done.set_result(None)


class _Driver:
    """The engine and the requests under way; touched by the engine's thread alone."""

    def __init__(self, policy: PolicyRef, settings: SamplerSettings) -> None:
        self._engine: Any = start_engine(policy, settings)
        self._settings = settings
        self._eager = bool(self._engine.vllm_config.model_config.enforce_eager)
        self._path: str | None = policy.path
        self._adapter: Any = None
        self._adapters = 0
        self._requests = 0
        self._failure: SamplerError | None = None
        self.running: dict[str, Request] = {}
        if policy.adapter is not None:
            self._start_adapter(policy.adapter)

    def add(self, requests: list[Request]) -> None:
        """Hands requests to the engine; one that it refuses fails alone. After a failed step it takes none."""
        for request in requests:
            self._requests += 1
            name = str(self._requests)
            try:
                if self._failure is not None:
                    raise self._failure
                prompt = {"type": "token", "prompt_token_ids": [int(i) for i in request.prompt_ids]}
                self._engine.add_request(name, prompt, _engine_params(request.params), lora_request=self._adapter)
            except SamplerError as error:
                _deliver([(request, error)])
            except Exception as error:
                _deliver([(request, SamplerError(f"vLLM refuses a request: {_one_line(error)}"))])
            else:
                self.running[name] = request

    def step(self) -> None:
        """One step of the engine; its failure fails all that is under way."""
        try:
            done = {output.request_id: _completion(output) for output in self._stepped() if output.finished}
        except Exception as error:
            self._failure = SamplerError(f"the vLLM engine failed: {_one_line(error)}; open the sampler again")
            _deliver([(request, self._failure) for request in self.running.values()])
            self.running = {}
            return
        _deliver([(self.running.pop(name), completion) for name, completion in done.items()])

    def _stepped(self) -> Any:
        import torch

        torch.get_num_threads()  # a fresh thread takes its number of threads here, and not in the middle of the step
        # vLLM compiles a small function even where it runs eagerly: a machine without a C++ compiler must do.
        with torch.compiler.set_stance("force_eager") if self._eager else nullcontext():
            return self._engine.step()

    def score(self, rows: list[list[int]]) -> list[NDArray[np.float32]]:
        """Log-probs of the rows' tokens after the first; nothing else is under way.

        One after another: with several, vLLM's output layer takes one request's adapter for another's tokens.
        """
        if self._failure is not None:
            raise self._failure
        found = []
        for ids in rows:
            prompt = {"type": "token", "prompt_token_ids": ids}
            self._requests += 1
            self._engine.add_request(str(self._requests), prompt, _scoring_params(), lora_request=self._adapter)
            outputs: list[Any] = []
            while not outputs:
                outputs = [output for output in self._stepped() if output.finished]
            found.append(np.array(outputs[0].prompt_logprobs.logprobs, np.float32))
        return found

    def load(self, policy: PolicyRef) -> None:
        """Loads the policy and empties the prefix cache; raises SamplerError where that fails.

        Full weights are always read anew; the base of an adapter only where its path has changed.
        """
        if self._failure is not None:
            raise self._failure
        check(policy)
        if self._adapter is not None:
            self._engine.remove_lora(self._adapter.lora_int_id)
            self._adapter = None
        if policy.adapter is None or policy.path != self._path:
            self._path = None  # unknown, should the loading fail
            self._read(policy)
            self._path = policy.path
        if policy.adapter is not None:
            self._use_adapter(policy.adapter)
        if not self._engine.reset_prefix_cache():
            raise SamplerError("vLLM did not empty its prefix cache: its next completions would mix two policies")

    def _read(self, policy: PolicyRef) -> None:
        """Puts the full weights of `policy.path` into the engine.

        vLLM's reloading leaves experts in a layout that its kernels do not take, or as they were (gpt-oss), and on a
        CPU the packed copy of an output layer that is tied to the embeddings.
        """
        if self._engine.model_config.is_moe:
            self.shut_down()
            try:
                self._engine = start_engine(policy, self._settings)
            except Exception as error:
                self._failure = SamplerError(f"vLLM cannot start with {policy.path!r}: {_one_line(error)}")
                raise self._failure from error
        else:
            self._engine.collective_rpc("reload_weights", kwargs={"weights_path": policy.path})
            self._engine.apply_model(_pack_heads)

    def shut_down(self) -> None:
        """Frees the engine's memory and leaves the process as it was, so that another engine can start.

        Nothing where there is none, since it did not start anew.
        """
        from vllm.distributed import cleanup_dist_env_and_memory

        if self._engine is None:
            return
        self._engine.engine_core.shutdown()
        self._engine = None
        cleanup_dist_env_and_memory()

    def _start_adapter(self, folder: str) -> None:
        try:
            self._use_adapter(folder)
        except Exception:
            self.shut_down()
            raise

    def _use_adapter(self, folder: str) -> None:
        from vllm.lora.request import LoRARequest

        if not self._settings.lora_rank:
            raise SamplerError(f"adapter {folder!r} needs an engine with adapters: set lora_rank to its rank or more")
        self._adapters += 1  # a new id and name for each version: vLLM caches adapters by id, and blocks by name
        self._adapter = LoRARequest(f"version-{self._adapters}", self._adapters, folder)
        self._engine.add_lora(self._adapter)


def _engine_params(params: SamplingParams) -> Any:
    from vllm import SamplingParams as EngineParams
    from vllm.sampling_params import RequestOutputKind

    return EngineParams(
        max_tokens=params.max_tokens,
        temperature=params.temperature,
        seed=params.seed,
        stop_token_ids=list(params.stop_ids),
        ignore_eos=True,  # the caller's stop tokens alone end a completion
        logprobs=0,  # of the sampled token only
        flat_logprobs=True,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _scoring_params() -> Any:
    from vllm import SamplingParams as EngineParams
    from vllm.sampling_params import RequestOutputKind

    kind = RequestOutputKind.FINAL_ONLY
    return EngineParams(max_tokens=1, prompt_logprobs=0, flat_logprobs=True, detokenize=False, output_kind=kind)


def _pack_heads(model: Any) -> None:
    """Has output layers make what they compute with of their present weights."""
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

    for module in model.modules():
        if isinstance(module, ParallelLMHead):
            module.quant_method.process_weights_after_loading(module)


def _completion(output: Any) -> Completion:
    (result,) = output.outputs
    return Completion(
        np.array(result.token_ids, np.int32),
        np.array(result.logprobs.logprobs, np.float32),
        result.finish_reason == "stop",
    )


def _deliver(results: Sequence[tuple[Request, Completion | SamplerError]]) -> None:
    """Hands results over to the event loops that wait for them."""
    loops = {request.future.get_loop() for request, _ in results}
    for loop in loops:
        if not loop.is_closed():  # else nobody waits any more
            mine = [(request, result) for request, result in results if request.future.get_loop() is loop]
            loop.call_soon_threadsafe(_resolve, mine)


def _resolve(results: Sequence[tuple[Request, Completion | SamplerError]]) -> None:
    for request, result in results:
        if isinstance(result, Completion):
            request.succeed(result)
        else:
            request.fail(result)


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:MAX_REASON_CHARS]}"
