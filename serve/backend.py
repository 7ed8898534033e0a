"""What the routes work with, and how it looks in one process: threads instead of Ray's actors."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

from discovery.errors import DiscoveryError
from serve.campaigns import Store
from serve.errors import BusyError, TooManyError
from serve.gathering import Gatherer, in_thread
from serve.host import CampaignHost
from serve.library import Library
from serve.limits import Gate
from serve.requests import generator_name, reference_name, surrogate_name
from serve.service import Generation, Ranking, Row, Service, raised
from serve.settings import Settings

BATCH = 64  # requests that are worked on together

Q = TypeVar("Q")
A = TypeVar("A")


class Inference(Protocol):
    """Where requests for models are answered."""

    async def generate(self, request: Generation) -> Row:
        """See `serve.service.Service.generate`."""

    async def rank(self, request: Ranking) -> list[Row]:
        """See `serve.service.Service.rank`."""

    async def ready(self) -> bool:
        """True once the models are loaded."""


class Hosts(Protocol):
    """Where campaigns are worked on: at most one host for each."""

    async def call(self, campaign_id: str, method: str, *arguments: Any) -> Any:
        """Call a method of a campaign's `serve.host.CampaignHost`, which is started where there is none."""

    async def release(self, campaign_id: str) -> None:
        """End a campaign's host, if there is one."""


@dataclass(frozen=True)
class Backend:
    """Everything behind the routes."""

    settings: Settings
    store: Store
    hosts: Hosts
    inference: Inference
    gate: Gate = field(init=False)  # of requests for models
    streams: Gate = field(init=False)  # of event streams

    def __post_init__(self) -> None:
        limits = self.settings.limits
        object.__setattr__(self, "gate", Gate(limits.queue, limits.queue_work))
        object.__setattr__(self, "streams", Gate(limits.streams, float("inf")))

    def close(self) -> None:
        """End what runs in this process; it goes on at the next start."""
        if isinstance(self.hosts, LocalHosts):
            self.hosts.close()
        self.store.close()

    def check_running(self) -> None:
        """Refuse one more running campaign where as many as may run do.

        Raises:
            TooManyError: they do.
        """
        running = sum(view.status() in ("running", "stopping") for view in self.store.views())
        if running >= self.settings.limits.running:
            raise TooManyError(f"{running} campaigns are running, as many as may: wait for one to end, or stop it")


class LocalInference:
    """Models in this process; one batch at a time, since two would only share the same cores."""

    def __init__(self, service: Service, settings: Settings) -> None:
        self._service = service
        self._settings = settings
        self._lock = threading.Lock()
        self._is_ready = False
        self._generations: Gatherer[Generation, Row | DiscoveryError] = Gatherer(
            in_thread(partial(self._alone, service.generate_many)), BATCH
        )
        self._rankings: Gatherer[Ranking, list[Row] | DiscoveryError] = Gatherer(
            in_thread(partial(self._alone, service.rank_many)), BATCH
        )

    async def generate(self, request: Generation) -> Row:
        """The answer to one request."""
        return raised(await self._generations.answer(request))

    async def rank(self, request: Ranking) -> list[Row]:
        """The answer to one request."""
        return raised(await self._rankings.answer(request))

    async def ready(self) -> bool:
        """True, once the default model and hull are loaded."""
        await asyncio.to_thread(self._get_ready)
        return True

    def _get_ready(self) -> None:
        with self._lock:
            if not self._is_ready:
                self._service.ready_to_generate(generator_name(None, self._settings))
                self._service.ready_to_rank()
                self._is_ready = True

    def _alone(self, answer: Callable[[Sequence[Q]], A], requests: Sequence[Q]) -> A:
        with self._lock:
            return answer(requests)


class LocalHosts:
    """Campaigns in threads of this process."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._hosts: OrderedDict[str, CampaignHost] = OrderedDict()  # the one unused for longest is first
        self._calls: Counter[str] = Counter()  # that are under way
        self._lock = threading.RLock()

    def host(self, campaign_id: str) -> CampaignHost:
        """The host of a campaign.

        Raises:
            BusyError: as many as may be are at work.
        """
        with self._lock:
            if campaign_id not in self._hosts:
                self._make_room()
                self._hosts[campaign_id] = CampaignHost(self._store.open(campaign_id), self._settings)
            self._hosts.move_to_end(campaign_id)
            return self._hosts[campaign_id]

    async def call(self, campaign_id: str, method: str, *arguments: Any) -> Any:
        """Call a method of a campaign's host."""
        return await asyncio.to_thread(self._called, campaign_id, method, arguments)

    async def release(self, campaign_id: str) -> None:
        """End a campaign's host, if there is one."""
        with self._lock:
            host = self._hosts.pop(campaign_id, None)
        if host is not None:
            await asyncio.to_thread(host.close)

    def take_up(self) -> list[str]:
        """Start the hosts of campaigns that a restart has to go on with; returns their ids."""
        unfinished = [view.id for view in self._store.views() if view.is_unfinished()]
        for campaign_id in unfinished:
            self.host(campaign_id)
        return unfinished

    def close(self) -> None:
        """End all hosts; their runs go on at the next start."""
        with self._lock:
            for host in self._hosts.values():
                host.close()
            self._hosts.clear()

    def _called(self, campaign_id: str, method: str, arguments: tuple[Any, ...]) -> Any:
        with self._lock:
            host = self.host(campaign_id)
            self._calls[campaign_id] += 1
        try:
            return getattr(host, method)(*arguments)
        finally:
            with self._lock:
                self._calls[campaign_id] -= 1

    def _make_room(self) -> None:
        if len(self._hosts) < self._settings.limits.hosts:
            return
        hosts = self._hosts.items()
        idle = next((name for name, host in hosts if host.is_idle() and not self._calls[name]), None)
        if idle is None:
            raise BusyError(f"{len(self._hosts)} campaigns are worked on, as many as may be: try again")
        self._hosts.pop(idle).close()


def local_backend(settings: Settings) -> Backend:
    """Everything in this process, without Ray; goes on with campaigns that were running.

    Raises:
        DiscoveryError: a model or reference that is not there.
    """
    library = Library()
    store = Store(settings, library)
    service = Service(library, surrogate_name(None, settings), reference_name(None, settings))
    hosts = LocalHosts(store, settings)
    hosts.take_up()
    return Backend(settings, store, hosts, LocalInference(service, settings))


def settings_here() -> Settings:
    """The settings in this process's environment."""
    return Settings.from_environment(os.environ)
