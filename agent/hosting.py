"""Threads that other people's code runs in, so that whatever it does takes a bounded time.

Each environment lives in a host of its own, a thread with an event loop, but for those that promise to be instant.
Code that awaits and code that blocks are alike from outside: what does not answer in time is given up. Python cannot
end a thread from outside; one that is stuck in a call to the system stays behind, asleep, until the process ends, and
is never used again.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import resource
import selectors
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from journeyman.agent.errors import InvalidAction, JourneymanError, Late, Outage, UsageError

logger = logging.getLogger(__name__)

T = TypeVar("T")
Seconds: TypeAlias = float | None
"""What a call may take; None for one that promises to be instant, which is made where it is asked for."""

MAX_REASON_CHARS = 2000
"""Longest text kept of what was raised."""
_GRACE_S = 1.0
"""How long a call that was given up may take to notice it."""
_SPARE = 256
"""Most hosts kept for the next episodes."""
_FILES = 65_536


class Outcome(Generic[T]):
    """What became of a call: a value, or what it raised."""

    def __init__(self, value: T | None = None, raised: BaseException | None = None) -> None:
        self._value, self._raised = value, raised

    def get(self) -> T:
        """The value; raises what was raised."""
        if self._raised is not None:
            raise self._raised
        return self._value  # type: ignore[return-value]  # T may be None


class Host:
    """A thread with an event loop, for the calls of one environment, one after another."""

    def __init__(self) -> None:
        self._loop = _new_loop()
        self._task: asyncio.Task[None] | None = None
        self._stuck = False
        self._thread = threading.Thread(target=self._run, name="environment", daemon=True)
        self._thread.start()

    async def call(self, what: str, function: Callable[[], Awaitable[T]], seconds: Seconds) -> T:
        """What `function` returns in the thread; raises Outage where it raises or has no answer within `seconds`.

        InvalidAction, and this package's own errors, are raised as they are.
        """
        if self._stuck:
            raise Outage(f"{what}: not called, since an earlier call has not ended")
        with _calls_of_this_loop().one_more():
            outcome = await self._in_thread(lambda: _outcome(what, function), seconds)
        if outcome is None:
            await self._give_up()
            raise Late(f"{what}: no answer within {seconds:g} s")
        return outcome.get()

    def call_now(self, what: str, function: Callable[[], T], seconds: Seconds) -> T:
        """The same for a plain function, and for callers that are not async."""
        answer: SimpleQueue[Outcome[T]] = SimpleQueue()

        async def called() -> T:
            return function()

        async def work() -> None:
            answer.put(await _outcome(what, called))

        self._loop.call_soon_threadsafe(lambda: self._loop.create_task(work()))
        try:
            return answer.get(timeout=seconds).get()
        except Empty:
            self._abandon()  # what is no coroutine does not notice that it is given up
            raise Late(f"{what}: no answer within {seconds:g} s") from None

    def retire(self) -> None:
        """The environment is closed: the host is kept for another, or its thread ends."""

        def settle() -> None:
            if asyncio.all_tasks(self._loop) or len(_spare) >= _SPARE:
                self._loop.stop()
            else:
                _spare.append(self)

        if not self._stuck:
            self._loop.call_soon_threadsafe(settle)

    async def _in_thread(self, function: Callable[[], Awaitable[T]], seconds: Seconds) -> T | None:
        """What it returns; None where that takes longer."""
        here = asyncio.get_running_loop()
        answer: asyncio.Future[T | None] = here.create_future()

        def deliver(found: T | None) -> None:
            if not answer.done():
                answer.set_result(found)

        async def work() -> None:
            found = await function()
            with suppress(RuntimeError):  # the caller's loop is closed: nobody waits any more
                here.call_soon_threadsafe(deliver, found)

        def begin() -> None:
            self._task = self._loop.create_task(work())

        late = None if seconds is None else here.call_later(seconds, deliver, None)
        self._loop.call_soon_threadsafe(begin)
        try:
            return await answer
        finally:
            if late is not None:
                late.cancel()

    async def _give_up(self) -> None:
        """Cancels the call under way; a thread that does not notice is asked to end, and never used again.

        Loops that Python runs end by it; a call to the system goes on until it returns.
        """
        task = self._task

        async def cancel() -> bool:
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
            return True

        if not await self._in_thread(cancel, _GRACE_S):
            self._abandon()

    def _abandon(self) -> None:
        self._stuck = True
        thread = ctypes.c_ulong(self._thread.ident or 0)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(SystemExit))
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self) -> None:
        with suppress(SystemExit):  # an abandoned thread is asked to end by it
            self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.call_soon(self._loop.stop)
        self._loop.run_forever()  # one turn, in which they hear of it
        self._loop.close()


class Here:
    """In the place of a host for what promises to be instant: it is called where it is asked, as long as it takes.

    To call over to another thread and back costs many times what such a call does.
    """

    async def call(self, what: str, function: Callable[[], Awaitable[T]], _seconds: Seconds = None) -> T:
        """As `Host.call`, without a limit; an interrupt is for the thread that it is made in, which is the caller's."""
        with _outages(what, Exception, SystemExit):
            return await function()

    def call_now(self, what: str, function: Callable[[], T], _seconds: Seconds = None) -> T:
        """As `Host.call_now`, likewise."""
        with _outages(what, Exception, SystemExit):
            return function()

    def retire(self) -> None:
        """There is nothing to free."""


@contextmanager
def _outages(what: str, *kinds: type[BaseException]) -> Iterator[None]:
    """The one boundary around other people's code: whatever it raises of these kinds is an outage.

    This package's own errors, and an action that cannot be taken, are raised as they are.
    """
    try:
        yield
    except (JourneymanError, InvalidAction, Outage):
        raise
    except kinds as error:
        raise Outage(f"{what}: {described(error)}") from error


def _new_loop() -> asyncio.AbstractEventLoop:
    """An event loop that takes two file descriptors; UsageError where there are none left."""
    try:
        loop = asyncio.SelectorEventLoop(selectors.PollSelector())
    except OSError as error:
        raise UsageError(
            f"no event loop for an environment: {error.strerror}; raise `ulimit -n` above three times the episodes "
            "under way, or set generate.chunk lower"
        ) from None
    loop.set_exception_handler(_note)
    return loop


class _Calls:
    """The calls of one event loop that are under way, less those that take long."""

    def __init__(self) -> None:
        self._begun: dict[object, float] = {}
        self._none_left = asyncio.Event()

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Counts a call while the block goes on; whoever made it goes on before anyone else hears of its end."""
        call = object()
        self._begun[call] = time.monotonic()
        try:
            yield
        finally:
            self._begun.pop(call, None)
            if not self._begun:
                self._none_left.set()

    async def quick_ones_ended(self, seconds: float) -> None:
        """Returns when none is under way that has not taken `seconds` yet; one that has is not waited for again."""
        while self._begun:
            self._none_left.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._none_left.wait(), seconds)
            latest = time.monotonic() - seconds
            self._begun = {call: began for call, began in self._begun.items() if began > latest}


_calls: WeakKeyDictionary[asyncio.AbstractEventLoop, _Calls] = WeakKeyDictionary()


def _calls_of_this_loop() -> _Calls:
    loop = asyncio.get_running_loop()
    if loop not in _calls:
        _calls[loop] = _Calls()
    return _calls[loop]


async def quick_calls_ended(seconds: float) -> None:
    """Returns when the running event loop has no call to a host under way that has not taken `seconds` yet.

    So whoever collects what several episodes ask for gets the same from the same episodes, however long each of their
    environments took, as long as that was less.
    """
    await _calls_of_this_loop().quick_ones_ended(seconds)


_spare: list[Host] = []
os.register_at_fork(after_in_child=_spare.clear)  # threads do not come along


def _note(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What tasks that an environment left behind complain of is its own affair."""
    logger.debug("an environment's event loop: %s", context.get("message"))


def a_host(seconds: Seconds) -> Host | Here:
    """A host that nobody else uses, for calls that may take so long; `retire` it at the end."""
    if seconds is None:
        return Here()
    with suppress(IndexError):
        return _spare.pop()
    _allow_many_files()
    return Host()


@cache
def _allow_many_files() -> None:
    """Hundreds of episodes go on at once: the limit of this process is raised to what the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def call_bounded(what: str, function: Callable[[], T], seconds: Seconds) -> T:
    """What a plain function of a plugin returns; raises Outage where it raises or has no answer within `seconds`."""
    host = a_host(seconds)
    try:
        return host.call_now(what, function, seconds)
    finally:
        host.retire()


async def _outcome(what: str, function: Callable[[], Awaitable[T]]) -> Outcome[T]:
    """What came of it in a thread of its own, where SystemExit and the like are outages too."""
    try:
        with _outages(what, BaseException):
            return Outcome(await function())
    except (JourneymanError, InvalidAction, Outage) as error:
        return Outcome(raised=error)


def described(error: BaseException) -> str:
    """Kind and text, in which only valid characters are left; the kind alone where the text cannot be had."""
    kind = type(error).__name__
    try:
        text = str(error)[:MAX_REASON_CHARS].encode(errors="backslashreplace").decode()
    except BaseException:
        return kind
    return f"{kind}: {text}" if text else kind
