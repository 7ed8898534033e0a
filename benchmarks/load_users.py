"""The load generator: locust as a library. ``python -m benchmarks.load_users PLAN.json``; `benchmarks.load` starts it.

A process of its own, since importing locust replaces the blocking calls of the whole process.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from locust import constant, constant_throughput, task
from locust.contrib.fasthttp import FastHttpUser
from locust.env import Environment

from benchmarks.load_requests import PATHS, Plan, Reply, payload, shortened

DRAIN_S = 60.0  # answers that are outstanding at the end are waited for, so that none counts as lost


def user_class(plan: Plan, log: Any) -> type[FastHttpUser]:
    """A user that sends numbered requests and writes down what came back."""
    numbers = itertools.count(plan.first)
    started = time.perf_counter()
    headers = {"Authorization": f"Bearer {plan.token}"} if plan.token else {}

    class NumberedUser(FastHttpUser):  # type: ignore[misc]
        host = plan.url
        network_timeout = connection_timeout = DRAIN_S
        wait_time = constant(0) if plan.rate is None else constant_throughput(plan.rate / plan.clients)

        @task
        def send(self) -> None:
            number = next(numbers)
            body = payload(plan.kind, number, plan.items)
            began = time.perf_counter()
            answer = self.client.post(PATHS[plan.kind], json=body, headers=headers)
            seconds = time.perf_counter() - began
            status = int(answer.status_code or 0)
            result = shortened(plan.kind, answer.json()) if status == 200 else []
            again = bool(answer.headers and answer.headers.get("Retry-After"))
            log.write(json.dumps(asdict(Reply(number, status, began - started, seconds, again, result))) + "\n")

    return NumberedUser


def main(argv: list[str]) -> int:
    """Run one plan and leave its log."""
    plan = Plan.from_json(Path(argv[0]).read_text(encoding="utf-8"))
    with Path(plan.log).open("w", encoding="utf-8") as log:
        environment = Environment(user_classes=[user_class(plan, log)], stop_timeout=DRAIN_S)
        runner = environment.create_local_runner()
        runner.start(plan.clients, spawn_rate=plan.clients)
        time.sleep(plan.seconds)
        runner.stop()  # users finish the request that they wait for
        runner.quit()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
