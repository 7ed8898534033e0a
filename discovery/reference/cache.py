"""Fetched entries on disk: a folder per version of a database, in it one Parquet file per request.

Each file says in its metadata what was asked for, so that a file is either there, whole, or not: what an interrupted
download had finished stays, and an answer without entries counts as answered.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from discovery.errors import DataError
from discovery.reference.entries import COLUMNS, Entry, entry_from
from discovery.reference.selection import Selection

_KEY = b"discovery"  # of our metadata in a Parquet file
_SCHEMA = pa.schema([(name, pa.float64() if "energy" in name else pa.string()) for name in COLUMNS])


@dataclass(frozen=True)
class Answer:
    """What a file holds beside its rows."""

    selection: Selection
    structures: bool  # whether crystal structures were asked for
    facts: Mapping[str, str]  # scheme, attribution, day, ...


def home() -> Path:
    """The folder of all fetched data: DISCOVERY_HOME, or ``~/.discovery``."""
    return Path(os.environ.get("DISCOVERY_HOME") or Path.home() / ".discovery")


class Cache:
    """All that was fetched from one database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def versions(self) -> list[str]:
        """Versions of the database with at least one answer, newest first."""
        found = {path.parent.name for path in self.folder.glob("*/*.parquet")}
        return sorted(found, key=_version_order, reverse=True)

    def answers(self, version: str) -> Iterator[tuple[Path, Answer]]:
        """The files of a version.

        Raises:
            DataError: a file that is no answer of ours.
        """
        for path in sorted((self.folder / version).glob("*.parquet")):
            yield path, _read_answer(path)

    def covered(self, version: str, structures: bool) -> Selection:
        """All that was answered, with structures if they are asked for."""
        covered = Selection()
        for _, answer in self.answers(version):
            if answer.structures or not structures:
                covered = covered | answer.selection
        return covered

    def newest_with(self, wanted: Selection | None, structures: bool) -> str | None:
        """The newest version that holds everything wanted (None: anything at all); None where there is none."""
        for version in self.versions():
            if wanted is None or not wanted.without(self.covered(version, structures)):
                return version
        return None

    def add(self, version: str, answer: Answer, entries: list[Entry]) -> Path:
        """Write the entries of one answer; the file appears whole or not at all."""
        values = {name: [getattr(entry, name) for entry in entries] for name in COLUMNS}
        described = {
            "systems": sorted(answer.selection.systems),
            "ids": sorted(answer.selection.ids),
            "structures": answer.structures,
            "facts": dict(answer.facts),
        }
        text = json.dumps(described, sort_keys=True)
        table = pa.table(values, schema=_SCHEMA).replace_schema_metadata({_KEY: text.encode()})
        name = hashlib.sha256(json.dumps({**described, "facts": {}}, sort_keys=True).encode()).hexdigest()[:16]
        return write_parquet(self.folder / version / f"{name}.parquet", table)

    def read(self, version: str, wanted: Selection | None) -> tuple[tuple[Entry, ...], tuple[Answer, ...]]:
        """The entries of a version that are wanted (None: all), each id once, in order of the ids; and all answers."""
        found: dict[str, Entry] = {}
        answers = []
        for path, answer in self.answers(version):
            answers.append(answer)
            for row in parquet.read_table(path, schema=_SCHEMA).to_pylist():
                entry = entry_from(row)
                if wanted is None or wanted.holds(entry.chemical_system, entry.material_id):
                    kept = found.get(entry.material_id)
                    found[entry.material_id] = entry if kept is None or kept.cif is None else kept
        return tuple(found[key] for key in sorted(found)), tuple(answers)


def write_parquet(path: Path, table: pa.Table) -> Path:
    """Write a Parquet file; it appears whole or not at all.

    Raises:
        DataError: it cannot be written.
    """
    with whole_file(path) as partial:
        parquet.write_table(table, partial, compression="zstd")
    return path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; the file moves to `path` at the end of the block, unless it failed.

    Raises:
        DataError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror}): choose another file, or set DISCOVERY_HOME to a folder "
            "that can be written"
        ) from error
    finally:
        with suppress(OSError):  # nothing to tidy up where nothing could be written
            partial.unlink(missing_ok=True)


def _read_answer(path: Path) -> Answer:
    try:
        described = json.loads(parquet.read_schema(path).metadata[_KEY])
        selection = Selection(frozenset(described["systems"]), frozenset(described["ids"]))
        return Answer(selection, bool(described["structures"]), described["facts"])
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} is damaged ({type(error).__name__}): delete it, and its entries are fetched again"
        ) from error


def _version_order(version: str) -> tuple[tuple[int, ...], str]:
    """By the numbers in the name (2023.9.1 before 2023.11.1), then by the name."""
    return tuple(int(digits) for digits in re.findall(r"\d+", version)), version
