"""The likelihood of a model as a ranking: withheld compounds against charge-neutral compositions of the same elements.

    python -m benchmarks.likelihood_ranking --models DIR.. --data FILE [--where COLUMN] --family A-B..

The withheld compounds are all of FILE that contain the family's elements; the model must have been trained without
them (``python -m discovery.datasets --withhold A,B``, whose `withheld.csv` is a good FILE). Against each of their
chemical systems stand all charge-neutral, balanced compositions up to ``--max-atoms``. Prints one JSON object: area
under the ROC curve with a 95 % interval (bootstrap over chemical systems), share of the withheld compounds in the first
1 % of the ranking, perplexity per token; and the same for the control "fewest atoms first".
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from discovery.composition import SYMBOLS, amounts, canonical_key, electronegativity_order, pauling_electronegativity
from discovery.errors import CompositionError, ConfigError, DataError
from discovery.formulas import read_rows
from discovery.generators.base import Generator
from discovery.generators.zoo import load_generator
from discovery.options import exit_with
from discovery.validity import StateSet, oxidation_states

RESAMPLES = 500  # of the bootstrap over chemical systems
FIRST = 0.01  # share of the ranking that is looked at
System = tuple[str, ...]


@dataclass(frozen=True)
class Pool:
    """What is ranked."""

    formulas: list[str]
    atoms: NDArray[np.int64]  # per reduced formula unit, shape (n,)
    withheld: NDArray[np.bool_]  # which are known compounds, shape (n,)
    systems: NDArray[np.int64]  # number of the chemical system, shape (n,)
    outside: int  # withheld compounds that no enumeration reaches: too large, or not balanced


def main(argv: list[str] | None = None) -> int:
    """Enumerate, score with every model, print."""
    args = _parser().parse_args(argv)
    torch.set_num_threads(args.threads)
    family = _family(args.family)
    pool = build_pool(withheld_compounds(args.data, args.where, family), args.max_atoms, args.states)
    results: dict[str, Any] = {
        "command": f"python -m benchmarks.likelihood_ranking {shlex.join(sys.argv[1:] if argv is None else argv)}",
        "smact": version("smact"),
        "family": "-".join(sorted(family)),
        "systems": int(pool.systems.max()) + 1,
        "candidates": len(pool.formulas),
        "withheld": int(pool.withheld.sum()),
        "withheld_outside": pool.outside,
        "fewest_atoms_first": ranking(-pool.atoms.astype(float), pool, args.seed),
        "models": {name: measure(load_generator(name), family, pool, args.seed) for name in args.models},
    }
    print(json.dumps(results, indent=2))
    return 0


def measure(generator: Generator, family: frozenset[str], pool: Pool, seed: int) -> dict[str, Any]:
    """The ranking by one model's likelihood, and its perplexity per token (atoms and end) on the withheld compounds."""
    began = time.perf_counter()
    scores = generator.log_probability(pool.formulas)
    seconds = time.perf_counter() - began
    tokens = pool.atoms[pool.withheld] + 1
    return {
        "version": generator.version,
        "trained_without_family": trained_without(generator, family),
        **ranking(scores, pool, seed),
        # baselines give zeros, which is no likelihood
        "perplexity_per_token": math.exp(-scores[pool.withheld].sum() / tokens.sum()) if scores.any() else None,
        "formulas_per_second": round(len(pool.formulas) / seconds, 1),
    }


def trained_without(generator: Generator, family: frozenset[str]) -> bool | None:
    """True where the model's card says that the family was withheld; None where it does not say."""
    card = getattr(generator, "card", {})
    withheld = card.get("data", {}).get("withheld") or {}
    return True if any(frozenset(name.split("-")) <= family for name in withheld) else None


def ranking(scores: NDArray[np.float64], pool: Pool, seed: int) -> dict[str, Any]:
    """How well high scores point to the withheld compounds."""
    low, high = auc_interval(scores, pool, np.random.default_rng(seed))
    found = found_first(scores, pool.withheld, max(1, round(FIRST * len(scores))))
    return {
        "auc": auc(scores, pool.withheld, np.ones(len(scores))),
        "auc_low": low,
        "auc_high": high,
        "found_in_first_percent": found,
        "share_in_first_percent": found / int(pool.withheld.sum()),
    }


def auc(scores: NDArray[np.float64], positive: NDArray[np.bool_], weights: NDArray[np.float64]) -> float:
    """Chance that a positive scores above a negative, ties counted half (Mann-Whitney); NaN without one of either."""
    _, group = np.unique(scores, return_inverse=True)
    negatives = np.bincount(group, weights * ~positive)
    positives = np.bincount(group, weights * positive)
    below = np.cumsum(negatives) - negatives / 2
    total = positives.sum() * negatives.sum()
    return float(positives @ below / total) if total else math.nan


def auc_interval(scores: NDArray[np.float64], pool: Pool, rng: np.random.Generator) -> tuple[float, float]:
    """95 % percentile interval of a bootstrap over chemical systems, whose compositions are not independent."""
    _, group = np.unique(scores, return_inverse=True)
    number = int(pool.systems.max()) + 1
    values = []
    for _ in range(RESAMPLES):
        drawn = rng.multinomial(number, np.full(number, 1 / number)).astype(float)
        values.append(auc(group.astype(float), pool.withheld, drawn[pool.systems]))
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)


def found_first(scores: NDArray[np.float64], positive: NDArray[np.bool_], first: int) -> float:
    """Positives among the `first` highest scores; of a tie across the border, the share that is expected."""
    border = np.partition(scores, len(scores) - first)[len(scores) - first]
    above, tied = scores > border, scores == border
    room = first - int(above.sum())
    return float(positive[above].sum() + positive[tied].sum() * room / tied.sum())


def withheld_compounds(path: Path, where: str | None, family: frozenset[str]) -> dict[System, set[str]]:
    """Chemical system -> canonical keys of the compounds of a file that contain the whole family.

    Raises:
        DataError: a row is no composition, or no compound belongs to the family.
    """
    found: dict[System, set[str]] = {}
    for row in read_rows(path, where):
        try:
            counts = amounts(row.formula)
        except CompositionError as error:
            raise DataError(f"{path}, line {row.line}: {error}") from error
        if len(counts) > 1 and family <= counts.keys():
            found.setdefault(tuple(sorted(counts)), set()).add(canonical_key(counts))
    if not found:
        raise DataError(f"{path} has no compound with {', '.join(sorted(family))}: choose another --family")
    return found


def build_pool(known: dict[System, set[str]], max_atoms: int, states: StateSet) -> Pool:
    """All balanced compositions of the systems, with the known ones marked.

    Raises:
        DataError: none of the known compounds can be enumerated, or nothing else can.
    """
    formulas: list[str] = []
    systems: list[int] = []
    for number, system in enumerate(sorted(known)):
        keys = [canonical_key(counts) for counts in balanced_compositions(system, max_atoms, states)]
        formulas += keys
        systems += [number] * len(keys)
    every = set[str]().union(*known.values())
    withheld = np.array([formula in every for formula in formulas], dtype=bool)
    if not 0 < withheld.sum() < len(formulas):
        found = f"{withheld.sum()} of {len(formulas)} enumerated compositions are known"
        raise DataError(f"{found}: a ranking needs known and unknown ones, raise --max-atoms or change --family")
    atoms = np.array([sum(amounts(formula).values()) for formula in formulas])
    return Pool(formulas, atoms, withheld, np.array(systems), len(every) - int(withheld.sum()))


def balanced_compositions(system: System, max_atoms: int, states: StateSet) -> Iterator[dict[str, int]]:
    """All reduced compositions of exactly these elements that are charge neutral and pass the Pauling test."""
    symbols = electronegativity_order(system)
    grid = _counts(len(symbols), max_atoms)
    balanced = np.zeros(len(grid), dtype=bool)
    for charges in _charges(symbols, states):
        balanced |= grid @ np.array(charges) == 0
    for row in grid[balanced]:
        yield dict(zip(symbols, row.tolist(), strict=True))


def _charges(symbols: Sequence[str], states: StateSet) -> Iterator[tuple[int, ...]]:
    """Oxidation states with all cations before, and less electronegative than, all anions."""
    table = oxidation_states(states)
    values = [pauling_electronegativity(symbol) for symbol in symbols]
    if any(value is None for value in values):
        return
    for cations in range(1, len(symbols)):
        if values[cations - 1] == values[cations]:
            continue
        signs = [1] * cations + [-1] * (len(symbols) - cations)
        yield from product(
            *([s for s in table.get(symbol, ()) if s * sign > 0] for symbol, sign in zip(symbols, signs, strict=True))
        )


@lru_cache(maxsize=8)
def _counts(elements: int, max_atoms: int) -> NDArray[np.int64]:
    """Counts of one atom or more each, `max_atoms` or fewer in all, without a common divisor, shape (n, elements)."""
    rows: list[tuple[int, ...]] = [()]
    for left in reversed(range(elements)):
        rows = [(*row, count) for row in rows for count in range(1, max_atoms - sum(row) - left + 1)]
    return np.array([row for row in rows if math.gcd(*row) == 1], dtype=np.int64).reshape(-1, elements)


def _family(text: str) -> frozenset[str]:
    family = frozenset(part.strip() for part in text.split("-"))
    if unknown := sorted(family - frozenset(SYMBOLS)):
        raise ConfigError(f"--family {text}: {unknown} are no elements, write it like K-Zn")
    return family


def _parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="python -m benchmarks.likelihood_ranking", description=__doc__)
    options.add_argument("--models", required=True, nargs="+", metavar="NAME|DIR")
    options.add_argument(
        "--data", required=True, type=Path, metavar="FILE", help="known compounds, such as withheld.csv"
    )
    options.add_argument("--where", metavar="COLUMN", help="keep only the rows where this column is true")
    options.add_argument("--family", required=True, metavar="A-B", help="compounds that contain all of these elements")
    options.add_argument("--max-atoms", type=int, default=20, metavar="N", help="of enumerated compositions")
    options.add_argument("--states", choices=("icsd24", "icsd24-medium", "smact14"), default="icsd24")
    options.add_argument("--threads", type=int, default=1, metavar="N", help="torch threads")
    options.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    return options


if __name__ == "__main__":
    exit_with(main)
