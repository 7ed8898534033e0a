"""Energies of many known crystals with a machine-learned potential: the raw material of the builtin reference.

One row per reduced formula (the crystal with the lowest DFT formation energy stands for it). Single points first, in
parallel and resumable; crystals whose largest force exceeds a threshold get a short relaxation of cell and positions.
"""

from __future__ import annotations

import multiprocessing
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

SHARD_ROWS = 500  # rows per written file: what an interruption can cost
MAX_ATOMS = 52  # atoms per cell; larger ones cost minutes each


def ground_states(table: pd.DataFrame) -> pd.DataFrame:
    """The row of lowest `formation_energy_per_atom` (eV/atom) for each `reduced_formula`; rows without one come last."""
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
    todo = [job for job in jobs if not job[1].exists()]
    for done, seconds in _run(todo, processes):
        print(f"{done}/{len(todo)} shards, {seconds:.0f} s", flush=True)
    return pd.concat([pd.read_parquet(path) for _, path in jobs], ignore_index=True)


def _run(jobs: list[tuple[pd.DataFrame, Path]], processes: int) -> Iterator[tuple[int, float]]:
    start = time.monotonic()
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, initializer=_single_thread) as pool:
        for done, _ in enumerate(pool.imap_unordered(_single_point_shard, jobs), 1):
            yield done, time.monotonic() - start


def _single_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _single_point_shard(job: tuple[pd.DataFrame, Path]) -> None:
    from chgnet.model import CHGNet

    rows, path = job
    warnings.filterwarnings("ignore")
    model = CHGNet.load(use_device="cpu", verbose=False)
    results = [_single_point(model, row) for row in rows.itertuples()]
    table = pd.DataFrame(results)
    partial = path.with_suffix(".partial")
    table.to_parquet(partial)
    partial.rename(path)


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
