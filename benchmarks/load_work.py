"""The work of the service without the service: its rate in this process, and the right answers."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.load_requests import payload, shortened
from discovery.errors import DiscoveryError
from discovery.generators.base import SamplingOptions
from serve.library import Library
from serve.service import Generation, Ranking, Service

GROUP = 32  # requests computed at once: what batching can gather at best from 32 clients

Answer = Callable[[Sequence[dict[str, Any]]], list[Any]]  # bodies of requests -> bodies of answers


@dataclass(frozen=True)
class InProcess:
    """What one process computes when nothing stands between it and its work."""

    items_per_second: dict[str, float]
    expected: dict[str, dict[int, list[Any]]]  # kind -> number of the request -> shortened answer

    @classmethod
    def measured(cls, kinds: Sequence[str], items: int, seconds: float) -> InProcess:
        """Load the shipped models and work for about `seconds` on each kind."""
        torch.set_num_threads(1)  # as a replica of the service does
        service = Service(Library(), "ensemble", "builtin")
        answers: dict[str, Answer] = {
            "generate": lambda bodies: _generated(service, bodies),
            "rank": lambda bodies: _ranked(service, bodies),
        }
        results = {kind: _work(kind, answers[kind], items, seconds) for kind in kinds}
        return cls(
            {kind: round(rate, 2) for kind, (rate, _) in results.items()},
            {kind: expected for kind, (_, expected) in results.items()},
        )


def _work(kind: str, answer: Answer, items: int, seconds: float) -> tuple[float, dict[int, list[Any]]]:
    """Items a second, after a first group that is not timed, and all answers."""
    expected: dict[int, list[Any]] = {}
    start, first = 0.0, 0
    while True:
        numbers = range(first, first + GROUP)
        found = answer([payload(kind, number, items) for number in numbers])
        expected |= {number: shortened(kind, body) for number, body in zip(numbers, found, strict=True)}
        now = time.perf_counter()
        if first and now - start >= seconds:
            return first * items / (now - start), expected
        start = start or now
        first += GROUP


def _generated(service: Service, bodies: Sequence[dict[str, Any]]) -> list[Any]:
    options = SamplingOptions(constrained=True)
    return _successes(service.generate_many([Generation(body["n"], body["seed"], "gpt2", options) for body in bodies]))


def _ranked(service: Service, bodies: Sequence[dict[str, Any]]) -> list[Any]:
    return _successes(service.rank_many([Ranking(tuple(body["formulas"]), None, "builtin", 0.1) for body in bodies]))


def _successes(answers: Sequence[Any]) -> list[Any]:
    if failed := [answer for answer in answers if isinstance(answer, DiscoveryError)]:
        raise failed[0]
    return list(answers)


def command_of(folder: Path, port: int, replicas: int, batching: bool) -> tuple[list[str], dict[str, str]]:
    """The command that starts the service on loopback, and its environment; its configuration is written to `folder`.

    The limit on the rate of one client is out of the way: all load comes from one address.
    """
    application = {
        "name": "discovery",
        "route_prefix": "/",
        "import_path": "serve.app:build_app",
        "args": {"replicas": replicas, **({} if batching else {"batch": 1})},
    }
    config = {"http_options": {"host": "127.0.0.1", "port": port}, "applications": [application]}
    path = folder / "serve.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    program = Path(sys.executable).with_name("serve")
    home = folder / "home"
    home.mkdir(exist_ok=True)
    ray = {"RAY_worker_niceness": "0", "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "120"}  # as `make serve` has it
    environment = {**ray, "RAY_ADDRESS": "local", "DISCOVERY_HOME": str(home), "DISCOVERY_API_TOKENS": ""}
    unlimited = {"DISCOVERY_RATE": "1000000", "DISCOVERY_BURST": "1000000"}
    return [str(program), "run", str(path)], {**environment, **unlimited}
