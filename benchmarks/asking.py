"""How long it takes to rank a long list and to choose a batch from it, stage by stage, and per chosen candidate.

    python -m benchmarks.asking [--candidates 100000] [--batch 50] [--answers 500] [--threads 2] [--out FILE.json]

The candidates are made up by seed (two to five elements in the shares of the Materials Project). Stages: energies and
hull (surrogate and builtin reference, as workers do it), likelihood, judge (learns from known compounds and answers,
then judges all), neighbours (the answers move all log-odds), the batch by value, and the batch chosen jointly from a
shortlist for comparison. The answers are made up too: what they say is not the question here.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.prediction import formulas as made_up
from discovery.acquisition import select_batch
from discovery.composition import amounts, chemical_system
from discovery.examples import clues_of
from discovery.generators.zoo import load_generator
from discovery.hull import Hull
from discovery.judging import Examples, FloatArray, trained_judge
from discovery.neighbours import Labelled, fractions_of, informed, joint_batch, shifts
from discovery.options import exit_with
from discovery.ranking import estimates
from discovery.reference.builtin import load_builtin
from discovery.surrogates.zoo import load_surrogate
from discovery.workers import RANK_CHUNK

SHORTLIST = 1500  # candidates that a joint batch is weighed for
KNOWN = 3000  # compounds that the judge learns from


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of every stage for one batch."""
    torch.set_num_threads(options.threads)
    reference, surrogate = load_builtin(), load_surrogate(options.surrogate)
    generator, hull = load_generator(options.model), Hull(reference.phases, reference.scheme)
    asked = list(dict.fromkeys(made_up(options.candidates + options.answers + KNOWN, seed=0)))
    seconds: dict[str, float] = {}
    parts = [asked[start : start + RANK_CHUNK] for start in range(0, len(asked), RANK_CHUNK)]
    found = _timed(
        seconds, "energies and hull", lambda: [one for part in parts for one in estimates(surrogate, hull, part)]
    )
    prior = _timed(seconds, "likelihood", lambda: generator.log_probability(asked))
    every = clues_of(asked, found, prior)
    stable = np.random.default_rng(0).random(len(asked)) < 0.3
    learned, told, rest = np.split(np.arange(len(asked)), [KNOWN, KNOWN + options.answers])
    known, answers = (Examples(every.rows(rows), stable[rows]) for rows in (learned, told))
    odds = _timed(seconds, "judge", lambda: trained_judge(known, answers, 0.1, 0).odds(every.rows(rest)))
    labelled = Labelled(fractions_of([amounts(asked[row]) for row in told]), np.zeros(len(told)), answers.stable)

    def moved() -> FloatArray:
        return odds + shifts(labelled, fractions_of([amounts(asked[row]) for row in rest]))

    values = _timed(seconds, "neighbours", moved)

    def batch() -> list[int]:
        systems = [chemical_system(asked[row]) for row in rest]
        return select_batch(values, systems, options.batch, 2)

    _timed(seconds, "batch by value", batch)

    def joint() -> list[int]:
        short = np.argsort(-values)[:SHORTLIST]
        rows = fractions_of([amounts(asked[rest[row]]) for row in short])
        return joint_batch(informed(labelled, rows, odds[short]), options.batch)

    whole = sum(seconds.values())
    _timed(seconds, "joint batch", joint)
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, {options.threads} threads",
        "candidates": len(rest),
        "batch": options.batch,
        "answers": options.answers,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "seconds_per_chosen_candidate": round(whole / options.batch, 4),
    }


def _timed(seconds: dict[str, float], name: str, work: Callable[[], Any]) -> Any:
    start = time.perf_counter()
    result = work()
    seconds[name] = time.perf_counter() - start
    return result


def main(argv: list[str] | None = None) -> int:
    """Measure, print one JSON object, and write it where asked."""
    options = parser().parse_args(argv)
    text = json.dumps(measure(options), indent=1)
    print(text)
    if options.out is not None:
        options.out.write_text(text + "\n", encoding="utf-8")
    return 0


def parser() -> argparse.ArgumentParser:
    """The options of this entry point."""
    p = argparse.ArgumentParser(prog="python -m benchmarks.asking", description=__doc__)
    p.add_argument("--candidates", type=int, default=100_000)
    p.add_argument("--batch", type=int, default=50)
    p.add_argument("--answers", type=int, default=500, help="labels that came in before")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--model", default="gpt2")
    p.add_argument("--surrogate", default="ensemble")
    p.add_argument("--out", type=Path)
    return p


if __name__ == "__main__":
    exit_with(main)
