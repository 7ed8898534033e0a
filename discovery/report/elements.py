"""Which elements the campaign tried and which of them paid: a periodic table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from pymatgen.core import Element

from discovery.composition import SYMBOLS
from discovery.outcomes import Outcome
from discovery.report.svg import box, figure, text

CELL = 40  # pixels
DARKEST = 0.8  # opacity of the most frequent element, so that its text stays readable


def element_counts(found: Iterable[Outcome]) -> Counter[str]:
    """Element symbol -> number of compounds that hold it."""
    return Counter(symbol for outcome in found for symbol in outcome.elements)


def place(symbol: str) -> tuple[int, int]:
    """Column (0 to 17) and row of an element; lanthanoids and actinoids lie below the others, in rows 8 and 9."""
    z = Element(symbol).Z
    if 57 <= z <= 71:
        return z - 57 + 2, 8
    if 89 <= z <= 103:
        return z - 89 + 2, 9
    return Element(symbol).group - 1, Element(symbol).row - 1


def element_map(found: Sequence[Outcome], tolerance: float) -> str:
    """The periodic table, coloured by the number of stable compounds; each cell says stable / validated."""
    tried = element_counts(found)
    stable = element_counts(o for o in found if o.energy_above_hull <= tolerance)
    most = max(stable.values(), default=1)
    cells = [part for symbol in SYMBOLS for part in _cell(symbol, stable[symbol], tried[symbol], most)]
    caption = (
        "Number of compounds with each element: stable / validated. The colour is the number of stable ones; elements "
        "that were never validated are faint."
    )
    return figure(cells, (18 * CELL + 2, int(9.6 * CELL) + 2), "Periodic table of the validated compounds", caption)


def _cell(symbol: str, stable: int, tried: int, most: int) -> list[str]:
    column, row = place(symbol)
    x, y = column * CELL + 1.0, (row if row < 8 else row - 0.4) * CELL + 1.0
    size = (CELL - 2.0, CELL - 2.0)
    background = box((x, y), size, "cell" if tried else "cell untried")
    if not tried:
        return [background, text((x + CELL / 2 - 1, y + 24), symbol, "faint small", "middle")]
    tip = f"{symbol}: {stable} stable of {tried} validated"
    return [
        f"<g><title>{tip}</title>",
        background,
        box((x, y), size, "heat", DARKEST * stable / most),
        text((x + CELL / 2 - 1, y + 18), symbol, "ink strong", "middle"),
        text((x + CELL / 2 - 1, y + 32), f"{stable}/{tried}", "ink tiny", "middle"),
        "</g>",
    ]
