"""The work of the service without the service: its rate in this process, and the right answers."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.load_requests import payload, shortened
from discovery.decoding import Order
from discovery.errors import DiscoveryError
from discovery.generators.base import SamplingOptions
from discovery.generators.together import precise, sample_orders
from discovery.generators.zoo import load_generator
from discovery.reference.loading import load_reference
from discovery.surrogates.zoo import load_surrogate
from serve.service import Service

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
        generator = precise(load_generator("gpt2"))
        service = Service.of(generator, load_surrogate("ensemble"), load_reference("builtin"))
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
    orders = [Order(body["n"], np.random.default_rng(body["seed"]), options) for body in bodies]
    found = sample_orders(service.generator, orders)
    if failed := [samples for samples in found if isinstance(samples, DiscoveryError)]:
        raise failed[0]
    return [{"candidates": [{"formula": s.formula} for s in samples]} for samples in found]  # type: ignore[union-attr]


def _ranked(service: Service, bodies: Sequence[dict[str, Any]]) -> list[Any]:
    formulas = [formula for body in bodies for formula in body["formulas"]]
    rows = iter(service.rank(formulas, None, 0.1))
    return [[next(rows) for _ in body["formulas"]] for body in bodies]


def command_of(port: int, batching: bool) -> tuple[list[str], dict[str, str]]:
    """The command that starts the service on loopback, and its environment."""
    options = [f"port={port}", f"batching={str(batching).lower()}"]
    program = Path(sys.executable).with_name("serve")
    return [str(program), "run", "serve.app:build_app", *options], {}
