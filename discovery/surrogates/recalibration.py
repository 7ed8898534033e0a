"""What every surrogate with a calibration does with labels: watch the calibration, and meet new schemes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from discovery.surrogates import drift
from discovery.surrogates.base import FloatArray, Labels, Surrogate
from discovery.surrogates.calibration import SchemeCalibration
from discovery.surrogates.drift import Watch
from discovery.surrogates.features import Compositions

UNSEEN_STD = 1.0  # eV per atom of an element that training never saw; a stated guess, far above any error inside
Calibrations = Mapping[str, SchemeCalibration]
Watches = Mapping[str, Watch]


def watched(
    surrogate: Surrogate, calibrations: Calibrations, watches: Watches, new: Labels
) -> tuple[Calibrations, Watches, dict[str, float]]:
    """Calibrations and watches after a look at labels that the surrogate has not learned, and what was seen.

    A calibration that has drifted (`drift.Watch`) is scaled, and watched from the beginning.
    """
    scaled, after, seen = dict(calibrations), dict(watches), {}
    for scheme in sorted(set(new.schemes) & set(surrogate.schemes)):
        rows = [i for i, name in enumerate(new.schemes) if name == scheme]
        prediction = surrogate.predict([new.formulas[i] for i in rows], scheme)
        relative = (prediction.mean - new.formation_energy_per_atom[rows]) / prediction.std
        watch = after[scheme] = watches.get(scheme, Watch()).after(relative, scaled[scheme].degrees_of_freedom)
        seen[scheme] = watch
        if watch.drifted:
            scaled[scheme], after[scheme] = scaled[scheme].scaled(watch.scale), Watch()
    return scaled, after, drift.report(list(seen.values()))


def deviations(surrogate: Surrogate, labels: Labels) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Absolute errors, eV/atom, shape (n,), and whether each lies in the 90 % interval.

    Raises:
        SchemeError: a label of a scheme that the surrogate does not know.
    """
    errors, inside = np.zeros(len(labels.formulas)), np.zeros(len(labels.formulas), dtype=bool)
    for scheme in sorted(set(labels.schemes)):
        rows = np.flatnonzero([name == scheme for name in labels.schemes])
        prediction = surrogate.predict([labels.formulas[row] for row in rows], scheme)
        errors[rows] = np.abs(prediction.mean - labels.formation_energy_per_atom[rows])
        inside[rows] = errors[rows] <= surrogate.interval(scheme, 0.9) * prediction.std
    return errors, inside


def nearest_scheme(
    predicted: Callable[[str], FloatArray], schemes: Sequence[str], energies: FloatArray
) -> tuple[int, float]:
    """Known scheme whose predictions differ least from `energies` after a constant offset; that offset, eV/atom.

    Args:
        predicted: scheme -> predictions of the compositions that `energies` (eV/atom) belong to.
        schemes: the known ones.
        energies: labels of a new scheme.
    """
    differences = [energies - predicted(scheme) for scheme in schemes]
    offsets = [float(np.median(difference)) for difference in differences]
    left = [np.abs(d - offset).mean() for d, offset in zip(differences, offsets, strict=True)]
    # a single label fits every scheme after an offset: the smaller offset decides then
    order = min(range(len(left)), key=lambda k: (round(float(left[k]), 6), abs(offsets[k])))
    return order, offsets[order]


def unseen_std(element_counts: Tensor, data: Compositions) -> FloatArray:
    """What a model cannot know it does not know: elements without training data, eV/atom, shape (n,).

    Args:
        element_counts: training compositions that hold each element, shape (103,).
        data: the compositions asked for.
    """
    per_element = UNSEEN_STD / (1.0 + element_counts.double().numpy())
    shares = data.amounts / data.amounts.sum(axis=1, keepdims=True)
    unseen: FloatArray = (shares * per_element[data.elements]).sum(axis=1)
    return unseen
