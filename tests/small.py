"""Small real parts for tests: a tiny language model, a tiny ensemble, a reference of a few phases, a formula oracle."""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch

from discovery.composition import amounts, pauling_electronegativity
from discovery.generators.causal import GPT2
from discovery.oracles.base import Budget
from discovery.records import Failure, Measurement
from discovery.surrogates.calibration import SchemeCalibration
from discovery.surrogates.ensemble import EnsembleSurrogate
from discovery.surrogates.features import element_properties
from discovery.surrogates.network import Network, NetworkConfig

SCHEME = "electronegativity"
KNOWN = ("NaCl", "KBr", "Li2O", "MgO", "CaF2", "Al2O3", "TiO2", "ZnS", "Na2O", "K2O", "LiF", "CsCl")  # of the reference


def small_generator(folder: Path) -> Path:
    """A model folder of an untrained GPT-2 of one layer and width 16."""
    torch.manual_seed(0)
    GPT2.of_size(1, 16, 2).with_card({"made": "for tests"}).save(folder)
    return folder


def small_surrogate(folder: Path, members: int = 2) -> Path:
    """A model folder of an untrained ensemble with the scheme `SCHEME` beside another one."""
    untrained_surrogate(("mp2019", SCHEME), members).save(folder)
    return folder


def untrained_surrogate(schemes: tuple[str, ...], members: int = 2) -> EnsembleSurrogate:
    """An ensemble of tiny networks with random weights."""
    torch.manual_seed(0)
    properties = element_properties()
    config = NetworkConfig(schemes, 16, 1, 2, 32, 16, properties.shape[1])
    networks = tuple(Network(config, properties).eval().requires_grad_(False) for _ in range(members))
    calibrations = {scheme: SchemeCalibration() for scheme in schemes}
    return EnsembleSurrogate(networks, calibrations, torch.full((103,), 100.0))


def small_models(folder: Path) -> Path:
    """A folder with `generator`, `surrogate` and `reference.csv`."""
    small_generator(folder / "generator")
    small_surrogate(folder / "surrogate")
    small_reference(folder)
    return folder


def model_options(models: Path) -> dict[str, str]:
    """Options of the loop that use what `small_models` made, and the formula oracle."""
    return {
        "--model": str(models / "generator"),
        "--surrogate": str(models / "surrogate"),
        "--reference": f"snapshot:{models / 'reference.csv'}",
        "--oracle": "tests.small:formula_oracle",
    }


def small_reference(folder: Path) -> Path:
    """A snapshot of a few binaries with the energies of the formula oracle."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "reference.csv"
    rows = [f"{formula},{formula_energy(formula):.6f},{SCHEME}" for formula in KNOWN]
    path.write_text("formula,formation_energy_per_atom,scheme\n" + "\n".join(rows) + "\n")
    return path


def formula_energy(formula: str) -> float:
    """Minus half the variance of the Pauling electronegativity over the atoms: smooth, lower for ionic ones."""
    counts = amounts(formula)
    total = sum(counts.values())
    values = {symbol: pauling_electronegativity(symbol) or 0.0 for symbol in counts}
    mean = sum(values[symbol] * n for symbol, n in counts.items()) / total
    return -0.5 * sum((values[symbol] - mean) ** 2 * n for symbol, n in counts.items()) / total


class FormulaOracle:
    """Knows every energy, in any scheme. Fails on hydrogen; notes finished calls in the file named by `ORACLE_LOG`."""

    name = "formula"
    scheme = SCHEME

    def __init__(self, scheme: str = SCHEME) -> None:
        self.scheme = scheme

    def can_measure(self, formula: str) -> bool:
        """Everything but helium compounds."""
        return "He" not in amounts(formula)

    def measure(self, formula: str, budget: Budget) -> Measurement | Failure:
        """The formula's energy after `ORACLE_SECONDS`."""
        time.sleep(float(os.environ.get("ORACLE_SECONDS", "0")))
        if path := os.environ.get("ORACLE_LOG"):
            with Path(path).open("a") as log:
                log.write(formula + "\n")
        if "H" in amounts(formula):
            return Failure(formula, self.name, "no hydrogen")
        return Measurement(formula, self.name, self.scheme, formula_energy(formula))


def formula_oracle() -> FormulaOracle:
    """For `--oracle tests.small:formula_oracle`; the scheme is that of `ORACLE_SCHEME`."""
    return FormulaOracle(os.environ.get("ORACLE_SCHEME", SCHEME))
