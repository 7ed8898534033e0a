"""What `benchmarks.load` found, for the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table


def print_tables(result: dict[str, Any]) -> None:
    """One table for each kind and setting."""
    console = Console(stderr=True, width=120)
    for setting in ("batching", "no_batching", "as_it_is"):
        for kind, found in result.get(setting, {}).items():
            inside = result["in_process_items_per_second"][kind]
            table = Table(title=f"{kind}, {setting.replace('_', ' ')}; in this process {inside:g} items/s")
            for column in ("clients", "requests/s", "items/s", "of in-process", "p50 ms", "p95 ms", "p99 ms",
                           "refused", "errors", "wrong", "memory MB"):  # fmt: skip
                table.add_column(column, justify="right")
            for one in found["levels"]:
                table.add_row(*_cells(one))
            console.print(table)
            if "overload" in found:
                console.print(_overload_line(found["overload"]))


def _cells(one: dict[str, Any]) -> list[str]:
    latency = one["latency_ms"] or {}
    return [
        str(one["clients"]),
        f"{one['requests_per_second']:g}",
        f"{one['items_per_second']:g}",
        f"{one['share_of_in_process']:.0%}",
        *(f"{latency.get(name, float('nan')):g}" for name in ("p50", "p95", "p99")),
        str(one["refused"]),
        str(sum(one["errors"].values())),
        str(one["n_wrong_answers"]),
        str(one["peak_memory_mb"] or "-"),
    ]


def _overload_line(one: dict[str, Any]) -> str:
    refusal = one["refusal_ms"] or {}
    return (
        f"overload: {one['asked_requests_per_second']:g} requests/s asked, {one['answered']} of {one['requests']} "
        f"answered, {one['refused']} refused (p95 {refusal.get('p95', float('nan')):g} ms; "
        f"{one['refused_with_retry_after']} with Retry-After), errors {one['errors'] or 'none'}, "
        f"wrong {one['n_wrong_answers']}, "
        f"recovered after {one['recovery_seconds']} s, memory grew by {one['memory_growth_mb']} MB"
    )
