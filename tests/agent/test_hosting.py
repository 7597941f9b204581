"""Other people's code in threads: whatever it does takes a bounded time, and what breaks is told as an outage."""

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from journeyman.agent.errors import InvalidAction, Late, Outage, SandboxError
from journeyman.agent.hosting import Host, a_host, call_bounded, quick_calls_ended


class StubbornError(Exception):
    """Its text cannot be had."""

    def __str__(self):
        raise RuntimeError("no text")


def asked(function, seconds=5.0):
    async def once():
        host = a_host(5.0)
        try:
            return await host.call("ask", function, seconds)
        finally:
            host.retire()

    return asyncio.run(once())


async def value():
    await asyncio.sleep(0)
    return 7


def raising(error):
    async def call():
        raise error

    return call


def test_a_value_comes_back_and_hosts_serve_again():
    assert asked(value) == 7
    before = threading.active_count()
    assert [asked(value) for _ in range(50)] == [7] * 50
    assert threading.active_count() <= before + 5


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("bad"), "ask: ValueError: bad"),
        (ValueError(), "ask: ValueError"),
        (SystemExit(3), "ask: SystemExit: 3"),
        (KeyboardInterrupt(), "ask: KeyboardInterrupt"),
        (asyncio.CancelledError("gone"), "ask: CancelledError: gone"),
        (GeneratorExit(), "ask: GeneratorExit"),
        (TimeoutError("own"), "ask: TimeoutError: own"),
        (StubbornError(), "ask: StubbornError"),
        (RuntimeError("\ud800x"), "ask: RuntimeError: \\ud800x"),
    ],
)
def test_whatever_is_raised_is_an_outage(error, text):
    with pytest.raises(Outage) as caught:
        asked(raising(error))
    assert str(caught.value) == text


def test_a_long_text_is_cut():
    with pytest.raises(Outage) as caught:
        asked(raising(ValueError("x" * 10_000)))
    assert len(str(caught.value)) < 2100


@pytest.mark.parametrize("error", [InvalidAction("no"), SandboxError("no bubblewrap")])
def test_what_is_not_an_outage_is_raised_as_it_is(error):
    with pytest.raises(type(error), match=str(error)):
        asked(raising(error))


async def awaits_for_ever():
    await asyncio.Event().wait()


async def sleeps():
    time.sleep(1.5)  # noqa: ASYNC251 (that it blocks is what is tested)


async def spins():
    while True:
        pass


async def is_deaf():
    while True:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            continue


@pytest.mark.parametrize("hangs", [awaits_for_ever, sleeps, spins, is_deaf])
def test_what_does_not_answer_is_given_up(hangs):
    started = time.monotonic()
    with pytest.raises(Outage, match=r"ask: no answer within 0\.1 s"):
        asked(hangs, 0.1)
    assert time.monotonic() - started < 5


def test_a_loop_that_spins_is_ended():
    host = Host()

    async def once():
        with pytest.raises(Outage):
            await host.call("ask", spins, 0.05)

    asyncio.run(once())
    host._thread.join(10)
    assert not host._thread.is_alive()


def test_a_call_that_noticed_may_be_followed_by_another_and_a_stuck_one_not():
    async def twice(first):
        host = a_host(5.0)
        try:
            with pytest.raises(Outage):
                await host.call("ask", first, 0.05)
            return await host.call("then", value, 5)
        finally:
            host.retire()

    assert asyncio.run(twice(awaits_for_ever)) == 7
    with pytest.raises(Outage, match="then: not called, since an earlier call has not ended"):
        asyncio.run(twice(sleeps))


def test_a_plain_function_is_bounded_too():
    assert call_bounded("ask", lambda: 7, 5) == 7
    with pytest.raises(Late, match=r"ask: no answer within 0\.05 s"):
        call_bounded("ask", lambda: time.sleep(0.5), 0.05)
    with pytest.raises(Outage, match="ask: KeyError: 'x'"):
        call_bounded("ask", lambda: {}["x"], 5)


def test_many_at_once_do_not_wait_for_each_other():
    async def slow():
        time.sleep(0.2)  # noqa: ASYNC251 (the same)

    async def all_of_them():
        hosts = [a_host(5.0) for _ in range(40)]
        await asyncio.gather(*(host.call("ask", slow, 5) for host in hosts))
        for host in hosts:
            host.retire()

    started = time.monotonic()
    asyncio.run(all_of_them())
    assert time.monotonic() - started < 4  # one after another they take 8 s


def test_who_collects_waits_for_the_quick_and_not_for_the_slow():
    async def run():
        hosts, ended = [a_host(5.0) for _ in range(2)], []

        async def call(host, seconds):
            async def slow():
                await asyncio.sleep(seconds)

            await host.call("ask", slow, 5)
            ended.append(seconds)

        calls = [asyncio.create_task(call(host, s)) for host, s in zip(hosts, (0.2, 2.0), strict=True)]
        await asyncio.sleep(0)
        started = time.monotonic()
        await quick_calls_ended(0.6)
        first, seen = time.monotonic() - started, list(ended)
        await quick_calls_ended(0.6)  # the slow one is not waited for again
        again = time.monotonic() - started - first
        await asyncio.gather(*calls)
        return seen, first, again

    seen, first, again = asyncio.run(run())
    assert seen == [0.2]
    assert 0.2 <= first < 1.5
    assert again < 0.1


def test_a_process_ends_though_a_call_is_stuck():
    code = (
        "import time\n"
        "from journeyman.agent.hosting import call_bounded\n"
        "try: call_bounded('ask', lambda: time.sleep(1000), 0.05)\n"
        "except Exception as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("ask: no answer within 0.05 s\n", "")


def test_what_is_instant_is_called_where_it_is_asked():
    host, here = a_host(None), threading.get_ident()

    async def where():
        return threading.get_ident()

    assert asyncio.run(host.call("ask", where, None)) == here
    assert call_bounded("ask", threading.get_ident, None) == here
    assert call_bounded("ask", threading.get_ident, 5.0) != here
    for error, text in ((ValueError("bad"), "ask: ValueError: bad"), (SystemExit(3), "ask: SystemExit: 3")):
        with pytest.raises(Outage, match=f"^{text}$"):
            asyncio.run(host.call("ask", raising(error), None))
        with pytest.raises(Outage, match=f"^{text}$"):
            call_bounded("ask", lambda error=error: throw(error), None)
    for meant_for_us in (InvalidAction("no"), SandboxError("none"), KeyboardInterrupt()):
        with pytest.raises(type(meant_for_us)):
            call_bounded("ask", lambda error=meant_for_us: throw(error), None)


def throw(error):
    raise error
