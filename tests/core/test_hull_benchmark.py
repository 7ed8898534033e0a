import argparse
import random
from pathlib import Path

import pytest

from benchmarks import hull as benchmark
from discovery.hull import Hull
from discovery.reference.base import Phase
from tests.core.test_hull import random_phases


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    rows = [f"{p.formula},{p.formation_energy_per_atom}" for p in random_phases(0, 4, 30)]
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(["formula,formation_energy_per_atom", *rows, "Fe,0.0"]) + "\n")
    return path


def test_both_sides_answer_the_same_questions_alike(labels: Path) -> None:
    options = argparse.Namespace(labels=labels, compositions=40, sample=12, seed=0)
    sides = {side: benchmark.run_side(argparse.Namespace(**vars(options), side=side)) for side in benchmark.SIDES}
    assert sides["ours"]["phases"] == sides["pymatgen"]["phases"] == 30
    result = benchmark.compared(options, sides)
    assert result["max_difference_ev_per_atom"] < 1e-6
    assert result["times_as_quick_on_the_sample"] > 1.0
    assert "energies" not in result["ours"]


def test_new_compositions_are_no_phases_and_lie_in_known_systems() -> None:
    phases = random_phases(1, 4, 20)
    asked = benchmark.questions(phases, 60, 0)
    assert len(dict(asked)) == 60
    assert {formula for formula, _ in asked[:20]} == {phase.formula for phase in phases}
    assert not {formula for formula, _ in asked[20:]} & {phase.formula for phase in phases}
    assert asked == benchmark.questions(phases, 60, 0)


def test_second_hull_is_the_energy_against_the_others() -> None:
    phases = [Phase("FeO", -1.45), Phase("Fe2O3", -1.7), Phase("Fe3O4", -1.7), Phase("NaCl", -2.0)]
    random.Random(0).shuffle(phases)
    above = benchmark.second_hull(Hull(phases, "test"), "Fe3O4", -1.7)
    assert above == pytest.approx(-1.7 - (2 * -1.45 + 5 * -1.7) / 7)
