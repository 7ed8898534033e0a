"""What every trial needs, made once and kept in Ray's object store: training sets, held-out compounds, and a judge."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from discovery.composition import amounts
from discovery.errors import ConfigError, DataError
from discovery.formulas import fits, read_distinct, split_of
from discovery.ranking import AnyHull, estimates
from discovery.reference.base import KnownFormulas, Reference
from discovery.reference.competition import completed_hull
from discovery.reference.loading import load_reference
from discovery.surrogates.base import Surrogate
from discovery.surrogates.zoo import load_surrogate
from discovery.validity import judge
from discovery.workers import rank_chunks
from tune.plan import Plan

PARTS = ("train", "valid", "test")
VALIDATED = 2000  # formulas of the validation part that are read after each period: a percent of its time
Parts = Mapping[str, list[str]]  # train, valid, test -> reduced formulas


@dataclass(frozen=True)
class Judge:
    """Who says which new compositions are worth an oracle call: as the loop's ranking does."""

    surrogate: Surrogate
    hull: AnyHull
    known: KnownFormulas
    tolerance: float  # eV/atom

    def promising(self, formulas: Iterable[str]) -> int:
        """How many of these distinct reduced formulas are predicted within the tolerance of the hull."""
        chunks = rank_chunks(list(formulas))
        found = (estimate for chunk in chunks for estimate in estimates(self.surrogate, self.hull, chunk))
        return sum(e.energy_above_hull is not None and e.energy_above_hull <= self.tolerance for e in found)


@dataclass(frozen=True)
class Supplies:
    """Formulas are reduced; the validation and the held-out part are the same for all training sets."""

    train: Mapping[str, tuple[str, ...]]  # name of the training set -> formulas
    valid: tuple[str, ...]
    held_out: frozenset[str]  # real compounds that no training set holds
    familiar: frozenset[str]  # what a model may have learned from: not new
    judge: Judge
    notes: Mapping[str, object]  # for cards: where the data come from, how many

    @property
    def key(self) -> str:
        """Tells supplies apart in a worker that keeps them from trial to trial."""
        digest = hashlib.blake2b(digest_size=8)
        for formulas in (*self.train.values(), self.valid, sorted(self.held_out)):
            digest.update("\n".join(formulas).encode())
        return f"{digest.hexdigest()}-{self.judge.surrogate.version}-{len(self.judge.known)}-{self.judge.tolerance}"

    def tokens(self) -> dict[str, int]:
        """Tokens of one pass over each training set, ends included."""
        return {name: _tokens(formulas) for name, formulas in self.train.items()}

    @property
    def tokens_per_atom(self) -> float:
        """Of the validation part: a loss per token times this is one per atom, which families share."""
        atoms = sum(sum(amounts(formula).values()) for formula in self.valid)
        return (atoms + len(self.valid)) / atoms


def load_supplies(plan: Plan) -> Supplies:
    """Read data, reference and surrogate.

    Raises:
        DataError: the data cannot be read, or are too few.
        ConfigError: no such reference or surrogate.
    """
    reference = load_reference(plan.reference)
    surrogate = load_surrogate(plan.surrogate)
    sets = training_sets(plan, reference)
    held_out = frozenset.intersection(*(frozenset(parts["test"]) for parts in sets.values()))
    shared = frozenset.intersection(*(frozenset(parts["valid"]) for parts in sets.values()))
    valid = [formula for formula in next(iter(sets.values()))["valid"] if formula in shared][:VALIDATED]
    familiar = frozenset(f for parts in sets.values() for part in PARTS[:2] for f in parts[part])
    if not held_out or not valid or familiar & held_out:
        raise DataError(
            f"{plan.data} gives {len(valid)} formulas to validate on and {len(held_out)} held out, "
            f"{len(familiar & held_out)} of them trained on: make all training sets by discovery.datasets with one seed"
        )
    hull = completed_hull(reference, surrogate)
    return Supplies(
        train={name: tuple(parts["train"]) for name, parts in sets.items()},
        valid=tuple(valid),
        held_out=held_out,
        familiar=familiar,
        judge=Judge(surrogate, hull, reference.known, plan.tolerance),
        notes=_notes(plan, sets, len(valid), len(held_out)),
    )


def training_sets(plan: Plan, reference: Reference) -> dict[str, Parts]:
    """Name -> parts: of a folder of data sets, a data set, a list of formulas, or what the reference holds."""
    if plan.data is None:
        return {"reference": _split(_usable(reference))}
    path = Path(plan.data)
    if not path.is_dir():
        return {path.stem: _split(read_distinct(path)[0])}
    if (path / "train.csv").is_file():
        return {path.name: _read(path)}
    folders = sorted(folder.parent for folder in path.glob("*/train.csv"))
    if not folders:
        raise DataError(f"{path} holds no data set: make one with python -m discovery.datasets --out {path}/pure")
    return {folder.name: _read(folder) for folder in folders}


def _read(folder: Path) -> Parts:
    return {part: read_distinct(folder / f"{part}.csv")[0] for part in PARTS}


def _split(formulas: Iterable[str]) -> Parts:
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    for formula in formulas:
        parts[split_of(formula, 0)].append(formula)
    if empty := [part for part in PARTS if not parts[part]]:
        raise DataError(f"the data give no {empty[0]} part: name 200 formulas or more with --data")
    return parts


def _usable(reference: Reference) -> list[str]:
    """The reference's compounds that balance: what the loop's generator learns from, too."""
    formulas = sorted({phase.formula for phase in reference.phases})
    kept = [f for f in formulas if fits(f) and judge(f).electronegativity_balanced]
    if not kept:
        raise ConfigError(f"the reference {reference.name} holds no balanced compounds to train on: give --data")
    return kept


def _notes(plan: Plan, sets: Mapping[str, Parts], valid: int, held_out: int) -> dict[str, object]:
    source = "compounds of the reference that balance" if plan.data is None else Path(plan.data).name
    counts = {name: len(parts["train"]) for name, parts in sets.items()}
    return {"source": source, "reference": plan.reference, "train": counts, "valid": valid, "held_out": held_out}


def _tokens(formulas: Iterable[str]) -> int:
    return sum(sum(amounts(formula).values()) + 1 for formula in formulas)
