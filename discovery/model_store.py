"""The learned models of a campaign, one folder per finished round."""

from __future__ import annotations

import shutil
from pathlib import Path

from discovery.generators.base import Generator
from discovery.generators.zoo import load_generator
from discovery.surrogates.base import Surrogate
from discovery.surrogates.zoo import load_surrogate


class ModelStore:
    """Folders `round-0001/generator` and `round-0001/surrogate`; written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, round_number: int, generator: Generator | None, surrogate: Surrogate) -> None:
        """Write both models; a folder left by an interrupted try is replaced."""
        final = self._round(round_number)
        partial = final.with_suffix(".partial")
        for leftover in (partial, final):
            if leftover.exists():
                shutil.rmtree(leftover)
        if generator is not None:
            generator.save(partial / "generator")
        surrogate.save(partial / "surrogate")
        partial.rename(final)

    def load(
        self, round_number: int, generator: Generator | None, surrogate: Surrogate
    ) -> tuple[Generator | None, Surrogate]:
        """The models of a finished round; round 0 is what the campaign started from."""
        folder = self._round(round_number)
        if round_number == 0:
            return generator, surrogate
        learned = load_generator(str(folder / "generator")) if generator is not None else None
        return learned, load_surrogate(str(folder / "surrogate"))

    def prune(self, latest: int) -> None:
        """Remove the folders of all rounds but `latest`."""
        for folder in self._folder.glob("round-*"):
            if folder != self._round(latest):
                shutil.rmtree(folder)

    def _round(self, number: int) -> Path:
        return self._folder / f"round-{number:04d}"
