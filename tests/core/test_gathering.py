"""Requests are answered together, each gets its own answer, and nobody waits for nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from serve.gathering import Gatherer, in_thread


class Work:
    """Doubles numbers, and waits for `go` before each batch."""

    def __init__(self, open_: bool = True) -> None:
        self.batches: list[list[int]] = []
        self.begun = threading.Event()
        self.go = threading.Event()
        if open_:
            self.go.set()

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append(list(numbers))
        self.begun.set()
        assert self.go.wait(30)
        if 13 in numbers:
            raise ValueError("thirteen")
        return [2 * number for number in numbers]


async def while_the_first_is_worked_on(work: Work, gatherer: Gatherer[int, int], later: Sequence[int]) -> list[object]:
    """Answers to 0 and to what comes while 0 is worked on."""
    first = asyncio.create_task(gatherer.answer(0))
    await asyncio.to_thread(work.begun.wait, 30)
    tasks = []
    for number in later:  # one by one, as they come over HTTP
        tasks.append(asyncio.create_task(gatherer.answer(number)))
        await asyncio.sleep(0.002)
    work.go.set()
    return await asyncio.gather(first, *tasks, return_exceptions=True)


def test_what_comes_while_the_model_is_at_work_is_one_batch() -> None:
    work = Work(open_=False)
    answers = asyncio.run(while_the_first_is_worked_on(work, Gatherer(in_thread(work), most=64), range(1, 9)))
    assert answers == [2 * number for number in range(9)]
    assert work.batches == [[0], list(range(1, 9))]


def test_a_batch_has_an_upper_size_and_one_answers_each_alone() -> None:
    for most, batches in ((3, [[0], [1, 2, 3], [4, 5]]), (1, [[0], [1], [2], [3], [4], [5]])):
        work = Work(open_=False)
        answers = asyncio.run(while_the_first_is_worked_on(work, Gatherer(in_thread(work), most), range(1, 6)))
        assert answers == [0, 2, 4, 6, 8, 10]
        assert work.batches == batches


def test_requests_that_come_together_share_the_first_batch() -> None:
    async def together() -> list[int]:
        return list(await asyncio.gather(*(gatherer.answer(number) for number in range(5))))

    work = Work()
    gatherer = Gatherer(in_thread(work), most=64)
    assert asyncio.run(together()) == [0, 2, 4, 6, 8]
    assert work.batches == [[0, 1, 2, 3, 4]]


def test_an_error_reaches_all_of_its_batch_and_no_other() -> None:
    work = Work(open_=False)
    answers = asyncio.run(while_the_first_is_worked_on(work, Gatherer(in_thread(work), most=2), (12, 13, 14)))
    assert answers[0] == 0
    assert [str(answer) for answer in answers[1:3]] == ["thirteen", "thirteen"]
    assert answers[3] == 28


def test_who_gave_up_is_not_worked_for() -> None:
    async def one_gives_up() -> int:
        first = asyncio.create_task(gatherer.answer(0))
        await asyncio.to_thread(work.begun.wait, 30)
        second, third = (asyncio.create_task(gatherer.answer(number)) for number in (1, 2))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        work.go.set()
        await first
        return await third

    work = Work(open_=False)
    gatherer = Gatherer(in_thread(work), most=64)
    assert asyncio.run(one_gives_up()) == 4
    assert work.batches == [[0], [2]]


def test_several_batches_may_be_under_way() -> None:
    """Two are; what comes meanwhile waits, and then goes on together."""
    under_way, most_under_way, batches = 0, 0, []

    async def work(numbers: Sequence[int]) -> list[int]:
        nonlocal under_way, most_under_way
        under_way += 1
        most_under_way = max(most_under_way, under_way)
        batches.append(list(numbers))
        await asyncio.sleep(0.2)
        under_way -= 1
        return [-number for number in numbers]

    async def one_by_one() -> list[int]:
        tasks = []
        for number in range(9):
            tasks.append(asyncio.create_task(gatherer.answer(number)))
            await asyncio.sleep(0.01)
        return list(await asyncio.gather(*tasks))

    gatherer = Gatherer(work, most=64, at_once=2, wait_s=0.0)
    assert asyncio.run(one_by_one()) == [-number for number in range(9)]
    assert most_under_way == 2
    assert batches == [[0], [1], list(range(2, 9))]


def test_a_missing_answer_is_an_error_and_nobody_waits_for_it() -> None:
    async def forgetful(numbers: Sequence[int]) -> list[int]:
        return []

    with pytest.raises(ValueError, match="zip"):
        asyncio.run(asyncio.wait_for(Gatherer[int, int](forgetful, most=8).answer(1), 10))
