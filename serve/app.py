"""The service as Ray Serve deployments: ``serve run serve.app:build_app``, or ``serve deploy deploy/serve.yaml``.

    Api (HTTP) -> Generate, Rank       models; requests are answered in batches; scaled by load
               -> Campaigns            one actor per campaign that is worked on

The only module that knows Ray Serve. Nothing here waits for a CPU that another actor of ours holds: the deployments
reserve tenths of one, campaigns none, and their validators share half of the cluster's.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import ray
import torch
from fastapi import FastAPI
from pydantic import BaseModel, Field
from ray import serve
from ray.exceptions import RayError, RayTaskError
from ray.serve import Application
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle
from ray.serve.metrics import Counter

from discovery.errors import ConfigError, DiscoveryError
from serve.actors import CampaignActors
from serve.backend import Backend
from serve.campaigns import Store
from serve.errors import BusyError
from serve.gathering import Gatherer, in_thread
from serve.library import Library
from serve.requests import generator_name, reference_name, surrogate_name
from serve.security import check_bind
from serve.service import Generation, Ranking, Row, Service, raised
from serve.settings import Settings
from serve.web import make_app

MODEL_CPUS = 0.1  # that a replica reserves; it uses what it finds
MOST_REPLICAS = 4
CALLS = 2  # under way to a replica: one is worked on while the next one waits; where more come, replicas are added

Q = TypeVar("Q")
A = TypeVar("A")


class Arguments(BaseModel, extra="forbid"):
    """What ``serve run serve.app:build_app NAME=VALUE`` and `args` in a configuration file may set."""

    replicas: int = Field(MOST_REPLICAS, ge=1, le=1000, description="most replicas of Generate and of Rank")
    batch: int = Field(64, ge=1, le=1024, description="most requests in a batch; 1 answers each alone")
    gpus: float = Field(0.0, ge=0, le=8, description="GPUs of each replica of Generate and of Rank, such as 0.25")
    api_replicas: int = Field(1, ge=1, le=100)
    threads: int = Field(1, ge=1, le=64, description="torch threads of each replica")


class Models:
    """What Generate and Rank share: a service with the models of its process."""

    def __init__(self, settings: Settings, arguments: Arguments) -> None:
        torch.set_num_threads(arguments.threads)
        self._settings = settings
        library = Library("cuda" if ray.get_gpu_ids() else "cpu")
        self._service = Service(library, surrogate_name(None, settings), reference_name(None, settings))

    def ready(self) -> bool:
        """True: a replica that answers has loaded its models."""
        return True


class Generate(Models):
    """Samples for many requests at once."""

    def __init__(self, settings: Settings, arguments: Arguments) -> None:
        super().__init__(settings, arguments)
        self._service.ready_to_generate(generator_name(None, settings))
        self._requests = Gatherer(in_thread(_counted(self._service.generate_many)), arguments.batch, wait_s=0.0)

    async def answer(self, requests: Sequence[Generation]) -> list[Row | DiscoveryError]:
        """An answer, or error as a value, for each; calls that come while the model is at work share a batch."""
        return await asyncio.gather(*map(self._requests.answer, requests))


class Rank(Models):
    """Estimates for many requests at once."""

    def __init__(self, settings: Settings, arguments: Arguments) -> None:
        super().__init__(settings, arguments)
        self._service.ready_to_rank()
        self._requests = Gatherer(in_thread(_counted(self._service.rank_many)), arguments.batch, wait_s=0.0)

    async def answer(self, requests: Sequence[Ranking]) -> list[list[Row] | DiscoveryError]:
        """An answer, or error as a value, for each; calls that come while the model is at work share a batch."""
        return await asyncio.gather(*map(self._requests.answer, requests))


class Campaigns:
    """Starts the actors of campaigns, at first of those that were running when the service ended."""

    def __init__(self, settings: Settings) -> None:
        self._actors = CampaignActors(settings)
        self._actors.take_up(Store(settings, Library()))

    async def call(self, campaign_id: str, method: str, arguments: tuple[Any, ...]) -> Any:
        """Call a method of a campaign's host; an error of ours is returned as a value."""
        return await self._actors.call(campaign_id, method, arguments)

    async def release(self, campaign_id: str) -> None:
        """End a campaign's actor."""
        await self._actors.release(campaign_id)


class HandleInference:
    """Models behind deployment handles. Requests travel together: a call of Ray takes milliseconds at both of its ends.

    Args:
        generate, rank: the deployments.
        arguments: say how many requests share a call, and how many calls may be under way.
    """

    def __init__(self, generate: DeploymentHandle, rank: DeploymentHandle, arguments: Arguments) -> None:
        self._generate = generate
        self._rank = rank
        most, at_once = arguments.batch, CALLS * arguments.replicas
        self._generations: Gatherer[Generation, Row | DiscoveryError] = Gatherer(self._generated, most, at_once)
        self._rankings: Gatherer[Ranking, list[Row] | DiscoveryError] = Gatherer(self._ranked, most, at_once)

    async def generate(self, request: Generation) -> Row:
        """The answer to one request."""
        return raised(await self._generations.answer(request))

    async def rank(self, request: Ranking) -> list[Row]:
        """The answer to one request."""
        return raised(await self._rankings.answer(request))

    async def ready(self) -> bool:
        """True once both have a replica that answers."""
        return bool(await _answer(self._generate.ready.remote()) and await _answer(self._rank.ready.remote()))

    async def _generated(self, requests: Sequence[Generation]) -> Sequence[Row | DiscoveryError]:
        answers: list[Row | DiscoveryError] = await _answer(self._generate.answer.remote(requests))
        return answers

    async def _ranked(self, requests: Sequence[Ranking]) -> Sequence[list[Row] | DiscoveryError]:
        answers: list[list[Row] | DiscoveryError] = await _answer(self._rank.answer.remote(requests))
        return answers


class HandleHosts:
    """Campaigns behind a deployment handle."""

    def __init__(self, campaigns: DeploymentHandle) -> None:
        self._campaigns = campaigns

    async def call(self, campaign_id: str, method: str, *arguments: Any) -> Any:
        """Call a method of a campaign's host."""
        return await _answer(self._campaigns.call.remote(campaign_id, method, arguments))

    async def release(self, campaign_id: str) -> None:
        """End a campaign's host, if there is one."""
        await _answer(self._campaigns.release.remote(campaign_id))


async def _answer(response: Any) -> Any:
    """What a deployment answered; an error that it returned as a value is raised.

    Raises:
        BusyError: its queue is full, or its process ended; the request may be made again.
    """
    try:
        answer = await response
    except BackPressureError as error:
        raise BusyError("the queue is full: try again after the time in Retry-After") from error
    except RayTaskError:  # a defect, not a process that ended
        raise
    except (RayError, RayServeException) as error:
        raise BusyError("a process of the service ended and is started anew: try again") from error
    if isinstance(answer, DiscoveryError):
        raise answer
    return answer


@serve.ingress()
class Api:
    """The HTTP interface; reads ledgers by itself, and leaves all work to the others."""

    def __init__(
        self,
        settings: Settings,
        arguments: Arguments,
        models: tuple[DeploymentHandle, DeploymentHandle],
        campaigns: DeploymentHandle,
    ) -> None:
        self._settings = settings
        self._inference = HandleInference(*models, arguments)
        self._hosts = HandleHosts(campaigns)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The application, made where it runs."""
        check_bind(_bind_address(), self._settings)
        torch.set_num_threads(1)
        store = Store(self._settings, Library())
        return make_app(Backend(self._settings, store, self._hosts, self._inference))


def build_app(given: dict[str, Any]) -> Application:
    """The application that ``serve run`` starts, with the settings of the environment (see docs/service.md)."""
    arguments = Arguments.model_validate(given)
    settings = Settings.from_environment(os.environ)
    scaled = {
        "min_replicas": 1,
        "max_replicas": arguments.replicas,
        "target_ongoing_requests": CALLS,
    }
    models = {
        "ray_actor_options": {"num_cpus": MODEL_CPUS, "num_gpus": arguments.gpus},
        "autoscaling_config": scaled,
        "max_ongoing_requests": arguments.batch,  # calls, which share batches
        "max_queued_requests": settings.limits.queue,
    }
    plain = {"ray_actor_options": {"num_cpus": 0}, "max_ongoing_requests": 1000}
    generate = serve.deployment(name="Generate", **models)(Generate).bind(settings, arguments)
    rank = serve.deployment(name="Rank", **models)(Rank).bind(settings, arguments)
    campaigns = serve.deployment(name="Campaigns", num_replicas=1, **plain)(Campaigns).bind(settings)
    api = serve.deployment(name="Api", num_replicas=arguments.api_replicas, **plain)(Api)
    return api.bind(settings, arguments, (generate, rank), campaigns)


def _counted(work: Callable[[Sequence[Q]], list[A]]) -> Callable[[Sequence[Q]], list[A]]:
    """The work, with its batches and their requests counted in Ray's metrics; Serve adds which deployment it was."""
    batches = Counter("discovery_batches", "Batches of requests that were worked on")
    requests = Counter("discovery_batched_requests", "Requests in these batches")

    def counting(together: Sequence[Q]) -> list[A]:
        batches.inc()
        requests.inc(len(together))
        return work(together)

    return counting


def _bind_address() -> str:
    """Where Serve's proxies listen.

    Raises:
        ConfigError: Serve does not say.
    """
    from ray.serve.context import _get_global_client

    client = _get_global_client()
    if client is None:
        raise ConfigError("Ray Serve is not running: start the service with `serve run serve.app:build_app`")
    return str(client.http_config.host)
