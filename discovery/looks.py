"""A campaign's cheap looks: asked before the oracle where they pay, kept in its folder, mixed into the estimates."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from discovery.campaign import Campaign
from discovery.fidelity import DEAR, Costs, FloatArray, Question, Rung, fused, learned_rung, total, worth_a_look
from discovery.records import Estimate, Measurement
from discovery.workers import Workers

FILE = "looks.jsonl"
MOST_PER_CALL = 20  # looks of a rung in one round for each oracle call, at most


class Looks:
    """What the cheap rungs said: one line of JSON for each look.

    A look is deterministic: a round that is repeated after a kill finds what it needs here and asks only for the rest.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._found: dict[tuple[str, str], tuple[int, float]] = {}  # rung, formula -> round, eV/atom or NaN
        text = self._path.read_text(encoding="utf-8") if self._path.is_file() else ""
        self._cut_short = bool(text) and not text.endswith("\n")  # by a kill
        for line in text.splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue  # the line that a kill cut short: that look is asked again
            energy = row["formation_energy_per_atom"]
            self._found[row["rung"], row["formula"]] = row["round"], np.nan if energy is None else energy

    def has(self, rung: str, formula: str, before: int) -> bool:
        """Whether a look was asked in a round before that one."""
        return self._found.get((rung, formula), (before, 0.0))[0] < before

    def energies(self, rung: str, formulas: Sequence[str], before: int) -> FloatArray:
        """Formation energies of looks in rounds before that one, eV/atom, shape (n,); NaN where there is none."""
        found = [self._found.get((rung, formula), (before, np.nan)) for formula in formulas]
        return np.array([energy if number < before else np.nan for number, energy in found], dtype=np.float64)

    def add(self, rung: str, formula: str, number: int, energy: float | None) -> None:
        """Keep the answer of a round; None: there was no energy."""
        self._found[rung, formula] = number, np.nan if energy is None else energy
        row = {"rung": rung, "formula": formula, "round": number, "formation_energy_per_atom": energy}
        with self._path.open("a", encoding="utf-8") as file:
            file.write("\n" * self._cut_short + json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._cut_short = False

    def calls(self, rung: str) -> int:
        """How many looks there were."""
        return sum(name == rung for name, _ in self._found)

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self._found


def looked(campaign: Campaign, workers: Workers, formulas: Sequence[str], found: Sequence[Estimate]) -> list[Estimate]:
    """Estimates after the cheap looks that pay, rung by rung; as they are without `costs`."""
    costs, estimates, number = campaign.config.costs, list(found), campaign.finished_rounds + 1
    if costs is None:
        return estimates
    looks = Looks(campaign.folder)
    for name in costs.rungs:
        rung = _rung(campaign, looks, name)
        earlier = _after(estimates, looks.energies(name, formulas, number), rung)
        new = np.array([not looks.has(name, formula, number) for formula in formulas], dtype=bool)
        rows = _paying(campaign, earlier, rung, (costs.of(name), costs.dft))
        _ask(campaign, workers, name, [formulas[row] for row in rows if new[row]], looks)
        estimates = _after(estimates, looks.energies(name, formulas, number + 1), rung)
    return estimates


def spent(campaign: Campaign, costs: Costs) -> dict[str, object]:
    """Calls of every rung and what all of them cost, for the summary."""
    looks = Looks(campaign.folder)
    calls = {name: looks.calls(name) for name in costs.rungs} | {DEAR: len(campaign.ledger.answers())}
    return {"calls": calls, "cost_of_each": {name: costs.of(name) for name in calls}, "cost": total(costs, calls)}


def _rung(campaign: Campaign, looks: Looks, name: str) -> Rung:
    """What the labels of finished rounds say about a rung."""
    labels = campaign.labels_of(range(1, campaign.finished_rounds + 1))
    told = looks.energies(name, labels.formulas, campaign.finished_rounds + 1)
    differences = told - labels.formation_energy_per_atom
    same = np.array([scheme == campaign.reference.scheme for scheme in labels.schemes], dtype=bool)
    return learned_rung(name, differences[same & ~np.isnan(differences)].tolist())


def _paying(campaign: Campaign, found: Sequence[Estimate], rung: Rung, costs: tuple[float, float]) -> list[int]:
    config = campaign.config
    placed = np.array([row for row, estimate in enumerate(found) if estimate.energy_above_hull is not None], dtype=int)
    above = np.array([found[row].energy_above_hull for row in placed], dtype=np.float64)
    std = np.hypot([found[row].std for row in placed], config.scatter)
    question = Question(above, std, config.tolerance, config.batch_size)
    rows = worth_a_look(question, rung, *costs)[: MOST_PER_CALL * config.batch_size]
    return [int(row) for row in placed[rows]]


def _ask(campaign: Campaign, workers: Workers, rung: str, formulas: Sequence[str], looks: Looks) -> None:
    budget, number = dataclasses.replace(campaign.config.budget, rung=rung), campaign.finished_rounds + 1
    for answer in workers.validate([formula for formula in formulas if (rung, formula) not in looks], budget):
        energy = answer.formation_energy_per_atom if isinstance(answer, Measurement) else None
        looks.add(rung, answer.formula, number, energy)


def _after(found: Sequence[Estimate], energies: FloatArray, rung: Rung) -> list[Estimate]:
    """Estimates with the looks in them; the energy above the hull moves with the formation energy."""
    mean = np.array([estimate.formation_energy_per_atom for estimate in found], dtype=np.float64)
    std = np.array([estimate.std for estimate in found], dtype=np.float64)
    after, narrower = fused(mean, std, energies, rung)
    return [
        estimate if np.isnan(energy) else _moved(estimate, float(new), float(width))
        for estimate, energy, new, width in zip(found, energies, after, narrower, strict=True)
    ]


def _moved(estimate: Estimate, energy: float, std: float) -> Estimate:
    above, shrink = estimate.energy_above_hull, std / estimate.std
    return dataclasses.replace(
        estimate,
        formation_energy_per_atom=energy,
        energy_above_hull=None if above is None else above + energy - estimate.formation_energy_per_atom,
        epistemic_std=estimate.epistemic_std * shrink,
        aleatoric_std=estimate.aleatoric_std * shrink,
    )
