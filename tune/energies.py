"""The data of a surrogate's search: the tables that `discovery.surrogates train` reads, or the reference's energies."""

from __future__ import annotations

from pathlib import Path

from discovery.composition import is_compound
from discovery.errors import ConfigError
from discovery.reference.base import Reference
from discovery.surrogates.dataset import Dataset, load_dataset
from discovery.surrogates.from_labels import one_scheme
from tune.plan import Plan

FEWEST = 200  # compounds to train, calibrate and judge on


def load_energies(plan: Plan, reference: Reference) -> Dataset:
    """Labelled compositions.

    Raises:
        ConfigError: the reference holds too few compounds.
        DataError: the folder of ``--data`` cannot be read.
    """
    return load_dataset(Path(plan.data), None) if plan.data is not None else of_reference(reference)


def of_reference(reference: Reference) -> Dataset:
    """The formation energies of a reference's compounds, in its scheme alone."""
    energies = {p.formula: p.formation_energy_per_atom for p in reference.phases if is_compound(p.formula)}
    if len(energies) < FEWEST:
        raise ConfigError(f"the reference {reference.name} holds {len(energies)} compounds: give tables with --data")
    return one_scheme(energies, reference.scheme)
