"""What happens in a campaign, written down as events and read as a stream of server-sent events."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Callable

from discovery.records import Failure, Measurement, Proposal, RoundRecord
from serve.book import Book
from serve.errors import NotFoundError

EVERY_S = 0.5  # at most one event per stage in this time, besides its start and end
POLL_S = 0.3
HEARTBEAT_S = 15.0

Poll = Callable[[int], list[tuple[int, str, str]]]  # id -> later events


class EventsObserver:
    """Writes what happens into the book."""

    def __init__(self, book: Book, clock: Callable[[], float] = time.monotonic) -> None:
        self._book = book
        self._clock = clock
        self._round = 0
        self._total: int | None = None
        self._started = 0.0
        self._last = 0.0

    def stage_started(self, round_number: int, stage: str, total: int | None) -> None:
        """Write the stage at 0."""
        self._round, self._total = round_number, total
        self._started = self._last = self._clock()
        self._write(stage, 0, 0.0)

    def stage_advanced(self, stage: str, done: int) -> None:
        """Write how far the stage is, now and then."""
        now = self._clock()
        if now - self._last >= EVERY_S:
            self._last = now
            self._write(stage, done, now - self._started)

    def stage_finished(self, round_number: int, stage: str, seconds: float) -> None:
        """Write the stage as done."""
        self._round = round_number
        self._write(stage, self._total, seconds)

    def proposed(self, proposal: Proposal) -> None:
        """Nothing: the stages tell."""

    def answered(self, answer: Measurement | Failure) -> None:
        """Write an oracle's answer."""
        failed = isinstance(answer, Failure)
        above = None if isinstance(answer, Failure) else answer.energy_above_hull
        self._book.add_event(
            "answer",
            {
                "round": self._round,
                "formula": answer.formula,
                "energy_above_hull": above,
                "failure": answer.reason if failed and isinstance(answer, Failure) else None,
            },
        )

    def round_finished(self, record: RoundRecord) -> None:
        """Write the record."""
        self._book.add_event("round", dataclasses.asdict(record))

    def _write(self, stage: str, done: int | None, seconds: float) -> None:
        fields = {"round": self._round, "stage": stage, "done": done, "total": self._total}
        self._book.add_event("stage", {**fields, "seconds": round(seconds, 3)})


async def stream(poll: Poll, after: int, follow: bool) -> AsyncIterator[str]:
    """Events later than an id as the text of server-sent events.

    Args:
        poll: reads events; raises `NotFoundError` where the campaign is gone, which ends the stream.
        after: id of the last event that the client has.
        follow: wait for further events; False: end with those that are there.
    """
    silent = 0.0
    while True:
        try:
            found = await asyncio.to_thread(poll, after)
        except NotFoundError:
            return
        for number, event, data in found:
            after, silent = number, 0.0
            yield f"id: {number}\nevent: {event}\ndata: {data}\n\n"
        if not follow:
            return
        await asyncio.sleep(POLL_S)
        silent += POLL_S
        if silent >= HEARTBEAT_S:
            silent = 0.0
            yield ": still here\n\n"
