"""The engine's thread: order, errors, and its end."""

from __future__ import annotations

import threading
import time

import pytest

from journeyman.agent.sampling.worker import EngineThread


def alive(name: str) -> bool:
    return any(thread.name == name for thread in threading.enumerate())


def wait_for_end(name: str) -> None:
    deadline = time.monotonic() + 5
    while alive(name):
        assert time.monotonic() < deadline, f"the thread {name} goes on without work"
        time.sleep(0.001)


def test_calls_are_made_in_order_on_one_thread_at_a_time():
    thread, made, inside = EngineThread("order"), [], []

    def work(number: int) -> int:
        inside.append(number)
        assert inside == [number], "two calls at once"
        time.sleep(0.0005)
        made.append(number)
        inside.remove(number)
        return number * number

    results = []
    for number in range(200):
        results.append(thread.submit(lambda n=number: work(n)))
        if number % 20 == 0:
            wait_for_end("order")  # so that a new thread takes over
    assert [r.result(timeout=10) for r in results] == [n * n for n in range(200)]
    assert made == list(range(200))


def test_a_thread_without_work_ends_and_another_takes_its_place():
    thread = EngineThread("ends")
    first = thread.submit(threading.get_ident).result(timeout=5)
    wait_for_end("ends")
    assert thread.submit(threading.current_thread).result(timeout=5).name == "ends"
    wait_for_end("ends")
    assert first != threading.get_ident()


def test_an_error_is_raised_for_its_own_call_alone():
    thread = EngineThread("errors")
    bad = thread.submit(lambda: 1 // 0)
    good = thread.submit(lambda: "done")
    with pytest.raises(ZeroDivisionError):
        bad.result(timeout=5)
    assert good.result(timeout=5) == "done"


def test_calls_from_many_threads_are_all_made():
    thread, lock, total = EngineThread("many"), threading.Lock(), []

    def send() -> None:
        for _ in range(50):
            future = thread.submit(lambda: len(total))
            future.result(timeout=10)
            with lock:
                total.append(1)

    senders = [threading.Thread(target=send) for _ in range(16)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(timeout=30)
    assert len(total) == 800
