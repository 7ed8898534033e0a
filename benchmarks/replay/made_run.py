"""Episodes of the *made* protocol: drawn, run, kept, and put into a table."""

from __future__ import annotations

import json
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
from benchmarks.replay.tables import plain
from discovery.hull import Hull
from discovery.reference.builtin import load_builtin
from discovery.structures.potentials import Potential, load_potential
from discovery.surrogates.base import Surrogate
from discovery.surrogates.zoo import load_surrogate

SIZES = (3, 4, 5)  # elements of the systems
ARMS = ("random structures", "loop")
TOLERANCES = (0.1, 0.05, 0.01)  # eV/atom
K = 3  # finds of AF(k); few random structures come to more


@dataclass(frozen=True)
class Plan:
    """What is run."""

    systems: int = 10  # of each size
    episodes: int = 5
    calls: int = 50
    depth: int = 3  # prototypes of one composition that the loop asks for
    potential: str = "chgnet"
    seed: int = 0


def run(plan: Plan, data: Path | None, work: Path) -> dict[str, Any]:
    """All episodes that are missing, then the table. With `data`, finds are compared with MP's structures too."""
    reference = load_builtin()
    formulas = [phase.formula for phase in reference.phases]
    systems = metallic_systems(formulas, SIZES, plan.systems, np.random.default_rng(plan.seed))
    hull = Hull(reference.phases, reference.scheme)
    potential, surrogate = load_potential(plan.potential), load_surrogate()
    calls: dict[tuple[str, tuple[str, ...], int], list[Call]] = {}
    for system in systems:
        for number in range(plan.episodes):
            for arm in ARMS:
                episode = Episode(system, hull, reference.elemental_references, known_structures(data, system))
                path = work / "made" / f"{arm.replace(' ', '-')}-{'-'.join(system)}-{number}-{plan.calls}.json"
                calls[arm, system, number] = _kept(path, arm, episode, (plan, potential, surrogate, number))
                print(f"{arm}, {'-'.join(system)}, episode {number}: {msun(calls[arm, system, number], 0.1):.2f} mSUN",
                      flush=True)  # fmt: skip
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
    return [Structure.from_str(cif, fmt="cif") for cif in rows[inside].cif]


@cache
def _structure_rows(data: Path) -> pd.DataFrame:
    rows = pd.read_parquet(data / "mp_structures.parquet", columns=["chemsys", "n_sites", "cif"])
    return rows[rows.n_sites <= LARGEST_CELL]


def table(calls: dict[tuple[str, tuple[str, ...], int], list[Call]], plan: Plan) -> list[dict[str, Any]]:
    """AF, EF, AUDC, mSUN and diversity of each arm against random structures, with intervals over the episodes."""
    rows = []
    for tolerance in TOLERANCES:
        curves = {arm: [as_energies(own, plan.calls) for key, own in calls.items() if key[0] == arm] for arm in ARMS}
        finds = {arm: [float(found(c, tolerance)[-1]) for c in curves[arm]] for arm in ARMS}
        needed = {arm: [calls_needed(c, tolerance, K) for c in curves[arm]] for arm in ARMS}
        for arm in ARMS:
            own = [made for key, made in calls.items() if key[0] == arm]
            rng = np.random.default_rng(0)
            rows.append(
                {
                    "arm": arm,
                    "tolerance": tolerance,
                    "episodes": len(own),
                    "calls": sum(map(len, own)),
                    "found": int(sum(finds[arm])),
                    "enrichment": plain(bootstrap([finds[arm], finds[ARMS[0]]], enrichment, rng)),
                    "acceleration": plain(bootstrap([needed[arm], needed[ARMS[0]]], acceleration, rng)),
                    "k": K,
                    "audc": plain(mean_interval([audc(c, tolerance, plan.calls) for c in curves[arm]], rng)),
                    "msun": plain(mean_interval([msun(made, tolerance) for made in own], rng)),
                    "diversity": plain(mean_interval([float(diversity(made, tolerance)) for made in own], rng)),
                }
            )
    return rows


def _kept(path: Path, arm: str, episode: Episode, with_what: tuple[Plan, Potential, Surrogate, int]) -> list[Call]:
    """The episode of a file, or a new one, written as a whole."""
    if path.is_file():
        return [Call(**call) for call in json.loads(path.read_text(encoding="utf-8"))]
    plan, potential, surrogate, number = with_what
    rng = np.random.default_rng([plan.seed, number, *map(ord, "-".join(episode.system))])
    structures = (
        random_structures(episode.system, rng)
        if arm == ARMS[0]
        else loop_structures(episode, surrogate, potential, plan.depth)
    )
    calls = run_episode(episode, structures, potential, plan.calls)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps([asdict(call) for call in calls]) + "\n", encoding="utf-8")
    partial.replace(path)
    return calls
