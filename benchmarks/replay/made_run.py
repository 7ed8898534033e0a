"""Episodes of the *made* protocol: drawn, run, kept, and put into a table."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pymatgen.core import Structure

from benchmarks.replay.made import (
    LARGEST_CELL,
    Call,
    Episode,
    as_energies,
    diversity,
    loop_structures,
    metallic_systems,
    msun,
    random_structures,
    run_episode,
)
from benchmarks.replay.metrics import acceleration, audc, bootstrap, calls_needed, enrichment, found, mean_interval
from benchmarks.replay.tables import number, plain
from discovery.hull import Hull
from discovery.reference.builtin import load_builtin
from discovery.structures.potentials import Potential, load_potential
from discovery.surrogates.base import Surrogate
from discovery.surrogates.zoo import load_surrogate

SIZES = (3, 4, 5)  # elements of the systems
ARMS = ("random structures", "loop")
BY_CHANCE = ARMS[:1]  # the loop's episodes in a system would all be alike: one is run
TOLERANCES = (0.1, 0.05, 0.01)  # eV/atom
K = 3  # finds of AF(k); few random structures come to more


@dataclass(frozen=True)
class Plan:
    """What is run."""

    systems: int = 10  # of each size
    episodes: int = 5
    calls: int = 50
    width: int = 60  # compositions whose prototypes the loop looks at
    potential: str = "chgnet"
    seed: int = 1  # of the drawn systems; the loop's choices were made on two systems of seed 0


def run(plan: Plan, data: Path | None, work: Path) -> dict[str, Any]:
    """All episodes that are missing, then the table. With `data`, finds are compared with MP's structures too."""
    reference = load_builtin()
    formulas = [phase.formula for phase in reference.phases]
    systems = metallic_systems(formulas, SIZES, plan.systems, np.random.default_rng(plan.seed))
    hull = Hull(reference.phases, reference.scheme)
    potential, surrogate = load_potential(plan.potential), load_surrogate()
    calls: dict[tuple[str, tuple[str, ...], int], list[Call]] = {}
    for system in systems:
        for arm in ARMS:
            for turn in range(plan.episodes if arm in BY_CHANCE else 1):
                episode = Episode(system, hull, reference.elemental_references, known_structures(data, system))
                path = work / "made" / f"{arm.replace(' ', '-')}-{'-'.join(system)}-{turn}-{plan.calls}.json"
                made = calls[arm, system, turn] = _kept(path, arm, episode, (plan, potential, surrogate, turn))
                print(f"{arm}, {'-'.join(system)}, episode {turn}: {msun(made, 0.1):.2f} mSUN", flush=True)
    return {
        "name": "made",
        "plan": asdict(plan),
        "systems": ["-".join(s) for s in systems],
        "table": table(calls, plan),
    }


def known_structures(data: Path | None, system: Sequence[str]) -> list[Structure]:
    """MP's structures of at most `LARGEST_CELL` atoms within a system; none without the data folder."""
    if data is None:
        return []
    rows = _structure_rows(data)
    inside = [set(chemsys.split("-")) <= set(system) for chemsys in rows.chemsys]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Issues encountered while parsing CIF")  # rounded coordinates
        return [Structure.from_str(cif, fmt="cif") for cif in rows[inside].cif]


@cache
def _structure_rows(data: Path) -> pd.DataFrame:
    rows = pd.read_parquet(data / "mp_structures.parquet", columns=["chemsys", "n_sites", "cif"])
    return rows[rows.n_sites <= LARGEST_CELL]


def table(calls: dict[tuple[str, tuple[str, ...], int], list[Call]], plan: Plan) -> list[dict[str, Any]]:
    """AF, EF, AUDC, mSUN and diversity of each arm against random structures.

    A system enters with the mean (AF: the median calls) of its episodes; intervals resample the systems.
    """
    rows = []
    for tolerance in TOLERANCES:
        by_system = {arm: _figures(calls, arm, plan, tolerance) for arm in ARMS}
        chance = by_system[ARMS[0]]
        for arm, own in by_system.items():
            rng = np.random.default_rng(0)
            made = [episode for key, episode in calls.items() if key[0] == arm]
            rows.append(
                {
                    "arm": arm,
                    "tolerance": tolerance,
                    "systems": len(own["found"]),
                    "episodes": len(made),
                    "calls": sum(map(len, made)),
                    "found": sum(call.counts(tolerance) for episode in made for call in episode),
                    "found_per_episode": plain(mean_interval(own["found"], rng)),
                    "enrichment": plain(bootstrap([own["found"], chance["found"]], enrichment, rng)),
                    "largest_enrichment": number(enrichment([float(plan.calls)], chance["found"])),
                    "acceleration": plain(bootstrap([own["needed"], chance["needed"]], acceleration, rng)),
                    "largest_acceleration": number(acceleration([float(K)], chance["needed"])),
                    "k": K,
                    **{name: plain(mean_interval(own[name], rng)) for name in ("audc", "msun", "diversity")},
                }
            )
    return rows


def _figures(
    calls: dict[tuple[str, tuple[str, ...], int], list[Call]], arm: str, plan: Plan, tolerance: float
) -> dict[str, list[float]]:
    """Figures of an arm, one per system."""
    systems = dict.fromkeys(system for name, system, _ in calls if name == arm)
    figures: dict[str, list[float]] = {name: [] for name in ("found", "needed", "audc", "msun", "diversity")}
    for system in systems:
        made = [episode for (name, own, _), episode in calls.items() if (name, own) == (arm, system)]
        curves = [as_energies(episode, plan.calls) for episode in made]
        figures["found"].append(float(np.mean([found(curve, tolerance)[-1] for curve in curves])))
        figures["needed"].append(float(np.median([calls_needed(curve, tolerance, K) for curve in curves])))
        figures["audc"].append(float(np.mean([audc(curve, tolerance, plan.calls) for curve in curves])))
        figures["msun"].append(float(np.mean([msun(episode, tolerance) for episode in made])))
        figures["diversity"].append(float(np.mean([diversity(episode, tolerance) for episode in made])))
    return figures


def _kept(path: Path, arm: str, episode: Episode, with_what: tuple[Plan, Potential, Surrogate, int]) -> list[Call]:
    """The episode of a file, or a new one, written as a whole."""
    if path.is_file():
        return [Call(**call) for call in json.loads(path.read_text(encoding="utf-8"))]
    plan, potential, surrogate, number = with_what
    rng = np.random.default_rng([plan.seed, number, *map(ord, "-".join(episode.system))])
    structures = (
        random_structures(episode.system, rng)
        if arm == ARMS[0]
        else loop_structures(episode, surrogate, potential, plan.width)
    )
    calls = run_episode(episode, structures, potential, plan.calls)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps([asdict(call) for call in calls]) + "\n", encoding="utf-8")
    partial.replace(path)
    return calls
