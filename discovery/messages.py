"""What the service and its clients say to each other: candidates asked for, answers, events; and answers as tables."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from discovery.errors import ConfigError, DataError
from discovery.labels import read_rows

KEYS = uuid.UUID("6f0c3a52-7d0e-4c58-9d1b-1b8a64a3e7d5")  # namespace of the idempotency keys
FILLED_IN = ("energy_above_hull", "formation_energy_per_atom", "failure")  # one of them makes a row an answer
NUMBERS = ("energy_above_hull", "formation_energy_per_atom", "std")


@dataclass(frozen=True)
class Asked:
    """A candidate that is leased to the one who asked."""

    id: str
    formula: str
    predicted_energy_above_hull: float | None
    std: float | None
    acquisition: float | None
    reason: str
    lease_expires_at: str  # ISO 8601
    structure: str | None = None  # CIF of a prototype, where one fits


@dataclass(frozen=True)
class Label:
    """An answer about one candidate: an energy with its scheme, or why there is none.

    Raises:
        ConfigError: no candidate, or not exactly one of energy above hull, formation energy and failure.
    """

    candidate_id: str | None = None  # or `formula`
    formula: str | None = None
    energy_above_hull: float | None = None  # signed, eV/atom; accepted in any scheme
    formation_energy_per_atom: float | None = None  # eV/atom; in the scheme of the campaign's reference
    failure: str | None = None  # a few words that can be counted
    scheme: str | None = None  # of the energy
    std: float | None = None  # eV/atom
    source: str = "client"  # who measured

    def __post_init__(self) -> None:
        name = self.candidate_id or self.formula
        if not name:
            raise ConfigError("a label names its candidate: give candidate_id or formula")
        given = [field for field in FILLED_IN if getattr(self, field) is not None]
        if not given or ("failure" in given and len(given) > 1):
            raise ConfigError(f"{name}: give an energy or a failure, not {' and '.join(given) or 'neither'}")
        if "failure" not in given and not self.scheme:
            raise ConfigError(f"{name}: an energy needs its scheme, such as mp2020 or my-dft")
        numbers = [value for field in NUMBERS if (value := getattr(self, field)) is not None]
        if not all(math.isfinite(value) for value in numbers):
            raise ConfigError(f"{name}: {numbers} are no finite energies: give eV/atom, or a failure")

    def body(self, campaign: str) -> dict[str, object]:
        """As it is sent, with a key that is the same whenever the same answer is given again."""
        fields = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        key = uuid.uuid5(KEYS, json.dumps([campaign, sorted(fields.items())]))
        return {**fields, "idempotency_key": str(key)}


@dataclass(frozen=True)
class Told:
    """What became of a label."""

    candidate_id: str | None
    formula: str | None
    status: str  # accepted, duplicate, conflict, kept_apart or rejected
    detail: str | None = None


@dataclass(frozen=True)
class Event:
    """Something that happened in a campaign."""

    id: str
    event: str  # stage, answer, round or status
    data: dict[str, Any]


def parse_events(lines: Iterable[str]) -> Iterator[Event]:
    """Server-sent events of a stream's lines; comments (heartbeats) are passed over."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = fields.get(name, "") + value.removeprefix(" ")
            continue
        if "data" in fields:
            yield Event(fields.get("id", ""), fields.get("event", "message"), json.loads(fields["data"]))
        fields = {}


def read_labels(path: Path, scheme: str | None = None, source: str = "client") -> list[Label]:
    """Answers of a CSV as `ask` writes it: rows in which an energy or a failure was filled in.

    Raises:
        DataError: an unreadable file or row; the message names its place.
    """
    found = []
    for place, row in read_rows(path, required=()):
        cells = {name: str(value or "").strip() for name, value in row.items()}
        if not any(cells.get(name) for name in FILLED_IN):
            continue
        named = {"scheme": scheme, "source": source, **{name: value for name, value in cells.items() if value}}
        try:
            numbers = {name: float(str(named[name])) for name in NUMBERS if name in named}
            found.append(known_fields(Label, {**named, **numbers}))
        except ValueError as error:
            raise DataError(f"{path}, {place}: {error}: give energies as numbers in eV/atom") from error
        except ConfigError as error:
            raise DataError(f"{path}, {place}: {error}") from error
    return found


def known_fields(kind: type[Any], row: dict[str, Any]) -> Any:
    """A record of the fields that this version knows: newer services may send more."""
    names = {field.name for field in dataclasses.fields(kind)}
    return kind(**{name: value for name, value in row.items() if name in names})


def write_asked(path: Path, asked: Sequence[Asked]) -> None:
    """A CSV to fill in: one row per candidate, empty columns for the answer."""
    columns = ["candidate_id", "formula", "predicted_energy_above_hull", "predicted_std", "lease_expires_at"]
    answer = [*FILLED_IN, "scheme", "std"]
    empty = [""] * len(answer)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*columns, *answer])
        for one in asked:
            writer.writerow(
                [one.id, one.formula, one.predicted_energy_above_hull, one.std, one.lease_expires_at, *empty]
            )
