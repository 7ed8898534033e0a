"""How far samples are from real compounds, and what frequency-corrected sampling does about rare elements.

    python -m benchmarks.bias --model NAME|DIR --data DIR --out DIR [--strengths X ..] [--n N] [--seeds S ..]

DIR of ``--data`` is the folder of `discovery.datasets` that the model was trained on. For each strength of the
correction (`discovery.generators.rarity`), free and constrained: CN, EB, recovery of all held-out compounds and of
those with a rare element, Jensen-Shannon distances (base 2, 0 to 1) of the shares of elements and of stoichiometries to
the training part and to the held-out one. An element is rare where less than ``--rare-below`` of the training compounds
hold it. Beside the distances stands what as many random training compounds give, which is noise alone. The interval of
the change in rare recovery is a bootstrap over the held-out compounds, the same ones in both arms. Prints Markdown
tables; writes `results.json` and, for each arm, a heat map of the periodic table into ``--out``.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon

from benchmarks.heat_map import heat_map
from benchmarks.language_tables import table
from discovery import model_files
from discovery.composition import amounts, canonical_key
from discovery.formulas import read_parts
from discovery.generators.base import Generator, SamplingOptions
from discovery.generators.rarity import corrected, element_shares
from discovery.generators.zoo import load_generator
from discovery.metrics import LEVEL, evaluation, reduced
from discovery.options import exit_with
from discovery.vocabulary import ELEMENTS

RESAMPLES = 2000  # of the bootstrap over held-out compounds
Shares = dict[str, float]


@dataclass(frozen=True)
class Compounds:
    """What the samples are compared with; canonical keys."""

    training: tuple[str, ...]
    held_out: tuple[str, ...]
    rare: frozenset[str]  # element symbols

    @classmethod
    def read(cls, folder: Path, rare_below: float) -> Compounds:
        """The parts of a data set."""
        parts = read_parts(folder)
        training, held_out = (tuple(canonical_key(amounts(f)) for f in parts[part]) for part in ("train", "test"))
        shares = element_shares(training)
        found = (symbol for symbol, share in zip(ELEMENTS, shares, strict=True) if 0 < share < rare_below)
        return cls(training, held_out, frozenset(found))

    def is_rare(self, key: str) -> bool:
        """True where a compound holds a rare element."""
        return not self.rare.isdisjoint(amounts(key))


@dataclass(frozen=True)
class Arm:
    """Samples of one strength and mode, one list of canonical keys per seed."""

    strength: float
    constrained: bool
    runs: tuple[tuple[str | None, ...], ...]

    @property
    def name(self) -> str:
        """Mode and strength."""
        return f"{'constrained' if self.constrained else 'free'} {self.strength:g}"

    def written(self) -> list[str]:
        """All that are compositions."""
        return [key for run in self.runs for key in run if key is not None]


def main(argv: list[str] | None = None) -> int:
    """Sample, compare, print, draw."""
    args = _parser().parse_args(argv)
    torch.set_num_threads(1)
    compounds = Compounds.read(args.data, args.rare_below)
    generator = load_generator(args.model)
    arms = [draw(generator, strength, args, constrained=mode) for mode in (False, True) for strength in args.strengths]
    references = {arm.constrained: arm for arm in reversed(arms)}  # the first strength of each mode
    rows = [measure(arm, references[arm.constrained], compounds) for arm in arms]
    report = {
        "model": generator.version,
        "n": args.n,
        "seeds": args.seeds,
        "rare": sorted(compounds.rare),
        "held_out": len(compounds.held_out),
        "held_out_rare": sum(map(compounds.is_rare, compounds.held_out)),
        "noise": distances(_as_many(compounds.training, args.n), compounds),
        "arms": rows,
    }
    model_files.write_json(args.out / "results.json", report)
    held_out = element_shares(compounds.held_out)
    for arm in arms:
        drawing = heat_map(element_shares(arm.written()), held_out, f"{generator.name}, {arm.name}, against held-out")
        (args.out / f"elements-{arm.name.replace(' ', '-')}.svg").write_text(drawing, encoding="utf-8")
    print(_markdown(report))
    return 0


def draw(generator: Generator, strength: float, args: argparse.Namespace, *, constrained: bool) -> Arm:
    """`args.n` raw samples per seed."""
    plain = SamplingOptions(constrained=constrained)
    options = corrected(generator, strength, np.random.default_rng(len(args.seeds)), plain)
    runs = (generator.sample(args.n, np.random.default_rng(seed), options) for seed in args.seeds)
    keys = tuple(tuple(_key(reduced(sample)) for sample in run) for run in runs)
    return Arm(strength, constrained, keys)


def measure(arm: Arm, reference: Arm, compounds: Compounds) -> dict[str, Any]:
    """What one arm reaches, and how its rare recovery differs from the reference arm."""
    training, held_out = set(compounds.training), compounds.held_out
    judged = [evaluation(run, training, held_out, np.random.default_rng(0)) for run in arm.runs]
    low, high = rare_gain(arm, reference, compounds)
    return {
        "arm": arm.name,
        "charge_neutral": float(np.mean([found.charge_neutral.value for found in judged])),
        "electronegativity_balanced": float(np.mean([found.electronegativity_balanced.value for found in judged])),
        "uniqueness": float(np.mean([found.uniqueness.value for found in judged])),
        "recovered": float(np.mean([found.recovery.count for found in judged])),
        "recovered_rare": float(found_shares(arm, compounds).sum()),
        "rare_gain_low": low,
        "rare_gain_high": high,
        **distances(arm.written(), compounds),
    }


def found_shares(arm: Arm, compounds: Compounds) -> NDArray[np.float64]:
    """Share of the seeds in which each held-out compound with a rare element was found, shape (rare ones,)."""
    runs = [set(run) for run in arm.runs]
    rare = [key for key in compounds.held_out if compounds.is_rare(key)]
    return np.array([[key in run for run in runs] for key in rare], dtype=float).reshape(len(rare), -1).mean(axis=1)


def rare_gain(arm: Arm, reference: Arm, compounds: Compounds) -> tuple[float, float]:
    """95 % percentile interval of the change in the number of rare compounds recovered, by a paired bootstrap."""
    change = found_shares(arm, compounds) - found_shares(reference, compounds)
    rng = np.random.default_rng(0)
    sums = [change[rng.integers(len(change), size=len(change))].sum() for _ in range(RESAMPLES)] if len(change) else [0]
    low, high = np.quantile(sums, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def distances(keys: Sequence[str], compounds: Compounds) -> Shares:
    """Jensen-Shannon distances of elements and stoichiometries to the training and the held-out compounds."""
    return {
        f"{what}_to_{part}": distance(of(keys), of(others))
        for what, of in (("elements", element_counts), ("stoichiometry", stoichiometry_counts))
        for part, others in (("training", compounds.training), ("held_out", compounds.held_out))
    }


def distance(first: Counter[str], second: Counter[str]) -> float:
    """Jensen-Shannon distance of two tables of counts: root of the divergence in bits, 0 for equal, 1 for disjoint."""
    keys = sorted(first | second)
    return float(jensenshannon([first[key] for key in keys], [second[key] for key in keys], base=2))


def element_counts(keys: Sequence[str]) -> Counter[str]:
    """Compounds that hold each element."""
    return Counter(symbol for key in keys for symbol in amounts(key))


def stoichiometry_counts(keys: Sequence[str]) -> Counter[str]:
    """Compounds of each stoichiometry, such as ``1:1:3`` for SrTiO3."""
    return Counter(":".join(map(str, sorted(amounts(key).values()))) for key in keys)


def _as_many(keys: Sequence[str], n: int) -> list[str]:
    rng = np.random.default_rng(0)
    return [keys[index] for index in rng.integers(len(keys), size=n)]


def _key(formula: str | None) -> str | None:
    return None if formula is None else canonical_key(amounts(formula))


def _markdown(report: dict[str, Any]) -> str:
    head = ("samples", "CN", "EB", "uniqueness", "recovered", "with a rare element", "change (95 %)")
    lines = [
        (
            row["arm"],
            *(f"{row[name]:.4f}" for name in ("charge_neutral", "electronegativity_balanced", "uniqueness")),
            f"{row['recovered']:.1f}",
            f"{row['recovered_rare']:.1f}",
            f"{row['rare_gain_low']:+.1f} to {row['rare_gain_high']:+.1f}",
        )
        for row in report["arms"]
    ]
    names = list(report["noise"])
    far = [(row["arm"], *(f"{row[name]:.3f}" for name in names)) for row in report["arms"]]
    far.append(("random training compounds", *(f"{report['noise'][name]:.3f}" for name in names)))
    title = (
        f"{report['model']}, N = {report['n']:,}, seeds {report['seeds']}; recovered of {report['held_out']:,} held "
        f"out, {report['held_out_rare']:,} of them with one of {len(report['rare'])} rare elements"
    )
    return f"{title}\n\n{table(head, lines)}\n\n{table(('samples', *names), far)}\n"


def _parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="python -m benchmarks.bias", description=__doc__)
    options.add_argument("--model", default="gpt2", metavar="NAME|DIR")
    options.add_argument("--data", required=True, type=Path, metavar="DIR", help="what the model was trained on")
    options.add_argument("--out", required=True, type=Path, metavar="DIR")
    options.add_argument("--strengths", type=float, nargs="+", default=[0.0, 0.25, 0.5], metavar="X", help="0 first")
    options.add_argument("--rare-below", type=float, default=0.02, metavar="P", help="share of training compounds")
    options.add_argument("--n", type=int, default=10_000, metavar="N")
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="S")
    return options


if __name__ == "__main__":
    exit_with(main)
