"""The campaign: the only thing here that changes as the loop runs."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from discovery.config import CampaignConfig, from_toml
from discovery.errors import LedgerError, SchemeError
from discovery.generators.base import Generator
from discovery.learning import Learned
from discovery.ledger import Ledger, measurements, sqlite_url
from discovery.model_store import ModelStore
from discovery.ranking import AnyHull
from discovery.records import Failure, Measurement, Proposal, RoundRecord
from discovery.reference.base import Phase, Reference
from discovery.surrogates.base import Labels, Surrogate
from discovery.workers import Models

HELD_OUT_SHARE = 10  # one known composition in ten is kept from fine-tuning, for the decay guard
GUARD_FORMULAS = 500  # of them enter the guard's likelihood
REPLAY_LABELS = 2000  # reference labels replayed in each refit


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a campaign starts from."""

    reference: Reference
    hull: AnyHull  # of the reference, completed or not
    generator: Generator | None
    surrogate: Surrogate
    inputs: Mapping[str, str]  # versions and content hashes: a resumed campaign must have the same
    ranking_hull: AnyHull | None = None  # what candidates are ranked against; None: `hull`


class Campaign:
    """One campaign in one run folder. Create with `start` or `resume`."""

    def __init__(self, folder: Path, config: CampaignConfig, ledger: Ledger, parts: Parts) -> None:
        self.folder = folder
        self.config = config
        self.ledger = ledger
        self.reference = parts.reference
        self._hull = parts.hull
        self._ranking_hull = parts.ranking_hull or parts.hull
        self._store = ModelStore(folder / "models")
        self._first = (parts.generator, parts.surrogate)
        self._latest: tuple[Generator | None, Surrogate] | None = None  # read when first needed: looking needs none
        self._opened_after = self.finished_rounds

    @classmethod
    def start(cls, folder: Path, config: CampaignConfig, parts: Parts, ledger_url: str | None = None) -> Campaign:
        """A new campaign; refuses a folder that holds one.

        Args:
            folder: of the campaign; its name is the campaign's id where `ledger_url` is given.
            config: what it does.
            parts: what it starts from.
            ledger_url: a database of several campaigns; None: one in the folder.
        """
        if (folder / "campaign.db").exists():
            raise LedgerError(f"{folder} holds a campaign: add --resume to continue it, or name a new --run-dir")
        folder.mkdir(parents=True, exist_ok=True)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        if ledger_url is not None:
            ledger = Ledger.create(ledger_url, folder.name, created, config.to_toml(), parts.inputs)
            return cls(folder, config, ledger, parts)
        # Made complete under another name: a kill cannot leave half a ledger behind.
        partial = folder / "campaign.db.partial"
        partial.unlink(missing_ok=True)
        ledger = Ledger.create(f"sqlite:///{partial}", str(uuid.uuid4()), created, config.to_toml(), parts.inputs)
        ledger.close()
        partial.rename(folder / "campaign.db")
        (folder / "config.toml").write_text(config.to_toml(), encoding="utf-8")
        return cls(folder, config, Ledger.open(sqlite_url(folder)), parts)

    @classmethod
    def resume(cls, folder: Path, config: CampaignConfig, parts: Parts) -> Campaign:
        """The campaign of a run folder, with the same configuration and inputs; started where there is none."""
        if not (folder / "campaign.db").exists():
            return cls.start(folder, config, parts)
        ledger = Ledger.open(sqlite_url(folder))
        header = ledger.header()
        check_same(folder, from_toml(header.config), config, header.inputs, parts.inputs)
        return cls(folder, config, ledger, parts)

    @property
    def finished_rounds(self) -> int:
        """How many rounds are recorded."""
        return max(self.ledger.records(), default=0)

    @property
    def generator(self) -> Generator | None:
        """The generator of the last finished round; None: there is no likelihood, only a list of candidates."""
        return self._learned()[0]

    @property
    def models(self) -> Models:
        """The models of the last finished round, with the hull that candidates face: the reference and the finds.

        What competes by prediction is predicted by the same surrogate as the candidates.
        """
        generator, surrogate = self._learned()
        return Models(generator, surrogate, self._with_finds(self._ranking_hull.predicted_by(surrogate)))

    @property
    def reference_hull(self) -> AnyHull:
        """The hull that measured candidates are judged by: the reference alone, the same in every round."""
        return self._hull

    def hull_with_finds(self) -> AnyHull:
        """The reference's hull and every phase measured in its scheme in finished rounds."""
        return self._with_finds(self._hull)

    def _with_finds(self, hull: AnyHull) -> AnyHull:
        finished = self.finished_rounds
        answers = [answer for number, answer in self.ledger.answers().values() if number <= finished]
        finds = [phase for answer in answers if (phase := self._as_phase(answer)) is not None]
        return hull.with_phases(finds, hull.scheme)

    def open_proposal(self) -> Proposal | None:
        """The proposal of a round that has begun and is not recorded."""
        proposals = self.ledger.proposals()
        return proposals.get(self.finished_rounds + 1)

    def begin(self, proposal: Proposal) -> None:
        """Commit a round's proposal."""
        self.ledger.save_proposal(proposal)

    def unanswered(self, proposal: Proposal) -> list[str]:
        """Selected formulas without an answer, in the order asked."""
        answers = self.ledger.answers()
        return [formula for formula in proposal.selected if formula not in answers]

    def accept(self, round_number: int, answer: Measurement | Failure) -> Measurement | Failure:
        """Commit an oracle's answer, with its energy above the reference's hull filled in; returns what is kept."""
        if isinstance(answer, Measurement) and answer.energy_above_hull is None:
            answer = dataclasses.replace(answer, energy_above_hull=self.energy_above_hull(answer))
        self.ledger.save_answer(round_number, answer)
        return answer

    def energy_above_hull(self, answer: Measurement) -> float:
        """Signed energy above the reference's hull, eV/atom.

        Raises:
            SchemeError: the answer's scheme is not the hull's.
        """
        if answer.formation_energy_per_atom is None or answer.scheme != self._hull.scheme:
            raise SchemeError(
                f"{answer.formula} was measured in scheme {answer.scheme!r}, but the reference's hull is "
                f"{self._hull.scheme!r}: give energy_above_hull with the label, or a --reference of its scheme"
            )
        point = self._hull.energy_above_hull(answer.formula, answer.formation_energy_per_atom)
        return float(point.energy_above_hull)

    def keep_models(self, round_number: int, learned: Learned) -> None:
        """Write a round's models to the run folder; they count once `finish` commits the record that points at them."""
        self._store.save(round_number, learned.generator, learned.surrogate)

    def finish(self, record: RoundRecord, learned: Learned) -> None:
        """Commit a round whose models are kept."""
        self.ledger.save_record(record)
        self._store.prune(record.round)
        # Read back, so that a resumed campaign goes on with exactly the same numbers.
        self._latest = self._store.load(record.round, learned.generator, learned.surrogate)

    def answers_of(self, round_number: int) -> list[Measurement | Failure]:
        """Answers of one round, sorted by formula."""
        return [answer for number, answer in self.ledger.answers().values() if number == round_number]

    def labels_of(self, rounds: range) -> Labels:
        """Measured formation energies of some rounds, sorted by formula."""
        rows = [answer for number, answer in self.ledger.answers().values() if number in rounds]
        known = [row for row in measurements(rows) if row.formation_energy_per_atom is not None]
        energies = np.array([row.formation_energy_per_atom for row in known], dtype=np.float64)
        return Labels(tuple(row.formula for row in known), energies, tuple(row.scheme for row in known))

    def replay(self, before: int, rng: np.random.Generator) -> Labels:
        """Labels of the rounds before `before`, and a sample of the reference's phases."""
        earlier = self.labels_of(range(1, before))
        phases = self.reference.phases
        rows = sorted(rng.choice(len(phases), min(REPLAY_LABELS, len(phases)), replace=False)) if phases else []
        energies = np.array([phases[i].formation_energy_per_atom for i in rows], dtype=np.float64)
        return Labels(
            earlier.formulas + tuple(phases[i].formula for i in rows),
            np.concatenate([earlier.formation_energy_per_atom, energies]),
            earlier.schemes + (self.reference.scheme,) * len(rows),
        )

    def known_compositions(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The reference's compositions, split into those replayed to the generator and the guard's held-out ones."""
        formulas = sorted(phase.formula for phase in self.reference.phases)
        replayed = tuple(f for i, f in enumerate(formulas) if i % HELD_OUT_SHARE)
        return replayed, tuple(formulas[::HELD_OUT_SHARE][:GUARD_FORMULAS])

    def best_energy(self) -> float | None:
        """Lowest measured energy above hull, eV/atom; None before the first measurement."""
        rows = measurements(answer for _, answer in self.ledger.answers().values())
        return min((row.energy_above_hull for row in rows if row.energy_above_hull is not None), default=None)

    def _learned(self) -> tuple[Generator | None, Surrogate]:
        if self._latest is None:
            self._latest = self._store.load(self._opened_after, *self._first)
        return self._latest

    def _as_phase(self, answer: Measurement | Failure) -> Phase | None:
        if not isinstance(answer, Measurement) or answer.scheme != self._hull.scheme:
            return None
        energy = answer.formation_energy_per_atom
        return None if energy is None else Phase(answer.formula, energy)


def check_same(
    folder: Path, old: CampaignConfig, new: CampaignConfig, old_inputs: Mapping[str, Any], new_inputs: Mapping[str, str]
) -> None:
    """Refuse to continue a campaign with another configuration or other inputs.

    Raises:
        LedgerError: names what differs.
    """
    changed = [f"{name} was {was!r}, is {now!r}" for name, (was, now) in old.differences(new).items()]
    names = sorted(set(old_inputs) | set(new_inputs))
    changed += [
        f"{name} was {old_inputs.get(name)!r}, is {new_inputs.get(name)!r}"
        for name in names
        if old_inputs.get(name) != new_inputs.get(name)
    ]
    if changed:
        raise LedgerError(
            f"{folder} holds another campaign ({'; '.join(changed)}): use the same options, or a new --run-dir"
        )
