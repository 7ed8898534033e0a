"""A periodic table, coloured by how much more or less often samples hold an element than real compounds do."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from discovery.report.elements import CELL, place
from discovery.report.svg import text
from discovery.vocabulary import ELEMENTS

FULL = 2.0  # doublings at which the colour is full
MORE, LESS, SELDOM = (178, 24, 43), (33, 102, 172), "#dddddd"  # red, blue; grey where real compounds hold none
STYLE = "text{font:12px sans-serif}.small{font-size:9px}"


def heat_map(samples: NDArray[np.float64], compounds: NDArray[np.float64], title: str) -> str:
    """An SVG drawing; each cell says log2 of the share of samples over the share of compounds that hold the element.

    Args:
        samples: shares of the elements of `vocabulary.ELEMENTS`, shape (elements,).
        compounds: the same of real compounds.
        title: written above the table.
    """
    cells = [
        _cell(symbol, mine, real)
        for symbol, mine, real in zip(ELEMENTS, samples, compounds, strict=True)
        if real or mine
    ]
    width, height = 18 * CELL + 2, int(9.6 * CELL) + 24
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"><style>{STYLE}</style>'
    legend = text(
        (4.0, 14.0), f"{title}: log2 of the ratio of shares; red more often, blue less often, grey: none real"
    )
    return f"{head}{legend}{''.join(cells)}</svg>\n"


def _cell(symbol: str, mine: float, real: float) -> str:
    column, row = place(symbol)
    x, y = column * CELL + 1.0, (row if row < 8 else row - 0.4) * CELL + 23.0
    doublings = math.log2(mine / real) if mine and real else math.nan
    label = "none" if not mine else "new" if not real else f"{doublings:+.1f}"
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{CELL - 2}" height="{CELL - 2}" fill="{_colour(mine, real)}"/>'
        f"{text((x + CELL / 2 - 1, y + 18), symbol, anchor='middle')}"
        f"{text((x + CELL / 2 - 1, y + 32), label, 'small', 'middle')}"
    )


def _colour(mine: float, real: float) -> str:
    if not real:
        return SELDOM
    strength = -1.0 if not mine else max(-1.0, min(1.0, math.log2(mine / real) / FULL))
    end = MORE if strength > 0 else LESS
    return "#" + "".join(f"{round(255 + abs(strength) * 0.75 * (part - 255)):02x}" for part in end)
