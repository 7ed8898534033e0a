"""Labels that cannot be ground states: where the surrogate errs most, does a potential find a far lower structure?

    python -m benchmarks.doubtful_labels --labels FILE [--second FILE] [--above 0.3] [--margin 0.25] [--out FILE.json]

FILE is a table as for `benchmarks.surrogate`. A tabulated "ground state" is the lowest structure that the database
holds; where the true one is missing, a model of compositions that is right must look wrong. Test compositions whose
label lies more than ``--above`` over the surrogate's prediction are relaxed in prototype structures by CHGNet, as the
loop does it (`discovery.oracles.potential`). What it finds bounds the ground state from above: a label is *undercut*
where it lies more than ``--margin`` over it (schemes of MP differ by up to 0.22 eV/atom, for bromides). As a control,
as many compositions whose labels lie within 0.1 eV/atom of the prediction. ``--second`` is a table of another DFT
database: what it holds of the same compositions. Prints the counts, the error of the surrogate on all test compositions
and without the undercut ones, and every composition.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.results import add_out, command, run
from benchmarks.surrogate.models import SCHEME
from benchmarks.surrogate.tables import read_labels
from discovery.options import exit_with
from discovery.oracles.base import Budget, Oracle
from discovery.oracles.loading import potential_oracle
from discovery.records import Measurement
from discovery.surrogates.base import FloatArray
from discovery.surrogates.dataset import lowest_energies
from discovery.surrogates.zoo import DEFAULT, load_surrogate

NEAR = 0.1  # eV/atom: the largest error of a composition of the control


@dataclass(frozen=True)
class Comparison:
    """Formation energies of one composition, eV/atom."""

    formula: str
    label: float
    predicted: float
    potential: float | None  # of the lowest structure found; None: the relaxation failed
    prototype: str  # of that structure
    second: float | None = None  # by another DFT database

    def beside(self, second: float | None) -> Comparison:
        """The same with the energy of another DFT database."""
        return replace(self, second=None if second is None else float(second))

    def undercut(self, margin: float) -> bool:
        """Whether the potential's structure lies more than `margin` (eV/atom) below the label."""
        return self.potential is not None and self.label - self.potential > margin

    def confirmed(self, margin: float) -> bool:
        """Whether the other database's lies as far below an undercut label."""
        return self.undercut(margin) and self.second is not None and self.label - self.second > margin


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Doubted labels and the control."""
    torch.set_num_threads(1)
    labels = read_labels(options.labels, "random")
    rows = labels.rows("test")
    formulas, energies = [labels.formulas[row] for row in rows], labels.formation[rows]
    surrogate = load_surrogate(options.surrogate)
    predicted = surrogate.predict(formulas, SCHEME).mean
    found = compared(formulas, energies, predicted, potential_oracle(), options)
    if options.second is not None:
        other = lowest_energies(options.second)
        found = {name: [one.beside(other.get(one.formula)) for one in part] for name, part in found.items()}
    about = {"command": command("benchmarks.doubtful_labels", options.argv), "surrogate": surrogate.version}
    return about | summary(formulas, np.abs(energies - predicted), found, options.margin)


def compared(
    formulas: Sequence[str], labels: FloatArray, predicted: FloatArray, oracle: Oracle, options: argparse.Namespace
) -> dict[str, list[Comparison]]:
    """What the potential finds for `doubted` labels and for the `control`, those that have a prototype.

    Args:
        formulas: n compositions.
        labels: eV/atom, shape (n,).
        predicted: eV/atom, shape (n,).
        oracle: relaxes.
        options: `above`, eV/atom, and `seed`, of the control.
    """
    order = np.random.default_rng(options.seed).permutation(len(formulas))
    known = [row for row in order if oracle.can_measure(formulas[row])]
    doubted = [row for row in known if labels[row] - predicted[row] > options.above]
    near = [row for row in known if abs(labels[row] - predicted[row]) <= NEAR]
    parts = {"doubted": sorted(doubted), "control": sorted(near[: len(doubted)])}
    return {
        name: [_compared(formulas[row], float(labels[row]), float(predicted[row]), oracle) for row in chosen]
        for name, chosen in parts.items()
    }


def _compared(formula: str, label: float, predicted: float, oracle: Oracle) -> Comparison:
    answer = oracle.measure(formula, Budget())
    if not isinstance(answer, Measurement):
        return Comparison(formula, label, predicted, None, answer.reason)
    return Comparison(formula, label, predicted, answer.formation_energy_per_atom, answer.prototype or "")


def summary(
    formulas: Sequence[str], error: FloatArray, found: dict[str, list[Comparison]], margin: float
) -> dict[str, Any]:
    """Counts of undercut labels, and the error of the surrogate with and without them, eV/atom.

    Args:
        formulas: all test compositions.
        error: of the surrogate, absolute, eV/atom.
        found: of `compared`.
        margin: eV/atom.
    """
    counts = {
        name: {
            "asked": len(part),
            "relaxed": sum(one.potential is not None for one in part),
            "undercut": sum(one.undercut(margin) for one in part),
            "undercut_and_in_the_second": sum(one.undercut(margin) and one.second is not None for one in part),
            "confirmed_by_the_second": sum(one.confirmed(margin) for one in part),
        }
        for name, part in found.items()
    }
    wrong = {one.formula: one for one in found["doubted"] if one.undercut(margin)}
    gaps = [abs(one.predicted - one.potential) for one in wrong.values() if one.potential is not None]
    left = np.array([formula not in wrong for formula in formulas])
    errors = {"all": error, "without the undercut": error[left], "undercut": error[~left]}
    return {
        **counts,
        "mae": {name: {"n": len(part), "mae": _mean(part)} for name, part in errors.items()},
        "prediction_against_potential_of_the_undercut": _mean(np.array(gaps)),
        "compositions": {name: [asdict(one) for one in part] for name, part in found.items()},
    }


def _mean(values: FloatArray) -> float | None:
    return round(float(values.mean()), 4) if len(values) else None


def main(argv: list[str] | None = None) -> int:
    """Measure and print one JSON object."""
    return run(_parser(argv), measure, argv)


def _parser(argv: list[str] | None = None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.doubtful_labels", description=__doc__)
    parser.add_argument("--labels", type=Path, required=True, metavar="FILE", help="Parquet, as mp_bartel2020")
    parser.add_argument(
        "--second", type=Path, metavar="FILE", help="Parquet: reduced_formula, formation_energy_per_atom"
    )
    parser.add_argument("--surrogate", default=DEFAULT, metavar="NAME|DIR")
    parser.add_argument("--above", type=float, default=0.3, metavar="EV", help="eV/atom over the prediction: doubted")
    parser.add_argument("--margin", type=float, default=0.25, metavar="EV", help="eV/atom over the potential: undercut")
    parser.add_argument("--seed", type=int, default=0, help="of the control")
    parser.set_defaults(argv=argv)
    add_out(parser)
    return parser


if __name__ == "__main__":
    exit_with(main)
