"""Small language-interfaced surrogates, and the made-up energies that they learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from discovery.generators.causal import GPT2
from discovery.surrogates.base import Labels
from discovery.surrogates.calibration import SchemeCalibration
from discovery.surrogates.dataset import Dataset
from discovery.surrogates.from_labels import labelled_dataset
from discovery.surrogates.lift.composition_model import CompositionModel
from discovery.surrogates.lift.surrogate import Asked, LiftSurrogate, Prior
from tests.core.tiny_surrogate import compositions

SCHEME = "mp2019"


def untaught(schemes: tuple[str, ...] = (SCHEME,), width: int = 32) -> CompositionModel:
    """A language model of compositions with random weights that can be asked."""
    torch.manual_seed(0)
    return CompositionModel.of(GPT2.of_size(2, width, 2), schemes)


def untaught_surrogate(*schemes: str) -> LiftSurrogate:
    """A surrogate that has learned nothing."""
    asked = {scheme: Asked(scheme, 0.0) for scheme in schemes}
    calibrations = {scheme: SchemeCalibration() for scheme in schemes}
    return LiftSurrogate(untaught(schemes, 16), calibrations, torch.full((103,), 100.0), Prior(-1.0, 0.5), asked)


def made_up_labels() -> Labels:
    """The energies of `tiny_surrogate`, eV/atom."""
    energies = compositions()
    return Labels(tuple(energies), np.array(list(energies.values())), (SCHEME,) * len(energies))


def made_up_data() -> Dataset:
    """The same as training data: every fifth composition for validation, the next for the test."""
    data = labelled_dataset(made_up_labels())
    parts = np.array([("validation", "test", "train", "train", "train")[i % 5] for i in range(len(data.formulas))])
    return replace(data, split=parts)
