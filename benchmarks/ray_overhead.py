"""What Ray costs the default run: the same requests over actors and in this process, with next to nothing to compute.

    python -m benchmarks.ray_overhead [--rounds 5] [--run FOLDER]

Measured: seconds until the shipped models and the reference are loaded and every actor has answered once, and those of
an empty round (models handed out, one small request to each stage), both against the same in this process. With --run
(the folder of a finished campaign) the sum over all rounds is stated as a share of that campaign's time.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch

from actors.cluster import connect
from actors.workers import RayWorkers
from discovery.config import CampaignConfig
from discovery.generators.base import SamplingOptions
from discovery.ledger import Ledger, sqlite_url
from discovery.options import exit_with
from discovery.oracles.base import Budget
from discovery.oracles.loading import load_oracle
from discovery.parts import load_parts
from discovery.workers import LocalWorkers, Models, Workers

SMALL = 8  # samples and formulas in a request: enough that every actor gets some
FORMULAS = ["NaCl", "MgO", "SrTiO3", "LiFePO4"] * 2


def empty_round(workers: Workers, models: Models, seed: int) -> float:
    """Seconds of one small request to each stage, after the models were handed out."""
    start = time.perf_counter()
    workers.load(models)
    workers.generate(SMALL, np.random.SeedSequence(seed), SamplingOptions(constrained=True))
    workers.can_measure(FORMULAS)
    workers.predict(FORMULAS)
    workers.log_probability(FORMULAS)
    list(workers.validate(FORMULAS[:2], Budget()))
    return time.perf_counter() - start


def main(argv: list[str] | None = None) -> int:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ray_overhead", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--run", type=Path, metavar="FOLDER", help="a finished campaign to compare with")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    parts = load_parts(CampaignConfig())
    models = Models(parts.generator, parts.surrogate, parts.hull)
    # an oracle that answers at once: what is measured is the way there and back
    make_oracle = partial(load_oracle, "tests.small:formula_oracle", parts.reference, parts.reference.scheme)
    local = LocalWorkers(make_oracle())
    first_local = empty_round(local, models, 0)
    later_local = [empty_round(local, models, 1 + number) for number in range(options.rounds)]
    start = time.perf_counter()
    workers = RayWorkers(connect(), make_oracle, None, 1)
    empty_round(workers, models, 0)
    first_ray = time.perf_counter() - start
    later_ray = [empty_round(workers, models, 1 + number) for number in range(options.rounds)]
    start = time.perf_counter()
    workers.close()
    closing = time.perf_counter() - start
    extra = first_ray - first_local + closing + options.rounds * float(np.median(later_ray) - np.median(later_local))
    result: dict[str, object] = {
        "start_seconds": {"ray": round(first_ray, 2), "local": round(first_local, 2)},
        "empty_round_seconds": {
            "ray": [round(value, 2) for value in later_ray],
            "local": [round(value, 2) for value in later_local],
        },
        "closing_seconds": round(closing, 2),
        "extra_seconds": round(extra, 1),
    }
    if options.run is not None:
        result |= compared(options.run, extra)
    print(json.dumps(result, indent=1))
    return 0


def compared(run: Path, extra: float) -> dict[str, float]:
    """The extra seconds as a share of a campaign's rounds."""
    ledger = Ledger.open(sqlite_url(run))
    seconds = sum(sum(record.seconds.values()) for record in ledger.records().values())
    ledger.close()
    return {"run_seconds": round(seconds, 1), "share": round(extra / (seconds + extra), 4)}


if __name__ == "__main__":
    sys.exit(exit_with(main))
