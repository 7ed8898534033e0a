from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from discovery.errors import DataError
from discovery.surrogates.base import Labels
from discovery.surrogates.ensemble import EnsembleSurrogate
from discovery.surrogates.refit import RefitConfig, refit_network
from tests.core.tiny_surrogate import compositions, energy, tiny_ensemble


@pytest.fixture(scope="module")
def surrogate(tmp_path_factory: pytest.TempPathFactory) -> EnsembleSurrogate:
    return tiny_ensemble(tmp_path_factory.mktemp("surrogate"))


def labels(energies: dict[str, float], scheme: str = "mp2019") -> Labels:
    return Labels(tuple(energies), np.array(list(energies.values())), (scheme,) * len(energies))


REPLAY = labels(compositions())
# quaternaries, which training lacked, 0.05 eV/atom above what the old rule gives them
NEW = labels(
    {
        f"LiMg{a}Si{b}O{c}": 0.05 + energy({"Li": 1, "Mg": a, "Si": b, "O": c})
        for a in (1, 2)
        for b in (1, 2)
        for c in (3, 4, 5, 6)
    }
)


def mae(surrogate: EnsembleSurrogate, known: Labels) -> float:
    means = surrogate.predict(known.formulas, known.schemes[0]).mean
    return float(np.abs(means - known.formation_energy_per_atom).mean())


def test_new_labels_are_learned_and_the_old_model_stays(surrogate: EnsembleSurrogate) -> None:
    version, before = surrogate.version, mae(surrogate, NEW)
    refitted = surrogate.refit(NEW, REPLAY, np.random.default_rng(0))
    assert mae(refitted, NEW) < 0.9 * before
    assert refitted.version != version
    assert surrogate.version == version
    assert mae(surrogate, NEW) == before
    assert refitted.calibrations == surrogate.calibrations
    assert refitted.card["refitted_from"] == version


def test_ten_refits_do_not_forget(surrogate: EnsembleSurrogate) -> None:
    refitted = single = replace(surrogate, networks=surrogate.networks[:1])  # one member: half the time
    for seed in range(10):
        refitted = refitted.refit(NEW, REPLAY, np.random.default_rng(seed))
    assert mae(refitted, REPLAY) <= 1.05 * mae(single, REPLAY)
    assert mae(refitted, NEW) < 0.6 * mae(single, NEW)


def test_same_seed_same_weights_another_seed_others(surrogate: EnsembleSurrogate) -> None:
    first, same, other = (surrogate.refit(NEW, REPLAY, np.random.default_rng(seed)).version for seed in (3, 3, 4))
    assert first == same
    assert first != other


def test_refitted_ensemble_survives_saving(surrogate: EnsembleSurrogate, tmp_path: Path) -> None:
    refitted = surrogate.refit(NEW, REPLAY, np.random.default_rng(0))
    refitted.save(tmp_path)
    assert EnsembleSurrogate.load(tmp_path).version == refitted.version


def test_unknown_scheme_becomes_an_offset_of_the_nearest(surrogate: EnsembleSurrogate) -> None:
    some = dict(list(compositions().items())[::25])
    lab = labels({formula: energy + 0.7 for formula, energy in some.items()}, "lab")
    refitted = surrogate.refit(lab, REPLAY, np.random.default_rng(0))
    assert refitted.schemes == (*surrogate.schemes, "lab")
    others = [formula for formula in compositions() if formula not in some]
    shift = refitted.predict(others, "lab").mean - refitted.predict(others, "mp2019").mean
    assert float(np.mean(shift)) == pytest.approx(0.7, abs=0.1)
    assert mae(refitted, REPLAY) <= 1.05 * mae(surrogate, REPLAY)


def test_a_single_label_without_replay_is_enough(surrogate: EnsembleSurrogate) -> None:
    nothing = Labels((), np.zeros(0), ())
    refitted = surrogate.refit(labels({"NaCl": -3.0}, "lab"), nothing, np.random.default_rng(0))
    assert refitted.predict(["NaCl"], "lab").mean[0] == pytest.approx(-3.0, abs=0.1)
    assert surrogate.refit(nothing, REPLAY, np.random.default_rng(0)) is surrogate


def test_label_without_an_energy_is_refused(surrogate: EnsembleSurrogate) -> None:
    with pytest.raises(DataError, match="finite"):
        surrogate.refit(labels({"NaCl": float("nan")}), REPLAY, np.random.default_rng(0))


def test_guard_holds_where_nothing_else_would(surrogate: EnsembleSurrogate) -> None:
    wrong = replace(NEW, formation_energy_per_atom=NEW.formation_energy_per_atom + 2.0)
    errors = {}
    for max_rise in (0.01, 100.0):
        config = RefitConfig(replay_weight=0.0, max_rise=max_rise)
        network = refit_network(surrogate.networks[0], wrong, REPLAY, np.random.default_rng(0), config)
        errors[max_rise] = mae(replace(surrogate, networks=(network,)), REPLAY)
    before = mae(replace(surrogate, networks=surrogate.networks[:1]), REPLAY)
    assert errors[100.0] > 1.5 * before
    assert errors[0.01] < 1.04 * before  # the guard is a sample of the replay labels
