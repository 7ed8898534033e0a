"""Searched hyperparameters against the published ones, at equal training cost.

    python -m benchmarks.presets --best SEARCH/best --data DIR --out DIR [--petaflop X] [--seeds S ..] [--equal-seconds]

Three recipes of one family are trained on the same data with the same arithmetic, once for each seed: the best trial of
a search (the model folder that `tune.search` wrote; only the settings in its card are used), the published size with
its batch of about 256 formulas, and the zoo's preset ``small``; the last two with the training that `discovery.train`
gives them. Equal arithmetic is not equal time: ``--equal-seconds`` also compares at equal CPU time. Each trained model
is judged by ``--n`` raw samples with a seed that no search used. Results are files in ``--out``: an interrupted run
goes on where it was. Prints the table as Markdown.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.language_tables import table
from discovery.errors import ConfigError
from discovery.generators.causal import BART, GPT, GPT2, GPTJ, GPTNEO
from discovery.generators.zoo import Size, sized
from discovery.model_files import CARD, read_json, write_json
from discovery.options import exit_with
from tune.plan import Plan
from tune.recipe import Recipe, recipe_with, size_of
from tune.scoring import score
from tune.space import START
from tune.supplies import Supplies, load_supplies

Results = dict[str, Any]
FRESH_SEED = 2_000_000  # added to a training's: neither a search nor its confirmation drew these samples
PUBLISHED = {family.name: family.sizes["paper"] for family in (GPT, GPT2, GPTNEO, GPTJ, BART)}
RESULTS = {  # result -> (heading, format)
    "yield": ("yield", ".1f"),
    "promising_per_1000": ("promising / 1,000", ".1f"),
    "recovered_per_1000": ("recovered / 1,000", ".2f"),
    "nll": ("nats per atom", ".4f"),
    "charge_neutral": ("CN", ".4f"),
    "electronegativity_balanced": ("EB", ".4f"),
    "uniqueness": ("uniqueness", ".3f"),
    "cpu_seconds": ("training (CPU s)", ".0f"),
}


@dataclasses.dataclass(frozen=True)
class Entry:
    """A row of the table."""

    name: str
    config: Mapping[str, Any]  # as a trial's
    size: Size


def main(argv: list[str] | None = None) -> int:
    """Train and judge what is not on file yet, and print the table."""
    args = parser().parse_args(argv)
    torch.set_num_threads(args.threads)
    card = read_json(args.best / CARD)
    if "search" not in card:
        raise ConfigError(f"{args.best} was not found by a search: give the folder `best` of python -m tune.search")
    plan = plan_of(card["search"]["plan"], args)
    found = entries(plan.model, card["search"]["config"])
    supplies = load_supplies(plan)

    def runs(entry: Entry, petaflop: float) -> list[Results]:
        plans = [dataclasses.replace(plan, seed=seed, petaflop=petaflop) for seed in args.seeds]
        return [on_file(entry, one, supplies, args.out) for one in plans]

    results = {entry.name: runs(entry, plan.petaflop) for entry in found}
    if args.equal_seconds:
        for entry in found[1:]:
            cost = petaflop_of_equal_seconds(results["searched"], results[entry.name])
            results[f"{entry.name}, as many seconds"] = runs(entry, cost)
    text = markdown(results)
    (args.out / "table.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


def petaflop_of_equal_seconds(model: Sequence[Results], other: Sequence[Results]) -> float:
    """Arithmetic that takes another recipe as long as a model's took: small networks do less of it in a second.

    Two digits, so that the results on file are found again.
    """
    seconds, others = (float(np.mean([run["cpu_seconds"] for run in runs])) for runs in (model, other))
    return float(f"{other[0]['petaflop'] * seconds / others:.2g}")


def plan_of(searched: Mapping[str, Any], args: argparse.Namespace) -> Plan:
    """The search's plan with the data, the cost and the samples of this comparison."""
    plan = Plan(**searched)
    cost = plan.petaflop if args.petaflop is None else args.petaflop
    return dataclasses.replace(
        plan, data=str(args.data), petaflop=cost, epochs=None, samples=args.n, judged=args.judged
    )


def entries(family: str, searched: Mapping[str, Any]) -> list[Entry]:
    """The three recipes.

    Raises:
        ConfigError: a family whose published size is not known here.
    """
    if family not in PUBLISHED:
        raise ConfigError(f"no published size of {family} to compare with: search one of {', '.join(PUBLISHED)}")
    usual = {name: value for name, value in START.items() if name != "left_to_right"}
    return [
        Entry("searched", searched, size_of(searched)),
        Entry("published size", usual, Size(*PUBLISHED[family])),
        Entry("preset small", usual, size_of(usual)),
    ]


def on_file(entry: Entry, plan: Plan, supplies: Supplies, out: Path) -> Results:
    """The results of one training; made and written where they are not there yet."""
    config = hashlib.blake2b(repr(sorted(entry.config.items())).encode(), digest_size=4).hexdigest()
    name = f"{entry.name.replace(' ', '-')}-{config}-{plan.petaflop:g}-{plan.samples}-{plan.judged}-{plan.seed}"
    path = out / f"{name}.json"
    if not path.is_file():
        write_json(path, measured(entry, plan, supplies))
    return read_json(path)


def measured(entry: Entry, plan: Plan, supplies: Supplies) -> Results:
    """Train by a recipe and judge what it learned."""
    model = sized(plan.model, entry.size, plan.seed)
    recipe: Recipe = recipe_with(model, entry.config, plan, supplies.tokens())
    began = time.process_time()
    trained, history = model.fit(supplies.train[recipe.variant], supplies.valid, recipe.training)
    seconds = time.process_time() - began
    best = min(report.valid_loss for report in history) * supplies.tokens_per_atom
    found = score(trained, supplies, recipe.sampling, (plan.samples, plan.judged), plan.seed + FRESH_SEED)
    cost = {"petaflop": recipe.petaflop, "parameters": recipe.parameters, "cpu_seconds": seconds}
    return {"config": dict(entry.config), "size": dataclasses.asdict(entry.size), "nll": best, **cost, **found}


def markdown(results: Mapping[str, Sequence[Results]]) -> str:
    """Mean over seeds, and their range."""
    head = ("recipe", "parameters", "seeds", *(heading for heading, _ in RESULTS.values()))
    lines = [
        (
            name,
            f"{runs[0]['parameters']:,}",
            str(len(runs)),
            *(_cell(runs, key, form) for key, (_, form) in RESULTS.items()),
        )
        for name, runs in results.items()
    ]
    return table(head, lines)


def _cell(runs: Sequence[Results], key: str, form: str) -> str:
    values = [run[key] for run in runs]
    low, high = min(values), max(values)
    return f"{np.mean(values):{form}} ({low:{form}} - {high:{form}})"


def parser() -> argparse.ArgumentParser:
    """The options of this benchmark."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.presets", description=__doc__)
    options.add_argument("--best", required=True, type=Path, metavar="DIR", help="best model of a search")
    options.add_argument("--data", required=True, type=Path, metavar="DIR", help="of discovery.datasets")
    options.add_argument("--out", required=True, type=Path, metavar="DIR", help="for results, read again where present")
    options.add_argument("--petaflop", type=float, metavar="X", help="of each training (default: that of the search)")
    options.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], metavar="S", help="the search used another")
    options.add_argument("--n", type=int, default=10_000, metavar="N", help="samples per model")
    options.add_argument("--judged", type=int, default=4000, metavar="N", help="of them, by predicted energies")
    options.add_argument(
        "--equal-seconds", action="store_true", help="train the other two for as many CPU seconds, too"
    )
    options.add_argument("--threads", type=int, default=1, metavar="N", help="torch threads")
    return options


if __name__ == "__main__":
    exit_with(main)
