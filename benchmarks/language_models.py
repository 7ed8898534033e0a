"""The table of the language models, from the folders that `discovery.train` wrote.

    python -m benchmarks.language_models --models DIR --data DIR --out DIR [--n N] [--seeds S ..]

DIR of ``--models`` holds model folders, DIR of ``--data`` a folder of `discovery.datasets` per variant (``strict``,
``pure``, ``mix``). Every model is sampled free and constrained and judged against the data set that its card names;
beside it stand the baselines, ion exchange with the training part as parents. Each result is a file in ``--out`` under
the model's version, so that an interrupted run goes on where it was and a model that was trained anew is measured anew.
The likelihood is tested as a ranking of the families that the data set withheld (`benchmarks.likelihood_ranking`).
Prints the tables as Markdown and writes them to ``--out/tables.md``.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import language_tables
from benchmarks.likelihood_ranking import Pool, build_pool, measure, withheld_compounds
from benchmarks.likelihood_ranking import ranking as rank
from discovery import model_files
from discovery.composition import amounts, canonical_key
from discovery.datasets import STATES
from discovery.errors import ConfigError
from discovery.evaluate import evaluate, read_compounds
from discovery.formulas import DATASET, read_formulas
from discovery.generators.base import Generator, SamplingOptions
from discovery.generators.baselines import PSEUDO_RANDOM, RANDOM
from discovery.generators.ion_exchange import IonExchange
from discovery.generators.zoo import load_generator
from discovery.metrics import reduced
from discovery.options import exit_with

WARM_UP = 512  # sequences before the clock starts
RANKED_ATOMS = 20  # of the compositions in a ranking
MODES = ("free", "constrained")
Results = dict[str, Any]


@dataclass(frozen=True)
class DataSet:
    """A folder of `discovery.datasets`."""

    folder: Path

    @cached_property
    def training(self) -> set[str]:
        """Canonical keys of the training part."""
        return read_compounds(self.folder / "train.csv")

    @cached_property
    def held_out(self) -> set[str]:
        """Canonical keys of the test part."""
        return read_compounds(self.folder / "test.csv")

    @cached_property
    def pools(self) -> dict[str, Pool]:
        """Withheld family -> its compounds among the balanced compositions, by the data set's oxidation states."""
        card = model_files.read_json(self.folder / DATASET)
        states = STATES[card["variant"]] or "icsd24"
        return {family: self._pool(frozenset(family.split("-")), states) for family in card["withheld"]}

    def _pool(self, family: frozenset[str], states: Any) -> Pool:
        known = withheld_compounds(self.folder / "withheld.csv", None, family)
        return build_pool(known, RANKED_ATOMS, states)


@dataclass(frozen=True)
class Entry:
    """A row of the table."""

    name: str
    data: DataSet
    generator: Generator
    card: Results  # empty for a baseline


def main(argv: list[str] | None = None) -> int:
    """Measure what is not measured yet, and print the tables."""
    args = _parser().parse_args(argv)
    torch.set_num_threads(args.threads)
    results = [collect(entry, args) for entry in entries(args.models, args.data)]
    tables = language_tables.markdown(results, args.n, args.seeds)
    model_files.write_json(args.out / "results.json", {"n": args.n, "seeds": args.seeds, "models": results})
    (args.out / "tables.md").write_text(tables, encoding="utf-8")
    print(tables)
    return 0


def entries(models: Path, data: Path) -> Iterator[Entry]:
    """Every finished model below a folder, by variant, and the baselines of each variant.

    Raises:
        ConfigError: there is no finished model, or the data set of one is not there.
    """
    cards = {folder.parent: model_files.read_json(folder) for folder in sorted(models.glob(f"*/{model_files.CARD}"))}
    if not cards:
        raise ConfigError(
            f"{models} holds no trained model: train some with python -m discovery.train --out {models}/NAME"
        )
    variants: dict[str, list[Path]] = {}
    for folder, card in cards.items():
        variants.setdefault(str(card.get("data", {}).get("variant")), []).append(folder)
    for variant, folders in variants.items():
        if not (data / variant / DATASET).is_file():
            raise ConfigError(f"{folders[0]} was trained on {variant!r}, and {data / variant} is no data set: make it")
        found = DataSet(data / variant)
        for folder in folders:
            yield Entry(folder.name, found, load_generator(str(folder)), cards[folder])
        parents = IonExchange(tuple(read_formulas(found.folder / "train.csv")))
        for baseline in (RANDOM, PSEUDO_RANDOM, parents):
            yield Entry(baseline.name, found, baseline, {})


def collect(entry: Entry, args: argparse.Namespace) -> Results:
    """All results of one row; those that are on file are read."""
    found: Results = {
        "name": entry.name,
        "variant": entry.data.folder.name,
        "version": entry.generator.version,
        "cost": training_cost(entry),
        "samples": {mode: [] for mode in (MODES if entry.card else MODES[:1])},
    }
    for mode, runs in found["samples"].items():
        for seed in args.seeds:
            runs.append(_on_file(args.out, entry, f"{mode}-{args.n}-{seed}", partial(draw, entry, mode, args.n, seed)))
    found["ranking"] = {
        family: _on_file(args.out, entry, f"ranking-{family}", partial(ranked, entry, family))
        for family in (entry.data.pools if found["variant"] in args.ranked else ())
    }
    return found


def draw(entry: Entry, mode: str, n: int, seed: int) -> Results:
    """Metrics of `n` raw samples, and how many are written per second of processor time."""
    options = SamplingOptions(constrained=mode == "constrained")
    entry.generator.sample(WARM_UP, np.random.default_rng(seed + 1), options)
    began = time.process_time()
    samples = entry.generator.sample(n, np.random.default_rng(seed), options)
    seconds = time.process_time() - began
    formulas = [reduced(sample) for sample in samples]
    keys = [None if formula is None else canonical_key(amounts(formula)) for formula in formulas]
    judged = evaluate(keys, entry.data.training, entry.data.held_out, seed)
    return {"seed": seed, "samples_per_cpu_second": n / seconds, **judged}


def ranked(entry: Entry, family: str) -> Results:
    """How well the likelihood finds a withheld family; for a baseline, how well "fewest atoms first" does."""
    pool = entry.data.pools[family]
    size = {"candidates": len(pool.formulas), "withheld": int(pool.withheld.sum()), "outside": pool.outside}
    if not entry.card:
        return {**size, **rank(-pool.atoms.astype(float), pool, 0)}
    return {**size, **measure(entry.generator, frozenset(family.split("-")), pool, 0)}


def training_cost(entry: Entry) -> Results:
    """Parameters, epochs, tokens read and arithmetic of a training, that of its start included; {} for a baseline."""
    network = getattr(entry.generator, "network", None)
    if network is None:
        return {}
    parameters = sum(parameter.numel() for parameter in network.parameters())
    real = sum(sum(amounts(key).values()) + 1 for key in entry.data.training)
    steps = _trainings(entry.card)
    tokens = sum(step["training"]["epochs"] * _read(step, real, len(entry.data.training)) for step in steps)
    return {
        "parameters": parameters,
        "epochs": sum(step["training"]["epochs"] for step in steps),
        "tokens": tokens,
        "petaflop": 6 * parameters * tokens / 1e15,  # forward and backward products (Kaplan et al. 2020)
        "valid_nats_per_token": entry.card["training"]["valid_nats_per_token"],
        "seconds": sum(step["training"]["seconds"] for step in steps),
    }


def _trainings(card: Results | None) -> list[Results]:
    """A card and those of the models that its training went on from, as far as it names them."""
    return [card, *_trainings(card.get("start"))] if card and "training" in card else []


def _read(step: Results, real: float, compounds: int) -> float:
    """Tokens per epoch; own samples are counted as long as the real compounds."""
    own = step.get("data", {}).get("own_samples", 0) * real / compounds
    return own if step.get("data", {}).get("only_new") else real + own


def _on_file(out: Path, entry: Entry, what: str, make: Callable[[], Results]) -> Results:
    """The result of that name for this version and data set; made and written where it is not there yet."""
    data = hashlib.blake2b((entry.data.folder / DATASET).read_bytes(), digest_size=4).hexdigest()
    path = out / f"{entry.name}-{entry.generator.version}-{data}" / f"{what}.json"
    if not path.is_file():
        model_files.write_json(path, make())
    return model_files.read_json(path)


def add_sampling(options: argparse.ArgumentParser) -> None:
    """The options that say how much is sampled."""
    options.add_argument("--n", type=int, default=10_000, metavar="N", help="samples per model, mode and seed")
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="S")
    options.add_argument("--threads", type=int, default=1, metavar="N", help="torch threads")


def _parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="python -m benchmarks.language_models", description=__doc__)
    options.add_argument("--models", required=True, type=Path, metavar="DIR", help="holds model folders")
    options.add_argument("--data", required=True, type=Path, metavar="DIR", help="holds a data set per variant")
    options.add_argument("--out", required=True, type=Path, metavar="DIR", help="for results, read again where present")
    ranked = "variants whose withheld families are ranked (default strict; those of pure and mix take hours)"
    options.add_argument("--ranked", nargs="*", default=["strict"], metavar="VARIANT", help=ranked)
    add_sampling(options)
    return options


if __name__ == "__main__":
    exit_with(main)
