"""The one writer of a campaign: runs its rounds in the background, hands out candidates, takes answers."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from discovery.campaign import Campaign
from discovery.errors import DiscoveryError
from discovery.events import Observer, Observers
from discovery.oracles.external import EXTERNAL
from discovery.parts import load_campaign_oracle
from discovery.rounds import EXHAUSTED, close_round, open_round, run_round
from discovery.workers import LocalWorkers, Workers
from serve.asking import Desk, Handout, Result
from serve.book import Book
from serve.errors import BusyError, ConflictError
from serve.events import EventsObserver
from serve.holding import Hold
from serve.settings import Settings
from serve.views import View

LOG = logging.getLogger("discovery.serve")
Connect = Callable[[Campaign], tuple[Workers, Sequence[Observer]]]  # what an automatic run works with
STOPPED = "stopped"
WAITING = 4  # asks that wait for a round at the same time


def local_workers(campaign: Campaign) -> tuple[Workers, Sequence[Observer]]:
    """Workers in this process."""
    return LocalWorkers(load_campaign_oracle(campaign.config, campaign.reference)), ()


class CampaignHost:
    """Owns a campaign; every method may be called from any thread.

    A run that was under way when the last host of the campaign ended is taken up at once.

    Args:
        campaign: opened for this host alone.
        settings: of the service.
        connect: makes the workers of automatic runs; asking and learning by hand work in this process.
    """

    def __init__(self, campaign: Campaign, settings: Settings, connect: Connect = local_workers) -> None:
        self._hold = Hold(campaign.folder)
        self._campaign = campaign
        self._book = Book(campaign.ledger)
        self._view = View(campaign, self._book, settings)
        self._settings = settings
        self._connect = connect
        self._desk = Desk(campaign, self._book, settings.lease_s)
        self._observer = Observers((self._desk.observer, EventsObserver(self._book)))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="campaign")  # all slow work, one thing after the other
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._waiting = threading.BoundedSemaphore(WAITING)
        self._slow: Future[None] | None = None  # begun last
        self._preparing: Future[None] | None = None
        self._closing = False
        self._take_up()

    def run(self, rounds: int) -> None:
        """Run more rounds with the campaign's own oracle, in the background.

        Raises:
            ConflictError: it runs, has no oracle, or others have candidates of it.
        """
        with self._lock:
            state = self._book.state()
            if state.wanted != "idle":
                raise ConflictError(f"the campaign is {state.wanted}: wait for its end, or stop it first")
            if self._campaign.config.oracle == EXTERNAL:
                raise ConflictError("this campaign has no oracle of its own (external): ask and tell instead")
            if leases := self._desk.handed_out():
                raise ConflictError(f"{len(leases)} candidates are handed out: tell their answers first, or wait")
            target = self._campaign.finished_rounds + rounds
            self._save(wanted="running", target=target, error=None, ended="")
            self._stop.clear()
            self._begin(self._run)

    def stop(self) -> None:
        """End a run after the oracle calls that are under way; nothing where none runs."""
        with self._lock:
            if self._book.state().wanted == "running":
                self._save(wanted="stopping")
                self._stop.set()

    def ask(self, n: int) -> tuple[list[Handout], str | None]:
        """Up to `n` candidates, and why there are fewer.

        Raises:
            ConflictError: the campaign runs with its own oracle.
            BusyError: the next round is being prepared.
        """
        with self._lock:
            if self._book.state().wanted != "idle":
                raise ConflictError("the campaign asks its own oracle: stop it, or wait for the end of its run")
            slow = None if self._desk.is_open else self._prepared()
        if slow is not None:
            self._await(slow)
        handouts = self._desk.hand_out(n)
        return handouts, None if len(handouts) == n else self._why_fewer()

    def tell(self, reports: Sequence[Mapping[str, Any]]) -> list[Result]:
        """Take labels and failures; once the open round's batch is answered, it is learned from in the background."""
        results, answers = self._desk.tell(reports)
        for answer in answers:
            self._observer.answered(answer)
        with self._lock:
            if answers and self._book.state().wanted == "idle" and self._desk.is_answered:
                self._begin(self._close)
        return results

    def is_idle(self) -> bool:
        """True where no slow work is under way, so that the host can end without anybody noticing."""
        return self._slow is None or self._slow.done()

    def close(self) -> None:
        """End after the oracle calls that are under way; a run goes on with the next host."""
        self._closing = True
        self._stop.set()
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._campaign.ledger.close()
        self._hold.release()

    def wait(self, timeout_s: float | None = None) -> None:
        """Until no slow work is under way."""
        if (slow := self._slow) is not None:
            wait([slow], timeout_s)

    def _take_up(self) -> None:
        state = self._book.state()
        if state.wanted == "running":
            self._begin(self._run)
        elif state.wanted == "stopping":
            self._save(wanted="idle", ended=STOPPED)
        elif self._desk.is_answered:
            self._begin(self._close)

    def _begin(self, work: Callable[[], None]) -> Future[None]:
        self._slow = self._thread.submit(self._guarded, work)
        return self._slow

    def _guarded(self, work: Callable[[], None]) -> None:
        """Slow work; whatever goes wrong in it must be seen by those who look at the campaign."""
        try:
            work()
        except Exception as error:
            LOG.exception("campaign %s", self._campaign.ledger.campaign)
            known = isinstance(error, DiscoveryError)
            text = str(error) if known else f"{type(error).__name__}: {error}: see the service's log, then run it again"
            self._save(wanted="idle", error=text)
            raise

    def _run(self) -> None:
        """Rounds until the target, a stop or the end of what can be asked."""
        workers, observers = self._connect(self._campaign)
        told = Observers((self._observer, *observers))
        ended = STOPPED
        try:
            target = self._book.state().target
            while not self._stop.is_set() and self._campaign.finished_rounds < target:
                if not run_round(self._campaign, workers, told, self._stop.is_set):
                    ended = EXHAUSTED
                    break
        finally:
            workers.close()
        if self._closing:
            return
        if self._campaign.finished_rounds >= target:
            ended = f"{self._campaign.finished_rounds} rounds finished"
        self._save(wanted="idle", ended=ended)

    def _prepared(self) -> Future[None] | None:
        """Work that opens the next round; None where there is none to open."""
        state = self._book.state()
        rounds = max(self._campaign.config.rounds, state.target)
        answered = self._desk.is_answered
        if not answered and (state.ended == EXHAUSTED or self._campaign.finished_rounds >= rounds):
            return None
        if self._preparing is None or self._preparing.done():
            self._preparing = self._begin(self._prepare)
        return self._preparing

    def _prepare(self) -> None:
        """Learn from the answered round, if there is one, and open the next."""
        self._close()
        state = self._book.state()
        if self._campaign.finished_rounds >= max(self._campaign.config.rounds, state.target):
            return
        with _at_hand(self._campaign) as workers:
            opened = open_round(self._campaign, workers, self._observer) is not None
        self._save(error=None, ended="" if opened else EXHAUSTED)

    def _close(self) -> None:
        with _at_hand(self._campaign) as workers:
            if close_round(self._campaign, workers, self._observer) is not None:
                self._save(error=None)  # tells that the counts and the status have changed

    def _await(self, slow: Future[None]) -> None:
        """Wait for the next round; those beyond the first few are sent away, so that they hold no thread."""
        if self._waiting.acquire(blocking=False):
            try:
                wait([slow], self._settings.ask_wait_s)
            finally:
                self._waiting.release()
        if not slow.done():
            raise BusyError("the next round is being prepared: ask again")
        slow.result()

    def _why_fewer(self) -> str:
        if self._desk.is_open:
            leases = self._desk.handed_out()
            return f"no further candidate: {len(leases)} are handed out and wait for their answers"
        ended = self._book.state().ended
        return ended or f"all {self._campaign.config.rounds} rounds are finished"

    def _save(self, **changes: Any) -> None:
        with self._lock:
            self._book.save_state(dataclasses.replace(self._book.state(), **changes))
            self._book.add_event("status", self._view.summary())


class _at_hand:  # noqa: N801 - reads as a verb at its uses
    """Workers in this process, for as long as they are needed."""

    def __init__(self, campaign: Campaign) -> None:
        self._workers, _ = local_workers(campaign)

    def __enter__(self) -> Workers:
        return self._workers

    def __exit__(self, *_: object) -> None:
        self._workers.close()
