"""Fetching entries from a database: what the cache lacks, request by request, each one kept as soon as it is whole."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from discovery.errors import ConfigError, FetchError
from discovery.reference.cache import Answer, Cache
from discovery.reference.entries import Entry, Fetched
from discovery.reference.selection import Selection


class Source(Protocol):
    """A database that can be asked over the network. Nothing is sent before `connect`."""

    @property
    def title(self) -> str:
        """Its name, for people."""

    @property
    def option(self) -> str:
        """How `--reference` names it: ``mp``, ``optimade:URL``."""

    @property
    def chunk(self) -> int:
        """Chemical systems, or ids, of one request."""

    @property
    def cache(self) -> Cache:
        """Where its answers are kept."""

    def connect(self, known: Sequence[str]) -> str:
        """Open the connection; returns the version that answers belong to.

        Args:
            known: versions in the cache that may be continued, newest first.

        Raises:
            ConfigError: no key, or a wrong one.
            FetchError: it cannot be reached.
        """

    def facts(self) -> Mapping[str, str]:
        """`scheme`, `attribution` and `detail` of its answers; called after `connect`."""

    def fetch(self, selection: Selection, structures: bool) -> list[Entry]:
        """The entries of one part of a selection.

        Raises:
            FetchError: no whole answer.
        """


def obtain(source: Source, wanted: Selection | None, structures: bool = False, refresh: bool = False) -> Fetched:
    """The wanted entries, from the cache where it has all of them; otherwise what it lacks is fetched first.

    Args:
        source: the database.
        wanted: which entries; None takes everything that the newest version in the cache holds.
        structures: also the crystal structures.
        refresh: ask the database for its version even where the cache would do; a new one is fetched anew.

    Raises:
        ConfigError: nothing is wanted and the cache is empty, or a key is missing.
        FetchError: the download stopped; what it had finished stays in the cache.
    """
    version = None if refresh else source.cache.newest_with(wanted, structures)
    if version is None:
        if wanted is None:
            raise ConfigError(_what_to_fetch(source))
        version = source.connect([] if refresh else source.cache.versions())
        _download(source, version, wanted.without(source.cache.covered(version, structures)), structures)
    entries, answers = source.cache.read(version, wanted)
    return _fetched(version, entries, answers)


def in_one_line(message: str) -> str:
    """A client's message without the address of the request, which is long and says nothing new."""
    text = re.sub(r"(on URL|with url:|for url:) \S+", "", " ".join(message.split()))
    return " ".join(text.split())


def _download(source: Source, version: str, missing: Selection, structures: bool) -> None:
    chunks = list(missing.chunks(source.chunk))
    with _progress(f"Fetching from {source.title}", len(chunks)) as progress:
        for done, chunk in enumerate(chunks):
            try:
                entries = source.fetch(chunk, structures)
            except FetchError as error:
                raise FetchError(
                    f"{source.title}: the download stopped after {done} of {len(chunks)} requests ({error}); what was "
                    "fetched is kept: give the same command again to go on"
                ) from error
            source.cache.add(version, Answer(chunk, structures, source.facts()), entries)
            progress()


def _fetched(version: str, entries: tuple[Entry, ...], answers: Sequence[Answer]) -> Fetched:
    """What the cache gave; its answers are of one scheme, since they share a folder per mapping of fields."""
    first = answers[0].facts
    details = sorted({answer.facts["detail"] for answer in answers})
    return Fetched(version, first["scheme"], first["attribution"], entries, tuple(details))


def _what_to_fetch(source: Source) -> str:
    return (
        f"nothing of {source.title} is in the cache ({source.cache.folder}): say what to fetch with --chemsys or "
        f"--elements, or fetch it first: python -m discovery.reference fetch {source.option} --systems Li-Fe-O"
    )


@contextmanager
def _progress(title: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar on standard error where that is a terminal; gives a function that moves it by one."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    shown = sys.stderr.isatty() and total > 0
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not shown) as bar:
        task = bar.add_task(title, total=total)
        yield lambda: bar.advance(task)
