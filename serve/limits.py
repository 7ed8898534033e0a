"""Rates and queues with an end: what is beyond them is refused at once instead of growing in memory."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from serve.errors import BusyError, TooManyError

CLIENTS = 10_000  # that are remembered; the one silent for longest is forgotten


class RateLimiter:
    """A bucket of tokens per client: `burst` at first, refilled at `rate` per second."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # client -> (tokens, when)
        self._lock = threading.Lock()

    def check(self, client: str) -> None:
        """Take a token.

        Raises:
            TooManyError: there is none.
        """
        with self._lock:
            now = self._clock()
            tokens, when = self._buckets.pop(client, (float(self._burst), now))
            tokens = min(float(self._burst), tokens + (now - when) * self._rate)
            self._buckets[client] = (max(tokens - 1.0, 0.0) if tokens >= 1.0 else tokens, now)
            if len(self._buckets) > CLIENTS:
                self._buckets.popitem(last=False)
        if tokens < 1.0:
            raise TooManyError(f"more than {self._rate:g} requests per second: wait a second, then go on more slowly")


class Gate:
    """Admits requests up to a number and an amount of work; the one that finds it empty is always let in."""

    def __init__(self, requests: int, work: float) -> None:
        self._requests = requests
        self._work = work
        self._inside = 0
        self._load = 0.0
        self._lock = threading.Lock()

    @property
    def inside(self) -> int:
        """Requests that are in."""
        return self._inside

    @contextmanager
    def admit(self, work: float = 1.0) -> Iterator[None]:
        """Hold a place for the duration of the context.

        Raises:
            BusyError: it is full.
        """
        with self._lock:
            if self._inside and (self._inside >= self._requests or self._load + work > self._work):
                raise BusyError("the queue is full: try again after the time in Retry-After")
            self._inside += 1
            self._load += work
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                self._load -= work
