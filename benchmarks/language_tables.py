"""The results of `benchmarks.language_models` as Markdown tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Results = dict[str, Any]
METRICS = ("charge_neutral", "electronegativity_balanced", "uniqueness", "novelty", "recovery")
STATES = "icsd24"
PUBLISHED = (
    ("best causal model (Fu et al. 2023)", "0.9761", "0.9122"),
    ("BLMM (Wei et al. 2022)", "0.897", "0.848"),
)


def markdown(results: Sequence[Results], n: int, seeds: Sequence[int]) -> str:
    """All tables: free samples, constrained ones, rankings, training cost."""
    parts = []
    for variant in dict.fromkeys(row["variant"] for row in results):
        rows = [row for row in results if row["variant"] == variant]
        named = f"{variant}: {{}} (N = {n:,}, seeds {', '.join(map(str, seeds))})"
        parts += [
            _titled(named.format("free, raw"), _samples(rows, "free", published=variant == "strict")),
            _titled(named.format("constrained, raw"), _samples(rows, "constrained")),
            *(
                _titled(f"{variant}: likelihood, family {family}", _ranking(rows, family))
                for family in rows[0]["ranking"]
            ),
            _titled(f"{variant}: training", _training(rows)),
        ]
    return "\n\n".join(parts) + "\n"


def _samples(rows: Sequence[Results], mode: str, *, published: bool = False) -> str:
    head = ("model", "CN", "EB", "uniqueness", "novelty", "recovery", "recovered", "samples / CPU s", "CN / EB smact14")
    lines = [(row["name"], *_cells(row["samples"][mode])) for row in rows if mode in row["samples"]]
    if published:
        lines += [(f"published: {name}", cn, eb, *[""] * 6) for name, cn, eb in PUBLISHED]
    return table(head, lines)


def _cells(runs: Sequence[Results]) -> list[str]:
    shares = [_share([run["raw"][STATES][metric] for run in runs]) for metric in METRICS]
    recovered = np.mean([run["raw"][STATES]["recovery"]["count"] for run in runs])
    of = runs[0]["raw"][STATES]["recovery"]["of"]
    speed = np.mean([run["samples_per_cpu_second"] for run in runs])
    older = [np.mean([run["raw"]["smact14"][metric]["share"] for run in runs]) for metric in METRICS[:2]]
    return [*shares, f"{recovered:,.0f} of {of:,}", f"{speed:,.0f}", " / ".join(f"{value:.3f}" for value in older)]


def _share(found: Sequence[Results]) -> str:
    """Mean over seeds; the interval is the bootstrap of one run, which is wider than that of the mean."""
    mean = np.mean([share["share"] for share in found])
    low, high = (np.mean([share[end] - share["share"] for share in found]) for end in ("low", "high"))
    return f"{mean:.4f} ({mean + low:.4f} - {mean + high:.4f})"


def _ranking(rows: Sequence[Results], family: str) -> str:
    head = ("model", "AUC", "first 1 %", "perplexity per token", "candidates", "withheld")
    lines = []
    for row in rows:
        found = row["ranking"][family]
        if row["cost"] or row["name"] == "random":  # the baselines have no likelihood: one row for the control
            perplexity = found.get("perplexity_per_token")
            lines.append((
                row["name"] if row["cost"] else "control: fewest atoms first",
                f"{found['auc']:.3f} ({found['auc_low']:.3f} - {found['auc_high']:.3f})",
                f"{found['found_in_first_percent']:.1f} of {found['withheld']} ({found['share_in_first_percent']:.3f})",
                "" if perplexity is None else f"{perplexity:.2f}",
                f"{found['candidates']:,}",
                f"{found['withheld']} (and {found['outside']} out of reach)",
            ))  # fmt: skip
    return table(head, lines)


def _training(rows: Sequence[Results]) -> str:
    head = (
        "model",
        "version",
        "parameters",
        "epochs",
        "tokens (million)",
        "petaflop",
        "validation (nats per token)",
        "wall (s)",
    )
    lines = [
        (
            row["name"],
            row["version"],
            f"{cost['parameters']:,}",
            str(cost["epochs"]),
            f"{cost['tokens'] / 1e6:.1f}",
            f"{cost['petaflop']:.4f}",
            f"{cost['valid_nats_per_token']:.4f}",
            f"{cost['seconds']:,}",
        )
        for row in rows
        if (cost := row["cost"])
    ]
    return table(head, lines)


def _titled(title: str, table: str) -> str:
    return f"### {title}\n\n{table}"


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *lines))
