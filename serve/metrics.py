"""Metrics for Prometheus: requests of this process, and the campaigns as their ledgers have them.

Each process counts its own requests; the label `replica` keeps them apart where several answer at one address.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.campaigns import Store

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Counts requests and reads campaigns when asked."""

    def __init__(self, store: Store) -> None:
        self._registry = CollectorRegistry()
        self._replica = str(os.getpid())
        labels = ("replica", "method", "route", "status")
        self._requests = Counter("discovery_http_requests", "Requests answered", labels, registry=self._registry)
        self._seconds = Histogram(
            "discovery_http_request_seconds",
            "Seconds until the first byte of the answer",
            ("replica", "route"),
            buckets=SECONDS,
            registry=self._registry,
        )
        self._registry.register(_Campaigns(store))

    def middleware(self, app: ASGIApp) -> ASGIApp:
        """The application with its requests counted."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            start = time.perf_counter()

            async def noting(message: Message) -> None:
                if message["type"] == "http.response.start":
                    self._note(scope, message["status"], time.perf_counter() - start)
                await send(message)

            await app(scope, receive, noting)

        return counted

    def answer(self) -> Response:
        """All metrics as text."""
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")  # never the path itself: it has no end of values
        self._requests.labels(self._replica, scope["method"], route, str(status)).inc()
        self._seconds.labels(self._replica, route).observe(seconds)


class _Campaigns(Collector):
    """Reads the campaigns at each scrape."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def describe(self) -> list[Metric]:
        """Nothing: the ledgers need not be read to register."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Campaigns by status, and the candidates of each."""
        states = GaugeMetricFamily("discovery_campaigns", "Campaigns by status", labels=["status"])
        rounds = GaugeMetricFamily("discovery_campaign_rounds", "Finished rounds", labels=["campaign"])
        reached = GaugeMetricFamily(
            "discovery_campaign_candidates", "Candidates by how far they came", labels=["campaign", "reached"]
        )
        total = dict.fromkeys(("idle", "running", "stopping", "finished", "failed"), 0)
        for view in self._store.views():
            summary = view.summary()
            total[summary["status"]] += 1
            rounds.add_metric([view.id], summary["rounds_finished"])
            for name, count in summary["counts"].items():
                reached.add_metric([view.id, name], count)
        for status, count in total.items():
            states.add_metric([status], count)
        yield from (states, rounds, reached)
