from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from discovery.errors import CompositionError
from discovery.surrogates.magpie import NAMES, FloatArray, Trees, gradient_boosting, magpie_features, random_forest
from tests.core.tiny_surrogate import compositions


def row(formula: str) -> dict[str, float]:
    return dict(zip(NAMES, magpie_features(["NaCl", formula, "LiFePO4"])[1].tolist(), strict=True))


def test_there_are_145_features() -> None:
    assert len(NAMES) == len(set(NAMES)) == 145
    assert magpie_features([]).shape == (0, 145)


def test_features_by_hand() -> None:
    found = row("Fe2O3")  # Fe: electronegativity 1.83, 8 valence electrons (2 s, 6 d); O: 3.44, 6 (2 s, 4 p)
    assert found["0-norm"] == 2
    assert found["2-norm"] == pytest.approx((0.4**2 + 0.6**2) ** 0.5)
    assert found["minimum Electronegativity"] == 1.83
    assert found["range Electronegativity"] == pytest.approx(1.61)
    assert found["mean Electronegativity"] == pytest.approx(0.4 * 1.83 + 0.6 * 3.44)
    assert found["avg_dev Electronegativity"] == pytest.approx(2 * 0.4 * 0.6 * 1.61)
    assert found["mode Number"] == 8
    assert found["frac d valence electrons"] == pytest.approx(0.4 * 6 / (0.4 * 8 + 0.6 * 6))
    assert sum(found[f"frac {shell} valence electrons"] for shell in "spdf") == pytest.approx(1.0)
    assert found["compound possible"] == 1
    assert found["max ionic char"] == pytest.approx(1 - np.exp(-0.25 * 1.61**2))
    assert found["mean ionic char"] == pytest.approx(2 * 0.4 * 0.6 * found["max ionic char"])
    assert row("Na2Cl")["compound possible"] == 0
    assert row("NaCl")["mode Number"] == 11  # both are equally common: the lower value


def test_only_the_composition_counts() -> None:
    features = magpie_features(["Fe2O3", "O3Fe2", "Fe4O6"])
    assert (features == features[0]).all()
    with pytest.raises(CompositionError):
        magpie_features(["Fe"])


@pytest.mark.parametrize("fit", [random_forest, partial(gradient_boosting, rounds=50)])
def test_trees_learn_a_smooth_energy(fit: Callable[[FloatArray, FloatArray, int], Trees]) -> None:
    energies = compositions()
    features, values = magpie_features(list(energies)), np.array(list(energies.values()))
    trees = fit(features[::2], values[::2], 0)
    assert np.abs(trees(features[1::2]) - values[1::2]).mean() < 0.5 * np.abs(values - values.mean()).mean()
    assert (fit(features[::2], values[::2], 0)(features) == trees(features)).all()
