"""A smaller ensemble from one's own table of labels: minutes instead of hours, in any scheme.

This is what a replay needs (its surrogate must not have seen the withheld part) and what a laboratory with some
thousand energies of its own can use. The shipped surrogate comes from `discovery.surrogates train` and more sources.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from discovery.composition import reduced_formula
from discovery.errors import DataError, SchemeError
from discovery.surrogates.base import Labels
from discovery.surrogates.dataset import OWN_SHARES, Dataset, split_of
from discovery.surrogates.ensemble import EnsembleSurrogate, element_counts
from discovery.surrogates.evaluation import calibrate, evaluate, rounded_results
from discovery.surrogates.features import encode
from discovery.surrogates.network import NetworkConfig
from discovery.surrogates.training import EpochReport, TrainingConfig, train_member

MIN_LABELS = 100  # fewer cannot be split into a training part and one for the calibration


@dataclass(frozen=True)
class Preset:
    """How large, and how long trained."""

    members: int = 2
    epochs: int = 16  # of one cycle
    width: int = 96
    layers: int = 3
    pooled: int = 160
    batch_size: int = 512
    peak_rate: float = 3e-3

    def sizes(self, scheme: str) -> NetworkConfig:
        """Of one network."""
        return NetworkConfig((scheme,), self.width, self.layers, 4, 3 * self.width, self.pooled)

    def training(self, seed: int) -> TrainingConfig:
        """Of one member; a single cycle, since a second one pays only in long trainings."""
        return TrainingConfig(
            seed=seed,
            epochs=self.epochs,
            restart_epochs=0,
            batch_size=self.batch_size,
            peak_rate=self.peak_rate,
            average_decay=0.995,
        )


def train_on_labels(
    labels: Labels,
    preset: Preset,
    checkpoints: Path,
    on_epoch: Callable[[EpochReport], None] | None = None,
    *,
    seed: int = 0,
) -> EnsembleSurrogate:
    """An ensemble that has seen these labels and nothing else; an interrupted training goes on from `checkpoints`.

    Args:
        labels: of one scheme; of several energies for one composition the lowest counts. 5 % of them (by hash of the
            formula) are kept from the training for the calibration, 10 % for the error on the card.
        preset: sizes.
        checkpoints: folder of the members' checkpoints, for these labels and this preset alone.
        on_epoch: called after every epoch of every member.
        seed: of the first member; the others count up.

    Raises:
        SchemeError: labels of several schemes.
        DataError: too few labels.
    """
    data = labelled_dataset(labels)
    networks = tuple(
        train_member(
            data,
            preset.training(seed + member),
            checkpoints / f"member-{member}.safetensors",
            on_epoch or _quiet,
            preset.sizes(data.schemes[0]),
        )
        .eval()
        .requires_grad_(False)
        for member in range(preset.members)
    )
    counts = element_counts(data.compositions, data.rows("train"))
    surrogate = calibrate(EnsembleSurrogate(networks, {}, counts, "own-labels"), data)
    card = {
        "model": "ensemble of attention networks over element fractions, trained on one table of labels",
        "labels": len(data.formulas),
        "results_on_test": rounded_results(evaluate(surrogate, data, "test")),
    }
    return EnsembleSurrogate(networks, surrogate.calibrations, counts, "own-labels", card)


def labelled_dataset(labels: Labels) -> Dataset:
    """The labels as training data: each composition once, ordered by formula, split by hash of the formula."""
    schemes = sorted(set(labels.schemes))
    if len(schemes) != 1:
        raise SchemeError(f"labels of schemes {', '.join(schemes)}: train on those of one scheme")
    lowest = lowest_energies(labels)
    if len(lowest) < MIN_LABELS:
        raise DataError(f"{len(lowest)} labelled compositions are too few to train on: give {MIN_LABELS} or more")
    return one_scheme(lowest, schemes[0])


def one_scheme(energies: Mapping[str, float], scheme: str) -> Dataset:
    """Reduced formula -> energy (eV/atom) as training data: ordered by formula, split by hash of the formula."""
    formulas = tuple(sorted(energies))
    every = np.ones(len(formulas), dtype=bool)
    return Dataset(
        formulas=formulas,
        compositions=encode(formulas),
        energies=np.array([[energies[formula]] for formula in formulas], dtype=np.float32),
        schemes=(scheme,),
        primary=every,
        bartel=~every,
        split=np.array([split_of(formula, OWN_SHARES) for formula in formulas]),
    )


def lowest_energies(labels: Labels) -> Mapping[str, float]:
    """Reduced formula -> lowest energy, eV/atom."""
    lowest: dict[str, float] = {}
    for formula, energy in zip(labels.formulas, labels.formation_energy_per_atom.tolist(), strict=True):
        key = reduced_formula(formula)
        lowest[key] = min(energy, lowest.get(key, np.inf))
    return lowest


def _quiet(report: EpochReport) -> None:
    """Say nothing."""
    del report
