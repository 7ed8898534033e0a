"""The service under load, on loopback, with locust as the load generator.

    python -m benchmarks.load [--seconds 15] [--clients 1,8,32,64] [--out load.json]

Generate and rank at rising numbers of clients, with and without dynamic batching: requests and items a second, p50,
p95, p99, refusals, errors, peak memory, and the rate of the same work in this process beside it. Then five times the
load that the service was found to bear: how quickly it refuses, and how long it takes to recover. Every request differs
from all others and its answer is checked against what was computed in this process, so that a lost, doubled or mistaken
answer is found. The clients share the machine with the service: the figures are those of the whole.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.load_requests import PATHS, Plan, Reply, mistakes, payload, read_log
from benchmarks.load_server import Memory, served
from benchmarks.load_tables import print_tables
from benchmarks.load_work import InProcess, command_of
from benchmarks.results import add_out, finish
from discovery.errors import ConfigError
from discovery.options import exit_with

KINDS = ("generate", "rank")
REFUSALS = frozenset({429, 503})
OVERLOAD = 5  # times the rate that was borne
MANY = 256  # clients of the overload: enough that waiting ones do not slow the others down
RECOVERED = 5  # successes in a row, one client
RECOVERY_S = 120.0  # longest time that is waited for them


@dataclass(frozen=True)
class Bench:
    """What stays the same in all parts of one run."""

    args: argparse.Namespace
    folder: Path  # of logs
    work: InProcess

    def plan(self, kind: str, clients: int, rate: float | None = None) -> Plan:
        """A plan of one level of load."""
        name = f"{kind}-{clients}-{time.monotonic_ns()}.jsonl"
        return Plan(
            url=self.args.url or f"http://127.0.0.1:{self.args.port}",
            kind=kind,
            clients=clients,
            seconds=self.args.seconds,
            items=self.args.items,
            rate=rate,
            token=self.args.token,
            log=str(self.folder / name),
        )

    def run(self, plan: Plan) -> list[Reply]:
        """Drive the load from a process of its own."""
        path = Path(plan.log).with_suffix(".plan")
        path.write_text(plan.to_json(), encoding="utf-8")
        limit = plan.seconds + 180
        subprocess.run([sys.executable, "-m", "benchmarks.load_users", str(path)], check=True, timeout=limit)
        return read_log(Path(plan.log))


def statistics(plan: Plan, replies: Sequence[Reply], wrong: Sequence[str]) -> dict[str, Any]:
    """Rates over the time in which answers came; latencies of the successes, in milliseconds."""
    answered = [reply for reply in replies if reply.status == 200]
    refused = [reply for reply in replies if reply.status in REFUSALS]
    errors = Counter(str(r.status) for r in replies if r.status != 200 and r.status not in REFUSALS)
    span = max((reply.began + reply.seconds for reply in replies), default=0.0) - min(
        (reply.began for reply in replies), default=0.0
    )
    return {
        "clients": plan.clients,
        "requests": len(replies),
        "answered": len(answered),
        "refused": len(refused),
        "refused_with_retry_after": sum(reply.retry_after for reply in refused),
        "errors": dict(errors),
        "requests_per_second": _rate(len(answered), span),
        "items_per_second": _rate(len(answered) * plan.items, span),
        "latency_ms": percentiles([reply.seconds for reply in answered]),
        "refusal_ms": percentiles([reply.seconds for reply in refused]),
        "wrong_answers": list(wrong[:20]),
        "n_wrong_answers": len(wrong),
    }


def percentiles(seconds: Sequence[float]) -> dict[str, float] | None:
    """p50, p95 and p99 in milliseconds; None of nothing."""
    if not seconds:
        return None
    return {f"p{q}": round(1000 * float(np.percentile(seconds, q)), 1) for q in (50, 95, 99)}


def _rate(n: int, seconds: float) -> float:
    return round(n / seconds, 2) if seconds > 0 else 0.0


def level(bench: Bench, memory: Memory | None, kind: str, clients: int) -> dict[str, Any]:
    """One number of clients, each sending as soon as it is answered."""
    if memory:
        memory.restart()
    plan = bench.plan(kind, clients)
    replies = bench.run(plan)
    result = statistics(plan, replies, mistakes(plan, replies, bench.work.expected[kind]))
    inside = bench.work.items_per_second[kind]
    return {
        **result,
        "share_of_in_process": round(result["items_per_second"] / inside, 3),
        "peak_memory_mb": round(memory.peak_bytes / 2**20) if memory else None,
    }


def overload(bench: Bench, memory: Memory | None, kind: str, borne: float) -> dict[str, Any]:
    """Five times the rate that was borne, and what comes after."""
    before = memory.now_bytes() if memory else 0
    plan = bench.plan(kind, MANY, max(OVERLOAD * borne, 1.0))
    replies = bench.run(plan)
    recovery = recover(bench, kind)
    return {
        **statistics(plan, replies, mistakes(plan, replies, bench.work.expected[kind])),
        "asked_requests_per_second": round(plan.rate or 0.0, 2),
        "recovery_seconds": recovery,
        "memory_growth_mb": round((memory.now_bytes() - before) / 2**20) if memory else None,
    }


def recover(bench: Bench, kind: str) -> float | None:
    """Seconds until the first of `RECOVERED` successes in a row; None where they do not come."""
    plan = bench.plan(kind, 1)
    headers = {"Authorization": f"Bearer {plan.token}"} if plan.token else {}
    start, first, row = time.monotonic(), None, 0
    with httpx.Client(base_url=plan.url, headers=headers, timeout=RECOVERY_S) as http:
        for number in range(10**6):
            now = time.monotonic() - start
            if now > RECOVERY_S:
                return None
            answer = http.post(PATHS[kind], json=payload(kind, number, plan.items))
            first, row = (first or now, row + 1) if answer.is_success else (None, 0)
            if row == RECOVERED:
                return round(first or 0.0, 2)
            if not answer.is_success:
                time.sleep(0.1)
    return None


def measure(bench: Bench, batching: bool, memory: Memory | None) -> dict[str, Any]:
    """All levels of both kinds, and the overload where batching is on."""
    found: dict[str, Any] = {}
    for kind in bench.args.kinds:
        levels = [level(bench, memory, kind, clients) for clients in bench.args.clients]
        found[kind] = {"levels": levels}
        if batching:
            borne = max(one["requests_per_second"] for one in levels)
            found[kind]["overload"] = overload(bench, memory, kind, borne)
    return found


def run(args: argparse.Namespace) -> dict[str, Any]:
    """The whole benchmark."""
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(args, Path(temporary), InProcess.measured(args.kinds, args.items, args.seconds))
        result: dict[str, Any] = {
            "command": "python -m benchmarks.load " + " ".join(sys.argv[1:]),
            "machine": {"cpus": psutil_cpus(), "python": platform.python_version()},
            "items_per_request": args.items,
            "seconds_per_level": args.seconds,
            "replicas": args.replicas,
            "in_process_items_per_second": bench.work.items_per_second,
        }
        if args.url:
            return result | {"as_it_is": measure(bench, True, None)}
        for name, batching in (("batching", True), ("no_batching", False)):
            command, environment = command_of(bench.folder, args.port, args.replicas, batching)
            log = args.log_dir / f"load-{name}.log"
            with served(command, f"http://127.0.0.1:{args.port}", environment, log) as memory:
                result[name] = measure(bench, batching, memory)
        return result


def psutil_cpus() -> int:
    """Cores that this process may use."""
    import psutil

    return len(psutil.Process().cpu_affinity())


def parser() -> argparse.ArgumentParser:
    """The options of this benchmark."""
    p = argparse.ArgumentParser(prog="python -m benchmarks.load", description="The service under load.")
    p.add_argument("--seconds", type=float, default=15.0, help="of each level (default 15)")
    p.add_argument("--clients", type=_numbers, default=[1, 8, 32, 64], metavar="A,B", help="default 1,8,32,64")
    p.add_argument("--kinds", type=_kinds, default=list(KINDS), metavar="A,B", help="default generate,rank")
    p.add_argument("--items", type=int, default=10, help="samples or formulas of one request (default 10)")
    p.add_argument("--replicas", type=int, default=1, help="most processes of each kind (default 1, as in process)")
    p.add_argument("--port", type=int, default=8123, help="where the service is started (default 8123)")
    p.add_argument("--url", help="of a running service to measure as it is, in place of starting one")
    p.add_argument("--token", help="bearer token of that service")
    p.add_argument("--log-dir", type=Path, default=Path(), help="where the service's output goes (default: here)")
    add_out(p)
    return p


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _kinds(text: str) -> list[str]:
    kinds = text.split(",")
    if unknown := sorted(set(kinds) - set(KINDS)):
        raise ConfigError(f"--kinds {unknown}: choose from {', '.join(KINDS)}")
    return kinds


def main(argv: list[str] | None = None) -> int:
    """Measure, print tables to standard error and one JSON object to standard output."""
    args = parser().parse_args(argv)
    result = run(args)
    print_tables(result)
    finish(result, args.out)
    return 0


if __name__ == "__main__":
    exit_with(main)
