"""How near the search comes to the known ground state, and for which compositions it has a structure at all.

    python -m benchmarks.structures --structures FILE --formulas FILE [--n 40] [--relaxations 2 3] [--out FILE]

For `n` compounds that are on the hull of the Materials Project (charge neutral, balanced, at least three elements; none
a compound of our own prototype list), drawn by seed: the formation energy that the oracle finds from prototypes minus
that of the known structure with the same potential, in the builtin reference. Coverage: the share of the charge-neutral
compositions of a list that some prototype fits, by where the prototype comes from.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from discovery.composition import reduced_formula
from discovery.formulas import read_rows
from discovery.hull import Hull
from discovery.options import exit_with
from discovery.oracles.base import Budget
from discovery.oracles.potential import PotentialOracle
from discovery.records import Failure
from discovery.reference.builtin import load_builtin
from discovery.structures.assignment import has_prototype
from discovery.structures.prototypes import library
from discovery.validity import judge

NEAR = (0.02, 0.05, 0.1)  # eV/atom above the known structure


def sample(structures: Path, n: int, seed: int) -> tuple[list[str], int]:
    """Formulas drawn from those that a search can start for, and how many there are to draw from."""
    table = pd.read_parquet(structures, columns=["reduced_formula", "n_elements", "e_above_hull"])
    stable = table[(table.e_above_hull <= 0) & (table.n_elements >= 3)].reduced_formula
    own = {reduced_formula(prototype.compound) for prototype in library() if prototype.own}
    hull = Hull(load_builtin().phases, load_builtin().scheme)
    fit = [
        formula
        for formula in sorted(set(stable) - own)
        if hull.phase(formula) is not None and judge(formula).electronegativity_balanced
    ]
    searchable = [formula for formula in fit if has_prototype(formula)]
    drawn = np.random.default_rng(seed).choice(len(searchable), min(n, len(searchable)), replace=False)
    return [searchable[i] for i in sorted(drawn)], len(fit)


def excess(formulas: Sequence[str], relaxations: int) -> list[dict[str, object]]:
    """Energy of the search's structure above the known one (eV/atom), or why there is none, for each formula."""
    reference = load_builtin()
    hull = Hull(reference.phases, reference.scheme)
    oracle = PotentialOracle("chgnet", reference.elemental_references)
    rows: list[dict[str, object]] = []
    for formula in formulas:
        start = time.process_time()
        answer = oracle.measure(formula, Budget(max_relaxations=relaxations))
        row: dict[str, object] = {"formula": formula, "cpu_seconds": round(time.process_time() - start, 1)}
        known = hull.phase(formula)
        if isinstance(answer, Failure) or answer.formation_energy_per_atom is None or known is None:
            row["failure"] = answer.reason if isinstance(answer, Failure) else "no energy"
        else:
            row["prototype"] = answer.prototype
            row["excess"] = round(answer.formation_energy_per_atom - known.formation_energy_per_atom, 4)
        rows.append(row)
        print(json.dumps(row), file=sys.stderr, flush=True)
    return rows


def summary(rows: Sequence[dict[str, object]]) -> dict[str, object]:
    """Counts and quantiles; a failure is a compound that was not found."""
    values = np.array([float(str(row["excess"])) for row in rows if "excess" in row])
    return {
        "compounds": len(rows),
        "failed": len(rows) - len(values),
        "median_excess": round(float(np.median(values)), 4),
        "quartiles": [round(float(value), 4) for value in np.quantile(values, (0.25, 0.75))],
        **{f"within_{limit}": int((values <= limit).sum()) for limit in NEAR},
        "below_known_by_0.01": int((values < -0.01).sum()),
        "cpu_seconds_median": float(np.median([float(str(row["cpu_seconds"])) for row in rows])),
    }


def coverage(formulas: Path) -> dict[str, int]:
    """How many neutral and balanced compositions of a list have a prototype."""
    known = sorted({reduced_formula(row.formula) for row in read_rows(formulas, "in_mp")})
    neutral = [formula for formula in known if judge(formula).electronegativity_balanced]
    return {"compositions": len(neutral), "with_a_prototype": sum(map(has_prototype, neutral))}


def main(argv: list[str] | None = None) -> int:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.structures", description=__doc__)
    parser.add_argument("--structures", required=True, type=Path, metavar="FILE", help="mp_structures.parquet")
    parser.add_argument("--formulas", type=Path, metavar="FILE", help="formulas.parquet: measure coverage, too")
    parser.add_argument("--n", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--relaxations", type=int, nargs="+", default=[3], help="structures relaxed per compound")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the JSON with every compound here")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    formulas, fit = sample(options.structures, options.n, options.seed)
    command = shlex.join(["python", "-m", "benchmarks.structures", *(sys.argv[1:] if argv is None else argv)])
    result: dict[str, object] = {"command": command, "drawn_from": fit}
    rows = {count: excess(formulas, count) for count in options.relaxations}
    result["search"] = {count: summary(found) for count, found in rows.items()}
    if options.formulas is not None:
        result["coverage"] = coverage(options.formulas)
    print(json.dumps(result, indent=1))
    if options.out is not None:
        options.out.write_text(json.dumps({**result, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    exit_with(main)
