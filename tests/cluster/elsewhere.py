"""A file system that is not the local one, and a judge that fails once: what workers of a test's search import."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from tune.supplies import Judge


class Elsewhere(LocalFileSystem):
    """Local files under another name, so that Ray and the search reach them by fsspec alone."""

    protocol = "elsewhere"

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return super()._strip_protocol(str(path).removeprefix("elsewhere://"))


fsspec.register_implementation("elsewhere", Elsewhere, clobber=True)


@dataclass(frozen=True)
class Moody(Judge):
    """Runs out of memory the first time that it is asked."""

    asked: Path = Path()

    def promising(self, formulas: Iterable[str]) -> int:
        """As any judge, from the second time on."""
        if not self.asked.exists():
            self.asked.touch()
            raise MemoryError("no room for the hull")
        return super().promising(formulas)
