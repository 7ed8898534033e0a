"""Models and references by name, loaded once and shared by all that need them in a process."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from discovery.campaign import Parts
from discovery.config import CampaignConfig
from discovery.constraints import Constraints
from discovery.generators.base import Generator
from discovery.generators.together import precise
from discovery.generators.zoo import load_generator
from discovery.hull import Hull
from discovery.parts import Loaders, load_parts
from discovery.reference.base import Reference
from discovery.reference.loading import load_reference
from discovery.surrogates.base import Surrogate
from discovery.surrogates.zoo import load_surrogate

KEPT = 8  # things of one kind; the one unused for longest is dropped
T = TypeVar("T")


class Library:
    """Keeps what it has loaded; safe to use from several threads.

    Args:
        device: where generators and surrogates for requests compute; campaigns choose by themselves.
    """

    def __init__(self, device: str = "cpu") -> None:
        self._device = device
        self._shelves: dict[str, OrderedDict[Hashable, Any]] = {}
        self._lock = threading.RLock()

    def generator(self, name: str) -> Generator:
        """A generator by name or folder."""
        return self._kept("generator", name, lambda: load_generator(name))

    def precise_generator(self, name: str) -> Generator:
        """The same for requests that are decoded together; see `discovery.generators.together`."""
        return self._kept("precise", name, lambda: precise(self.generator(name)).on(self._device))

    def surrogate(self, name: str) -> Surrogate:
        """A surrogate by name or folder."""
        return self._kept("surrogate", name, lambda: load_surrogate(name))

    def placed_surrogate(self, name: str) -> Surrogate:
        """The same on the device for requests."""
        return self._kept("placed", name, lambda: self.surrogate(name).on(self._device))

    def reference(
        self,
        name: str,
        scheme: str | None = None,
        completed: bool = True,
        constraints: Constraints | None = None,
        formulas: Sequence[str] = (),
    ) -> Reference:
        """A reference by name; `constraints` and `formulas` decide what is fetched where the name alone does not."""
        fetched = name != "builtin" and not name.startswith("snapshot:")
        wanted = (constraints, tuple(formulas)) if fetched else (None, ())
        key = (name, scheme, completed, wanted, _changed(name))
        return self._kept("reference", key, lambda: load_reference(name, scheme, completed, *wanted))

    def hull(self, reference: Reference) -> Hull:
        """The plain hull of a reference."""
        key = (reference.name, reference.version, reference.scheme, len(reference.phases))
        return self._kept("hull", key, lambda: Hull(reference.phases, reference.scheme))

    def parts(self, config: CampaignConfig) -> Parts:
        """What a campaign starts from; a completed hull is its own, since it grows with use."""
        return load_parts(config, Loaders(self.reference, self.surrogate, self.generator, self.hull))

    def _kept(self, kind: str, key: Hashable, load: Callable[[], T]) -> T:
        with self._lock:
            shelf = self._shelves.setdefault(kind, OrderedDict())
            if key not in shelf:
                shelf[key] = load()
                if len(shelf) > KEPT:
                    shelf.popitem(last=False)
            shelf.move_to_end(key)
            found: T = shelf[key]
            return found


def _changed(name: str) -> float:
    """When the file behind a reference was written last; 0 where there is none."""
    path = Path(name.partition(":")[2])
    return path.stat().st_mtime if path.is_file() else 0.0
