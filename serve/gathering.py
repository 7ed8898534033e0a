"""Dynamic batching: requests that come while others are worked on wait, and are then answered together.

A batch begins when one before it has ended, with all that waits by then. (`ray.serve.batch` closes a batch a fixed
time after its first request even while the model is at work; where requests come one by one, its batches hold one or
two.) Plain asyncio: used by the deployments of Ray Serve and by the service in one process.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

WAIT_S = 0.01  # that the first request waits for company where nothing is being worked on

Q = TypeVar("Q")  # a request
A = TypeVar("A")  # its answer

Work = Callable[[Sequence[Q]], Awaitable[Sequence[A]]]


def in_thread(work: Callable[[Sequence[Q]], Sequence[A]]) -> Work[Q, A]:
    """Blocking work as a `Gatherer` takes it."""

    async def threaded(requests: Sequence[Q]) -> Sequence[A]:
        return await asyncio.to_thread(work, requests)

    return threaded


class Gatherer(Generic[Q, A]):
    """Answers requests in batches. To be used from one event loop.

    Args:
        work: one answer per request, in their order.
        most: requests in a batch; 1 answers each alone.
        at_once: batches that are worked on at the same time.
        wait_s: seconds that a request waits for company where a batch could begin.
    """

    def __init__(self, work: Work[Q, A], most: int, at_once: int = 1, wait_s: float = WAIT_S) -> None:
        self._work = work
        self._most = most
        self._at_once = at_once
        self._wait_s = wait_s if most > 1 else 0.0
        self._waiting: deque[tuple[Q, asyncio.Future[A]]] = deque()
        self._workers: set[asyncio.Task[None]] = set()

    async def answer(self, request: Q) -> A:
        """The answer to one request; whatever the work on its batch raises is raised for each request of it."""
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future))
        self._workers = {worker for worker in self._workers if not worker.done()}
        if len(self._workers) < self._at_once:
            self._workers.add(asyncio.create_task(self._drain()))
        return await future

    async def _drain(self) -> None:
        await asyncio.sleep(self._wait_s)
        while self._waiting:
            together = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            wanted = [(request, future) for request, future in together if not future.done()]  # the others gave up
            if wanted:
                await self._answer([request for request, _ in wanted], [future for _, future in wanted])

    async def _answer(self, requests: Sequence[Q], futures: Sequence[asyncio.Future[A]]) -> None:
        try:
            answered = list(zip(futures, await self._work(requests), strict=True))
        except Exception as error:  # whatever it is, those who wait have to hear of it
            for future in futures:
                if not future.done():
                    future.set_exception(error)
            return
        for future, answer in answered:
            if not future.done():
                future.set_result(answer)
