"""Campaigns in Ray: one actor for each campaign that is worked on."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Any

import ray
import torch
from ray.exceptions import ActorDiedError, RayActorError

from actors.workers import CPU_SHARE, connect_workers
from discovery.errors import DiscoveryError
from serve.campaigns import Store
from serve.errors import BusyError
from serve.host import CampaignHost, Connect, local_workers
from serve.library import Library
from serve.settings import Settings

CALLS = 16  # that one campaign takes at the same time; ask may wait for a round to be prepared


class HostRole:
    """Owns a campaign in a process of its own. Plain: `CampaignActors` makes actors of it."""

    def __init__(self, settings: Settings, campaign_id: str) -> None:
        self._settings = settings
        self._id = campaign_id
        self._host: CampaignHost | None = None
        self.call("take_up")  # a process that Ray started anew goes on by itself

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the host; an error of ours is returned as a value, since Ray would wrap it."""
        try:
            if self._host is None:
                self._host = self._made()
            return None if method == "take_up" else getattr(self._host, method)(*arguments)
        except DiscoveryError as error:
            return error

    def _made(self) -> CampaignHost:
        campaign = Store(self._settings, Library()).open(self._id)
        torch.set_num_threads(campaign.config.threads)
        share = CPU_SHARE / self._settings.limits.running
        connect: Connect = local_workers if campaign.config.local else partial(connect_workers, cpu_share=share)
        return CampaignHost(campaign, self._settings, connect)


class CampaignActors:
    """The actors of all campaigns; they end with the process that owns this."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # Ray starts a process that ended anew, but repeats no call: the caller is told, and what it told is kept.
        self._role = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=0, max_concurrency=CALLS)(HostRole)
        self._actors: OrderedDict[str, Any] = OrderedDict()  # the one unused for longest is first

    def take_up(self, store: Store) -> None:
        """Start the actors of campaigns that a restart has to go on with."""
        for view in store.views():
            if view.is_unfinished():
                self._actor(view.id)

    async def call(self, campaign_id: str, method: str, arguments: tuple[Any, ...]) -> Any:
        """Call a method of a campaign's host; an error of ours is returned as a value."""
        try:
            if campaign_id not in self._actors:
                await self._make_room()
            return await self._actor(campaign_id).call.remote(method, *arguments)
        except BusyError as error:
            return error
        except RayActorError as error:
            if isinstance(error, ActorDiedError):  # beyond what Ray starts anew by itself
                self._actors.pop(campaign_id, None)
                self._actor(campaign_id)
            return BusyError("the campaign's process ended and is started anew: try again")

    async def release(self, campaign_id: str) -> None:
        """End a campaign's actor, if there is one."""
        if (actor := self._actors.pop(campaign_id, None)) is not None:
            ray.kill(actor)

    def _actor(self, campaign_id: str) -> Any:
        if campaign_id not in self._actors:
            self._actors[campaign_id] = self._role.remote(self._settings, campaign_id)
        self._actors.move_to_end(campaign_id)
        return self._actors[campaign_id]

    async def _make_room(self) -> None:
        """End an idle actor where as many as may be are there.

        Raises:
            BusyError: none is idle.
        """
        if len(self._actors) < self._settings.limits.hosts:
            return
        for name, actor in list(self._actors.items()):
            if await actor.call.remote("is_idle") is True:
                await self.release(name)
                return
        raise BusyError(f"{len(self._actors)} campaigns are worked on, as many as may be: try again")
