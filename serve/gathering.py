"""Dynamic batching: requests that come while others are worked on wait, and are then answered together.

A batch begins when the one before it has ended, with all that waits by then. (`ray.serve.batch` closes a batch a fixed
time after its first request even while the model is at work; where requests come one by one, its batches hold one or
two.) Plain asyncio: used by the deployments of Ray Serve and by the service in one process.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

WAIT_S = 0.01  # that the first request waits for company where nothing is being worked on

Q = TypeVar("Q")  # a request
A = TypeVar("A")  # its answer


class Gatherer(Generic[Q, A]):
    """Answers requests in batches, one batch after the other. To be used from one event loop.

    Args:
        work: blocking; one answer per request, in their order. It runs in a thread.
        most: requests in a batch; 1 answers each alone.
        wait_s: seconds that the first request waits for company.
    """

    def __init__(self, work: Callable[[Sequence[Q]], Sequence[A]], most: int, wait_s: float = WAIT_S) -> None:
        self._work = work
        self._most = most
        self._wait_s = wait_s if most > 1 else 0.0
        self._waiting: deque[tuple[Q, asyncio.Future[A]]] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def answer(self, request: Q) -> A:
        """The answer to one request; whatever the work on its batch raises is raised for each request of it."""
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._drain())
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
            answers = await asyncio.to_thread(self._work, requests)
        except Exception as error:  # whatever it is, those who wait have to hear of it
            for future in futures:
                if not future.done():
                    future.set_exception(error)
            return
        for future, answer in zip(futures, answers, strict=True):
            if not future.done():
                future.set_result(answer)
