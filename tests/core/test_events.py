"""Streams of events."""

from __future__ import annotations

import asyncio

from serve.errors import NotFoundError
from serve.events import stream


def test_a_stream_ends_with_its_campaign() -> None:
    rows = iter([[(1, "status", "{}")]])

    def poll(_: int) -> list[tuple[int, str, str]]:
        if (found := next(rows, None)) is None:
            raise NotFoundError("there is no such campaign")
        return found

    async def read() -> list[str]:
        return [text async for text in stream(poll, 0, follow=True)]

    assert asyncio.run(read()) == ["id: 1\nevent: status\ndata: {}\n\n"]
