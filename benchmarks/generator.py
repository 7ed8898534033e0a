"""Metrics of a generator, free and constrained, raw.

    python -m benchmarks.generator --data FILE --where COLUMN [--model NAME|DIR] [--n N] [--card DIR]

Prints one JSON object: CN, EB, uniqueness, novelty against the training part and recovery of the test part of the split
that `discovery.train` made, and samples per second on one thread.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from discovery import model_files
from discovery.formulas import read_distinct, split_of
from discovery.generators.base import Generator, SamplingOptions
from discovery.generators.zoo import load_generator
from discovery.metrics import generative_metrics
from discovery.options import exit_with


def main(argv: list[str] | None = None) -> int:
    """Measure and print; with ``--card`` also write the results into that folder's card."""
    args = _parser().parse_args(argv)
    torch.set_num_threads(1)
    parts = _parts(args)
    generator = load_generator(args.model)
    arguments = shlex.join(sys.argv[1:] if argv is None else argv)
    results: dict[str, Any] = {
        "command": f"python -m benchmarks.generator {arguments}",
        "model": generator.version,
        "smact": version("smact"),
    }
    for mode, constrained in (("free", False), ("constrained", True)):
        results[mode] = measure(generator, SamplingOptions(constrained=constrained), args, parts)
    print(json.dumps(results, indent=2))
    if args.card is not None:
        card = model_files.read_json(args.card / model_files.CARD)
        model_files.write_json(args.card / model_files.CARD, {**card, "results": results})
    return 0


def measure(
    generator: Generator, options: SamplingOptions, args: argparse.Namespace, parts: dict[str, set[str]]
) -> dict[str, Any]:
    """Metrics of `args.n` samples under both tables of oxidation states; recovery counts the test part."""
    generator.sample(options.batch_size, np.random.default_rng(args.seed + 1), options)  # warm-up
    began = time.perf_counter()
    samples = generator.sample(args.n, np.random.default_rng(args.seed), options)
    seconds = time.perf_counter() - began
    metrics = generative_metrics(samples, parts["train"], parts["test"])
    older = generative_metrics(samples, parts["train"], states="smact14")
    return {
        **dataclasses.asdict(metrics),
        "held_out": len(parts["test"]),
        "charge_neutral_smact14": older.charge_neutral,
        "electronegativity_balanced_smact14": older.electronegativity_balanced,
        "samples_per_second": round(args.n / seconds, 1),
    }


def _parts(args: argparse.Namespace) -> dict[str, set[str]]:
    parts: dict[str, set[str]] = {"train": set(), "valid": set(), "test": set()}
    for formula in read_distinct(args.data, args.where)[0]:
        parts[split_of(formula, args.split_seed)].add(formula)
    return parts


def _parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="python -m benchmarks.generator", description=__doc__)
    options.add_argument("--model", default="gpt2", metavar="NAME|DIR")
    options.add_argument("--data", required=True, type=Path, metavar="FILE", help="what the model was trained on")
    options.add_argument("--where", metavar="COLUMN", help="as in discovery.train")
    options.add_argument("--n", type=int, default=10_000, metavar="N")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--split-seed", type=int, default=0, help="the --seed of discovery.train")
    options.add_argument("--card", type=Path, metavar="DIR", help="write the results into this model folder's card")
    return options


if __name__ == "__main__":
    exit_with(main)
