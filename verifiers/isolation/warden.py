"""The warden: the one process that a pool starts. It has what workers need imported, and forks a guardian for each.

So a worker is there within milliseconds, and the pool's own process has one child, adopts nobody and forks nothing.
The warden ends with the pool, however that one ends, and everything below it ends before it does.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket

from journeyman.verifiers.isolation.guardian import guard
from journeyman.verifiers.isolation.processes import adopt_orphans, children, end_below, end_with, held_back, news_of


def main(descriptor: int, parent: int, cpu_seconds: int, memory_bytes: int) -> None:
    """Starts a worker for each pair of sockets that comes through its own, `descriptor`, until the pool closes that.

    The first of a pair is the worker's, the second its guardian's.
    """
    with held_back():
        adopt_orphans()
        news = news_of(signal.SIGCHLD, signal.SIGTERM)
        end_with(parent, signal.SIGTERM)
    orders = socket.socket(fileno=descriptor)
    guardians: set[int] = set()
    with selectors.DefaultSelector() as selector:
        selector.register(orders, selectors.EVENT_READ)
        selector.register(news[0], selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if news[0] in ready:
                if signal.SIGTERM in os.read(news[0], 2**10):
                    break
                _bury(guardians)
            if orders in ready:
                told, descriptors, _, _ = socket.recv_fds(orders, 1, 2)
                if not told:
                    break
                guardians.add(_fork(orders, news, descriptors, (cpu_seconds, memory_bytes)))
    end_below()


def _fork(orders: socket.socket, news: tuple[int, int], descriptors: list[int], limits: tuple[int, int]) -> int:
    """A new guardian's process."""
    channel, line = descriptors
    warden = os.getpid()
    with held_back():
        guardian = os.fork()
        if guardian == 0:
            try:
                orders.close()
                for end in news:
                    os.close(end)
                guard(warden, channel, socket.socket(fileno=line), *limits)
            finally:
                os._exit(0)
    for end in descriptors:
        os.close(end)
    return guardian


def _bury(guardians: set[int]) -> None:
    """Takes note of guardians that have ended, and ends what is left of one that was killed."""
    guardians -= {one for one in guardians if os.waitpid(one, os.WNOHANG)[0]}
    while strangers := children() - guardians:  # what a killed one had started is a child by the next round
        for stranger in strangers:
            os.kill(stranger, signal.SIGKILL)
        for stranger in strangers:
            os.waitpid(stranger, 0)
