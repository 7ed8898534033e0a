"""Oracles: labels from a table, formation energies from a potential, and loading by name."""

import pickle
from pathlib import Path

import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from pymatgen.core import Structure

from discovery.errors import ConfigError, OracleError, SchemeError
from discovery.oracles.base import Budget
from discovery.oracles.elements import element_energy
from discovery.oracles.loading import load_oracle
from discovery.oracles.potential import PotentialOracle
from discovery.oracles.table import TableOracle
from discovery.records import Failure, Measurement
from discovery.reference.base import Reference
from discovery.structures.potentials import CHGNET_SCHEME, potential_from, to_structure
from discovery.structures.relaxation import RelaxationLimits, relax

REFERENCE = Reference("test", "1", CHGNET_SCHEME, (), frozenset(), {"Na": -1.3, "Cl": -1.8}, {})  # type: ignore[arg-type]


def emt_calculator() -> EMT:
    return EMT()


def not_a_calculator() -> list[int]:
    return []


class Echo:
    """The smallest object that follows the Protocol."""

    name, scheme = "echo", "toy"

    def can_measure(self, formula: str) -> bool:
        return True

    def measure(self, formula: str, budget: Budget) -> Failure:
        return Failure(formula, self.name, "echo")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text(
        "formula,formation_energy_per_atom,scheme,material_id\n"
        "NaCl,-2.1,mp2019,mp-1\nCl1Na1,-1.9,mp2019,mp-2\nFe4O6,-1.7,mp2019,\n",
        encoding="utf-8",
    )
    return path


def test_table_answers_with_the_lowest_polymorph(table: Path) -> None:
    oracle = TableOracle(table)
    answer = oracle.measure("NaCl", Budget())
    assert isinstance(answer, Measurement)
    assert (answer.formation_energy_per_atom, answer.scheme) == (-2.1, "mp2019")
    assert answer.provenance == {"material_id": "mp-1"}
    assert isinstance(oracle.measure("Fe2O3", Budget()), Measurement)
    assert not oracle.gives_energy_above_hull


def test_table_without_label_is_a_failure_that_was_asked(table: Path) -> None:
    oracle = TableOracle(table)
    assert oracle.can_measure("KCl")
    answer = oracle.measure("KCl", Budget())
    assert isinstance(answer, Failure)
    assert answer.reason == "no label"


def test_table_of_two_schemes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mixed.csv"
    path.write_text("formula,formation_energy_per_atom,scheme\nNaCl,-2.1,a\nKCl,-2.1,b\n", encoding="utf-8")
    with pytest.raises(SchemeError, match="a, b"):
        TableOracle(path)


@pytest.mark.filterwarnings("ignore:Issues encountered while parsing CIF:UserWarning")
def test_emt_formation_energy_is_total_energy_minus_elements() -> None:
    potential = potential_from("emt", EMT())
    oracle = PotentialOracle("emt", {"Cu": 1.0, "Au": -0.5}, potential)
    answer = oracle.measure("Cu3Au", Budget(max_steps=40, max_relaxations=1))
    assert isinstance(answer, Measurement)
    assert answer.cif is not None
    relaxed = Structure.from_str(answer.cif, fmt="cif")
    again = relax(relaxed, potential, RelaxationLimits(max_steps=0)).energy_per_atom
    assert answer.formation_energy_per_atom == pytest.approx(again - (3 * 1.0 - 0.5) / 4, abs=2e-3)
    assert answer.provenance["converged"] == "true"
    assert answer.provenance["elemental_references"] == "given"
    assert answer.prototype


def test_computed_element_is_the_relaxed_ground_state_crystal() -> None:
    potential = potential_from("emt", EMT())
    fcc = relax(to_structure(bulk("Au")), potential, RelaxationLimits(max_steps=100, force_tolerance=0.005))
    assert element_energy("Au", potential) == pytest.approx(fcc.energy_per_atom, abs=1e-3)


def test_copper_gold_orders_with_computed_elements() -> None:
    oracle = PotentialOracle("emt", None, potential_from("emt", EMT()))
    answer = oracle.measure("Cu3Au", Budget(max_relaxations=2))
    assert isinstance(answer, Measurement)
    assert answer.formation_energy_per_atom is not None
    assert -0.2 < answer.formation_energy_per_atom < 0.0  # Cu3Au orders: -0.07 eV/atom by experiment
    assert answer.provenance["elemental_references"] == "computed"


def test_what_cannot_be_measured_is_known_before_it_is_asked() -> None:
    oracle = PotentialOracle("chgnet", {"Na": -1.3, "Cl": -1.8})
    assert oracle.can_measure("NaCl")
    assert not oracle.can_measure("KCl")  # no elemental reference
    assert not oracle.can_measure("Na3Cl11")  # no prototype


@pytest.mark.parametrize(("formula", "reason"), [("KCl", "no elemental reference: K"), ("Na3Cl11", "no prototype")])
def test_asked_all_the_same_it_fails_with_the_reason(formula: str, reason: str) -> None:
    oracle = PotentialOracle("emt", {"Na": -1.3, "Cl": -1.8}, potential_from("emt", EMT()))
    answer = oracle.measure(formula, Budget())
    assert isinstance(answer, Failure)
    assert answer.reason == reason


def test_element_that_the_potential_lacks_is_a_failure() -> None:
    answer = PotentialOracle("emt", None, potential_from("emt", EMT())).measure("NaCl", Budget())
    assert isinstance(answer, Failure)
    assert answer.reason.startswith("no elemental reference")


def test_chgnet_oracle_travels_to_another_process_before_it_is_used() -> None:
    oracle = pickle.loads(pickle.dumps(load_oracle("chgnet", REFERENCE)))
    assert (oracle.name, oracle.scheme) == ("chgnet", CHGNET_SCHEME)
    assert oracle.can_measure("NaCl")


def test_oracles_by_name(table: Path) -> None:
    assert load_oracle(f"table:{table}", REFERENCE).scheme == "mp2019"
    emt = load_oracle(f"{__name__}:emt_calculator", REFERENCE)
    assert emt.scheme == f"{__name__}:emt_calculator"
    assert load_oracle(f"{__name__}:Echo", REFERENCE).scheme == "toy"


def test_wrong_names_say_what_to_choose() -> None:
    with pytest.raises(ConfigError, match="choose chgnet, table:FILE"):
        load_oracle("vasp", REFERENCE)
    with pytest.raises(OracleError, match="cannot import"):
        load_oracle("no_such_module:make", REFERENCE)
    with pytest.raises(OracleError, match="return an ASE calculator"):
        load_oracle(f"{__name__}:not_a_calculator", REFERENCE)
