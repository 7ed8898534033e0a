"""What analogues take away from the error of an ensemble, and how alike the errors of like compounds are.

    python -m benchmarks.analogues --data DIR --potential FILE [--surrogate NAME|DIR] [--part test] [--out FILE.json]
    python -m benchmarks.analogues --data DIR --later DIR

Networks alone against the same with their training errors explained by exchanges of elements
(`discovery.surrogates.analogues`), on a part of the split; and the correlation of the networks' errors, in units of
their std and cut at 3, over pairs of compounds that differ in one element of the same group. `--later` names the
surrogate of a replay of *time* (`WORK/models-*/surrogate`), which knows what was reported early: errors on its own test
part, and on what was reported later.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pymatgen.core import Element
from scipy.stats import spearmanr

from benchmarks.replay.protocols import load_table, time_problem
from benchmarks.results import add_out, command, run
from discovery.composition import amounts
from discovery.options import exit_with
from discovery.surrogates import calibration
from discovery.surrogates.base import FloatArray
from discovery.surrogates.dataset import Dataset, load_dataset
from discovery.surrogates.ensemble import EnsembleSurrogate
from discovery.surrogates.evaluation import calibrate, labelled, outputs, with_analogues
from discovery.surrogates.from_labels import labelled_dataset
from discovery.surrogates.zoo import DEFAULT, load_ensemble

CUT = 3.0  # std; one wrong label must not decide a correlation


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All figures of one ensemble."""
    torch.set_num_threads(options.threads)
    surrogate = load_ensemble(options.later or options.surrogate, "--later" if options.later else "--surrogate")
    about = {"command": command("benchmarks.analogues", options.argv), "surrogate": surrogate.version}
    if options.later is None:
        data = load_dataset(options.data, options.potential)
        return {**about, **compared(both(surrogate, data), data, options.part)}
    problem = time_problem(load_table(options.data), None, 0)
    data = labelled_dataset(problem.labels)
    later = np.array([problem.answers[formula] for formula in problem.candidates])
    arms = both(surrogate, data)
    found = {name: errors(arm, problem.candidates, later) for name, arm in arms.items()}
    return {**about, **compared(arms, data, "test"), "later": found}


def both(surrogate: EnsembleSurrogate, data: Dataset) -> dict[str, EnsembleSurrogate]:
    """The networks alone, and corrected; each calibrated."""
    bare = replace(surrogate, analogues=None)
    return {"networks alone": calibrate(bare, data), "corrected": calibrate(with_analogues(bare, data), data)}


def compared(arms: Mapping[str, EnsembleSurrogate], data: Dataset, part: str) -> dict[str, Any]:
    """Mean absolute errors (eV/atom) of both on a part, by scheme, and the correlation of the networks' errors."""
    found: dict[str, Any] = {"part": part, "mae": {}}
    for scheme in data.schemes:
        rows, labels = labelled(data, part, scheme)
        if len(rows):
            said = {name: outputs(arm, data, rows, scheme).mean for name, arm in arms.items()}
            found["mae"][scheme] = {"n": len(rows), **{name: mae(mean - labels) for name, mean in said.items()}}
    scheme, first = data.schemes[0], arms["networks alone"]
    rows, labels = labelled(data, part, scheme)
    formulas = [data.formulas[row] for row in rows]
    said = first.predict(formulas, scheme)
    return {**found, "pairs": alike(formulas, ((labels - said.mean) / said.std).clip(-CUT, CUT))}


def errors(surrogate: EnsembleSurrogate, formulas: Sequence[str], labels: FloatArray) -> dict[str, Any]:
    """Error and coverage on given labels."""
    scheme = surrogate.schemes[0]
    said = surrogate.predict(formulas, scheme)
    error, freedom = said.mean - labels, surrogate.calibrations[scheme].degrees_of_freedom
    covered = calibration.coverage(error, said.std, freedom)
    return {"n": len(formulas), "mae": mae(error), "coverage": {f"{k:g}": round(v, 3) for k, v in covered.items()}}


def alike(formulas: Sequence[str], relative: FloatArray) -> dict[str, Any]:
    """Pairs that differ in one element of the same group, and the correlation of their errors."""
    groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for row, counts in enumerate(map(amounts, formulas)):
        for symbol, number in counts.items():
            others = tuple(sorted((s, n) for s, n in counts.items() if s != symbol))
            groups[number, family(symbol), others].append(row)
    pairs = np.array([pair for rows in groups.values() for pair in combinations(rows, 2)], np.int64).reshape(-1, 2)
    one, other = (relative[np.concatenate([pairs[:, a], pairs[:, 1 - a]])] for a in (0, 1))
    if len(pairs) < 3:
        return {"n": len(pairs)}
    rank = float(spearmanr(one, other).statistic)
    return {"n": len(pairs), "correlation": round(float(np.corrcoef(one, other)[0, 1]), 3), "by rank": round(rank, 3)}


def family(symbol: str) -> int | str:
    """Group of the periodic table; lanthanoids and actinoids apart."""
    element = Element(symbol)
    if element.is_lanthanoid or element.is_actinoid:
        return "lanthanoid" if element.is_lanthanoid else "actinoid"
    return int(element.group)


def mae(error: FloatArray) -> float:
    """Mean absolute error, to 0.1 meV/atom."""
    return round(float(np.abs(error).mean()), 4)


def main(argv: list[str] | None = None) -> int:
    """Measure and print one JSON object."""
    p = argparse.ArgumentParser(prog="python -m benchmarks.analogues", description=__doc__)
    p.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of the Parquet tables")
    p.add_argument("--potential", type=Path, metavar="FILE", help="formation energies by a potential")
    p.add_argument("--surrogate", default=DEFAULT, metavar="NAME|DIR", help="an ensemble")
    p.add_argument("--part", choices=("validation", "test"), default="validation")
    p.add_argument(
        "--later", type=Path, metavar="DIR", help="surrogate of a replay of *time*, in the place of the other"
    )
    p.add_argument("--threads", type=int, default=1)
    p.set_defaults(argv=argv)
    add_out(p)
    return run(p, measure, argv)


if __name__ == "__main__":
    exit_with(main)
