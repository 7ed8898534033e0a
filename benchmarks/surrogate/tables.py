"""Labels with their split: what is tested, what may be learned, what the calibration sees."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from discovery.composition import amounts
from discovery.errors import ConfigError, DataError
from discovery.surrogates.dataset import OWN_SHARES, split_of

NEEDED = ("reduced_formula", "formation_energy_per_atom", "decomposition_energy_per_atom", "hull_energy_excl_self")
LATE = pd.Timestamp("2018-01-01")  # of the time split
LATE_NUMBER = 1_050_000  # smallest MP number of entries without a date that are as late
SPLITS = ("random", "crabnet", "time", "chemsys", "family")
Parts = NDArray[np.str_]  # "train", "validation" or "test" of each row


@dataclass(frozen=True)
class Labels:
    """DFT labels, one row per composition."""

    formulas: tuple[str, ...]
    formation: NDArray[np.float64]  # eV/atom, (n,)
    decomposition: NDArray[np.float64]  # eV/atom against the other compounds, negative: stable, (n,)
    hull: NDArray[np.float64]  # eV/atom, energy of the competing compounds, (n,)
    parts: Parts

    def rows(self, part: str) -> NDArray[np.int64]:
        """Row numbers of one part."""
        return np.flatnonzero(self.parts == part)


def read_labels(path: Path, split: str, withheld: frozenset[str] = frozenset()) -> Labels:
    """Labels of a Parquet table, split.

    Args:
        path: has the columns `NEEDED`, and those of the split (`crabnet_split`; `first_created_at, min_mp_number`).
        split: one of `SPLITS`.
        withheld: elements that a test composition of the split `family` holds, all of them.

    Raises:
        DataError: an unreadable file, or one without these columns.
        ConfigError: an unknown split, `family` without elements, or a part without rows.
    """
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as Parquet ({error}): give the table of labels") from error
    if missing := [name for name in NEEDED if name not in table.columns]:
        raise DataError(f"{path} has no column {missing[0]!r}: give a table with {', '.join(NEEDED)}")
    parts = _parts(table, split, withheld)
    for part in ("train", "validation", "test"):
        if not (parts == part).any():
            raise ConfigError(f"the split {split!r} leaves no {part} rows in {path}: choose another one")
    numbers = [table[name].to_numpy(dtype=np.float64) for name in NEEDED[1:]]
    return Labels(tuple(map(str, table.reduced_formula)), *numbers, parts)


def _parts(table: pd.DataFrame, split: str, withheld: frozenset[str]) -> Parts:
    makers: dict[str, Callable[[], Parts]] = {
        "random": lambda: np.array([split_of(formula) for formula in table.reduced_formula]),
        "crabnet": lambda: table.crabnet_split.replace("val", "validation").to_numpy(dtype=str),
        "time": lambda: _with_validation(table, _late(table)),
        "chemsys": lambda: _with_validation(table, _share(table.chemsys, "chemsys") < 0.1),
        "family": lambda: _with_validation(table, _holds_all(table, withheld)),
    }
    if split not in makers:
        raise ConfigError(f"--split {split!r} is unknown: choose from {', '.join(SPLITS)}")
    try:
        return makers[split]()
    except (AttributeError, KeyError) as error:
        raise DataError(f"the split {split!r} needs a column that the table lacks ({error})") from error


def _with_validation(table: pd.DataFrame, test: NDArray[np.bool_]) -> Parts:
    """A hashed share of what is not tested serves for calibration."""
    validation = _share(table.reduced_formula, "validation") < OWN_SHARES[1]
    return np.where(test, "test", np.where(validation, "validation", "train"))


def _late(table: pd.DataFrame) -> NDArray[np.bool_]:
    dated = table.first_created_at.notna()
    late = np.where(dated, table.first_created_at >= LATE, table.min_mp_number.fillna(0) >= LATE_NUMBER)
    return np.asarray(late, dtype=bool)


def _holds_all(table: pd.DataFrame, withheld: frozenset[str]) -> NDArray[np.bool_]:
    if not withheld:
        raise ConfigError("the split 'family' needs --withhold A,B: the elements that its compositions hold")
    return np.array([withheld <= amounts(formula).keys() for formula in table.reduced_formula])


def _share(texts: pd.Series[str], salt: str) -> NDArray[np.float64]:
    """A number from 0 to 1 for each text, a function of the text alone."""
    digests = [hashlib.blake2b(f"{salt}:{text}".encode(), digest_size=8).digest() for text in texts]
    return np.frombuffer(b"".join(digests), dtype="<u8") / 2.0**64
