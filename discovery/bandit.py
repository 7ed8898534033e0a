"""Which of several acquisitions is asked next: a bandit that is paid in stable compounds.

Each place of a batch goes to one acquisition, drawn by Thompson sampling from the Beta distributions of what their
earlier picks came to (Thompson, Biometrika 25, 285 (1933); Chapelle and Li, NeurIPS 2011). A pick that two acquisitions
agree on counts for the one that was drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Credit:
    """What an acquisition's picks came to."""

    stable: int = 0
    other: int = 0

    def after(self, stable: bool) -> Credit:
        """One more answer."""
        return Credit(self.stable + stable, self.other + (not stable))


def interleaved(
    values: Mapping[str, FloatArray], earned: Mapping[str, Credit], places: int, rng: np.random.Generator
) -> list[tuple[int, str]]:
    """Rows in the order to ask, each with the acquisition that chose it.

    Args:
        values: of every acquisition, shape (n,), larger is asked first.
        earned: by every acquisition so far.
        places: how many rows.
        rng: of the draws.
    """
    names = sorted(values)
    orders = {name: iter(np.argsort(-values[name], kind="stable").tolist()) for name in names}
    taken: dict[int, str] = {}
    for _ in range(min(places, len(next(iter(values.values()))))):
        drawn = [rng.beta(1 + earned[name].stable, 1 + earned[name].other) for name in names]
        name = names[int(np.argmax(drawn))]
        row = next(row for row in orders[name] if row not in taken)
        taken[row] = name
    return list(taken.items())
