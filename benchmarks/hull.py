"""Energies above hull: this package against plain pymatgen, side by side on the same phases, with memory.

    python -m benchmarks.hull --labels FILE [--compositions 100000] [--sample 300] [--out FILE.json]

FILE is a table of labels (`discovery.labels`); its lowest energies are the phases. Asked for are all of them and, up to
`--compositions`, new ones that lie in the same chemical systems. Plain pymatgen: the entries of a composition's
chemical system, found by an index of systems, one `PhaseDiagram` for each system, and
`get_phase_separation_energy(entry, stable_only=False)`, on a random sample, which ours answers too. Each side runs in
a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain, combinations
from pathlib import Path

import numpy as np
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Composition

from benchmarks.results import add_out, finish
from discovery.composition import amounts, reduced_formula
from discovery.hull import Hull
from discovery.labels import lowest_per_formula, read_labels
from discovery.options import exit_with
from discovery.reference.base import Phase

SCHEME = "labels"
ADDED = 100  # phases added one by one
TOLERANCE = 1e-6  # eV/atom
SIDES = ("ours", "pymatgen")


def phases_of(path: Path) -> list[Phase]:
    """The lowest energy of each compound of a table of labels."""
    table = lowest_per_formula(read_labels(path, SCHEME))
    rows = zip(table.formula, table.formation_energy_per_atom, strict=True)
    return [Phase(formula, float(energy)) for formula, energy in rows if len(amounts(formula)) > 1]


def questions(phases: Sequence[Phase], count: int, seed: int) -> list[tuple[str, float]]:
    """Distinct formulas with a formation energy, eV/atom: the phases, then neighbours of theirs that are no phases."""
    rng = random.Random(seed)
    asked = {phase.formula: phase.formation_energy_per_atom for phase in rng.sample(phases, min(count, len(phases)))}
    taken = {phase.formula for phase in phases}
    while len(asked) < count:
        phase = rng.choice(phases)
        counts = amounts(phase.formula)
        counts[rng.choice(sorted(counts))] += rng.randint(1, 3)
        formula = reduced_formula("".join(f"{symbol}{n}" for symbol, n in counts.items()))
        if formula not in taken:
            asked.setdefault(formula, phase.formation_energy_per_atom)
    return list(asked.items())


def ours(phases: Sequence[Phase], asked: Sequence[tuple[str, float]], sample: Sequence[int]) -> dict[str, object]:
    """Seconds of building, asking for all, asking for the sample alone, and adding phases one by one."""
    start = time.perf_counter()
    hull = Hull(phases, SCHEME)
    built = time.perf_counter()
    formulas, energies = zip(*asked, strict=True)
    hull.energies_above_hull(formulas, energies)
    answered = time.perf_counter()
    chosen = [asked[i] for i in sample]
    fresh = Hull(phases, SCHEME)  # one that has gathered nothing yet
    begun = time.perf_counter()
    above = fresh.energies_above_hull(*zip(*chosen, strict=True))
    sampled = time.perf_counter()
    for formula, energy in chosen[:ADDED]:
        hull = hull.with_phase(Phase(formula, energy - 0.01), SCHEME)
        hull.hull_energy(formula)
    added = (time.perf_counter() - sampled) / len(chosen[:ADDED])
    return {
        "build_s": built - start,
        "all_s": answered - built,
        "sample_s": sampled - begun,
        "add_phase_and_ask_s": added,
        "energies": above.tolist(),
    }


def pymatgen(phases: Sequence[Phase], asked: Sequence[tuple[str, float]], sample: Sequence[int]) -> dict[str, object]:
    """Seconds for the sample; making the entries of the phases is not counted."""
    by_system: dict[tuple[str, ...], list[PDEntry]] = defaultdict(list)
    entries = {phase.formula: entry(phase.formula, phase.formation_energy_per_atom) for phase in phases}
    for formula, known in entries.items():
        by_system[tuple(sorted(amounts(formula)))].append(known)
    warnings.simplefilter("ignore")  # large systems, and elements without electronegativity
    start = time.perf_counter()
    diagrams: dict[tuple[str, ...], PhaseDiagram] = {}
    energies = []
    for formula, energy in (asked[i] for i in sample):
        system = tuple(sorted(amounts(formula)))
        if system not in diagrams:
            parts = chain.from_iterable(combinations(system, n) for n in range(2, len(system) + 1))
            inside = [known for part in parts for known in by_system.get(part, ())]
            diagrams[system] = PhaseDiagram([*inside, *(entry(symbol, 0.0) for symbol in system)])
        own = entries.get(formula) or entry(formula, energy)
        energies.append(float(diagrams[system].get_phase_separation_energy(own, stable_only=False)))
    return {"sample_s": time.perf_counter() - start, "systems": len(diagrams), "energies": energies}


def entry(formula: str, energy: float) -> PDEntry:
    """Of a formation energy in eV/atom."""
    composition = Composition(formula)
    return PDEntry(composition, energy * composition.num_atoms)


def second_hull(hull: Hull, formula: str, energy: float) -> float:
    """Energy above a `PhaseDiagram` that does not hold the composition at all, eV/atom.

    Exact, where the optimizer in `get_phase_separation_energy` leaves some 1e-6.
    """
    warnings.simplefilter("ignore")
    system = tuple(sorted(amounts(formula)))
    others = [phase for phase in hull.phases_in(system) if amounts(phase.formula) != amounts(formula)]
    entries = [entry(phase.formula, phase.formation_energy_per_atom) for phase in others]
    diagram = PhaseDiagram([*entries, *(entry(symbol, 0.0) for symbol in system)])
    return energy - float(diagram.get_hull_energy_per_atom(Composition(formula)))


def run_side(options: argparse.Namespace) -> dict[str, object]:
    """One side in this process."""
    phases, asked, sample = _task(options)
    loaded = _peak_mib()
    found = {"ours": ours, "pymatgen": pymatgen}[options.side](phases, asked, sample)
    sizes = {"phases": len(phases), "compositions": len(asked), "sample": len(sample)}
    return found | sizes | {"peak_mib": _peak_mib(), "peak_mib_before": loaded}


def compared(options: argparse.Namespace, sides: dict[str, dict[str, object]]) -> dict[str, object]:
    """What the two sides say together, without the energies themselves; greater differences are looked at again."""
    mine, theirs = sides["ours"], sides["pymatgen"]
    energies = np.array(mine.pop("energies"), dtype=np.float64)
    difference = np.abs(energies - np.array(theirs.pop("energies"), dtype=np.float64))
    seconds = {name: float(str(side["sample_s"])) for name, side in sides.items()}
    doubtful = np.flatnonzero(difference > TOLERANCE)
    if len(doubtful):
        phases, asked, sample = _task(options)
        hull = Hull(phases, SCHEME)
        for i in doubtful:
            difference[i] = abs(energies[i] - second_hull(hull, *asked[sample[i]]))
    return {
        "ours": mine,
        "pymatgen": theirs,
        "compositions_per_s": float(str(mine["compositions"])) / float(str(mine["all_s"])),
        "times_as_quick_on_the_sample": seconds["pymatgen"] / seconds["ours"],
        "optimizer_off_by_more_than_1e-6": len(doubtful),
        "max_difference_ev_per_atom": float(difference.max()),  # those against a second hull, which is exact
    }


def _task(options: argparse.Namespace) -> tuple[list[Phase], list[tuple[str, float]], list[int]]:
    """Phases, questions and the positions of the sample among them: the same in every process."""
    phases = phases_of(options.labels)
    asked = questions(phases, options.compositions, options.seed)
    sample = random.Random(options.seed).sample(range(len(asked)), min(options.sample, len(asked)))
    return phases, asked, sample


def main(argv: list[str] | None = None) -> int:
    """Print one JSON object."""
    options = _parser().parse_args(argv)
    if options.side:
        print(json.dumps(run_side(options)))
        return 0
    sides = {side: _in_own_process(options, side) for side in SIDES}
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    result = {"machine": machine} | compared(options, sides)
    finish(result, options.out)
    return 0


def _in_own_process(options: argparse.Namespace, side: str) -> dict[str, object]:
    names = ("labels", "compositions", "sample", "seed")
    flags = [text for name in names for text in (f"--{name}", str(getattr(options, name)))]
    command = [sys.executable, "-m", "benchmarks.hull", *flags, "--side", side]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hull", description=__doc__)
    parser.add_argument("--labels", type=Path, required=True, metavar="FILE", help="CSV or Parquet of labels")
    parser.add_argument("--compositions", type=int, default=100_000, metavar="N")
    parser.add_argument("--sample", type=int, default=300, metavar="N", help="compositions that pymatgen is asked for")
    parser.add_argument("--seed", type=int, default=0)
    add_out(parser)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    exit_with(main)
