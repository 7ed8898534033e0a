"""What else is tabulated about compositions, as further outputs of a network in training (multi-task learning).

Each quantity is a column beside the energy schemes. It shares the network with them and is dropped when the training
is over: what is left knows more about how compounds of a composition are built. Quantities that depend on the energies
of other compounds are computed from the training part alone, so nothing of a held-out label enters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from discovery.composition import is_compound
from discovery.errors import DataError
from discovery.hull import Hull
from discovery.reference.base import Phase
from discovery.surrogates.dataset import QUANTITIES, Dataset, split_of
from discovery.surrogates.features import encode
from discovery.surrogates.network import Network

CRYSTAL_SYSTEMS = (3, 16, 75, 143, 168, 195)  # first space group of monoclinic, orthorhombic, ..., cubic
LARGEST_DECOMPOSITION = 1.0  # eV/atom; the few beyond it lack competing compounds or are broken
SPREAD = 0.4  # eV/atom: about what formation energies spread around their linear baseline


def with_auxiliary(data: Dataset, folder: Path) -> Dataset:
    """The same rows and those that only further quantities are known of, with one column more for each quantity.

    A column is standardised and scaled to the spread of what the network adds to the linear baseline of the first
    scheme, so that all outputs weigh alike.

    Args:
        data: of `load_dataset`.
        folder: holds `mp_entries.parquet` and `oqmd_crabnet.parquet`.
    """
    found = {"decomposition": decomposition(data), **entries(folder), **oqmd(folder)}
    columns = {name: found[name] for name in QUANTITIES}
    known = set(data.formulas)
    every = {str(formula) for column in columns.values() for formula in column.index}
    more = tuple(sorted(formula for formula in every - known if is_compound(formula)))
    formulas = (*data.formulas, *more)
    blank = np.full((len(more), len(data.schemes)), np.nan, np.float32)
    extra = np.column_stack([_standardised(column.reindex(list(formulas))) for column in columns.values()])
    return Dataset(
        formulas=formulas,
        compositions=encode(formulas),
        energies=np.column_stack([np.concatenate([data.energies, blank]), extra]).astype(np.float32),
        schemes=(*data.schemes, *columns),
        primary=np.concatenate([data.primary, np.zeros(len(more), dtype=bool)]),
        bartel=np.concatenate([data.bartel, np.zeros(len(more), dtype=bool)]),
        split=np.array([*data.split, *map(split_of, more)]),
    )


def decomposition(data: Dataset) -> pd.Series[float]:
    """Energy against the training part's hull without the compound itself, eV/atom, of the training part."""
    rows = data.rows("train")
    rows = rows[~np.isnan(data.energies[rows, 0])]
    formulas, energies = [data.formulas[row] for row in rows], data.energies[rows, 0].astype(np.float64)
    hull = Hull([Phase(f, float(e)) for f, e in zip(formulas, energies, strict=True)], data.schemes[0])
    above = hull.energies_above_hull(formulas, energies)
    return pd.Series(above, index=formulas).clip(-LARGEST_DECOMPOSITION, LARGEST_DECOMPOSITION)


def entries(folder: Path) -> Mapping[str, pd.Series[float]]:
    """Reported by experiment, crystal system (0 triclinic to 6 cubic), logarithm of the number of entries."""
    table = _read(folder / "mp_entries.parquet", ["reduced_formula", "spacegroup_number", "icsd_tagged"])
    groups = table.groupby("reduced_formula")
    system = pd.Series(np.searchsorted(CRYSTAL_SYSTEMS, table.spacegroup_number.dropna(), side="right"),
                       index=table.reduced_formula[table.spacegroup_number.notna()])  # fmt: skip
    return {
        "reported": groups.icsd_tagged.max().dropna().astype(float),
        "crystal system": system.groupby(level=0).mean(),
        "polymorphs": groups.size().astype(float).map(math.log),
    }


def oqmd(folder: Path) -> Mapping[str, pd.Series[float]]:
    """Band gap (eV) and the logarithm of the volume per atom of OQMD's lowest phase."""
    table = _read(folder / "oqmd_crabnet.parquet", ["reduced_formula", "band_gap", "volume_per_atom"])
    groups = table.groupby("reduced_formula")
    return {"band gap": groups.band_gap.min().dropna(), "volume": groups.volume_per_atom.min().dropna().map(math.log)}


def without_auxiliary(network: Network) -> Network:
    """The network without its outputs for further quantities."""
    schemes = tuple(scheme for scheme in network.config.schemes if scheme not in QUANTITIES)
    weights = network.state_dict()
    for key in ("reference", "head.shift.weight", "head.stretch.weight"):
        weights[key] = weights[key][: len(schemes)]
    smaller = Network(replace(network.config, schemes=schemes), network.properties)
    smaller.load_state_dict(weights)
    return smaller.eval().requires_grad_(False)


def _standardised(column: pd.Series[float]) -> NDArray[np.float64]:
    return np.asarray((column - column.mean()) / column.std() * SPREAD, dtype=np.float64)


def _read(path: Path, columns: list[str]) -> pd.DataFrame:
    try:
        return pd.read_parquet(path, columns=columns)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} cannot be read ({error}): give the data folder with --data") from error
