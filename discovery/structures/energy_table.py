"""Energies of many known crystals with a machine-learned potential: the raw material of the builtin reference.

One row per reduced formula (the crystal with the lowest DFT formation energy stands for it). Single points first, in
parallel and resumable; crystals whose largest force exceeds a threshold get a short relaxation of cell and positions.
"""

from __future__ import annotations

import multiprocessing
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from discovery.errors import DataError

SHARD_ROWS = 500  # rows per written file: what an interruption can cost
MAX_ATOMS = 52  # atoms per cell; larger ones cost minutes each
NOBLE_GASES = ("Ne", "Ar", "Kr", "Xe")
RELAX_ABOVE = 1.0  # eV/A; above 0.5 a short relaxation lowers the energy by 6 meV/atom (mean of 8), below by 3 or less
RELAX_TO = 0.1  # eV/A
RELAX_STEPS = 15
RELAX_MAX_ATOMS = 40
RELAX_SHARD_ROWS = 10

Job = tuple[pd.DataFrame, Path]  # rows to compute, and the file that their results go to


def ground_states(table: pd.DataFrame) -> pd.DataFrame:
    """The row of lowest `formation_energy_per_atom` (eV/atom) for each `reduced_formula`; rows without one are last."""
    ordered = table.sort_values(["formation_energy_per_atom", "n_sites", "material_id"], na_position="last")
    lowest = ordered.groupby("reduced_formula", sort=True).head(1)
    return lowest[lowest.n_sites <= MAX_ATOMS].sort_values("reduced_formula").reset_index(drop=True)


def single_points(rows: pd.DataFrame, folder: Path, processes: int = 1) -> pd.DataFrame:
    """CHGNet energy and largest force of each crystal of `rows` (columns `reduced_formula`, `cif`).

    Finished shards under `folder` are read, not computed again.

    Returns:
        Table with `reduced_formula, material_id, energy_per_atom` (eV/atom, total energy), `max_force` (eV/A), `error`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards = [rows.iloc[start : start + SHARD_ROWS] for start in range(0, len(rows), SHARD_ROWS)]
    jobs = [(shard, folder / f"single-{i:04d}.parquet") for i, shard in enumerate(shards)]
    _finish(jobs, processes, _single_point_shard)
    return _collect(jobs)


def _finish(jobs: list[Job], processes: int, work: Callable[[Job], None]) -> None:
    """Run the jobs whose files are missing, and say how far it got."""
    todo = [job for job in jobs if not job[1].exists()]
    if not todo:
        return
    start = time.monotonic()
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, initializer=_single_thread) as pool:
        for done, _ in enumerate(pool.imap_unordered(work, todo), 1):
            print(f"{done}/{len(todo)} shards, {time.monotonic() - start:.0f} s", flush=True)


def _collect(jobs: list[Job]) -> pd.DataFrame:
    """The results of all jobs as one table.

    Raises:
        DataError: a file holds other crystals than those asked for (another input, or another threshold).
    """
    tables = [pd.read_parquet(path) for _, path in jobs]
    for (rows, path), table in zip(jobs, tables, strict=True):
        if list(table.reduced_formula) != list(rows.reduced_formula):
            raise DataError(f"{path} was computed for other crystals: delete it, or give another --work folder")
    return (
        pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["reduced_formula", "energy_per_atom"])
    )


def _write(table: pd.DataFrame, path: Path) -> None:
    """Whole or not at all: an interruption leaves no half a shard."""
    partial = path.with_suffix(".partial")
    table.to_parquet(partial)
    partial.rename(path)


def _single_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _single_point_shard(job: Job) -> None:
    from chgnet.model import CHGNet

    rows, path = job
    warnings.filterwarnings("ignore")
    model = CHGNet.load(use_device="cpu", verbose=False)
    results = [_single_point(model, row) for row in rows.itertuples()]
    _write(pd.DataFrame(results), path)


def _single_point(model, row) -> dict[str, object]:  # type: ignore[no-untyped-def]
    from pymatgen.core import Structure

    result: dict[str, object] = {"reduced_formula": row.reduced_formula, "material_id": row.material_id}
    try:
        structure = Structure.from_str(row.cif, fmt="cif")
        prediction = model.predict_structure(structure, task="ef")
    except Exception as error:  # an isolated atom has no graph; the row keeps the reason
        return result | {"energy_per_atom": np.nan, "max_force": np.nan, "error": f"{type(error).__name__}: {error}"}
    force = float(np.linalg.norm(prediction["f"], axis=1).max())
    return result | {"energy_per_atom": float(prediction["e"]), "max_force": force, "error": ""}


def relaxations(rows: pd.DataFrame, points: pd.DataFrame, folder: Path, processes: int = 1) -> pd.DataFrame:
    """Short relaxations of the crystals whose forces are large; the lowest energy on the way counts.

    Args:
        rows: columns `reduced_formula`, `material_id`, `cif`.
        points: what `single_points` returned for them.
        folder: finished shards under it are read, not computed again.
        processes: worker processes.

    Returns:
        `points` with the lower energies and a column `relaxed`; an energy is never raised.
    """
    strained = points[points.max_force > RELAX_ABOVE].reduced_formula
    chosen = rows[rows.reduced_formula.isin(set(strained)) & (rows.n_sites <= RELAX_MAX_ATOMS)]
    shards = [chosen.iloc[start : start + RELAX_SHARD_ROWS] for start in range(0, len(chosen), RELAX_SHARD_ROWS)]
    jobs = [(shard, folder / f"relaxed-{i:04d}.parquet") for i, shard in enumerate(shards)]
    _finish(jobs, processes, _relaxation_shard)
    relaxed = points.reduced_formula.map(_collect(jobs).set_index("reduced_formula").energy_per_atom)
    energies = np.fmin(points.energy_per_atom, relaxed)
    return points.assign(energy_per_atom=energies, relaxed=relaxed < points.energy_per_atom)


def noble_gas_crystals() -> dict[str, float]:
    """CHGNet energies of the solid noble gases at their experimental volume, eV/atom.

    They have next to no compounds, so that a fit of reference energies needs an anchor for them.
    """
    from ase.build import bulk
    from chgnet.model import CHGNet
    from pymatgen.io.ase import AseAtomsAdaptor

    model = CHGNet.load(use_device="cpu", verbose=False)
    crystals = {symbol: AseAtomsAdaptor.get_structure(bulk(symbol)) for symbol in NOBLE_GASES}
    return {symbol: float(model.predict_structure(crystal, task="e")["e"]) for symbol, crystal in crystals.items()}


def _relaxation_shard(job: Job) -> None:
    from chgnet.model.dynamics import CHGNetCalculator

    rows, path = job
    warnings.filterwarnings("ignore")
    calculator = CHGNetCalculator(use_device="cpu")
    _write(pd.DataFrame([_relaxed(calculator, row) for row in rows.itertuples()]), path)


def _relaxed(calculator, row) -> dict[str, object]:  # type: ignore[no-untyped-def]
    """Lowest energy among the steps: each of them is an upper bound of the ground state's energy."""
    from ase.filters import FrechetCellFilter
    from ase.optimize import FIRE
    from pymatgen.core import Structure

    atoms = Structure.from_str(row.cif, fmt="cif").to_ase_atoms()
    atoms.calc = calculator
    optimizer = FIRE(FrechetCellFilter(atoms), logfile=None)
    energies = [atoms.get_potential_energy() for _ in optimizer.irun(fmax=RELAX_TO, steps=RELAX_STEPS)]
    return {"reduced_formula": row.reduced_formula, "energy_per_atom": float(min(energies)) / len(atoms)}
