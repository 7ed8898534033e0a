"""Compositions per second: the shipped ensemble against trees on Magpie features, parsing included, in one run.

    python -m benchmarks.prediction [--compositions 20000] [--largest 1000000] [--threads 2] [--out FILE.json]

All sides start from the same text formulas, made up by seed (two to five elements in the shares of the Materials
Project). The trees learn the ensemble's own predictions for `--train` other formulas, so that their depth is real;
how well they do is not the question here (`discovery.surrogates.magpie` is the baseline of accuracy, too). Each rate is
the best of `--repeats`. Rates of the ensemble's parts, the machine's matrix rate and the rate that the ensemble's
arithmetic allows on it say where the time goes. With --largest the cost per composition at a tenth of that number and
at all of it tells whether it grows.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from benchmarks.results import add_out, run
from discovery.composition import SYMBOLS
from discovery.options import exit_with
from discovery.surrogates.ensemble import EnsembleSurrogate
from discovery.surrogates.features import BASIS_SIZE, encode, pack
from discovery.surrogates.magpie import gradient_boosting, magpie_features, random_forest
from discovery.surrogates.network import NetworkConfig
from discovery.surrogates.zoo import DEFAULT, load_surrogate

SIZES, SHARES = (2, 3, 4, 5), (13, 48, 28, 11)  # elements in a formula, and per cent of formulas
UNUSED = frozenset(("He", "Ne", "Ar", "Kr", "Xe", "Rn", "Po", "At", "Fr", "Ra"))
GOAL = 20_000  # compositions per second


def formulas(count: int, seed: int) -> list[str]:
    """Made-up formulas of elements up to uranium."""
    rng = random.Random(seed)
    symbols = [symbol for symbol in SYMBOLS[:92] if symbol not in UNUSED]
    sizes = rng.choices(SIZES, SHARES, k=count)
    return ["".join(f"{symbol}{rng.randint(1, 9)}" for symbol in rng.sample(symbols, size)) for size in sizes]


def rate(work: Callable[[], object], count: int, repeats: int) -> float:
    """Compositions per second of wall-clock time, the best of several times."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return count / min(seconds)


def flops(config: NetworkConfig, elements: float) -> float:
    """Floating-point operations of the matrix products of one network for a composition of so many elements."""
    width, pooled = config.width, config.pooled
    layer = width * (4 * width + 2 * config.feed_forward)  # queries, keys, values, output; feed-forward
    token = config.layers * layer + width * (BASIS_SIZE + pooled + 8)  # fraction bases, gated sum
    head = 2 * pooled * pooled + 64 * pooled
    return 2.0 * (elements * token + head)


def matrix_rate(repeats: int) -> float:
    """Floating-point operations per second of a large product in single precision."""
    a, b = torch.randn(4096, 160), torch.randn(160, 480)
    return rate(lambda: [a @ b for _ in range(20)], 1, repeats) * 20 * 2 * 4096 * 160 * 480


def ensemble_rates(surrogate: EnsembleSurrogate, asked: Sequence[str], repeats: int) -> dict[str, float]:
    """The whole, its parts, and the bound that arithmetic sets."""
    data = encode(asked)
    every = np.arange(len(data))
    operations = sum(flops(network.config, float(data.lengths.mean())) for network in surrogate.networks)
    matrices = matrix_rate(repeats)
    return {
        "whole": rate(lambda: surrogate.predict(asked, surrogate.schemes[0]), len(asked), repeats),
        "parsing": rate(lambda: encode(asked), len(asked), repeats),
        "packing": rate(lambda: pack(data, every), len(asked), repeats),
        "operations_per_composition": operations,
        "matrix_operations_per_s": matrices,
        "bound_by_arithmetic": matrices / operations,
    }


def tree_rates(surrogate: EnsembleSurrogate, asked: Sequence[str], options: argparse.Namespace) -> dict[str, float]:
    """Features alone, and features with each kind of trees."""
    known = formulas(options.train, options.seed + 1)
    energies = surrogate.predict(known, surrogate.schemes[0]).mean
    features = magpie_features(known)
    forest = random_forest(features, energies, options.seed, options.threads)
    boosted = gradient_boosting(features, energies, options.seed)
    return {
        name: rate(work, len(asked), options.repeats)
        for name, work in {
            "features": lambda: magpie_features(asked),
            "random_forest": lambda: forest(magpie_features(asked)),
            "gradient_boosting": lambda: boosted(magpie_features(asked)),
        }.items()
    }


def growth(surrogate: EnsembleSurrogate, largest: int, seed: int) -> dict[str, float]:
    """Seconds per composition at a tenth of a number and at all of it, and their ratio: 1 where cost is linear."""
    asked = formulas(largest, seed + 2)
    tenth = 1.0 / rate(lambda: surrogate.predict(asked[: largest // 10], surrogate.schemes[0]), largest // 10, 1)
    whole = 1.0 / rate(lambda: surrogate.predict(asked, surrogate.schemes[0]), largest, 1)
    return {"compositions": largest, "s_each_at_a_tenth": tenth, "s_each": whole, "ratio": whole / tenth}


def measure(options: argparse.Namespace) -> dict[str, object]:
    """All rates as one object."""
    torch.set_num_threads(options.threads)
    surrogate = load_surrogate(options.surrogate)
    if not isinstance(surrogate, EnsembleSurrogate):
        raise SystemExit(f"{options.surrogate} is no ensemble of networks: name another with --surrogate")
    asked = formulas(options.compositions, options.seed)
    surrogate.predict(asked[:1000], surrogate.schemes[0])  # the first call is slow
    ensemble = ensemble_rates(surrogate, asked, options.repeats)
    trees = tree_rates(surrogate, asked, options)
    result: dict[str, object] = {
        "surrogate": surrogate.version,
        "members": len(surrogate.networks),
        "threads": options.threads,
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}",
        "goal_per_s": GOAL,
        "ensemble_per_s": ensemble,
        "trees_per_s": trees,
        "ensemble_to_random_forest": ensemble["whole"] / trees["random_forest"],
    }
    if options.largest:
        result["growth"] = growth(surrogate, options.largest, options.seed)
    return result


def main(argv: list[str] | None = None) -> int:
    """Print one JSON object."""
    return run(_parser(), measure, argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prediction", description=__doc__)
    parser.add_argument("--surrogate", default=DEFAULT, metavar="NAME|DIR")
    parser.add_argument("--compositions", type=int, default=20_000, metavar="N")
    parser.add_argument("--largest", type=int, default=0, metavar="N", help="also check that cost is linear up to N")
    parser.add_argument("--train", type=int, default=20_000, metavar="N", help="formulas that the trees learn from")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    add_out(parser)
    return parser


if __name__ == "__main__":
    exit_with(main)
