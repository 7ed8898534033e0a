"""The training data: one row per composition, one column of formation energies per scheme, one split for all of them.

The split depends on the reduced formula alone, so a composition held out in one scheme is held out in all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from discovery.composition import is_compound
from discovery.errors import DataError
from discovery.labels import lowest_per_formula, read_labels
from discovery.surrogates.features import Compositions, encode

SCHEMES = ("mp2019", "mp2020", "chgnet-0.3.0", "oqmd")
# Further columns of a training (`discovery.surrogates.auxiliary`), after the schemes
QUANTITIES = ("decomposition", "reported", "crystal system", "polymorphs", "band gap", "volume")
TEST_SHARE, VALIDATION_SHARE = 0.05, 0.025  # of the tables that the shipped weights learn from
OWN_SHARES = (0.10, 0.05)  # of a user's labels, which may be few
SPLIT_SEED = 2020
MAX_MATBENCH = 1.0  # eV/atom; mp_bartel2020 has none above, and those of matbench are hypothetical, far off the hull
MAX_ABS_OQMD = 5.0  # eV/atom; the few rows beyond it are broken OQMD entries


def split_of(formula: str, shares: tuple[float, float] = (TEST_SHARE, VALIDATION_SHARE)) -> str:
    """`test`, `validation` or `train`, by a hash of the reduced formula; `shares` are those of test and validation."""
    digest = hashlib.blake2b(f"{SPLIT_SEED}:{formula}".encode(), digest_size=8).digest()
    place = int.from_bytes(digest, "little") / 2**64
    test, validation = shares
    if place < test:
        return "test"
    return "validation" if place < test + validation else "train"


@dataclass(frozen=True)
class Dataset:
    """Compositions with their formation energies."""

    formulas: tuple[str, ...]  # reduced
    compositions: Compositions
    energies: NDArray[np.float32]  # (n, schemes), eV/atom, NaN where unknown
    schemes: tuple[str, ...]
    primary: NDArray[np.bool_]  # (n,), has a label of a scheme other than the auxiliary `oqmd`
    bartel: NDArray[np.bool_]  # (n,), a row of mp_bartel2020: what the headline error is measured on
    split: NDArray[np.str_]  # (n,)
    scales: NDArray[np.float32] | None = None  # (n, schemes), Laplace, eV/atom: of a teacher's answers as energies

    def rows(self, split: str) -> NDArray[np.int64]:
        """Row numbers of one part of the split."""
        return np.flatnonzero(self.split == split)


def load_dataset(folder: Path, potential: Path | None) -> Dataset:
    """All sources joined by reduced formula, the lowest energy of each composition.

    Args:
        folder: holds `mp_bartel2020`, `matbench_mp_e_form`, `mp_structures` and `oqmd_crabnet` (`.parquet`).
        potential: table of formation energies by a potential (columns as in `discovery.labels`); None: without one.
    """
    bartel = lowest_energies(folder / "mp_bartel2020.parquet")
    matbench = lowest_energies(folder / "matbench_mp_e_form.parquet")
    oqmd = lowest_energies(folder / "oqmd_crabnet.parquet")
    energies = {
        "mp2019": pd.concat([bartel, matbench[~matbench.index.isin(bartel.index) & (matbench <= MAX_MATBENCH)]]),
        "mp2020": lowest_energies(folder / "mp_structures.parquet"),
        "oqmd": oqmd[oqmd.abs() <= MAX_ABS_OQMD],
    }
    if potential is not None:
        energies |= _potential_energies(potential)
    return join(energies, frozenset(bartel.index))


def join(energies: Mapping[str, pd.Series[float]], bartel: frozenset[str] = frozenset()) -> Dataset:
    """One row per composition with at least two elements, ordered by formula."""
    if unknown := sorted(set(energies) - set(SCHEMES)):
        raise DataError(f"schemes {unknown} are not among those trained {list(SCHEMES)}: rename or drop them")
    table = pd.DataFrame({scheme: energies.get(scheme, pd.Series(dtype=float)) for scheme in SCHEMES})
    table = table[[is_compound(formula) for formula in table.index]].sort_index()
    formulas = tuple(map(str, table.index))
    return Dataset(
        formulas=formulas,
        compositions=encode(formulas),
        energies=table.to_numpy(dtype=np.float32),
        schemes=SCHEMES,
        primary=table.drop(columns="oqmd").notna().any(axis=1).to_numpy(),
        bartel=np.array([formula in bartel for formula in formulas]),
        split=np.array([split_of(formula) for formula in formulas]),
    )


def lowest_energies(path: Path) -> pd.Series[float]:
    """Lowest known formation energy, eV/atom, by reduced formula."""
    try:
        table = pd.read_parquet(path, columns=["reduced_formula", "formation_energy_per_atom"]).dropna()
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} cannot be read ({error}): give the data folder with --data") from error
    return table.groupby("reduced_formula").formation_energy_per_atom.min()


def _potential_energies(path: Path) -> dict[str, pd.Series[float]]:
    labels = lowest_per_formula(read_labels(path))
    return {
        str(scheme): part.set_index("formula").formation_energy_per_atom for scheme, part in labels.groupby("scheme")
    }
