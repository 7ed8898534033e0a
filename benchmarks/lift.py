"""Language-interfaced fine-tuning against the ensemble, a random forest and the mean, by the number of labels.

    python -m benchmarks.lift --labels FILE --sizes 100 1000 10000 all [--seeds 0 1 2] [--base DIR|NAME] [--out DIR]

So many labels are drawn (by seed) from the training part of FILE; a tenth of them chooses epochs and calibrates. All
arms predict the same compositions of the test part. `LIFT` is the language model of compositions with digit tokens;
`random weights` is the same network without what it has read, the control of Dinh et al. (NeurIPS 2022); the ensemble
is the preset of `discovery.surrogates.from_labels` (two members of 0.4 M parameters); with ``--base`` any causal
language model answers in sentences, too. Each result is a file in ``--out``, read again where it is there.

Prints one JSON object; writes it and a Markdown table into ``--out``.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.language_tables import table
from benchmarks.lift_arms import Arm, Task, arms
from benchmarks.results import command, finish
from benchmarks.surrogate.measures import errors
from discovery.composition import is_compound
from discovery.errors import ConfigError
from discovery.labels import lowest_per_formula, read_labels
from discovery.options import exit_with, torch_device
from discovery.surrogates.base import Labels
from discovery.surrogates.dataset import OWN_SHARES, Dataset, split_of
from discovery.surrogates.from_labels import labelled_dataset

ALL = "all"
VALIDATION = 0.1  # share of the drawn labels


def main(argv: list[str] | None = None) -> int:
    """Measure what is missing, print everything."""
    args = parser().parse_args(argv)
    torch.set_num_threads(args.threads)
    chosen = {name: arm for name, arm in arms(args.base).items() if not args.arms or name in args.arms}
    if unknown := sorted(set(args.arms or ()) - set(chosen)):
        raise ConfigError(f"--arms {unknown}: there are {', '.join(arms(args.base))}")
    data = read(args.labels, args.scheme)
    draws = [(size, seed) for size in args.sizes for seed in args.seeds]
    rows = [measured(name, arm, data, draw, args) for draw in draws for name, arm in chosen.items()]
    summary = summarised(rows)
    (args.out / "table.md").write_text(markdown(summary), encoding="utf-8")
    about = {"command": command("benchmarks.lift", argv), "python": platform.python_version()}
    software = {name: version(name) for name in ("torch", "transformers", "scikit-learn")}
    finish({**about, "software": software, "summary": summary, "runs": rows}, args.out / "lift.json")
    return 0


def read(path: Path, scheme: str) -> Dataset:
    """One label for each compound, the lowest."""
    labels = lowest_per_formula(read_labels(path, scheme))
    labels = labels[[is_compound(formula) for formula in labels.formula]]
    energies = labels.formation_energy_per_atom.to_numpy(dtype=np.float64)
    return labelled_dataset(Labels(tuple(labels.formula), energies, tuple(labels.scheme)))


def drawn(data: Dataset, size: str, seed: int, tested: int) -> Dataset:
    """So many labels of the training part, a share of them for validation, and `tested` rows of the test part."""
    hashed = np.array([split_of(formula, OWN_SHARES) for formula in data.formulas])
    pool, test = np.flatnonzero(hashed != "test"), np.flatnonzero(hashed == "test")
    n = len(pool) if size == ALL else int(size)
    if n > len(pool):
        raise ConfigError(f"--sizes {size}: there are {len(pool):,} labels to draw from; give fewer, or all")
    chosen = np.random.default_rng(seed).permutation(pool)[:n]
    parts = np.full(len(data.formulas), "left out", dtype="U10")
    parts[chosen], parts[chosen[: round(VALIDATION * n)]] = "train", "validation"
    parts[np.random.default_rng(0).permutation(test)[:tested]] = "test"
    return replace(data, split=parts)


def measured(name: str, arm: Arm, data: Dataset, which: tuple[str, int], args: argparse.Namespace) -> dict[str, Any]:
    """Errors and cost of one arm with one draw of labels, from its file where it is there."""
    size, seed = which
    label = re.sub(r"[^a-z0-9]+", "-", name.lower())
    path: Path = args.out / "runs" / f"{label}-{size}-{seed}-of-{args.test}.json"
    if path.is_file():
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    task = Task(drawn(data, size, seed, args.test), seed, args.out / "work" / path.stem, torch_device(args.device))
    began, cpu = time.perf_counter(), time.process_time()
    outcome = arm(task)
    result: dict[str, Any] = {
        "arm": name,
        "labels": size,
        "seed": seed,
        **errors(outcome.predicted, task.energies("test")),
        "coverage_90": outcome.inside,
        "unreadable_answers": outcome.unreadable,
        "answers": outcome.answers,
        "cpu_seconds": time.process_time() - cpu,
        "seconds": time.perf_counter() - began,
    }
    print(f"{name}, {size} labels, seed {seed}: MAE {result['mae']:.4f} eV/atom", file=sys.stderr, flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def summarised(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry for each arm and number of labels: means over seeds; the interval is that of one draw, bootstrap."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["labels"], row["arm"]), []).append(row)
    return [
        {
            "arm": arm,
            "labels": size,
            "seeds": [row["seed"] for row in found],
            "mae": _mean(found, "mae"),
            "mae_by_seed": [row["mae"] for row in found],
            "mae_interval": [float(np.mean([row["mae_interval"][edge] for row in found])) for edge in (0, 1)],
            "rmse": _mean(found, "rmse"),
            "r2": _mean(found, "r2"),
            "coverage_90": None if found[0]["coverage_90"] is None else _mean(found, "coverage_90"),
            "unreadable": sum(row["unreadable_answers"] for row in found),
            "answers": sum(row["answers"] for row in found),
            "cpu_seconds": _mean(found, "cpu_seconds"),
            "test": found[0]["n"],
        }
        for (size, arm), found in groups.items()
    ]


def markdown(summary: Sequence[dict[str, Any]]) -> str:
    """MAE by arm and number of labels, and the cost."""
    sizes = list(dict.fromkeys(row["labels"] for row in summary))
    names = list(dict.fromkeys(row["arm"] for row in summary))
    cells = {(row["arm"], row["labels"]): row for row in summary}
    head = ("MAE (eV/atom)", *(f"{size} labels" for size in sizes))
    errors_by = [(name, *(_cell(cells.get((name, size))) for size in sizes)) for name in names]
    head_cost = ("CPU s; coverage of the 90 % interval; unreadable", *(f"{size} labels" for size in sizes))
    cost_by = [(name, *(_cost(cells.get((name, size))) for size in sizes)) for name in names]
    return f"{table(head, errors_by)}\n\n{table(head_cost, cost_by)}\n"


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.lift", description=__doc__)
    options.add_argument("--labels", required=True, type=Path, metavar="FILE", help="CSV or Parquet of labels")
    options.add_argument("--scheme", default="mp2019", metavar="NAME", help="of rows that name none")
    options.add_argument("--sizes", nargs="+", default=["100", "1000", "10000", ALL], metavar="N")
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="S")
    options.add_argument("--test", type=int, default=2000, metavar="N", help="test compositions")
    options.add_argument("--arms", nargs="+", metavar="NAME", help="only these")
    options.add_argument("--base", metavar="DIR|NAME", help="causal language model for sentences: folder or hub name")
    options.add_argument("--device", choices=("auto", "cpu", "cuda"), default="cpu")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--out", type=Path, default=Path("runs/benchmark-lift"), metavar="DIR")
    return options


def _mean(rows: Sequence[dict[str, Any]], key: str) -> float:
    return float(np.mean([row[key] for row in rows]))


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    low, high = row["mae_interval"]
    return f"{row['mae']:.3f} ({low:.3f} - {high:.3f})"


def _cost(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    coverage = "" if row["coverage_90"] is None else f"{row['coverage_90']:.2f}"
    unreadable = f"{row['unreadable']:,} of {row['answers']:,}" if row["answers"] else ""
    return "; ".join((f"{row['cpu_seconds']:.0f}", coverage, unreadable))


if __name__ == "__main__":
    exit_with(main)
