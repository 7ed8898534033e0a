"""A small real ensemble on made-up energies: the fake of all surrogate tests."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from discovery.surrogates.dataset import OWN_SHARES, SCHEMES, Dataset, join, split_of
from discovery.surrogates.ensemble import EnsembleSurrogate, element_counts
from discovery.surrogates.evaluation import calibrate
from discovery.surrogates.network import NetworkConfig
from discovery.surrogates.training import TrainingConfig, train_member

SIZES = NetworkConfig(SCHEMES, width=16, layers=2, heads=2, feed_forward=32, pooled=16)
ELEMENTS = {"Li": 1.0, "Na": 0.9, "Mg": 1.3, "Al": 1.6, "Fe": 1.8, "Si": 1.9, "S": 2.6, "O": 3.4, "F": 4.0, "Cl": 3.2}


def energy(amounts: dict[str, int]) -> float:
    """A made-up formation energy, eV/atom: minus the squared electronegativity differences of all pairs."""
    total = sum(amounts.values())
    share = {symbol: n / total for symbol, n in amounts.items()}
    return -sum(share[a] * share[b] * (ELEMENTS[a] - ELEMENTS[b]) ** 2 for a, b in combinations(sorted(share), 2))


def compositions() -> dict[str, float]:
    """Formula -> made-up energy of all AxBy and ABCx of ten elements."""
    made = {}
    for a, b in combinations(sorted(ELEMENTS), 2):
        for m, n in ((1, 1), (1, 2), (2, 1), (2, 3), (3, 1)):
            made[f"{a}{m}{b}{n}"] = energy({a: m, b: n})
    for a, b, c in combinations(sorted(ELEMENTS), 3):
        for n in (1, 2, 3):
            made[f"{a}{b}{c}{n}"] = energy({a: 1, b: 1, c: n})
    return made


def dataset() -> Dataset:
    """The made-up energies as `mp2019`, and lower by 0.1 eV/atom for half of them as `chgnet-0.3.0`."""
    energies = pd.Series(compositions())
    data = join({"mp2019": energies, "chgnet-0.3.0": energies[::2] - 0.1}, frozenset(energies.index[::3]))
    return replace(data, split=np.array([split_of(formula, OWN_SHARES) for formula in data.formulas]))


def tiny_ensemble(folder: Path, epochs: int = 12) -> EnsembleSurrogate:
    """Two trained members, calibrated."""
    torch.set_num_threads(1)
    data = dataset()
    networks = tuple(
        train_member(
            data,
            TrainingConfig(
                seed=seed,
                epochs=epochs,
                restart_epochs=0,
                batch_size=32,
                peak_rate=1e-2,
                average_decay=0.95,
                dropout=0.0,
            ),
            folder / f"member-{seed}.safetensors",
            lambda report: None,
            SIZES,
        )
        for seed in (0, 1)
    )
    counts = element_counts(data.compositions, np.arange(len(data.formulas)))
    return calibrate(EnsembleSurrogate(networks, {}, counts, card={"model": "tiny"}), data)
