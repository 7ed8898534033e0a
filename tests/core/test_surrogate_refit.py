from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from discovery.errors import DataError
from discovery.learning import Lesson, label_errors, learn_surrogate
from discovery.surrogates.base import Labels
from discovery.surrogates.ensemble import EnsembleSurrogate
from discovery.surrogates.evaluation import with_analogues
from discovery.surrogates.network import Network
from discovery.surrogates.recalibration import deviations
from discovery.surrogates.refit import RefitConfig, held_back, kept_back, refit_network
from tests.core.tiny_surrogate import compositions, dataset, energy, tiny_ensemble


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


def round_labels(number: int, shift: float, scatter: float) -> Labels:
    """Quaternaries and ternaries of one round, `shift` and `scatter` (eV/atom) away from the old rule."""
    rng = np.random.default_rng(number)
    made = {}
    while len(made) < 16:
        a, b, c = (int(n) for n in rng.integers(1, 6, 3))
        counts = {"Li": 1, "Mg": a, "Si": b, "O": c} if rng.random() < 0.5 else {"Na": a, "Fe": b, "S": c}
        formula = "".join(f"{symbol}{n}" for symbol, n in counts.items())
        made[formula] = energy(counts) + shift + scatter * rng.standard_normal()
    return labels(made)


def test_ten_refits_do_not_forget_and_stay_calibrated(surrogate: EnsembleSurrogate) -> None:
    """Ten rounds whose errors are far wider than the calibration promises."""
    current, replay, seen = surrogate, REPLAY, []
    for number in range(10):
        new = round_labels(number, 0.05, 0.4)
        lesson = Lesson(new, replay, (), (), (), np.random.SeedSequence(number))
        current, metrics = learn_surrogate(current, lesson, np.random.default_rng(number))
        seen.append(metrics)
        replay = Labels(
            replay.formulas + new.formulas,
            np.concatenate([replay.formation_energy_per_atom, new.formation_energy_per_atom]),
            replay.schemes + new.schemes,
        )
    assert mae(current, REPLAY) <= 1.05 * mae(surrogate, REPLAY)
    before, after = (np.mean([metrics[f"mae_{when}"] for metrics in seen]) for when in ("before", "after"))
    assert after < before  # the guard does not stop the learning
    assert seen[0]["coverage_90_before"] < 0.6
    assert any(metrics["calibration_factor"] > 1.0 for metrics in seen[:2])
    late = float(np.mean([metrics["coverage_90_before"] for metrics in seen[4:]]))
    assert late == pytest.approx(0.9, abs=0.1)  # 96 labels
    without = replace(current, calibrations=surrogate.calibrations)
    assert label_errors(without, round_labels(11, 0.05, 0.4))["coverage_90"] < 0.6


def test_a_calibration_that_holds_is_left_alone(surrogate: EnsembleSurrogate) -> None:
    new = round_labels(0, 0.0, 0.0)
    prediction = surrogate.predict(new.formulas, "mp2019")
    freedom = surrogate.calibrations["mp2019"].degrees_of_freedom
    rng = np.random.default_rng(0)
    errors = prediction.std * rng.standard_t(freedom, 16) * np.sqrt((freedom - 2.0) / freedom)
    honest = replace(new, formation_energy_per_atom=prediction.mean - errors)
    checked, seen = surrogate.recalibrated(honest)
    assert checked.calibrations == surrogate.calibrations
    assert seen["calibration_factor"] == 1.0
    assert checked.watches["mp2019"].n == seen["calibration_labels"] == 16
    lab = replace(honest, schemes=("lab",) * 16)
    assert surrogate.recalibrated(lab)[1] == {}


def test_same_seed_same_weights_another_seed_others(surrogate: EnsembleSurrogate) -> None:
    first, same, other = (surrogate.refit(NEW, REPLAY, np.random.default_rng(seed)).version for seed in (3, 3, 4))
    assert first == same
    assert first != other


def test_refitted_ensemble_survives_saving(surrogate: EnsembleSurrogate, tmp_path: Path) -> None:
    refitted = surrogate.refit(NEW, REPLAY, np.random.default_rng(0))
    watched, _ = refitted.recalibrated(NEW)
    watched.save(tmp_path)
    loaded = EnsembleSurrogate.load(tmp_path)
    assert loaded.version == refitted.version
    assert loaded.watches == watched.watches
    assert loaded.calibrations == watched.calibrations


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


def test_labels_kept_back_are_known_well_and_the_same_in_every_round(surrogate: EnsembleSurrogate) -> None:
    config = RefitConfig()
    guard, left = kept_back(surrogate, REPLAY, config)
    assert guard is not None
    assert sorted(guard.formulas + left.formulas) == sorted(REPLAY.formulas)
    size = round(config.guard_share * len(REPLAY.formulas))
    assert deviations(surrogate, guard)[1].all()
    assert 0.8 * size < len(guard.formulas) <= size  # inside the 90 % interval
    later, _ = kept_back(surrogate, REPLAY.rows(reversed(range(len(REPLAY.formulas)))), config)
    assert later is not None
    assert set(later.formulas) == set(guard.formulas)


def test_labels_of_another_kind_are_no_guard_and_are_replayed(surrogate: EnsembleSurrogate) -> None:
    higher = labels({formula: energy + 5.0 for formula, energy in compositions().items()})
    for other in (higher, labels(compositions(), "lab")):
        guard, left = kept_back(surrogate, other, RefitConfig())
        assert guard is None
        assert left.formulas == other.formulas


@pytest.mark.parametrize(("slope", "steps"), [(0.0, 0), (0.09, 0), (0.2, 2), (1.0, 7), (1e4, None)])
def test_networks_are_held_back_as_far_as_needed(surrogate: EnsembleSurrogate, slope: float, steps: int | None) -> None:
    """The error rises linearly on the way: it may rise by a tenth, and each step takes 0.7 of the way."""
    before = surrogate.networks
    after = surrogate.refit(NEW, REPLAY, np.random.default_rng(0)).networks
    weights = [[network.head.mean.bias.item() for network in networks] for networks in (before, after)]

    def share(networks: tuple[Network, ...]) -> list[float]:
        """How far each network is on the way."""
        now = [network.head.mean.bias.item() for network in networks]
        return [(c - a) / (b - a) for a, b, c in zip(*weights, now, strict=True)]

    held = held_back(before, after, lambda networks: 1.0 + slope * share(networks)[0], 0.1, 0.7)
    expected = 0.0 if steps is None else 0.7**steps
    assert share(held) == pytest.approx([expected] * len(before), abs=1e-3)


def test_corrected_ensemble_is_held_back_as_a_whole(surrogate: EnsembleSurrogate) -> None:
    """Members that all move the same way spoil what analogues correct before a member's own guard sees it."""
    corrected = with_analogues(surrogate, dataset())
    guard, _ = kept_back(corrected, REPLAY, RefitConfig())
    assert guard is not None
    before = deviations(corrected, guard)[0].mean()
    wrong = replace(NEW, formation_energy_per_atom=NEW.formation_energy_per_atom + 2.0)
    for seed in range(3):
        refitted = corrected.refit(wrong, REPLAY, np.random.default_rng(seed))
        after = deviations(refitted, guard)[0].mean()
        assert refitted.version != corrected.version
        assert after <= (1.0 + RefitConfig().max_rise_together) * before
